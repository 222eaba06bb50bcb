"""Figures of a protocol from rows, each a function of the items' weights, so that resamples tell how it varies.

A measure holds what happened to each item (was it right, where did its match rank) and turns weights of the items into
figures by name. Weights of 1 give the figures of the data set; those of a resample give a bootstrap draw.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from bindplug_lab.evaluation.metrics import (
    PrecisionRanking,
    class_scores,
    cosines,
    hits_at,
    mean_by_class,
    weighted_mean,
)
from bindplug_lab.statistics import (
    DRAWS,
    LEVEL,
    Interval,
    figure_interval,
    resampled_weights,
    share_interval,
)

__all__ = [
    "Accuracy",
    "FewShotAccuracy",
    "Figure",
    "MeanPrecision",
    "Measure",
    "Recall",
    "figures_of",
    "is_share",
]

BLOCK = 1024
"""Queries whose cosines with all candidates are held at once."""

COSTLY = 2_000_000
"""Items times classes from which on a mean average precision is resampled less often."""

FEWER_DRAWS = 200

MEAN_PRECISION = "mAP"


class Measure(Protocol):
    """What happened to each item under a protocol."""

    @property
    def count(self) -> int:
        """How many items there are."""

    @property
    def clusters(self) -> Sequence[Hashable] | None:
        """For each item what it is resampled with; None for items that stand alone."""

    @property
    def draws(self) -> int:
        """Resamples that are affordable."""

    @property
    def means(self) -> frozenset[str]:
        """Names of the figures that are the plain mean over items."""

    @property
    def chance(self) -> dict[str, float]:
        """Figures by name of a model that scores all candidates alike."""

    def figures(self, weights: np.ndarray, draw: int | None = None) -> dict[str, float]:
        """Figures by name, for weights (count,) of the items; ``draw`` numbers the resample, None for the data set."""


@dataclass(frozen=True)
class Figure:
    """A figure of the data set, and in each resample."""

    value: float
    draws: np.ndarray
    items: int
    """Items that it rests on."""
    count: int
    """Clusters of items that were resampled."""
    is_mean: bool = False
    """Whether it is the plain mean over items."""
    is_share: bool = True
    """Whether it is a share of items, each right, wrong, or right in part."""

    def interval(self, level: float = LEVEL) -> Interval:
        """The figure with its interval."""
        if not self.is_share:
            return figure_interval(self.value, self.draws, self.count, level)
        draws = None if self.is_mean and self.count == self.items else self.draws
        return share_interval(self.value, self.items, draws, self.count, level)


def figures_of(measure: Measure, *, draws: int = DRAWS, seed: int = 0) -> dict[str, Figure]:
    """All figures of a measure with their bootstrap draws.

    Args:
        measure: what happened to each item.
        draws: resamples at most.
        seed: of the resamples; measures of the same number of items and clusters meet the same ones.
    """
    values = measure.figures(np.ones(measure.count))
    clusters = measure.clusters
    groups = measure.count if clusters is None else len(set(clusters))
    weights = resampled_weights(measure.count, clusters=clusters, draws=min(draws, measure.draws), seed=seed)
    resamples = [measure.figures(w, draw) for draw, w in enumerate(weights)]
    return {
        name: Figure(
            value,
            np.array([figures[name] for figures in resamples]),
            measure.count,
            groups,
            is_mean=name in measure.means,
            is_share=is_share(name),
        )
        for name, value in values.items()
    }


def is_share(name: str) -> bool:
    """Whether the figure of a name is a share of items; a mean average precision is none."""
    return name != MEAN_PRECISION


class Accuracy:
    """Zero-shot accuracy: is one of an item's classes the best, or among the five best?

    Args:
        rows: (N, D) unit rows of the items.
        name_rows: (M, D) unit rows of the classes' names.
        groups: (M,) class of each name; a class scores as its best name does.
        relevant: (N, C) bool, the classes of each item.
        folds: for each item its fold; a figure is the mean over folds. None for one fold.
        clusters: for each item what it is resampled with.

    Figures: ``accuracy``; ``accuracy@5`` of more than five classes; ``mean_class_accuracy`` where every item has one
    class.
    """

    def __init__(
        self,
        rows: np.ndarray,
        name_rows: np.ndarray,
        groups: np.ndarray,
        relevant: np.ndarray,
        *,
        folds: np.ndarray | None = None,
        clusters: Sequence[Hashable] | None = None,
    ) -> None:
        classes = relevant.shape[1]
        ks = {"accuracy": 1} | ({"accuracy@5": 5} if classes > 5 else {})
        hits: dict[str, list[np.ndarray]] = {name: [] for name in ks}
        for start in range(0, len(rows), BLOCK):
            block = slice(start, start + BLOCK)
            scores = class_scores(cosines(rows[block], name_rows), groups, classes)
            for name, k in ks.items():
                hits[name].append(hits_at(scores, relevant[block], k))
        self.hits = {name: np.concatenate(parts) for name, parts in hits.items()}
        self.labels = relevant.argmax(1) if (relevant.sum(1) == 1).all() else None
        self.chance = {
            name: float(hits_at(np.zeros(relevant.shape), relevant, k).mean()) for name, k in ks.items()
        }
        if self.labels is not None:
            self.chance["mean_class_accuracy"] = 1 / classes
        self.folds, self.clusters, self.count, self.draws = folds, clusters, len(rows), DRAWS
        self.means = frozenset(hits if folds is None else ())

    def figures(self, weights: np.ndarray, draw: int | None = None) -> dict[str, float]:
        """Shares in [0, 1]."""
        result = {name: self._over_folds(values, weights) for name, values in self.hits.items()}
        if self.labels is not None:
            result["mean_class_accuracy"] = mean_by_class(self.hits["accuracy"], self.labels, weights)
        return result

    def _over_folds(self, values: np.ndarray, weights: np.ndarray) -> float:
        if self.folds is None:
            return weighted_mean(values, weights)
        means = [
            weighted_mean(values[self.folds == fold], weights[self.folds == fold])
            for fold in np.unique(self.folds)
        ]
        return float(np.nanmean(means))  # a resample may hold nothing of a small fold


class MeanPrecision:
    """Mean average precision over classes, for items of several classes.

    Arguments are those of :class:`Accuracy`.

    Figures: ``mAP``, the mean over the classes that some item has.
    """

    def __init__(
        self,
        rows: np.ndarray,
        name_rows: np.ndarray,
        groups: np.ndarray,
        relevant: np.ndarray,
        *,
        clusters: Sequence[Hashable] | None = None,
    ) -> None:
        classes = relevant.shape[1]
        blocks = [
            class_scores(cosines(rows[start : start + BLOCK], name_rows), groups, classes)
            for start in range(0, len(rows), BLOCK)
        ]
        scores = np.concatenate(blocks)
        self.rankings = [
            PrecisionRanking(scores[:, c], relevant[:, c]) for c in range(classes) if relevant[:, c].any()
        ]
        self.chance = {MEAN_PRECISION: float(np.mean([ranking.relevant.mean() for ranking in self.rankings]))}
        self.clusters, self.count, self.means = clusters, len(rows), frozenset[str]()
        self.draws = DRAWS if scores.size < COSTLY else FEWER_DRAWS

    def figures(self, weights: np.ndarray, draw: int | None = None) -> dict[str, float]:
        """A share in [0, 1]."""
        values = [ranking.average_precision(weights) for ranking in self.rankings]
        return {MEAN_PRECISION: float(np.nanmean(values))}


class Recall:
    """Retrieval in one direction: is one of a query's matches among the first k candidates?

    Args:
        rows: (Q, D) unit rows of the queries.
        candidates: (C, D) unit rows.
        matches: for each query the places of its matches.
        own: for each query the candidates that it is made of, which do not compete.
        prefix: of the figures' names, as ``"text_to_audio "``.
        ks: places.
        clusters: for each query what it is resampled with.

    Figures: ``{prefix}recall@1`` and so on.
    """

    def __init__(
        self,
        rows: np.ndarray,
        candidates: np.ndarray,
        matches: Sequence[frozenset[int]],
        *,
        own: Sequence[frozenset[int]] = (),
        prefix: str = "",
        ks: Sequence[int] = (1, 5, 10),
        clusters: Sequence[Hashable] | None = None,
    ) -> None:
        hits: dict[str, list[np.ndarray]] = {f"{prefix}recall@{k}": [] for k in ks}
        equal: dict[str, list[np.ndarray]] = {name: [] for name in hits}
        for start in range(0, len(rows), BLOCK):
            stop = min(start + BLOCK, len(rows))
            scores = cosines(rows[start:stop], candidates)
            relevant = _mask(matches[start:stop], len(candidates))
            allowed = ~_mask(own[start:stop], len(candidates)) if any(own) else None
            for k in ks:
                hits[f"{prefix}recall@{k}"].append(hits_at(scores, relevant, k, allowed))
                equal[f"{prefix}recall@{k}"].append(hits_at(np.zeros_like(scores), relevant, k, allowed))
        self.hits = {name: np.concatenate(parts) for name, parts in hits.items()}
        self.chance = {name: float(np.concatenate(parts).mean()) for name, parts in equal.items()}
        self.clusters, self.count, self.draws = clusters, len(rows), DRAWS
        self.means = frozenset(hits)

    def figures(self, weights: np.ndarray, draw: int | None = None) -> dict[str, float]:
        """Shares in [0, 1]."""
        return {name: weighted_mean(values, weights) for name, values in self.hits.items()}


class FewShotAccuracy:
    """Accuracies after learning from drawn supports; both the supports and the items are resampled.

    Args:
        correct: by figure's name (S, N), whether each of N test items was right after each of S draws of a support.
        chance: accuracy of guessing.
        clusters: for each item what it is resampled with.
        seed: of the resamples of supports.

    Figures: those of ``correct``, averaged over supports.
    """

    def __init__(
        self,
        correct: dict[str, np.ndarray],
        *,
        chance: float,
        clusters: Sequence[Hashable] | None = None,
        seed: int = 0,
    ) -> None:
        self.correct, self.clusters, self.seed, self.draws = correct, clusters, seed, DRAWS
        self.means = frozenset[str]()  # supports vary too
        self.chance = dict.fromkeys(correct, chance)
        self.count = next(iter(correct.values())).shape[1]

    def figures(self, weights: np.ndarray, draw: int | None = None) -> dict[str, float]:
        """Shares in [0, 1]."""
        result = {}
        for name, values in self.correct.items():
            right = values.mean(0)  # (S, N) -> (N,)
            if draw is not None and len(values) > 1:
                supports = np.random.default_rng([self.seed, draw]).integers(0, len(values), len(values))
                # means of S resampled supports vary less than those of S new ones, by a factor of (S - 1) / S
                stretch = (len(values) / (len(values) - 1)) ** 0.5
                right = right + stretch * (values[supports].mean(0) - right)
            result[name] = weighted_mean(right, weights)
        return result


def _mask(places: Sequence[frozenset[int]], width: int) -> np.ndarray:
    mask = np.zeros((len(places), width), dtype=bool)
    for row, columns in zip(mask, places, strict=True):
        row[list(columns)] = True
    return mask
