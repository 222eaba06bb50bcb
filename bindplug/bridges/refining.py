"""Refining a linear bridge with paired items of a modality, shrunk toward what text alone gave.

For a modality the bridge maps ``(x - mean) @ (weight + adjustment) + target_mean``. The adjustment is a ridge
regression of what the text's weight leaves unexplained of the pairs. Its strength is cross-validated, and an infinite
one, the text's own solution, is among the candidates.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from bindplug.bridges.pairs import first_copies, folds, joined_groups, near_copies
from bindplug.bridges.pairs_report import PairsReport, measure_gain
from bindplug.bridges.solve import GAIN_LIMIT
from bindplug.errors import InputError

FOLDS, INNER_FOLDS = 5, 4
STRENGTHS = tuple(10.0 ** (step / 2) for step in range(-4, 7))
"""Ridge strengths that cross-validation tries, relative to the mean eigenvalue of the pairs' scatter."""
FEWEST_PAIRS = 50
"""With fewer, cross-validation cannot tell an improvement from chance."""
FEWEST_GROUPS = 10
"""Distinct items, two for each fold; pairs that share an item count once."""
CLEAR_GAIN = 2.0
"""Standard errors by which a candidate must surpass the text's solution in cross-validation to be taken."""


@dataclass(frozen=True)
class Candidate:
    """A way to map a modality.

    Attributes:
        recentered: around the pairs' mean rather than where the bridge centers it without them.
        strength: of the adjustment's ridge; infinite for none.
    """

    recentered: bool
    strength: float


CANDIDATES = (
    Candidate(False, math.inf),
    Candidate(True, math.inf),
    *(Candidate(True, strength) for strength in reversed(STRENGTHS)),
)
"""From the text's solution to the freest; of equals, the first is taken."""


@dataclass(frozen=True)
class Start:
    """The bridge before it is refined, in float64.

    Attributes:
        weight: (D_source, D_target).
        mean, gain: with which it centers and stretches the modality.
        text_spread: of the source's text rows.
        target_mean: (D_target,).
        target_spread: of the target's text rows, as the bridge maps them.
    """

    weight: Tensor
    mean: Tensor
    gain: float
    text_spread: float
    target_mean: Tensor
    target_spread: float


@dataclass(frozen=True)
class Refinement:
    """What pairs say of a modality.

    Attributes:
        mean: (D_source,) of the pairs' rows, and their spread; None where the bridge's own center did better.
        adjustment: (D_source, D_target) to add to the weight; None where none did better.
        report: what it added.
    """

    mean: tuple[Tensor, float] | None
    adjustment: Tensor | None
    report: PairsReport


@dataclass(frozen=True)
class _Fit:
    """Everything that a set of pairs determines, but for the strength."""

    mean: Tensor
    spread: float
    target_mean: Tensor
    target_gain: float
    left: Tensor
    sizes: Tensor
    right: Tensor
    unit: float
    residual: Tensor


def refine(
    x: Tensor,
    y: Tensor,
    start: Start,
    *,
    source_keys: Sequence[Hashable],
    target_keys: Sequence[Hashable],
    modality: str,
    target_modality: str,
    skipped: Sequence[str] = (),
    seed: int = 0,
) -> Refinement:
    """Choose how pairs refine the map of a modality, and measure what that adds.

    Args:
        x: (N, D_source) float64 unit rows of the modality.
        y: (N, D_target) float64 unit rows of their partners.
        start: the bridge.
        source_keys, target_keys: pairs with an equal key share an item and are held out together, as are pairs
            with equal rows on a side, and near-copies (:func:`bindplug.bridges.pairs.near_copies`).
        modality, target_modality, skipped: for the report.
        seed: of folds and resamples.

    Raises:
        InputError: there are too few distinct items.
    """
    copies = near_copies(x, y)
    ids = joined_groups(source_keys, target_keys, first_copies(x), first_copies(y), copies.tolist())
    groups = int(ids.max()) + 1
    if groups < FEWEST_GROUPS:
        raise InputError(
            "pairs",
            found=f"{len(x)} of {modality} and {target_modality} with {groups} distinct items among them",
            expected=f"at least {FEWEST_GROUPS}: pairs that share an item, or near-copies of one, count once",
        )
    outer = folds(ids, FOLDS, seed)
    predictions, text_predictions, partners = (torch.zeros_like(y) for _ in range(3))
    fold_of = torch.zeros(len(x), dtype=torch.int64)
    for number, part in enumerate(outer):
        fit = _fit(x[~part], y[~part], start)
        inner_ids = torch.unique(ids[~part], return_inverse=True)[1]
        best = _choose(x[~part], y[~part], inner_ids, start, INNER_FOLDS, seed + 1 + number)
        predictions[part] = _map(x[part], fit, start, best)
        text_predictions[part] = _map(x[part], fit, start, CANDIDATES[0])
        partners[part] = _partners(y[part], fit)
        fold_of[part] = number
    best = _choose(x, y, ids, start, FOLDS, seed)
    fit = _fit(x, y, start)
    adjustment = None
    if math.isfinite(best.strength):
        # Held-out predictions tell how far a prediction shrinks; the adjustment restores the spread of text.
        rows = _held_out(x, y, ids, start, FOLDS, seed, best)
        size = float(rows.square().sum(1).mean().sqrt())
        stretch = min(GAIN_LIMIT, max(1.0 / GAIN_LIMIT, start.target_spread / size)) if size > 0 else 1.0
        adjustment = (start.weight + _ridge_adjustment(fit, best.strength)) * stretch - start.weight
    figures = measure_gain(
        predictions, text_predictions, partners, start.target_mean, fold_of, ids, copies, seed
    )
    return Refinement(
        (fit.mean.float(), fit.spread) if best.recentered else None,
        None if adjustment is None else adjustment.float().contiguous(),
        PairsReport(
            modality=modality,
            target_modality=target_modality,
            pairs=len(x),
            groups=groups,
            skipped=tuple(skipped),
            recentered=best.recentered,
            strength=best.strength if math.isfinite(best.strength) else None,
            **figures,
        ),
    )


def _choose(x: Tensor, y: Tensor, ids: Tensor, start: Start, count: int, seed: int) -> Candidate:
    """The candidate whose held-out predictions point nearest to the partners; text's own if none does so clearly."""
    cosines = torch.zeros(len(CANDIDATES), len(x), dtype=torch.float64)
    for part in folds(ids, count, seed):
        if part.all():
            return CANDIDATES[0]
        fit = _fit(x[~part], y[~part], start)
        targets = _partners(y[part], fit)
        for number, candidate in enumerate(CANDIDATES):
            rows = _map(x[part], fit, start, candidate)
            cosines[number, part] = torch.nn.functional.cosine_similarity(rows, targets, dim=1)
    best = int(cosines.sum(1).argmax())
    gains = cosines[best] - cosines[0]
    mean = gains.mean()
    # Pairs of one group are no independent observations: their deviations are summed first.
    sums = torch.zeros(int(ids.max()) + 1, dtype=torch.float64).index_add_(0, ids, gains - mean)
    error = sums.square().sum().sqrt() / len(gains)
    return CANDIDATES[best if mean > CLEAR_GAIN * error else 0]


def _held_out(
    x: Tensor, y: Tensor, ids: Tensor, start: Start, count: int, seed: int, candidate: Candidate
) -> Tensor:
    """(N, D_target) of each row by a map that was fitted without its fold."""
    rows = torch.zeros_like(y)
    for part in folds(ids, count, seed):
        rows[part] = _map(x[part], _fit(x[~part], y[~part], start), start, candidate)
    return rows


def _fit(x: Tensor, y: Tensor, start: Start) -> _Fit:
    mean, target_mean = x.mean(0), y.mean(0)
    spread = float((x - mean).square().sum(1).mean().sqrt())
    target_spread = float((y - target_mean).square().sum(1).mean().sqrt())
    centered = (x - mean) * (start.text_spread / spread if spread > 0 else 1.0)
    target_gain = start.target_spread / target_spread if target_spread > 0 else 1.0
    left, sizes, right = torch.linalg.svd(centered, full_matrices=False)
    return _Fit(
        mean,
        spread,
        target_mean,
        target_gain,
        left,
        sizes,
        right,
        # of the directions that N pairs can span at all
        float(sizes.square().sum()) / min(len(x), x.shape[1]),
        (y - target_mean) * target_gain - centered @ start.weight,
    )


def _map(x: Tensor, fit: _Fit, start: Start, candidate: Candidate) -> Tensor:
    """Rows (N, D_target), without the target's mean."""
    if not candidate.recentered:
        return (x - start.mean) * start.gain @ start.weight
    centered = (x - fit.mean) * (start.text_spread / fit.spread if fit.spread > 0 else 1.0)
    rows = centered @ start.weight  # (N, D_source) -> (N, D_target)
    if math.isfinite(candidate.strength):
        rows = rows + centered @ _ridge_adjustment(fit, candidate.strength)
    return rows


def _partners(y: Tensor, fit: _Fit) -> Tensor:
    """Where the partners lie, around their own mean, as widely as the target's text."""
    return (y - fit.target_mean) * fit.target_gain


def _ridge_adjustment(fit: _Fit, strength: float) -> Tensor:
    """The ridge regression (D_source, D_target) of what the weight leaves unexplained, by the singular values."""
    factors = fit.sizes / (fit.sizes.square() + strength * fit.unit)
    return fit.right.T @ (factors[:, None] * (fit.left.T @ fit.residual))
