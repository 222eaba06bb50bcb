"""Scales are fitted on a split of their own and end in the model's directory, its card and its README."""

from __future__ import annotations

import json

import pytest
import torch

import bindplug
from bindplug.testing import FakeEncoder
from bindplug_toyworld.evaluation import evaluation_scenes, things_of
from recipes import scales
from recipes.scales import (
    calibration_scenes,
    fit_scales,
    format_calibration,
    measure_calibration,
    write_scales,
)


def test_the_scenes_are_of_a_split_of_their_own():
    scenes = list(calibration_scenes("imu", 12))
    assert {scene.split for scene in scenes} == {"calibration"}
    assert [scene.label for scene in scenes[:8]] == list(things_of("imu"))
    other = next(evaluation_scenes(things_of("imu"), 1, scenes[0].seed))
    assert other.label == scenes[0].label
    assert not (other.imu == scenes[0].imu).all()


@pytest.fixture(scope="module")
def calibrated():
    model = bindplug.load("imagebind_tiny")
    fitted = fit_scales(model, 40, quiet=True)
    names = scales.class_rows(model, "audio")
    rows = {"audio": names + 0.02 * torch.randn(20, 128, generator=torch.Generator().manual_seed(0))}
    return fitted, measure_calibration(model, rows, fitted)


def test_every_modality_gets_a_scale(calibrated):
    fitted, measured = calibrated
    assert fitted.keys() == {"text", "audio", "depth", "thermal", "imu"}
    assert all(5 < scale <= 100 for scale in fitted.values())
    assert measured["audio -> text"]["trained_scale"] == 20
    assert measured["audio -> text"]["count"] == 20
    assert "| audio -> text | 20 |" in format_calibration(measured)


def test_they_are_written_where_a_model_is_loaded_from(calibrated, tmp_path):
    fitted, measured = calibrated
    (tmp_path / "config.json").write_text('{"format": "bindplug-imagebind"}')
    (tmp_path / "card.json").write_text('{"training": {}}')
    write_scales(tmp_path, fitted, measured)
    assert json.loads((tmp_path / "config.json").read_text())["similarity_scales"] == fitted
    assert json.loads((tmp_path / "card.json").read_text()) == {"training": {}, "calibration": measured}


def test_the_shipped_scales_are_those_on_the_card():
    from importlib.resources import files

    model = bindplug.load("imagebind_tiny", modalities=["text", "depth"])
    card = json.loads((files("bindplug_toyworld") / "weights" / "imagebind_tiny" / "card.json").read_text())
    for name, entry in card["calibration"].items():
        key = "text" if name.startswith("image") else name.split()[0]
        assert model.similarity_scales[key] == entry["fitted_scale"]
        assert entry["fitted_ece"] < 0.03
        assert entry["fitted_ece"] < entry["trained_ece"]
    assert FakeEncoder().similarity_scales == {}
