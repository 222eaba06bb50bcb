"""The shipped model keeps its card's word."""

from __future__ import annotations

import json
import zlib
from importlib.resources import files

import pytest
import torch

import bindplug
from bindplug_toyworld.evaluation import THRESHOLDS, evaluate

WEIGHTS = files("bindplug_toyworld") / "weights"
IN_CI = 200


@pytest.fixture(scope="module")
def card():
    return json.loads((WEIGHTS / "imagebind_tiny" / "card.json").read_text())


@pytest.mark.parametrize("name", THRESHOLDS)
def test_the_card_keeps_its_promises(card, name):
    measured = card["evaluation"][name]
    assert measured["count"] >= 1000 or name.endswith("imu")
    assert measured["threshold"] == THRESHOLDS[name]
    assert measured["value"] >= THRESHOLDS[name]


def test_the_weights_are_as_good_as_their_card_says(card):
    """On fewer scenes than the card's, so within three standard errors, or two scenes where it is near perfect.

    Finding a scene among fewer pairs is easier, so there the card's figure is a lower bound.
    """
    for measure in evaluate(bindplug.load("imagebind_tiny"), IN_CI, quiet=True):
        told = card["evaluation"][measure.name]["value"]
        error = max((told * (1 - told) / measure.count) ** 0.5, 1 / measure.count)
        allowed = 3 * error + 0.005
        off = measure.value - told
        is_search = measure.name.startswith("image + audio -> scene")
        assert -allowed <= off <= (1 if is_search else allowed), (
            f"{measure.name}: {measure.value} against {told}"
        )


@pytest.mark.slow
def test_the_card_can_be_measured_again(card):
    for measure in evaluate(bindplug.load("imagebind_tiny"), 1000, quiet=True):
        assert measure.value == pytest.approx(card["evaluation"][measure.name]["value"], abs=0.003), (
            measure.name
        )


def test_all_that_ships_stays_small():
    """As in a wheel, which is a zip: rows of zeros cost nothing."""
    size = sum(len(zlib.compress(path.read_bytes(), 1)) for path in WEIGHTS.rglob("*") if path.is_file())
    assert 1e6 < size < 40e6


@pytest.mark.parametrize("name", ["imagebind_tiny", "toy_foreign_clip"])
def test_any_tool_reads_the_text_tower_by_its_official_names(name):
    from safetensors.torch import load_file

    stored = load_file(WEIGHTS / name / "text.safetensors")
    official = bindplug.load(name, modalities={"text"}).official_state_dict()
    assert stored.keys() == official.keys()
    for tensor_name, tensor in official.items():
        assert stored[tensor_name].shape == tensor.shape
        torch.testing.assert_close(stored[tensor_name].to(tensor.dtype), tensor, rtol=0, atol=0)


def test_it_loads_in_full_precision_and_by_tower():
    model = bindplug.load("imagebind_tiny", modalities={"audio"})
    assert model.modalities == ("audio",)
    assert model.dtype == torch.float32
    assert bindplug.load("imagebind_tiny", modalities={"audio"}, dtype="float16").dtype == torch.float16
