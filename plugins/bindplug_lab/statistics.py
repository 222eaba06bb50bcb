"""Intervals of measured figures: bootstrap over items or clusters of items, and Student's over repeated runs.

All randomness is seeded, and the resampled weights depend on the number of items, their clusters and the seed alone.
Two models measured on the same items therefore meet the same resamples, and the differences of their figures in each
of them are a paired bootstrap.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from bindplug.errors import InputError

__all__ = [
    "DRAWS",
    "LEVEL",
    "Interval",
    "bootstrap",
    "cluster_numbers",
    "difference",
    "interval_of_draws",
    "mean_interval",
    "overlap",
    "resampled_weights",
]

DRAWS = 1000
"""Resamples of a bootstrap."""

LEVEL = 0.95
"""Share of repetitions in which an interval should hold the true figure."""


@dataclass(frozen=True)
class Interval:
    """A figure with its interval.

    Attributes:
        value: the figure.
        low, high: ends of the interval; NaN where there is too little data for one.
        level: share of repetitions in which such an interval holds the true figure.
        count: how many observations (items, clusters or runs) it rests on.
    """

    value: float
    low: float
    high: float
    level: float = LEVEL
    count: int = 0

    @property
    def is_known(self) -> bool:
        """Whether there is an interval around the figure."""
        return math.isfinite(self.low) and math.isfinite(self.high)

    def as_dict(self) -> dict[str, float | int | None]:
        """For JSON, which has no NaN: an unknown end is None."""
        low, high = (end if math.isfinite(end) else None for end in (self.low, self.high))
        return {"value": self.value, "low": low, "high": high, "level": self.level, "count": self.count}

    def text(self, factor: float = 100.0, digits: int = 1) -> str:
        """``"66.9 (64.0-69.5)"``: the figure and its interval times ``factor``; ``"66.9"`` if it has none."""
        value = f"{self.value * factor:.{digits}f}"
        if not self.is_known:
            return value
        return f"{value} ({self.low * factor:.{digits}f} to {self.high * factor:.{digits}f})"


def overlap(first: Interval, second: Interval) -> bool:
    """Whether two intervals share a figure. One that is unknown overlaps with all: it rules nothing out."""
    if not (first.is_known and second.is_known):
        return True
    return first.low <= second.high and second.low <= first.high


def mean_interval(values: Sequence[float], level: float = LEVEL) -> Interval:
    """The mean of a figure over independent runs (seeds), with Student's interval.

    Args:
        values: a figure a run.
        level: share of repetitions in which the interval should hold the true mean.

    Returns:
        The mean with its interval; of a single run without one.

    Raises:
        InputError: there is no value, one is not finite, or the level is not within (0, 1).
    """
    from scipy.stats import t

    numbers = _checked(values, "mean_interval()")
    _check_level(level)
    mean, count = float(numbers.mean()), len(numbers)
    if count < 2:
        return Interval(mean, math.nan, math.nan, level, count)
    half = float(t.ppf((1 + level) / 2, count - 1)) * float(numbers.std(ddof=1)) / math.sqrt(count)
    return Interval(mean, mean - half, mean + half, level, count)


def cluster_numbers(clusters: Sequence[Hashable]) -> np.ndarray:
    """(N,) int64: a number from 0 for each distinct cluster, in order of appearance."""
    numbers: dict[Hashable, int] = {}
    return np.array([numbers.setdefault(cluster, len(numbers)) for cluster in clusters], dtype=np.int64)


def resampled_weights(
    count: int, *, clusters: Sequence[Hashable] | None = None, draws: int = DRAWS, seed: int = 0
) -> Iterator[np.ndarray]:
    """How often each item occurs in each resample.

    Args:
        count: N items.
        clusters: for each item the cluster that it is drawn with, such as the recording that it was cut from;
            each item is one of its own by default.
        draws: resamples.
        seed: of the generator.

    Yields:
        (N,) float64 whole numbers, ``draws`` times. All weights of a cluster are equal.
    """
    numbers = np.arange(count) if clusters is None else cluster_numbers(clusters)
    if len(numbers) != count:
        raise InputError(
            "resampled_weights()", found=f"{len(numbers)} clusters", expected=f"one for each of {count} items"
        )
    groups = int(numbers.max()) + 1 if count else 0
    rng = np.random.default_rng(seed)
    for _ in range(draws):
        drawn = np.bincount(rng.integers(0, groups, groups), minlength=groups) if groups else np.zeros(0)
        yield drawn[numbers].astype(np.float64)


def bootstrap(
    statistic: Callable[[np.ndarray], float] | Sequence[float] | np.ndarray,
    count: int | None = None,
    *,
    clusters: Sequence[Hashable] | None = None,
    draws: int = DRAWS,
    level: float = LEVEL,
    seed: int = 0,
) -> Interval:
    """A figure of N items with its percentile bootstrap interval.

    Args:
        statistic: N values, of which the figure is the mean; or a function from the items' weights (N,) to the
            figure. A figure that a resample leaves undefined is NaN there, and the resample is left out.
        count: N, where ``statistic`` is a function.
        clusters: for each item the cluster that it is resampled with.
        draws, level, seed: of the bootstrap.

    Returns:
        The interval; without ends for fewer than two clusters.

    Raises:
        InputError: no items, values that are not finite, or a level that is not within (0, 1).
    """
    if callable(statistic):
        if count is None:
            raise InputError("bootstrap()", found="a function without count", expected="count=, the items")
        of_weights, total = statistic, count
    else:
        values = _checked(statistic, "bootstrap()")
        total = len(values)

        def of_weights(weights: np.ndarray) -> float:
            mass = float(weights.sum())
            return float(weights @ values) / mass if mass else math.nan

    if total < 1:
        raise InputError("bootstrap()", found="no items", expected="at least one")
    value = float(of_weights(np.ones(total)))
    weights = resampled_weights(total, clusters=clusters, draws=draws, seed=seed)
    groups = total if clusters is None else len(set(clusters))
    return interval_of_draws(value, [of_weights(w) for w in weights], groups, level)


def interval_of_draws(
    value: float,
    draws: Sequence[float] | np.ndarray,
    count: int,
    level: float = LEVEL,
    *,
    share: bool = False,
) -> Interval:
    """The percentile interval of a figure from its values in resamples.

    Args:
        value: the figure of all items.
        draws: the figure in each resample; NaN where it is undefined.
        count: independent observations that were resampled; below two there is no interval.
        level: share of repetitions in which the interval should hold the true figure.
        share: the figure is a share of the observations. Where all of them are right, or none, no resample differs;
            the end is then the exact one of the binomial distribution (Clopper and Pearson's).
    """
    _check_level(level)
    defined = np.asarray(draws, dtype=np.float64)
    defined = defined[np.isfinite(defined)]
    if count < 2 or not len(defined):
        return Interval(value, math.nan, math.nan, level, count)
    if share and value in (0.0, 1.0) and (defined == value).all():
        missed = 1.0 - ((1 - level) / 2) ** (1 / count)
        return Interval(value, max(0.0, value - missed), min(1.0, value + missed), level, count)
    low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
    return Interval(value, float(low), float(high), level, count)


def difference(
    first: float,
    second: float,
    first_draws: Sequence[float] | np.ndarray,
    second_draws: Sequence[float] | np.ndarray,
    count: int,
    level: float = LEVEL,
) -> Interval:
    """``first - second`` with its paired bootstrap interval.

    Args:
        first, second: the figures of all items.
        first_draws, second_draws: the figures in the same resamples of the same items.
        count: independent observations that were resampled.
        level: share of repetitions in which the interval should hold the true difference.

    Raises:
        InputError: the numbers of resamples differ, so they are not the same.
    """
    a, b = np.asarray(first_draws, dtype=np.float64), np.asarray(second_draws, dtype=np.float64)
    if a.shape != b.shape:
        raise InputError(
            "difference()", found=f"{a.shape} and {b.shape} resamples", expected="the same resamples of both"
        )
    return interval_of_draws(first - second, a - b, count, level)


def _checked(values: Sequence[float] | np.ndarray, where: str) -> np.ndarray:
    numbers = np.asarray(values, dtype=np.float64).ravel()
    if not len(numbers):
        raise InputError(where, found="no values", expected="at least one")
    if not np.isfinite(numbers).all():
        bad = int((~np.isfinite(numbers)).sum())
        raise InputError(where, found=f"{bad} of {len(numbers)} values not finite", expected="finite numbers")
    return numbers


def _check_level(level: float) -> None:
    if not 0 < level < 1:
        raise InputError("level", found=f"{level}", expected="a share between 0 and 1, as 0.95")
