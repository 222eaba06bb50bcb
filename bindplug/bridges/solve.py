"""The two ways to solve for a linear map between centered rows: orthogonal Procrustes and ridge regression."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from bindplug.bridges.pairs import folds

FOLDS = 5
STRENGTHS = tuple(10.0 ** (step / 2) for step in range(-12, 5))
"""Ridge strengths that cross-validation tries, relative to the mean eigenvalue of the source's scatter."""
ROW_PRECISION = 1e-7
"""Rows come from float32 networks: a covariance smaller than this, relative to the largest, is rounding."""
GAIN_LIMIT = 4.0
"""A spread is restored at most this many times: where a map predicts next to nothing, noise is not blown up."""


@dataclass(frozen=True)
class Solution:
    """A map between centered rows.

    Attributes:
        weight: (D_source, D_target) float64.
        gain: the factor by which mapped rows must be stretched to spread as widely as the target's.
        strength: the ridge strength used, None for Procrustes.
    """

    weight: Tensor
    gain: float
    strength: float | None = None


def procrustes(source: Tensor, target: Tensor) -> Solution:
    """The rotation (a partial isometry where widths differ) that brings source nearest to target.

    Directions that the pairs do not span are mapped to zero instead of to an arbitrary direction.

    Args:
        source: (N, D_source) float64, centered.
        target: (N, D_target) float64, centered.
    """
    left, sizes, right = torch.linalg.svd(source.T @ target, full_matrices=False)
    largest = float(sizes[0]) if len(sizes) else 0.0
    is_spanned = sizes > largest * ROW_PRECISION
    weight = left[:, is_spanned] @ right[is_spanned]
    return Solution(weight, _gain(_energy(target), _energy(source @ weight)))


def ridge(
    source: Tensor, target: Tensor, ids: Tensor, strength: float | None = None, seed: int = 0
) -> Solution:
    """Ridge regression; its strength is cross-validated where none is given.

    Args:
        source: (N, D_source) float64, centered.
        target: (N, D_target) float64, centered.
        ids: (N,) groups that cross-validation keeps together.
        strength: relative to the mean eigenvalue of ``source.T @ source``, so that it carries over between
            spaces and corpora.
        seed: of the folds.
    """
    scatter, cross = source.T @ source, source.T @ target
    unit = float(scatter.diagonal().mean())
    candidates = STRENGTHS if strength is None else (strength,)
    errors = torch.zeros(len(candidates), dtype=torch.float64)
    energies = torch.zeros(len(candidates), dtype=torch.float64)
    parts = folds(ids, FOLDS, seed)
    for part in parts if len(parts) > 1 and unit > 0 else ():
        x, y = source[part], target[part]
        values, vectors = torch.linalg.eigh(scatter - x.T @ x)
        fold, rotated_cross = x @ vectors, vectors.T @ (cross - x.T @ y)
        # Squared lengths of predictions from their Gram matrix: no product of rows for each strength.
        lengths, matches = (
            (fold.T @ fold) * (rotated_cross @ rotated_cross.T),
            (rotated_cross * (fold.T @ y)).sum(1),
        )
        for i, tried_strength in enumerate(candidates):
            shrunk = _shrunk(values, tried_strength * unit)
            energy = shrunk @ lengths @ shrunk
            errors[i] += energy - 2.0 * shrunk @ matches + _energy(y)
            energies[i] += energy
    best = int(errors.argmin())
    values, vectors = torch.linalg.eigh(scatter)
    weight = vectors @ ((vectors.T @ cross) * _shrunk(values, candidates[best] * unit)[:, None])
    return Solution(weight, _gain(_energy(target), float(energies[best])), candidates[best])


def _shrunk(values: Tensor, strength: float) -> Tensor:
    """1 / (eigenvalue + strength), 0 where both vanish (the minimum-norm solution)."""
    denominators = values.clamp(min=0.0) + strength
    smallest = denominators.max() * len(values) * torch.finfo(values.dtype).eps
    return torch.where(denominators > smallest, 1.0 / denominators, torch.zeros_like(denominators))


def _energy(rows: Tensor) -> float:
    return float(rows.square().sum())


def _gain(wanted: float, found: float) -> float:
    if wanted <= 0.0 or found <= 0.0:
        return 1.0
    return min(GAIN_LIMIT, max(1.0 / GAIN_LIMIT, math.sqrt(wanted / found)))
