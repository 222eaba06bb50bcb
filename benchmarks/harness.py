"""Measure several ways of one result in turns, after proving that they give equal numbers."""

from __future__ import annotations

import math
import statistics
import sys
import time
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

K = TypeVar("K", bound=Hashable)

TOLERANCE = 1e-4
"""Largest allowed difference, relative to the largest of the baseline's numbers."""

LEAST_COSINE = 0.999
"""What counts as equal in half precision and int8: the least cosine of a row with the baseline's in float32."""


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
        cosine: the least cosine of a row with the baseline's, where that proves equality.
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
    cosine: float | None = None

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
            "kind": "comparison",
            "name": self.name,
            "unit": self.unit,
            "repeats": len(self.ours),
            "baseline": summary(self.baseline),
            "ours": summary(self.ours),
            "ratio": summary(self.ratios),
            "added": self.added,
            "deviation": self.deviation,
            "cosine": self.cosine,
            "goal": {key: value for key, value in goal.items() if value is not None},
            "met": self.met,
            "notes": self.notes,
            "details": self.details,
        }


@dataclass
class Growth:
    """How cost grows with a size.

    Attributes:
        name: what was measured.
        size: what grows, as ``"images in a batch"``.
        unit: of the measurements.
        sizes: at least two, rising.
        samples: for each size its measurements; the i-th of all sizes were taken in the same round.
        deviation: as in :class:`Comparison`, of the largest size against the smallest.
        notes: what a reader must know.
    """

    name: str
    size: str
    unit: str
    sizes: list[int]
    samples: list[list[float]]
    deviation: float | None = None
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        if (
            len(self.sizes) < 2
            or len(self.sizes) != len(self.samples)
            or sorted(set(self.sizes)) != self.sizes
        ):
            raise ValueError(
                f"{self.name}: sizes {self.sizes} with {len(self.samples)} lists of measurements"
            )

    @property
    def exponents(self) -> list[float]:
        """The exponent of every round: time ~ size ** exponent, by least squares in logarithms."""
        return [fitted_exponent(self.sizes, one_round) for one_round in zip(*self.samples, strict=True)]

    @property
    def exponent(self) -> float:
        """The exponent of the medians."""
        return fitted_exponent(self.sizes, [statistics.median(samples) for samples in self.samples])

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "kind": "growth",
            "name": self.name,
            "size": self.size,
            "unit": self.unit,
            "repeats": len(self.samples[0]),
            "points": [
                {"size": s, **summary(taken)} for s, taken in zip(self.sizes, self.samples, strict=True)
            ],
            "exponent": {"fitted": self.exponent, "min": min(self.exponents), "max": max(self.exponents)},
            "deviation": self.deviation,
            "notes": self.notes,
        }


Outcome = Comparison | Growth | Skipped | UnequalNumbers
"""What a benchmark yields: results, and why parts of it are missing."""


def fitted_exponent(sizes: Sequence[float], values: Sequence[float]) -> float:
    """The slope of log(value) over log(size), by least squares."""
    x, y = [math.log(size) for size in sizes], [math.log(value) for value in values]
    return statistics.linear_regression(x, y).slope


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


def ensure_aligned(name: str, ours: Any, baseline: Any, least: float = LEAST_COSINE) -> float:
    """The least cosine of a row with the baseline's, if it is at least ``least``: equality in half precision.

    Raises:
        UnequalNumbers: it is not.
    """
    import torch
    import torch.nn.functional as F

    if ours.shape != baseline.shape:
        raise UnequalNumbers(f"{name}: shape {tuple(ours.shape)}, the baseline has {tuple(baseline.shape)}")
    found = F.cosine_similarity(ours.double(), baseline.double(), dim=-1).min()
    if not torch.isfinite(found) or found < least:
        raise UnequalNumbers(f"{name}: least cosine {float(found):.6f}, needed {least}; not timed")
    return float(found)


def in_turns(
    baseline: Callable[[], float], ours: Callable[[], float], repeats: int, *, label: str, quiet: bool = True
) -> tuple[list[float], list[float]]:
    """``repeats`` measurements of each side; who goes first alternates, so that drift hits both alike."""
    measured = rounds({"baseline": baseline, "bindplug": ours}, repeats, label=label, quiet=quiet)
    return measured["baseline"], measured["bindplug"]


def rounds(
    measures: Mapping[K, Callable[[], float]], repeats: int, *, label: str, quiet: bool = True
) -> dict[K, list[float]]:
    """``repeats`` measurements of each of several ways: all once a round, every other round backwards."""
    measured: dict[K, list[float]] = {way: [] for way in measures}
    for repeat in range(repeats):
        for way in measures if repeat % 2 == 0 else reversed(list(measures)):
            say(f"{label}: {repeat + 1}/{repeats} {way}", quiet=quiet)
            measured[way].append(measures[way]())
    return measured


def attempt(work: Callable[[], Iterable[Outcome]]) -> Iterator[Outcome]:
    """What ``work`` yields, and last why it stopped early, if it did: one part's failure spares the others."""
    try:
        yield from work()
    except (Skipped, UnequalNumbers) as reason:
        yield reason


def seconds(work: Callable[[], Any], device: str = "cpu") -> Callable[[], float]:
    """A measurement of how long ``work`` takes; on CUDA until the device is done."""

    def measure() -> float:
        if device != "cpu":
            import torch

            torch.cuda.synchronize(device)
        start = time.perf_counter()
        work()
        if device != "cpu":
            torch.cuda.synchronize(device)
        return time.perf_counter() - start

    return measure


def say(line: str, *, quiet: bool) -> None:
    """A line of progress on stderr."""
    if not quiet:
        print(line, file=sys.stderr, flush=True)
