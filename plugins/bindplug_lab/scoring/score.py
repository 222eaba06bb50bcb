"""The ImageBind score of pairs: the mean cosine, beside that of mismatched pairs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from bindplug.errors import InputError
from bindplug_lab.evaluation.embedding import Embedder
from bindplug_lab.evaluation.metrics import cosines, hits_at
from bindplug_lab.scoring.pairs import Pairs
from bindplug_lab.statistics import LEVEL, Interval, mean_interval

__all__ = ["PairScores", "score_pairs"]

BLOCK = 1024
"""Rows whose cosines with all others are held at once."""


@dataclass(frozen=True)
class PairScores:
    """Scores of pairs.

    Attributes:
        names: of the pairs that could be embedded.
        values: (N,) cosine of each pair, in [-1, 1].
        mean: of them, with Student's interval.
        mismatched: the mean cosine of all pairs of different names, which is the level of chance; None of one pair.
        first_place: the share of items whose own partner scores highest among all, beside ``1 / N`` by chance.
        skipped: ``{"item", "source", "reason"}`` of pairs with a file that cannot be read.
        notes: ``{"item", "source", "note"}`` of what readers remarked.
    """

    names: tuple[str, ...]
    values: np.ndarray
    mean: Interval
    mismatched: float | None
    first_place: float | None
    skipped: list[dict[str, Any]] = field(default_factory=list)
    notes: list[dict[str, Any]] = field(default_factory=list)


def score_pairs(
    pairs: Pairs, embedder: Embedder, *, level: float = LEVEL, strict: bool = False
) -> PairScores:
    """Score pairs.

    Args:
        pairs: of two sides.
        embedder: of the model.
        level: of the interval over pairs.
        strict: raise at the first file that cannot be embedded.

    Raises:
        InputError: no pair could be embedded, or a file cannot be read, with ``strict``.
    """
    first = embedder.embed(pairs.first, label="first side", strict=strict)
    second = embedder.embed(pairs.second, label="second side", strict=strict)
    places, of_first, of_second = np.intersect1d(first.kept, second.kept, return_indices=True)
    skipped, notes = (
        [
            {"item": pairs.names[entry["index"]], **{k: v for k, v in entry.items() if k != "index"}}
            for rows in (first, second)
            for entry in getattr(rows, kind)
        ]
        for kind in ("skipped", "notes")
    )
    if not len(places):
        raise InputError("pairs", found="none whose two files can be read", expected="at least one")
    a, b = first.rows[of_first].astype(np.float64), second.rows[of_second].astype(np.float64)
    values = (a * b).sum(1)
    mean = mean_interval(values, level, low=-1.0, high=1.0)
    names = tuple(pairs.names[place] for place in places.tolist())
    if len(names) < 2:
        return PairScores(names, values, mean, None, None, skipped, notes)
    mismatched = (float(a.sum(0) @ b.sum(0)) - float(values.sum())) / (len(names) * (len(names) - 1))
    hits = []
    for start in range(0, len(names), BLOCK):
        scores = cosines(a[start : start + BLOCK], b)
        own = np.arange(start, start + len(scores))[:, None] == np.arange(len(names))
        hits.append(hits_at(scores, own, 1))
    return PairScores(names, values, mean, mismatched, float(np.concatenate(hits).mean()), skipped, notes)
