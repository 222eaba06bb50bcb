"""Prompts that mean nothing to the bundled models have no boxes on the vocabulary route."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import bindplug
from bindplug import audio, text
from bindplug.errors import UnknownWords
from bindplug_detic import Detic
from bindplug_detic.prompted_detector import MeaninglessPrompt
from bindplug_toyworld import Scene

pytestmark = [
    pytest.mark.filterwarnings("ignore::bindplug.bridges.BridgeQuality"),
    pytest.mark.filterwarnings("ignore:.*:UserWarning:bindplug.embed"),
]
SILENCE = audio(np.zeros(32_000, np.float32), sample_rate=16_000)


@pytest.fixture(scope="module")
def detector():
    return bindplug.upgrade(
        Detic.from_pretrained("toy_detic"), bindplug.load("imagebind_tiny"), route="vocabulary"
    )


def test_meaningless_prompts_are_dropped_and_named(detector):
    scene = Scene(7, "eval", labels=("dog", "bell", "train", "frog"))
    bark = audio(Scene(100, "eval", labels=["dog"]).audio, sample_rate=16_000)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        detections = detector(scene.image, [text("a zebra"), SILENCE, bark], threshold=0.1)
    messages = [str(w.message) for w in caught if issubclass(w.category, MeaninglessPrompt)]
    assert len(messages) == 1
    assert messages[0].startswith("'a zebra', 'audio': no nearer")
    assert set(detections.label_indices.tolist()) == {2}


@pytest.mark.parametrize("route", ["linear", "rescore"])
def test_sounds_are_judged_on_other_routes_and_texts_are_not(detector, route):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        noise = np.random.default_rng(0).normal(0, 0.1, 64_000).astype(np.float32)
        prompts = [SILENCE, audio(noise, sample_rate=16_000), text("a zebra"), text("a dog")]
        assert detector.prepare(prompts, route).is_meaningful == (False, False, True, True)


@pytest.mark.parametrize("route", ["vocabulary", "linear", "rescore"])
def test_unknown_words_are_warned_of_on_every_route(route):
    model = bindplug.load("imagebind_tiny")  # warns of a word once
    detector = bindplug.upgrade(Detic.from_pretrained("toy_detic"), model, route=route)
    with pytest.warns(UnknownWords, match="zebra"):
        detector.prepare([text("a zebra")])


def test_many_class_names_are_not_embedded_to_judge_a_sound(detector, monkeypatch):
    monkeypatch.setattr("bindplug_detic.routes.MOST_NAMES_ON_CPU", 5)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert detector.prepare([SILENCE], "linear").is_meaningful == (True,)


def test_suppress_false_keeps_them(detector):
    pictures = [Scene(index, "eval").image for index in range(5000, 5012)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        prepared = detector.prepare([text("a zebra")])
        boxes = [
            len(detector(p, prepared, threshold=0.1, with_masks=False, suppress=False)) for p in pictures
        ]
        dropped = [len(detector(p, prepared, threshold=0.1, with_masks=False)) for p in pictures]
    assert sum(boxes) > 0
    assert sum(dropped) == 0
