"""The clock of a motion recording: its unit, its order, its gaps, and the even grid behind it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bindplug.errors import InputError
from bindplug.inputs.imucolumns import TIME_UNITS

SHORTEST_STEP_S, LONGEST_STEP_S = 0.0005, 0.2
"""5 Hz to 2 kHz: no motion sensor is outside, and the ranges of s, ms, us and ns do not touch."""
GAP_STEPS = 3.0
JITTER_STEPS = 0.75
"""Stamps this close to an even grid are taken as rounded readings of it."""


@dataclass(frozen=True)
class EvenSamples:
    """Samples on an even grid.

    Attributes:
        values: (6, T) float64.
        rate_hz: of the grid.
        duplicates: samples dropped because their time was there already.
        gaps: (start in seconds, length in seconds) of each stretch without samples, bridged linearly.
        was_sorted: whether samples had to be put in order.
    """

    values: np.ndarray
    rate_hz: float
    duplicates: int = 0
    gaps: tuple[tuple[float, float], ...] = ()
    was_sorted: bool = False


def detect_time_unit(ticks: np.ndarray, stated: str | None, name: str) -> str:
    """The unit of time stamps ``ticks`` (T,), stated or told by the step between them.

    Raises:
        InputError: the step fits no unit, or does not fit the stated one.
    """
    steps = np.abs(np.diff(ticks))
    steps = steps[steps > 0]
    if not steps.size:
        raise InputError(name, found="time stamps that never change", expected="a clock that runs")
    step = float(np.median(steps))
    units = [stated] if stated else ["s", "ms", "us", "ns"]
    for unit in units:
        if SHORTEST_STEP_S <= step * TIME_UNITS[unit] <= LONGEST_STEP_S:
            return unit
    found = f"a median step of {step:g} {stated or 'in the time column'}"
    remedy = "State the unit: time_unit='ms', say." if stated is None else f"Is the clock really in {stated}?"
    raise InputError(name, found=found, expected="between 5 and 2000 samples a second", remedy=remedy)


def even_samples(values: np.ndarray, seconds: np.ndarray, *, sort: bool, name: str) -> EvenSamples:
    """Samples ``values`` (6, T) at times ``seconds`` (T,) on an even grid of their own mean rate.

    Raises:
        InputError: a time is NaN, or times run backwards and ``sort`` is not set.
    """
    if not np.isfinite(seconds).all():
        found = f"{int((~np.isfinite(seconds)).sum())} time stamps that are no numbers"
        raise InputError(name, found=found, expected="a time for each sample")
    backward = np.diff(seconds) < 0
    if backward.any() and not sort:
        place = int(np.argmax(backward)) + 1
        found = f"non-monotonic time: {int(backward.sum())} steps backwards, the first at sample {place}"
        remedy = "Pass sort=True to put the samples in order, if only their order was lost."
        raise InputError(name, found=found, expected="times that never decrease", remedy=remedy)
    order = np.argsort(seconds, kind="stable")
    seconds, values = seconds[order], values[:, order]
    keep = np.concatenate([[True], np.diff(seconds) > 0])
    seconds, values = seconds[keep] - seconds[0], values[:, keep]
    duplicates = int(keep.size - keep.sum())
    if seconds.size < 2:
        raise InputError(name, found="one sample", expected="at least two samples at different times")
    steps = np.diff(seconds)
    is_gap = steps > GAP_STEPS * np.median(steps)
    rate_hz = float(1 / steps[~is_gap].mean())
    gaps = tuple((float(seconds[i]), float(steps[i])) for i in np.nonzero(is_gap)[0])
    drift = np.abs(seconds * rate_hz - np.arange(seconds.size)).max()
    if gaps or drift > JITTER_STEPS:
        grid = np.arange(int(seconds[-1] * rate_hz + 1e-6) + 1) / rate_hz
        values = np.stack([np.interp(grid, seconds, row) for row in values])
    return EvenSamples(values, rate_hz, duplicates, gaps, bool(backward.any()))
