"""Where the rows of each kind lie on average: sums over the table, kept beside it for its newest commit."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from bindplug.files import staged_file

FILE = "means.npz"

Sums = dict[str, tuple[int, np.ndarray]]
"""For each kind, how many rows and their sum (D,) float64."""


Batches = Iterable[tuple[np.ndarray, np.ndarray]]
"""Rows of a table: kinds (N,) and vectors (N, D) of each batch."""


def read_means(directory: Path, version: int, batches: Callable[[], Batches]) -> Sums:
    """The sums of a commit, read from beside the table or made in one pass over it.

    Args:
        directory: of the index.
        version: number of the commit.
        batches: gives its rows.
    """
    sums = _stored(directory / FILE, version)
    if sums is None:
        sums = _summed(batches())
        _keep(directory / FILE, version, sums)
    return sums


def _summed(batches: Batches) -> Sums:
    sums: Sums = {}
    for kinds, vectors in batches:
        for kind in np.unique(kinds):
            rows = vectors[kinds == kind]
            count, total = sums.get(str(kind), (0, np.zeros(vectors.shape[1])))
            sums[str(kind)] = (count + len(rows), total + rows.sum(0, dtype=np.float64))
    return dict(sorted(sums.items()))


def _stored(path: Path, version: int) -> Sums | None:
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            if int(stored["version"]) != version:
                return None
            kinds, counts, totals = stored["kinds"].tolist(), stored["counts"].tolist(), stored["totals"]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None  # not there, or damaged: it is made again
    return {kind: (count, total) for kind, count, total in zip(kinds, counts, totals, strict=True)}


def _keep(path: Path, version: int, sums: Sums) -> None:
    totals = np.stack([total for _, total in sums.values()]) if sums else np.empty((0, 0))
    try:
        with staged_file(path) as temporary, temporary.open("wb") as file:
            np.savez(
                file,
                version=version,
                kinds=np.array(list(sums), dtype=str),
                counts=np.array([count for count, _ in sums.values()], dtype=np.int64),
                totals=totals,
            )
    except OSError:  # an index that is only read is searched all the same
        pass
