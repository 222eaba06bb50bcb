"""Intervals of measured figures.

- A share of items, such as an accuracy, has the exact interval of the binomial distribution. Where items are drawn in
  clusters, or a figure weights them unequally, its variance in resamples gives the number of independent items that
  would tell as much.
- A figure that is no share, such as a mean average precision, has a bootstrap interval that is corrected for bias.
- The mean over repeated runs, or over pairs, has Student's interval.

Percentiles of resamples are not used: near 0 and 100 % they are too narrow, and they double the bias of a figure.

All randomness is seeded, and the resampled weights depend on the number of items, their clusters and the seed alone.
Two models measured on the same items therefore meet the same resamples, and the differences of their figures in each
of them are paired.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from bindplug.errors import InputError

__all__ = [
    "DRAWS",
    "LEVEL",
    "Interval",
    "binomial_interval",
    "cluster_numbers",
    "difference",
    "figure_interval",
    "mean_interval",
    "overlap",
    "resampled_weights",
    "share_interval",
]

DRAWS = 1000
"""Resamples of the items."""

LEVEL = 0.95
"""Share of repetitions in which an interval should hold the true figure."""

TINY = 1e-12
"""Variances below this are rounding errors of 0."""


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


def mean_interval(
    values: Sequence[float] | np.ndarray,
    level: float = LEVEL,
    *,
    low: float = -math.inf,
    high: float = math.inf,
) -> Interval:
    """The mean of independent values, such as a figure of several seeds, with Student's interval.

    Args:
        values: a figure a run.
        level: share of repetitions in which the interval should hold the true mean.
        low, high: what a value cannot be below or above.

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
    return Interval(mean, max(low, mean - half), min(high, mean + half), level, count)


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
        counts = np.bincount(rng.integers(0, groups, groups), minlength=groups) if groups else np.zeros(0)
        yield counts[numbers].astype(np.float64)


def binomial_interval(share: float, trials: float, level: float = LEVEL) -> tuple[float, float]:
    """The exact interval of a share: it never holds the true one less often than ``level`` says.

    Args:
        share: of successes, in [0, 1].
        trials: independent ones; need not be whole.
        level: share of repetitions in which the interval should hold the true share.

    Returns:
        Its ends. Source: Clopper and Pearson (1934), The use of confidence or fiducial limits, Biometrika 26.
    """
    from scipy.stats import beta

    tail = (1 - level) / 2
    hits, misses = share * trials, (1 - share) * trials
    low = float(beta.ppf(tail, hits, misses + 1)) if hits > 0 else 0.0
    high = float(beta.ppf(1 - tail, hits + 1, misses)) if misses > 0 else 1.0
    return min(low, share), max(high, share)


def share_interval(
    share: float,
    items: int,
    draws: Sequence[float] | np.ndarray | None = None,
    clusters: int | None = None,
    level: float = LEVEL,
) -> Interval:
    """A share of items with its exact binomial interval.

    Args:
        share: in [0, 1], such as an accuracy. Items may count in part, as ties do.
        items: N that it rests on.
        draws: the share in resamples, where it is no plain mean over items drawn one by one. Its variance there says
            how many independent items would tell as much; there are never more than ``items``. NaN is left out.
        clusters: of items, as they were resampled; each item is one of its own by default.
        level: share of repetitions in which the interval should hold the true share.

    Returns:
        The interval; without ends for fewer than two clusters.
        Source: Korn and Graubard (1998), Confidence intervals for proportions with small expected number of positive
        counts estimated from survey data, Survey Methodology 24.
    """
    from scipy.stats import norm, t

    _check_level(level)
    count = items if clusters is None else clusters
    if count < 2:
        return Interval(share, math.nan, math.nan, level, count)
    trials = float(items)
    if draws is not None:
        variance = _variance(draws, count)
        spread = share * (1 - share)
        # all right or all wrong: no resample differs, and the items of a cluster may be all alike
        trials = min(trials, spread / variance) if min(variance, spread) > TINY else float(count)
        tail = (1 + level) / 2
        trials *= float(norm.ppf(tail) / t.ppf(tail, count - 1)) ** 2  # the variance is an estimate itself
    return Interval(share, *binomial_interval(share, trials, level), level, count)


def figure_interval(
    value: float, draws: Sequence[float] | np.ndarray, count: int, level: float = LEVEL
) -> Interval:
    """A figure in [0, 1] that is no share of items, with its bootstrap interval, corrected for bias.

    Figures such as a mean average precision are too high on few items, and in resamples, which hold fewer distinct
    ones, higher still; the excess of the resamples estimates that of the figure. The interval lies around the figure
    less that bias, on the scale of log odds, and is as wide as spread and bias together make it.

    Args:
        value: the figure of all items.
        draws: the figure in each resample; NaN where it is undefined.
        count: independent observations that were resampled; below two there is no interval.
        level: share of repetitions in which the interval should hold the true figure.
    """
    from scipy.stats import t

    _check_level(level)
    if count < 2 or not np.isfinite(draws).any():
        return Interval(value, math.nan, math.nan, level, count)
    variance = _variance(draws, count)
    if variance <= TINY:  # nothing is ranked wrong, or everything is ranked alike
        return Interval(value, *binomial_interval(value, count, level), level, count)
    bias = float(np.nanmean(draws)) - value
    center = min(max(value - bias, 0.5 / count), 1 - 0.5 / count)
    reach = float(t.ppf((1 + level) / 2, count - 1)) * math.sqrt(variance + bias**2)
    odds, width = math.log(center / (1 - center)), reach / (center * (1 - center))
    low, high = (1 / (1 + math.exp(min(700.0, -end))) for end in (odds - width, odds + width))
    return Interval(value, min(low, value), max(high, value), level, count)


def difference(
    first: float,
    second: float,
    first_draws: Sequence[float] | np.ndarray,
    second_draws: Sequence[float] | np.ndarray,
    count: int,
    level: float = LEVEL,
    *,
    share: bool = False,
) -> Interval:
    """``first - second`` on the same items, with its paired interval.

    Args:
        first, second: the figures of all items.
        first_draws, second_draws: the figures in the same resamples of the same items.
        count: independent observations that were resampled.
        level: share of repetitions in which the interval should hold the true difference.
        share: the figures are shares of items. One more observation is then added in favor of each: a few items on
            which two models differ, all in favor of one, are no proof.
            Source: Bonett and Price (2012), Adjusted Wald confidence interval for a difference of binomial proportions
            based on paired data, Journal of Educational and Behavioral Statistics 37.

    Raises:
        InputError: the numbers of resamples differ, so they are not the same.
    """
    from scipy.stats import t

    _check_level(level)
    a, b = np.asarray(first_draws, dtype=np.float64), np.asarray(second_draws, dtype=np.float64)
    if a.shape != b.shape:
        raise InputError(
            "difference()", found=f"{a.shape} and {b.shape} resamples", expected="the same resamples of both"
        )
    value = first - second
    if count < 2 or not np.isfinite(a - b).any():
        return Interval(value, math.nan, math.nan, level, count)
    middle, variance = value, _variance(a - b, count)
    if share:
        total = count + 2
        # observations in favor of either, of which the variance and the difference tell
        either = count * ((count - 1) * variance + value**2) + 2
        middle = value * count / total
        variance = (either / total - middle**2) / total
    reach = float(t.ppf((1 + level) / 2, count - 1)) * math.sqrt(max(0.0, variance))
    return Interval(value, max(-1.0, middle - reach), min(1.0, middle + reach), level, count)


def _variance(draws: Sequence[float] | np.ndarray, count: int) -> float:
    """The variance of a figure by its values in resamples of ``count`` observations; 0 where they do not differ."""
    values = np.asarray(draws, dtype=np.float64)
    values = values[np.isfinite(values)]
    if len(values) < 2:
        return 0.0
    return float(values.var(ddof=1)) * count / (count - 1)


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
