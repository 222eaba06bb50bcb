"""Captions name what is there, say true things of it, and vary."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bindplug_toyworld.captions import PROMPTS, Mention, group_caption, single_caption
from bindplug_toyworld.dataset import group_at, scene_at
from bindplug_toyworld.looks import PALETTE
from bindplug_toyworld.scene import Scene
from bindplug_toyworld.things import NAMES, THINGS, label_of

COLORS = re.compile(rf"\b({'|'.join([*PALETTE, 'gray'])})\b")


def names(caption: str, name: str) -> bool:
    thing = THINGS[label_of(name)]
    return any(re.search(rf"\b{re.escape(noun)}\b", caption) for noun in (thing.noun, *thing.synonyms))


@settings(max_examples=60)
@given(st.integers(0, 2**31), st.integers(1, 5))
def test_every_thing_is_named(seed: int, things: int) -> None:
    scene = Scene(seed, things=things)
    for caption in scene.captions(4):
        assert all(names(caption, name) for name in scene.labels), caption
        assert "{" not in caption
        assert len(caption) < 250


def test_a_color_that_is_named_is_the_color() -> None:
    found = 0
    for seed in range(400):
        scene = scene_at("train", seed)
        caption = scene.caption.replace("black and white photo", "photo").replace("gray", "grey")
        for color in COLORS.findall(caption):
            assert color == scene.placements[0].color, caption
            found += 1
    assert found > 80


def test_sides_that_are_named_are_true() -> None:
    found = 0
    for index in range(300):
        scene = group_at("eval", index, things=2)
        match = re.search(r"(.*) on the (left|right) and (.*) on the (left|right)", scene.caption)
        if match is None:
            continue
        found += 1
        x = {name: placement.x for name, placement in zip(scene.labels, scene.placements, strict=True)}
        first, second = sorted(scene.labels, key=lambda name: not names(match[1], name))
        assert (x[first] < x[second]) == (match[2] == "left"), (scene.caption, x)
    assert found > 30


def test_captions_vary_and_about_half_stand_in_a_prompt() -> None:
    captions = [scene_at("train", index).caption for index in range(600)]
    assert len(set(captions)) > 400
    openings = {form.split("{")[0] for form in PROMPTS if len(form.split("{")[0]) > 4}
    share = np.mean([any(caption.startswith(opening) for opening in openings) for caption in captions])
    assert 0.35 < share < 0.65
    assert len(set(scene_at("train", 8).captions(20))) > 8
    assert scene_at("train", 8).captions(3)[0] == scene_at("train", 8).caption


@pytest.mark.parametrize("name", NAMES)
def test_articles_fit(name: str) -> None:
    rng = np.random.default_rng(0)
    for color in PALETTE:
        mention = Mention(THINGS[label_of(name)], color, "left", "large", 0.2)
        for _ in range(5):
            caption = (
                single_caption(mention, ("outdoors",), rng) + " " + group_caption([mention, mention], (), rng)
            )
            assert not re.search(r"\ba [aeio]", caption), caption
            assert not re.search(r"\ban [^aeiou]", caption), caption


def test_a_size_that_is_named_is_true() -> None:
    found = 0
    for seed in range(500):
        scene = scene_at("train", seed)
        extent = 2 * scene.placements[0].half_px / 224
        words = re.findall(r"\b(small|little|tiny|large|big|huge)\b", scene.caption)
        words = [
            word
            for word in words
            if f"{word} ship" not in scene.caption and f"{word} bird" not in scene.caption
        ]
        for word in words:
            assert (extent < 0.42) if word in ("small", "little", "tiny") else (extent > 0.62), scene.caption
            found += 1
    assert found > 30
