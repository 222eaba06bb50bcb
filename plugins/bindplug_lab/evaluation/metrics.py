"""Figures from scores: accuracy, average precision and recall at k, with ties counted at their expected value.

Cosines closer than :data:`TIE` are ties: float noise must not decide between equals. A tie counts as it would on
average if equals were ordered at random, so that a model whose rows are all alike is measured at chance.
"""

from __future__ import annotations

import numpy as np
from scipy.special import gammaln

from bindplug.errors import InputError

__all__ = [
    "TIE",
    "PrecisionRanking",
    "class_scores",
    "cosines",
    "hits_at",
    "mean_by_class",
    "weighted_mean",
]

TIE = 1e-6
"""Cosines are compared on a grid this wide; rounding errors of float32 rows stay below it."""


def cosines(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Cosines between unit rows, (A, D) and (B, D) -> (A, B) float64, rounded so that near equals are equal.

    Raises:
        InputError: a row is not finite or not of unit length, or the widths differ.
    """
    a, b = (_unit_rows(rows) for rows in (first, second))
    if a.shape[1] != b.shape[1]:
        raise InputError(
            "cosines()", found=f"rows of width {a.shape[1]} and {b.shape[1]}", expected="one width"
        )
    return np.round((a @ b.T) / TIE) * TIE + 0.0  # no -0.0


def class_scores(scores: np.ndarray, groups: np.ndarray, classes: int) -> np.ndarray:
    """The best score among each class's names: (N, M) for M names -> (N, C).

    Args:
        scores: (N, M) cosines with names.
        groups: (M,) class of each name.
        classes: C; each must own a name.
    """
    best = np.full((len(scores), classes), -np.inf)
    for column, group in enumerate(groups):
        np.maximum(best[:, group], scores[:, column], out=best[:, group])
    if not np.isfinite(best).all():
        raise InputError("class_scores()", found="a class without a name", expected="a name for each class")
    return best


def hits_at(
    scores: np.ndarray, relevant: np.ndarray, k: int, allowed: np.ndarray | None = None
) -> np.ndarray:
    """How likely at least one relevant candidate is among each query's first ``k``.

    1 or 0 where scores differ. Among equal scores that reach beyond place ``k`` it is the share of orders that
    bring a relevant one in.

    Args:
        scores: (Q, C), higher is better.
        relevant: (Q, C) bool; each query has at least one.
        k: places.
        allowed: (Q, C) bool, False for candidates that do not compete, such as the query itself; all by default.

    Returns:
        (Q,) float64 in [0, 1].

    Raises:
        InputError: scores are not finite, or a query has nothing relevant.
    """
    if not np.isfinite(scores).all():
        raise InputError("hits_at()", found="scores that are not finite", expected="finite scores")
    if allowed is not None:
        relevant = relevant & allowed
        scores = np.where(allowed, scores, -np.inf)
    if not relevant.any(1).all():
        row = int(np.flatnonzero(~relevant.any(1))[0])
        raise InputError(
            "hits_at()", found=f"query {row} without a relevant candidate", expected="at least one"
        )
    best = np.where(relevant, scores, -np.inf).max(1, keepdims=True)  # (Q, C) -> (Q, 1)
    above = (scores > best).sum(1)
    equal = scores == best
    ties, right = equal.sum(1), (equal & relevant).sum(1)
    return _share_with_one(ties, right, np.clip(k - above, 0, ties))


def _share_with_one(ties: np.ndarray, right: np.ndarray, slots: np.ndarray) -> np.ndarray:
    """Share of ways to fill ``slots`` from ``ties`` equals of which ``right`` are relevant that take one of these."""
    wrong = ties - right
    missing = np.where(
        slots > wrong, 0.0, np.exp(_log_choose(wrong, np.minimum(slots, wrong)) - _log_choose(ties, slots))
    )
    return np.clip(np.where(slots == 0, 0.0, np.where(slots >= ties, 1.0, 1.0 - missing)), 0.0, 1.0)


def _log_choose(n: np.ndarray, k: np.ndarray) -> np.ndarray:
    result: np.ndarray = gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1)
    return result


class PrecisionRanking:
    """Items in the order of their scores for one class; sorted once, measured for many weights.

    Args:
        scores: (N,) finite, higher is better.
        relevant: (N,) bool.

    Raises:
        InputError: scores are not finite.
    """

    def __init__(self, scores: np.ndarray, relevant: np.ndarray) -> None:
        if not np.isfinite(scores).all():
            raise InputError(
                "average precision", found="scores that are not finite", expected="finite scores"
            )
        self.order = np.argsort(-scores, kind="stable")
        ranked = scores[self.order]
        self.relevant = relevant[self.order]
        self.last = np.append(np.flatnonzero(np.diff(ranked)), len(ranked) - 1)  # of each run of equal scores

    def average_precision(self, weights: np.ndarray | None = None) -> float:
        """The step-wise area that scikit-learn's ``average_precision_score`` has; equal scores share a threshold.

        Args:
            weights: (N,) of the items; 1 by default.

        Returns:
            A share in [0, 1]; NaN if no item of a positive weight is relevant.
        """
        ranked = np.ones(len(self.order)) if weights is None else weights[self.order]
        true = np.cumsum(ranked * self.relevant)[self.last]
        retrievals = np.cumsum(ranked)[self.last]
        if true[-1] <= 0:
            return float("nan")
        precision = np.divide(true, retrievals, out=np.zeros_like(true), where=retrievals > 0)
        steps = np.diff(true, prepend=0.0) / true[-1]
        return float(steps @ precision)


def weighted_mean(values: np.ndarray, weights: np.ndarray) -> float:
    """The mean of ``values`` (N,); NaN where all weights are 0."""
    mass = float(weights.sum())
    return float(values @ weights) / mass if mass > 0 else float("nan")


def mean_by_class(values: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> float:
    """The mean over classes of the mean of their items; classes without weight are left out.

    Args:
        values: (N,).
        labels: (N,) whole numbers from 0.
        weights: (N,).
    """
    mass = np.bincount(labels, weights=weights)
    sums = np.bincount(labels, weights=weights * values)
    present = mass > 0
    return float((sums[present] / mass[present]).mean()) if present.any() else float("nan")


def _unit_rows(rows: np.ndarray) -> np.ndarray:
    array = np.asarray(rows, dtype=np.float64)
    if array.ndim != 2:
        raise InputError("cosines()", found=f"an array of shape {array.shape}", expected="rows (N, D)")
    lengths = np.linalg.norm(array, axis=1)
    good = np.abs(lengths - 1) < 1e-2  # False for NaN
    if not good.all():
        row = int(np.flatnonzero(~good)[0])
        raise InputError(
            "cosines()", found=f"row {row} of length {lengths[row]:g}", expected="finite rows of unit length"
        )
    return np.asarray(array / lengths[:, None])
