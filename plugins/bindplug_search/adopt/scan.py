"""Looking for an encoder's rows at any position of a file, where rows and paths are out of step."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bindplug_search.adopt.row_file import RowFile
from bindplug_search.adopt.statistics import binomial_tail
from bindplug_search.adopt.survey import Survey, unit_rows
from bindplug_search.adopt.trials import Trial


@dataclass(frozen=True)
class RowsElsewhere:
    """Items whose rows are in the file, though not where their paths are.

    Attributes:
        items: how many were looked for.
        count: how many were found at another position.
        shift: how many rows later most of them are (negative for earlier); 0 where they share no distance.
        probability: that as many are found by chance.
    """

    items: int
    count: int
    shift: int
    probability: float


def find_elsewhere(
    file: RowFile, survey: Survey, trial: Trial, own: np.ndarray, positions: np.ndarray, *, seed: int = 0
) -> RowsElsewhere:
    """Compare an encoder's rows of n items with all rows of a file.

    How often a row reaches the accepted cosine by chance is measured with the same rows in a permuted order of
    dimensions, which have the same lengths and values and mean nothing.

    Args:
        file: of rows.
        survey: of all its rows.
        trial: tells number format, transform and accepted cosine.
        own: (n, D) rows of the encoder.
        positions: (n,) of the items' own rows.
        seed: of the permutation.
    """
    meaningless = own[:, np.random.default_rng(seed).permutation(own.shape[1])]
    probes = unit_rows(
        np.concatenate([trial.transform.of_encoder(rows) for rows in (own, meaningless)])
    )  # (2n, K)
    best = np.full(len(probes), -np.inf, dtype=np.float32)
    place = np.full(len(probes), -1, dtype=np.int64)
    for chunk in file.chunks():
        usable = survey.usable[chunk.start : chunk.start + len(chunk.rows)]
        rows = unit_rows(trial.transform.of_rows(trial.number_format.decode(chunk.rows)))
        cosines = np.where(usable, probes @ rows.T, -np.inf)  # (2n, K) @ (K, c) -> (2n, c)
        nearest = cosines.argmax(axis=1)
        value = cosines[np.arange(len(probes)), nearest]
        better = value > best
        best[better], place[better] = value[better], nearest[better] + chunk.start
    count = len(own)
    accepted = trial.agreement.accepted
    moved = (best[:count] >= accepted) & (place[:count] != positions)
    by_chance = (1 + int((best[count:] >= accepted).sum())) / (1 + count)
    shifts, times = np.unique(place[:count][moved] - positions[moved], return_counts=True)
    common = (
        int(shifts[times.argmax()])
        if len(times) and times.max() > 0.5 * moved.sum() and times.max() > 1
        else 0
    )
    moved_count = int(moved.sum())
    return RowsElsewhere(count, moved_count, common, binomial_tail(count, moved_count, by_chance))
