"""One pass over all rows of a file: which can be used, how long they are, and what their numbers look like."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bindplug.errors import InputError
from bindplug_search.adopt.row_file import RowFile

UNIT_TOLERANCE = 0.01
"""Lengths this near to 1 count as unit: float16 rows are off by about 0.001."""

EQUAL_SPREAD = 0.02
"""Lengths count as equal if the middle 90 % of them lie within this share of the median."""

MOST_DISTINCT = 2


@dataclass(frozen=True)
class Survey:
    """What all rows have in common.

    Attributes:
        usable: (N,) bool: rows that are there, finite and not zero.
        missing, not_finite, zero: how many rows are not usable, and why.
        length: median length of usable rows, as stored.
        length_spread: from the 5 % to the 95 % quantile of the lengths, as a share of the median.
        length_around_middle: median length after 127.5 is subtracted; for uint8.
        constant_columns: (width,) bool: zero in every row.
        distinct_values: the values that occur, if they are two at most.
        whole_numbers: all values are whole.
        half_precision: all values are representable in float16.
        identical: how many rows equal an earlier one.
    """

    usable: np.ndarray
    missing: int
    not_finite: int
    zero: int
    length: float
    length_spread: float
    length_around_middle: float
    constant_columns: np.ndarray
    distinct_values: tuple[float, ...]
    whole_numbers: bool
    half_precision: bool
    identical: int

    @property
    def lengths(self) -> str:
        """``"unit"``, ``"scaled"`` (equal, but not 1) or ``"unnormalized"``."""
        if self.length_spread > EQUAL_SPREAD:
            return "unnormalized"
        return "unit" if abs(self.length - 1.0) <= UNIT_TOLERANCE else "scaled"


def survey_rows(file: RowFile) -> Survey:
    """Read every row once, in pieces.

    Raises:
        InputError: no row can be used, or the file is damaged.
    """
    usable = np.zeros(file.count, dtype=bool)
    lengths = np.zeros(file.count, dtype=np.float32)
    around = np.zeros(file.count, dtype=np.float32)
    missing = not_finite = 0
    constant = np.ones(file.width, dtype=bool)
    distinct: set[float] | None = set()
    whole = half = True
    digests = np.zeros(file.count, dtype=np.uint64)
    for chunk in file.chunks():
        stop = chunk.start + len(chunk.rows)
        values = chunk.rows.astype(np.float64 if file.dtype.itemsize == 8 else np.float32)
        finite = np.isfinite(values).all(axis=1)
        missing += int((~chunk.present).sum())
        not_finite += int((chunk.present & ~finite).sum())
        good = chunk.present & finite
        with np.errstate(over="ignore"):
            lengths[chunk.start : stop][good] = np.linalg.norm(values[good], axis=1)
        usable[chunk.start : stop] = (
            good & (lengths[chunk.start : stop] > 0) & np.isfinite(lengths[chunk.start : stop])
        )
        usable_rows = values[usable[chunk.start : stop]]
        if file.dtype == np.uint8:
            around[chunk.start : stop] = np.linalg.norm(values - 127.5, axis=1)
        constant &= (usable_rows == 0).all(axis=0)
        if distinct is not None:
            distinct |= set(np.unique(usable_rows[:64]).tolist())
            distinct = distinct if len(distinct) <= MOST_DISTINCT else None
        if distinct is not None:
            distinct |= set(np.unique(usable_rows).tolist())
            distinct = distinct if len(distinct) <= MOST_DISTINCT else None
        whole = whole and bool((usable_rows == np.rint(usable_rows)).all())
        if half and file.dtype.kind == "f":
            with np.errstate(over="ignore"):
                half = bool((usable_rows == usable_rows.astype(np.float16)).all())
        digests[chunk.start : stop] = digests_of(chunk.rows)
    if not usable.any():
        reasons = f"{missing} nulls, {not_finite} with NaN or infinity, {file.count - missing - not_finite} of zeros"
        raise InputError(
            str(file.path), found=f"no row that has a direction ({reasons})", expected="embeddings"
        )
    measured = lengths[usable]
    low, middle, high = np.quantile(measured, [0.05, 0.5, 0.95])
    return Survey(
        usable=usable,
        missing=missing,
        not_finite=not_finite,
        zero=file.count - missing - not_finite - int(usable.sum()),
        length=float(middle),
        length_spread=float((high - low) / middle),
        length_around_middle=float(np.median(around[usable])),
        constant_columns=constant,
        distinct_values=tuple(sorted(distinct)) if distinct else (),
        whole_numbers=whole,
        half_precision=half and file.dtype.kind == "f",
        identical=int(usable.sum()) - len(np.unique(digests[usable])),
    )


def digests_of(rows: np.ndarray) -> np.ndarray:
    """(n,) uint64 that equal rows (n, width) share, and hardly ever others: a sum of their words times odd numbers."""
    content = np.ascontiguousarray(rows).view(np.uint8).reshape(len(rows), -1)
    padded = np.pad(content, ((0, 0), (0, -content.shape[1] % 8)))
    words = padded.view(np.uint64)  # (n, bytes) -> (n, words)
    factors = np.random.default_rng(0).integers(1, 2**63, words.shape[1], dtype=np.uint64) * np.uint64(
        2
    ) + np.uint64(1)
    mixed = words ^ (words >> np.uint64(29))
    return (mixed * factors).sum(axis=1, dtype=np.uint64)


def unit_rows(rows: np.ndarray) -> np.ndarray:
    """Rows (n, D) at length 1, float32; a row of zeros stays."""
    rows = np.asarray(rows, dtype=np.float32)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(lengths > 0, lengths, 1.0)
