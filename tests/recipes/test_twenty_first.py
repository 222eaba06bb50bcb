"""A kettle is seen and heard like any thing, and the recipe that teaches it measures before and after."""

from __future__ import annotations

import json

import numpy as np
import pytest

import bindplug
from bindplug_toyworld import Scene
from recipes import twenty_first
from recipes.kettle import KettleScene
from recipes.twenty_first import DORA, SMOKE, Variant

pytest.importorskip("peft")


def test_a_kettle_is_a_thing_of_its_own():
    kettle, again, drum = KettleScene(3), KettleScene(3), Scene(3, labels=("drum",))
    assert np.array_equal(kettle.pixels, again.pixels)
    assert np.array_equal(kettle.audio, again.audio)
    assert not np.array_equal(kettle.audio, KettleScene(3, "eval").audio)
    assert not np.array_equal(kettle.pixels, drum.pixels)
    assert kettle.audio.shape == drum.audio.shape
    assert 0.01 < np.abs(kettle.audio).max() <= 1
    x0, y0, x1, y1 = kettle.boxes[0]
    assert x1 - x0 > 20
    assert y1 - y0 > 20
    assert kettle.pixels.shape == (224, 224, 3)


def test_the_recipe_writes_figures_and_adapters(tmp_path):
    variants = (
        Variant("DoRA, old scenes among them", DORA, 1e-3, is_rehearsed=True),
        Variant("whole tower, kettles alone", None, 5e-4, is_rehearsed=False),
    )
    figures = twenty_first.run(SMOKE, tmp_path, variants, quiet=True)
    assert list(figures) == ["before", *(variant.name for variant in variants)]
    assert figures == json.loads((tmp_path / "figures.json").read_text())
    for entry in figures.values():
        for share in entry["figures"].values():
            assert 0 <= share["low"] <= share["value"] <= share["high"] <= 1
    assert figures["before"]["figures"]["the twenty, by text (of 20)"]["value"] > 0.9
    adapted, whole = (figures[variant.name]["training"] for variant in variants)
    assert adapted["steps"] == whole["steps"] == SMOKE.steps
    assert adapted["pairs"] == SMOKE.kettles + SMOKE.rehearsed
    assert whole["pairs"] == SMOKE.kettles
    assert adapted["trained numbers"] < 0.1 * whole["trained numbers"]
    (place,) = (path for path in tmp_path.iterdir() if path.is_dir())
    assert bindplug.load(place, modalities={"audio"}).modalities == ("audio",)
    assert "| before |" in (tmp_path / "figures.md").read_text()
