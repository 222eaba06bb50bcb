"""Exact bounds on a rate from counts: order statistics, the binomial distribution, Clopper-Pearson."""

from __future__ import annotations

import math
from collections.abc import Callable
from numbers import Real

from bindplug.errors import InputError

BOUNDS = ("conformal", "binomial")
SMALLEST_RATE = 1e-12
"""A rate that no sample of a real size can promise; below it ``1 / rate`` leaves what a float64 holds."""
STEPS = 100
"""Halvings of an interval, after which a float64 no longer changes."""


def most_above(sample_size: int, fpr: float, bound: str, confidence: float) -> int | None:
    """How many of the absent sample may score above the cut-off; None if the sample cannot promise the rate.

    With the ``"conformal"`` bound the next absent item scores above a cut-off that leaves ``k`` of ``n`` above it
    with a probability of at most ``(k + 1) / (n + 1)``, whatever the scores' distribution, on average over samples.
    With the ``"binomial"`` bound the rate of the cut-off at hand is at most ``fpr`` in a share ``confidence`` of all
    samples: ``k`` is the largest number with ``P(Binomial(n, fpr) <= k) <= 1 - confidence``.

    Args:
        sample_size: ``n``, absent items in the sample.
        fpr: false positive rate, in (0, 1).
        bound: ``"conformal"`` or ``"binomial"``.
        confidence: of the binomial bound, in (0, 1).

    Source: Vovk, Gammerman, Shafer, Algorithmic Learning in a Random World (2005), chapter 2; Wilks, Determination
    of Sample Sizes for Setting Tolerance Limits (1941).
    """
    if bound == "conformal":
        # The small number undoes the rounding of products such as 0.07 * 100.
        above = math.floor(fpr * (sample_size + 1) + 1e-9) - 1
        return above if above >= 0 else None
    above = -1
    total = 0.0
    while above + 1 < sample_size:
        total += _binomial(above + 1, sample_size, fpr)
        if total > 1.0 - confidence:
            break
        above += 1
    return above if above >= 0 else None


def least_sample_size(fpr: float, bound: str = "conformal", confidence: float = 0.95) -> int:
    """The least number of absent items that can promise a false positive rate.

    Args:
        fpr: the rate, in (0, 1).
        bound: ``"conformal"`` or ``"binomial"``.
        confidence: of the binomial bound, in (0, 1).

    Raises:
        InputError: an argument is out of range.
    """
    check_promise(fpr, bound, confidence)
    if bound == "conformal":
        size = max(1, math.ceil(1.0 / fpr - 1.0 - 1e-9))
    else:
        size = max(1, math.ceil(math.log(1.0 - confidence) / math.log1p(-fpr) - 1e-9))
    while most_above(size, fpr, bound, confidence) is None:  # at most a step: the logarithms are rounded
        size += 1
    return size


def check_promise(fpr: float, bound: str, confidence: float) -> None:
    """Return if the numbers make sense.

    Raises:
        InputError: they do not.
    """
    if bound not in BOUNDS:
        raise InputError("cutoffs()", found=f"bound={bound!r}", expected=f"one of {BOUNDS}")
    for name, value in (("fpr", fpr), ("confidence", confidence)):
        number = isinstance(value, Real) and not isinstance(value, bool)
        if not number or not SMALLEST_RATE <= value < 1.0:
            expected = f"a number from {SMALLEST_RATE:g} to under 1"
            raise InputError("cutoffs()", found=f"{name}={value!r}", expected=expected)


def exact_interval(count: int, total: int, confidence: float = 0.95) -> tuple[float, float]:
    """The exact two-sided interval of a rate of which ``count`` of ``total`` were observed.

    Source: Clopper and Pearson, The Use of Confidence or Fiducial Limits (1934).

    Args:
        count: observations of the kind whose rate is asked for.
        total: all observations, at least 1.
        confidence: share of samples whose interval holds the true rate, in (0, 1).

    Returns:
        Lower and upper end, in [0, 1].

    Raises:
        InputError: no observations, or more counted than observed.
    """
    if not 0 <= count <= total or total < 1:
        problem = f"{count} of {total}"
        raise InputError("exact_interval()", found=problem, expected="a count among at least 1")
    tail = (1.0 - confidence) / 2.0
    low = 0.0 if count == 0 else _root(lambda p: tail - (1.0 - cumulative(count - 1, total, p)))
    high = 1.0 if count == total else _root(lambda p: cumulative(count, total, p) - tail)
    return low, high


def rate_interval(
    most: int, sample_size: int, above: int | None = None, confidence: float = 0.95
) -> tuple[float, float]:
    """Where the true rate of a cut-off lies that is the score of which ``most`` of the sample come before it.

    Scores being continuous, the rate is distributed as Beta(most + 1, sample_size - most), whatever the scores'
    distribution. Where scores equal the cut-off, fewer lie above it: the lower end is then that of their count.

    Args:
        most: of the sample that come before the cut-off in descending order.
        sample_size: of the sample.
        above: of the sample that lie above the cut-off, if some of those before it equal it.
        confidence: of the interval.
    """
    tail = (1.0 - confidence) / 2.0
    # P(Beta(k + 1, n - k) <= p) = P(Binomial(n, p) >= k + 1)
    high = _root(lambda p: cumulative(most, sample_size, p) - tail)
    if above is not None and above < most:
        return exact_interval(above, sample_size, confidence)[0], high
    return _root(lambda p: cumulative(most, sample_size, p) - (1.0 - tail)), high


def cumulative(count: int, total: int, rate: float) -> float:
    """P(Binomial(total, rate) <= count)."""
    if count < 0:
        return 0.0
    if count >= total:
        return 1.0
    if count > total // 2:
        return 1.0 - cumulative(total - count - 1, total, 1.0 - rate)
    return min(1.0, math.fsum(_binomial(k, total, rate) for k in range(count + 1)))


def _binomial(count: int, total: int, rate: float) -> float:
    if rate <= 0.0 or rate >= 1.0:
        return float(count == (0 if rate <= 0.0 else total))
    ways = math.lgamma(total + 1) - math.lgamma(count + 1) - math.lgamma(total - count + 1)
    return math.exp(ways + count * math.log(rate) + (total - count) * math.log1p(-rate))


def _root(falling: Callable[[float], float]) -> float:
    """Where a function that falls from above 0 to below it crosses 0 in [0, 1]."""
    low, high = 0.0, 1.0
    for _ in range(STEPS):
        middle = (low + high) / 2.0
        if falling(middle) > 0.0:
            low = middle
        else:
            high = middle
    return (low + high) / 2.0
