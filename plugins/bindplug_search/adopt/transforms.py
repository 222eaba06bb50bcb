"""What was done to an encoder's rows before they were stored, and its inverse for searching.

A transform brings rows of a file and rows of an encoder to where both can be compared: ``of_rows`` changes the file's,
``of_encoder`` the encoder's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from bindplug_search.adopt.survey import unit_rows

KINDS = ("none", "truncated", "padded", "selected", "stretched", "rotated")


@dataclass(frozen=True)
class Transform:
    """A fixed change of rows.

    Args:
        kind: ``"none"``; ``"truncated"``, the first dimensions alone; ``"padded"`` with zeros; ``"selected"``,
            dimensions in another order, or some of them, perhaps with changed signs; ``"stretched"``, each dimension
            with a gain and an offset of its own; ``"rotated"`` by an orthogonal matrix.
        width: D of the encoder's rows.
        tensors: ``columns`` (K,) int64, which of the encoder's dimensions each of the file's is, -1 for none, and
            ``signs`` (K,); ``gain`` (D,) and ``offset`` (D,); or ``matrix`` (D, K).
    """

    kind: str
    width: int
    tensors: Mapping[str, np.ndarray] = field(default_factory=dict)

    def of_rows(self, rows: np.ndarray) -> np.ndarray:
        """Decoded rows of the file (n, W) -> (n, K)."""
        if self.kind == "padded":
            return rows[:, : self.width]
        if self.kind == "stretched":
            return (rows - self.tensors["offset"]) / self.tensors["gain"]
        return rows

    def of_encoder(self, rows: np.ndarray) -> np.ndarray:
        """Unit rows of the encoder (n, D) -> (n, K)."""
        rows = np.asarray(rows, dtype=np.float32)
        if self.kind == "truncated":
            return rows[:, : int(self.tensors["columns"].shape[0])]
        if self.kind == "selected":
            columns = self.tensors["columns"]
            return np.where(columns >= 0, rows[:, columns] * self.tensors["signs"], 0.0).astype(np.float32)
        if self.kind == "rotated":
            turned: np.ndarray = rows @ self.tensors["matrix"]
            return turned
        return rows

    def query(self, vector: np.ndarray) -> np.ndarray:
        """A unit vector (D,) of the encoder's space as unit rows of the file are compared with it: (K,).

        A rotation may be known on the span of the file's rows alone. What a query has outside of it is orthogonal to
        every row, and so counts in its length.
        """
        turned = self.of_encoder(vector[None])
        return turned[0] if self.kind == "rotated" else unit_rows(turned)[0]

    def to_encoder(self, mean: np.ndarray) -> np.ndarray | None:
        """A mean of compared rows (K,) in the encoder's space (D,); None where dimensions are lost."""
        if self.kind == "rotated":
            back: np.ndarray = self.tensors["matrix"] @ mean
            return back
        if self.kind == "selected":
            columns, signs = self.tensors["columns"], self.tensors["signs"]
            if len(np.unique(columns)) < self.width:
                return None
            put_back = np.zeros(self.width, dtype=np.float32)
            put_back[columns] = mean * signs
            return put_back
        return mean if self.kind in ("none", "padded", "stretched") else None

    def to_dict(self) -> dict[str, Any]:
        """For JSON, without the tensors."""
        return {"kind": self.kind, "width": self.width}


def simple_transforms(file_width: int, encoder_width: int, constant: np.ndarray) -> list[Transform]:
    """Transforms that nothing has to be fitted for.

    Args:
        file_width: of decoded rows.
        encoder_width: of the encoder's.
        constant: (file_width,) bool, dimensions that are zero in all rows.
    """
    if file_width == encoder_width:
        return [Transform("none", encoder_width)]
    if file_width < encoder_width:
        return [Transform("truncated", encoder_width, {"columns": np.arange(file_width)})]
    if bool(constant[encoder_width:].all()):
        return [Transform("padded", encoder_width)]
    return []


def fitted_selection(rows: np.ndarray, own: np.ndarray) -> Transform | None:
    """The encoder's dimensions that the file's are, from n items; None where correlations do not single them out.

    Args:
        rows: (n, W) decoded rows of the file.
        own: (n, D) rows of the encoder.
    """
    rows, own = unit_rows(rows), unit_rows(own)
    if rows.shape[1] > own.shape[1]:
        return None
    correlation = standardized(rows).T @ standardized(own) / len(rows)  # (W, n) @ (n, D) -> (W, D)
    columns = np.abs(correlation).argmax(axis=1)
    best = np.take_along_axis(correlation, columns[:, None], axis=1)[:, 0]
    if len(np.unique(columns)) < 0.9 * len(columns) or np.median(np.abs(best)) < least_correlation(
        len(rows), own.shape[1]
    ):
        return None
    signs = np.sign(best).astype(np.float32)
    return Transform("selected", own.shape[1], {"columns": columns.astype(np.int64), "signs": signs})


def fitted_stretch(rows: np.ndarray, own: np.ndarray) -> Transform | None:
    """A gain and an offset for each dimension, by least squares on n items; None where dimensions do not correlate.

    Args:
        rows: (n, D) decoded rows of the file, at the length they have.
        own: (n, D) unit rows of the encoder.
    """
    rows, own = np.asarray(rows, dtype=np.float64), np.asarray(own, dtype=np.float64)
    correlation = (standardized(rows) * standardized(own)).mean(axis=0)
    if np.median(correlation) < least_correlation(len(rows), 1):
        return None
    centered = own - own.mean(axis=0)
    gain = (centered * (rows - rows.mean(axis=0))).sum(axis=0) / np.maximum((centered**2).sum(axis=0), 1e-30)
    smallest = np.abs(gain).max() * 1e-6
    gain = np.where(np.abs(gain) > smallest, gain, smallest)
    offset = rows.mean(axis=0) - gain * own.mean(axis=0)
    return Transform(
        "stretched", own.shape[1], {"gain": gain.astype(np.float32), "offset": offset.astype(np.float32)}
    )


def fitted_rotation(rows: np.ndarray, own: np.ndarray) -> Transform:
    """The orthogonal matrix that brings an encoder's rows nearest to the file's (Procrustes), on their span.

    Args:
        rows: (n, W) decoded rows of the file.
        own: (n, D) rows of the encoder.
    """
    left, sizes, right = np.linalg.svd(
        unit_rows(own).T.astype(np.float64) @ unit_rows(rows), full_matrices=False
    )
    spanned = sizes > sizes[0] * 1e-6
    matrix = (left[:, spanned] @ right[spanned]).astype(np.float32)
    return Transform("rotated", own.shape[1], {"matrix": np.ascontiguousarray(matrix)})


def standardized(rows: np.ndarray) -> np.ndarray:
    """Columns (n, D) at mean 0 and standard deviation 1; constant ones at 0."""
    centered = rows - rows.mean(axis=0)
    spread = centered.std(axis=0)
    return np.asarray(centered / np.where(spread > 1e-12, spread, 1.0))


def least_correlation(items: int, alternatives: int) -> float:
    """A correlation of n items that none of so many independent alternatives reaches, but with probability 1e-6.

    By Fisher's transformation: atanh of a sample correlation is normal with standard deviation 1 / sqrt(n - 3).
    """
    deviations = np.sqrt(2.0 * np.log(max(alternatives, 1) / 1e-6))
    return float(np.tanh(deviations / np.sqrt(max(items - 3, 1))))
