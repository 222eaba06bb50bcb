"""Measure two ways of one result in turns, after proving that they give equal numbers."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

TOLERANCE = 1e-4
"""Largest allowed difference, relative to the largest of the baseline's numbers."""


class UnequalNumbers(Exception):  # noqa: N818 - named for what was found
    """The two ways disagree, so timing them would say nothing."""


class Skipped(Exception):  # noqa: N818 - an outcome, not an error
    """The benchmark cannot run on this machine; the message says why."""


@dataclass
class Comparison:
    """Paired measurements of the baseline and of bindplug.

    Attributes:
        name: what was measured.
        unit: of the measurements, ``"s"`` or ``"GB"`` (1e9 bytes); smaller is better.
        baseline: the baseline's measurements, in the order taken.
        ours: bindplug's, as many; ``ours[i]`` was taken right before or after ``baseline[i]``.
        deviation: largest difference between both ways' numbers, as :func:`deviation` says; None where
            there are no numbers to compare.
        least_ratio: the goal for ``ratio``, if there is one.
        most_added: the goal for the median of ``ours - baseline``, if there is one.
        notes: what a reader must know to judge the figures.
        details: further measurements, JSON-ready.
    """

    name: str
    unit: str
    baseline: list[float]
    ours: list[float]
    deviation: float | None = None
    least_ratio: float | None = None
    most_added: float | None = None
    notes: list[str] = field(default_factory=list)
    details: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.baseline or len(self.baseline) != len(self.ours):
            raise ValueError(f"{self.name}: {len(self.baseline)} and {len(self.ours)} measurements")

    @property
    def ratios(self) -> list[float]:
        """Baseline over ours, pair by pair."""
        return [theirs / ours for theirs, ours in zip(self.baseline, self.ours, strict=True)]

    @property
    def ratio(self) -> float:
        """The median of :attr:`ratios`: how many times less bindplug takes."""
        return statistics.median(self.ratios)

    @property
    def added(self) -> float:
        """The median of what bindplug takes more than the baseline."""
        return statistics.median(ours - theirs for theirs, ours in zip(self.baseline, self.ours, strict=True))

    @property
    def met(self) -> bool | None:
        """Whether the goal is met; None where there is none."""
        if self.least_ratio is not None:
            return self.ratio >= self.least_ratio
        return None if self.most_added is None else self.added <= self.most_added

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready, medians and spread included."""
        goal = {"least_ratio": self.least_ratio, "most_added": self.most_added}
        return {
            "name": self.name,
            "unit": self.unit,
            "repeats": len(self.ours),
            "baseline": summary(self.baseline),
            "ours": summary(self.ours),
            "ratio": summary(self.ratios),
            "added": self.added,
            "deviation": self.deviation,
            "goal": {key: value for key, value in goal.items() if value is not None},
            "met": self.met,
            "notes": self.notes,
            "details": self.details,
        }


def summary(samples: Sequence[float]) -> dict[str, Any]:
    """Median, extremes, and the samples themselves."""
    return {
        "median": statistics.median(samples),
        "min": min(samples),
        "max": max(samples),
        "samples": list(samples),
    }


def deviation(ours: Any, baseline: Any) -> float:
    """Largest absolute difference of two tensors over the largest magnitude of ``baseline``.

    Raises:
        UnequalNumbers: the shapes differ, or a number is not finite.
    """
    import torch

    ours, baseline = torch.as_tensor(ours), torch.as_tensor(baseline)
    if ours.shape != baseline.shape:
        raise UnequalNumbers(f"shape {tuple(ours.shape)}, the baseline has {tuple(baseline.shape)}")
    difference = (ours.double() - baseline.double()).abs().max() / baseline.double().abs().max()
    if not torch.isfinite(difference):
        raise UnequalNumbers("numbers that are not finite")
    return float(difference)


def ensure_equal(name: str, ours: Any, baseline: Any, tolerance: float = TOLERANCE) -> float:
    """The deviation of two results, if it is within ``tolerance``.

    Raises:
        UnequalNumbers: it is not.
    """
    try:
        found = deviation(ours, baseline)
    except UnequalNumbers as error:
        raise UnequalNumbers(f"{name}: {error}") from None
    if found > tolerance:
        raise UnequalNumbers(f"{name}: numbers differ by {found:.1e}, allowed {tolerance:.0e}; not timed")
    return found


def in_turns(
    baseline: Callable[[], float], ours: Callable[[], float], repeats: int, *, label: str, quiet: bool = True
) -> tuple[list[float], list[float]]:
    """``repeats`` measurements of each side; who goes first alternates, so that drift hits both alike."""
    measured: dict[str, list[float]] = {"baseline": [], "bindplug": []}
    sides = [("baseline", baseline), ("bindplug", ours)]
    for repeat in range(repeats):
        for side, measure in sides if repeat % 2 == 0 else reversed(sides):
            say(f"{label}: {repeat + 1}/{repeats} {side}", quiet=quiet)
            measured[side].append(measure())
    return measured["baseline"], measured["bindplug"]


def seconds(work: Callable[[], Any]) -> Callable[[], float]:
    """A measurement of how long ``work`` takes."""

    def measure() -> float:
        start = time.perf_counter()
        work()
        return time.perf_counter() - start

    return measure


def say(line: str, *, quiet: bool) -> None:
    """A line of progress on stderr."""
    if not quiet:
        print(line, file=sys.stderr, flush=True)
