"""The shipped detector keeps its card's word."""

from __future__ import annotations

import pytest

import bindplug
from bindplug_detic import Detic
from recipes.detection_evaluation import SHARE_OF_TEXT, THRESHOLD_AP50, evaluate_detection
from tests.toyworld.shipped import evaluation_of

IN_CI = 60


@pytest.fixture(scope="module")
def told():
    return evaluation_of("toy_detic")


@pytest.fixture(scope="module")
def detector():
    return bindplug.upgrade(Detic.from_pretrained("toy_detic"), bindplug.load("imagebind_tiny"))


def test_sounds_find_what_makes_them(told):
    sound, text = told["audio, linear"], told["text, linear"]
    assert sound["scenes"] >= 300
    assert sound["ap50"] >= THRESHOLD_AP50
    assert sound["ap50"] >= SHARE_OF_TEXT * text["ap50"]


def test_every_route_and_modality_is_told(told):
    for route in ("linear", "vocabulary", "rescore"):
        for modality in ("text", "audio", "depth", "thermal", "imu", "image"):
            assert 0 <= told[f"{modality}, {route}"]["ap50"] <= 1


def test_the_weights_are_as_good_as_their_card_says(told, detector):
    measured = evaluate_detection(detector, "audio", "linear", scenes=IN_CI, quiet=True)
    assert measured.ap50 == pytest.approx(told["audio, linear"]["ap50"], abs=0.12)


def test_prompts_take_the_registered_bridge(detector):
    from bindplug_toyworld import Scene

    scene = Scene(3, "eval", labels=("dog", "bell"), canvas=(256, 256))
    found = detector(scene.image, ["a dog"])
    assert set(found.routes) == {"linear"}
