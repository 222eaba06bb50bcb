"""Thresholds from pictures without the things."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bindplug import audio, text
from bindplug.errors import InputError
from bindplug_detic.adapter import upgrade
from bindplug_detic.calibration import FLOOR, best_scores, calibrate
from tests.detic.planted import THINGS, PlantedEncoder, planted_detector, planted_picture

pytestmark = pytest.mark.filterwarnings("ignore::bindplug.bridges.BridgeQuality")
PROMPTS = ["bee", audio("violin.wav")]


class Scripted:
    """A detector whose best scores are given: a picture is the list of them."""

    def __init__(self):
        self.options = []

    def prepare(self, prompts, route=None):
        return prompts

    def __call__(self, picture, prompts, **options):
        self.options.append(options)
        pairs = [(p, s) for p, scores in enumerate(picture) for s in scores if s > options["threshold"]]
        return type("Found", (), {
            "label_indices": torch.tensor([p for p, _ in pairs], dtype=torch.long),
            "scores": torch.tensor([s for _, s in pairs]),
        })()  # fmt: skip


PICTURES = [[[0.1 * n, 0.05], [0.01]] for n in range(10)]
"""The first prompt's best scores are 0.05, 0.1, 0.2, ... 0.9; the second's are all below the floor."""


def test_the_lowest_threshold_that_keeps_the_rate():
    calibration = calibrate(Scripted(), PICTURES, PROMPTS, false_positive_rate=0.2)
    assert calibration.thresholds == pytest.approx((0.7, 0.0))
    assert calibration.labels == ("bee", "audio violin.wav")
    assert calibration.rates() == pytest.approx({"bee": 0.2, "audio violin.wav": 0.0})
    assert calibration.rates(0.35) == pytest.approx({"bee": 0.6, "audio violin.wav": 0.0})
    assert calibration.rates([0.85, 0.0])["bee"] == pytest.approx(0.1)
    assert calibration.threshold == pytest.approx(0.5), "over all pairs: 4 of 20 lie above"


def test_no_false_positive_at_all():
    calibration = calibrate(Scripted(), PICTURES, PROMPTS, false_positive_rate=0.0)
    assert calibration.thresholds[0] == pytest.approx(0.9)
    assert set(calibration.rates().values()) == {0.0}


@settings(max_examples=50)
@given(st.lists(st.integers(30, 1000), min_size=1, max_size=30), st.floats(0, 0.99))
def test_the_rate_holds_where_it_was_measured(scores, rate):
    pictures = [[[score / 1000]] for score in scores]
    calibration = calibrate(Scripted(), pictures, ["bee"], false_positive_rate=rate)
    assert calibration.rates()["bee"] <= rate + 1e-6
    lower = calibration.thresholds[0] - 1e-6
    assert lower < 0.03 or calibration.rates(lower)["bee"] > rate - 1 / len(scores) - 1e-6


def test_what_a_call_will_use_is_used():
    detector = Scripted()
    best_scores(detector, PICTURES[:1], PROMPTS, suppress=False)
    assert detector.options == [{"threshold": FLOOR, "with_masks": False, "suppress": False}]


@pytest.mark.parametrize(
    ("pictures", "prompts", "rate", "message"),
    [([], PROMPTS, 0.1, "no pictures"), (PICTURES, [], 0.1, "none"), (PICTURES, PROMPTS, 1.0, r"\[0, 1\)"),
     (PICTURES, PROMPTS, -0.1, r"\[0, 1\)")],
)  # fmt: skip
def test_what_cannot_be_calibrated(pictures, prompts, rate, message):
    with pytest.raises(InputError, match=message):
        calibrate(Scripted(), pictures, prompts, false_positive_rate=rate)


def test_a_real_wrapper():
    upgraded = upgrade(planted_detector(), PlantedEncoder())
    without = [planted_picture(THINGS[:2])] * 3
    absent, present = [text("bee"), audio("violin.wav")], [audio("car.wav")]
    loose = calibrate(upgraded, without, absent, suppress=False, progress=False)
    assert all(FLOOR < threshold < 0.2 for threshold in loose.thresholds)
    assert calibrate(upgraded, without, absent, route="vocabulary").thresholds == (0.0, 0.0)
    calibration = upgraded(without[0], present, threshold=loose.threshold, suppress=False)
    assert calibration.scores[0] > 0.9, "what is there still stands above the threshold"
