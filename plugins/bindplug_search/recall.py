"""The approximate search of a large index, and its recall: how often it agrees with the exact one."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from bindplug_search.manifest import Approximation
from bindplug_search.store import EXACT_LIMIT, LanceIndex

SAMPLE = 64
"""Searches that are compared."""

NEIGHBORS = 10
"""Rows of a search."""

TARGET_RECALL = 0.95
"""Partitions that a search looks into are raised until its recall reaches this."""

PROBES = (16, 32, 64, 128, 256)
"""Partitions that are tried."""

REFINE = 10
"""Candidates for each row that is given, whose full vectors are compared."""

GROWTH = 2.0
"""A search is built anew when the index has grown by this factor since."""

ROUNDING = 1e-5
"""Scores this close are equal: a search may give any of two copies of a file."""


@dataclass
class _Sample:
    """Rows that are searched for, and the least score among the exact search's rows of each."""

    vectors: np.ndarray  # (S, D)
    kinds: list[tuple[str, ...]]  # that each is searched among
    least: np.ndarray  # (S,)
    counts: np.ndarray  # (S,)


def refresh_approximation(
    index: LanceIndex, *, limit: int = EXACT_LIMIT, force: bool = False
) -> Approximation | None:
    """Bring the approximate search of an index up to date, and measure it.

    Rows of one kind are searched for among those of the other kinds, as people do, and among all where there is one.

    Args:
        index: to search.
        limit: rows up to which every search is exact.
        force: build it anew in any case.

    Returns:
        What was measured; None where every search is exact.
    """
    rows, earlier = index.row_count, index.manifest.approximation
    if rows <= limit:
        if earlier is not None:
            index.update_manifest(approximation=None)
        return None
    unindexed = index.unindexed_rows
    with index.writing():
        if force or unindexed is None or earlier is None or rows > GROWTH * earlier.rows:
            index.create_approximation(partitions=max(1, round(math.sqrt(rows))))
        elif unindexed or rows != earlier.rows:
            index.optimize()
        else:
            return earlier
        approximation = measure(index)
        index.update_manifest(approximation=approximation)
    return approximation


def measure(index: LanceIndex, *, seed: int = 0) -> Approximation:
    """The recall of an index's approximate search, with the fewest partitions that reach the target."""
    sample = _exact(index, seed)
    rows = index.row_count
    best: Approximation | None = None
    for nprobes in PROBES:
        candidate = Approximation(rows, nprobes, REFINE, 0.0, NEIGHBORS, len(sample.vectors))
        recall = _recall(index, sample, candidate)
        if best is None or recall > best.recall:
            best = Approximation(rows, nprobes, REFINE, round(recall, 4), NEIGHBORS, len(sample.vectors))
        if recall >= TARGET_RECALL:
            break
    assert best is not None
    return best


def _recall(index: LanceIndex, sample: _Sample, approximation: Approximation) -> float:
    hits = 0
    for vector, kinds, least, count in zip(
        sample.vectors, sample.kinds, sample.least, sample.counts, strict=True
    ):
        scores = index.approximate_scores(vector, NEIGHBORS, kinds, approximation)
        hits += min(int(count), sum(score >= least - ROUNDING for score in scores))
    return float(hits / max(1, int(sample.counts.sum())))


def _exact(index: LanceIndex, seed: int) -> _Sample:
    """Sampled rows and the scores of their nearest, in two passes over the table."""
    rng = np.random.default_rng(seed)
    rows = index.row_count
    places = np.sort(rng.choice(rows, min(SAMPLE, rows), replace=False))
    vectors, own, start = [], [], 0
    for kinds, batch in index.vectors_by_kind():
        inside = places[(places >= start) & (places < start + len(batch))] - start
        vectors.append(batch[inside].copy())
        own += kinds[inside].tolist()
        start += len(batch)
    queries = np.concatenate(vectors)  # (S, D)
    every = sorted(index.info().kinds)
    among = [tuple(kind for kind in every if kind != mine) or (mine,) for mine in own]
    best = np.full((len(queries), NEIGHBORS), -np.inf, dtype=np.float32)  # (S, k)
    for kinds, batch in index.vectors_by_kind():
        scores = queries @ batch.T  # (S, D) @ (D, N) -> (S, N)
        for place, allowed in enumerate(among):
            scores[place, ~np.isin(kinds, allowed)] = -np.inf
        joined = np.concatenate([best, scores], axis=1)
        best = np.partition(joined, -NEIGHBORS, axis=1)[:, -NEIGHBORS:]
    finite = np.isfinite(best)
    least = np.where(finite, best, np.inf).min(1)
    return _Sample(queries, among, least, finite.sum(1))
