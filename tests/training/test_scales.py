"""Scales that turn cosines into probabilities that come true."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from bindplug.training import HeldOut, calibration_error, fit_scale

CLASSES = F.normalize(torch.randn(8, 16, generator=torch.Generator().manual_seed(1)), dim=1)


def drawn(scale: float, count: int = 4000) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows, and labels drawn from the softmax of ``scale`` x cosine."""
    generator = torch.Generator().manual_seed(0)
    rows = F.normalize(torch.randn(count, 16, generator=generator), dim=1)
    chances = (scale * rows @ CLASSES.T).softmax(dim=1)
    return rows, torch.multinomial(chances, 1, generator=generator)[:, 0]


@settings(max_examples=8, deadline=None)
@given(st.floats(3.0, 40.0))
def test_it_recovers_the_scale_that_labels_were_drawn_at(scale):
    rows, labels = drawn(scale)
    fitted = fit_scale(rows, CLASSES, labels)
    assert fitted == pytest.approx(scale, rel=0.15)
    assert calibration_error((fitted * rows @ CLASSES.T).softmax(1), labels) < 0.03
    assert calibration_error((fitted / 4 * rows @ CLASSES.T).softmax(1), labels) > 0.04


def test_no_other_scale_is_likelier():
    rows, labels = drawn(7.0, 300)

    def loss(scale: float) -> float:
        return float(F.cross_entropy(scale * (rows @ CLASSES.T).double(), labels))

    fitted = fit_scale(rows, CLASSES, labels)
    assert loss(fitted) < min(loss(fitted * 1.02), loss(fitted / 1.02))


def test_lengths_do_not_matter():
    rows, labels = drawn(7.0, 300)
    assert fit_scale(rows * 9, CLASSES * 0.1, labels) == pytest.approx(fit_scale(rows, CLASSES, labels))


def test_it_stays_in_bounds():
    assert fit_scale(CLASSES, CLASSES, torch.arange(8)) == pytest.approx(
        100.0
    )  # all right: the more the better
    assert fit_scale(CLASSES, CLASSES, torch.arange(8).roll(1)) == pytest.approx(0.01, abs=1e-3)


def test_calibration_error_by_hand():
    probabilities = torch.tensor([[0.9, 0.1], [0.9, 0.1], [0.6, 0.4], [0.4, 0.6]])
    labels = torch.tensor([0, 1, 0, 1])
    # two answers at 0.9, half of them right; two at 0.6, both right
    assert calibration_error(probabilities, labels) == pytest.approx((2 * 0.4 + 2 * 0.4) / 4)


@pytest.mark.parametrize(
    ("rows", "candidates", "labels", "reason"),
    [
        (CLASSES, CLASSES[:1], torch.zeros(8, dtype=torch.long), "2 or more"),
        (CLASSES, CLASSES, torch.arange(7), "one a sample"),
        (CLASSES, CLASSES, torch.arange(8) + 1, "indices of the 8 candidates"),
        (CLASSES, CLASSES, torch.arange(8).float(), "indices"),
        (CLASSES[:, :9], CLASSES, torch.arange(8), "rows of shape"),
        (CLASSES * float("nan"), CLASSES, torch.arange(8), "NaN"),
    ],
)
def test_what_does_not_fit_is_refused(rows, candidates, labels, reason):
    with pytest.raises(ValueError, match=reason):
        fit_scale(rows, candidates, labels)


def test_held_out_samples_are_checked_when_made():
    with pytest.raises(ValueError, match="one a sample"):
        HeldOut(torch.zeros(3, 4), CLASSES, torch.arange(2))
