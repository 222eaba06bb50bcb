"""Refining a linear bridge with paired items of a modality, shrunk toward what text alone gave.

For a modality the bridge maps ``(x - mean) @ (weight + adjustment) + target_mean``. The adjustment is a ridge
regression of what the text's weight leaves unexplained of the pairs. Its strength is cross-validated, and an infinite
one, the text's own solution, is among the candidates.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from bindplug.bridges.pairs import folds, group_ids
from bindplug.bridges.solve import GAIN_LIMIT
from bindplug.errors import InputError

FOLDS, INNER_FOLDS = 5, 4
STRENGTHS = tuple(10.0 ** (step / 2) for step in range(-4, 7))
"""Ridge strengths that cross-validation tries, relative to the mean eigenvalue of the pairs' scatter."""
FEWEST_PAIRS = 50
"""With fewer, cross-validation cannot tell an improvement from chance."""
FEWEST_GROUPS = 10
"""Distinct items, two for each fold; pairs that share an item count once."""
EQUAL_ROWS = 1.0 - 1e-6
"""Cosine from which on two rows are of copies of one item; float32 rows of one differ by less."""
CLEAR_GAIN = 2.0
"""Standard errors by which a candidate must surpass the text's solution in cross-validation to be taken."""
RESAMPLES = 1000
"""Bootstrap resamples of an interval. Source: Efron and Tibshirani, An Introduction to the Bootstrap (1993)."""


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
class PairsReport:
    """What pairs of a modality added, measured on pairs that the map at hand was not fitted or chosen on.

    Attributes:
        modality, target_modality: of the pairs.
        pairs: number of them.
        skipped: for each item that could not be read what it is and why.
        recentered: whether the modality is centered on the pairs' mean.
        strength: of the ridge, relative; None where no adjustment did better.
        text_cosine, cosine: mean cosine of a mapped row with its partner, centered, by text alone and refined.
        cosine_gain: their difference, with the ends of its 95 % bootstrap interval.
        text_top1, top1: share of items whose partner is nearest among those held out with it, a fifth of all.
        top1_gain: their difference, likewise.
        text_top10, top10: share of items whose partner is among the ten nearest of these.
    """

    modality: str
    target_modality: str
    pairs: int
    skipped: tuple[str, ...]
    recentered: bool
    strength: float | None
    text_cosine: float
    cosine: float
    cosine_gain: tuple[float, float, float]
    text_top1: float
    top1: float
    top1_gain: tuple[float, float, float]
    text_top10: float
    top10: float

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready fields."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> PairsReport:
        """The report of :meth:`to_dict`.

        Raises:
            KeyError, TypeError, ValueError: fields are missing, unknown or of the wrong kind.
        """
        arguments = dict(values)
        for name in ("cosine_gain", "top1_gain"):
            low_to_high = tuple(arguments[name])
            if len(low_to_high) != 3:
                raise ValueError(f"{name} has {len(low_to_high)} numbers")
            arguments[name] = low_to_high
        arguments["skipped"] = tuple(arguments["skipped"])
        report = cls(**arguments)
        numbers = [report.text_cosine, report.cosine, report.text_top1, report.top1, report.text_top10]
        numbers += [
            report.top10,
            *report.cosine_gain,
            *report.top1_gain,
            report.strength or 0.0,
            report.pairs,
        ]
        if not all(
            isinstance(n, (int, float)) and not isinstance(n, bool) and math.isfinite(n) for n in numbers
        ):
            raise ValueError("figures of pairs that are no numbers")
        texts = (report.modality, report.target_modality, *report.skipped)
        if not all(isinstance(word, str) for word in texts) or not isinstance(report.recentered, bool):
            raise ValueError("a report of pairs is damaged")
        return report

    def __str__(self) -> str:
        way = "as text alone maps it" if not self.recentered else "recentered"
        way += "" if self.strength is None else f", adjusted with strength {self.strength:g}"
        gains = [f"{gain:+.3f} ({low:+.3f} to {high:+.3f})" for gain, low, high in (self.cosine_gain,)]
        points = [100.0 * value for value in self.top1_gain]
        lines = [
            f"{self.modality} -> {self.target_modality}, {self.pairs} pairs: {way}",
            f"  centered cosine {self.text_cosine:.3f} -> {self.cosine:.3f}, {gains[0]}",
            f"  top-1 {self.text_top1:.1%} -> {self.top1:.1%}, {points[0]:+.1f} ({points[1]:+.1f} to {points[2]:+.1f}) "
            f"points; top-10 {self.text_top10:.1%} -> {self.top10:.1%}",
        ]
        lines += [f"  skipped {item}" for item in self.skipped]
        return "\n".join(lines)


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
            with equal rows.
        modality, target_modality, skipped: for the report.
        seed: of folds and resamples.

    Raises:
        InputError: there are too few distinct items.
    """
    ids = _joined_groups(source_keys, target_keys, _first_copies(x), _first_copies(y))
    groups = int(ids.max()) + 1
    if groups < FEWEST_GROUPS:
        raise InputError(
            "pairs",
            found=f"{len(x)} of {modality} and {target_modality} with {groups} distinct items among them",
            expected=f"at least {FEWEST_GROUPS}: pairs that share an item, or copies of one, count once",
        )
    outer = folds(ids, FOLDS, seed)
    predicted, by_text, partners = (torch.zeros_like(y) for _ in range(3))
    fold_of = torch.zeros(len(x), dtype=torch.int64)
    for number, part in enumerate(outer):
        fit = _fitted(x[~part], y[~part], start)
        inner_ids = torch.unique(ids[~part], return_inverse=True)[1]
        best = _best(x[~part], y[~part], inner_ids, start, INNER_FOLDS, seed + 1 + number)
        predicted[part] = _mapped(x[part], fit, start, best)
        by_text[part] = _mapped(x[part], fit, start, CANDIDATES[0])
        partners[part] = _partners(y[part], fit)
        fold_of[part] = number
    best = _best(x, y, ids, start, FOLDS, seed)
    fit = _fitted(x, y, start)
    adjustment = None
    if math.isfinite(best.strength):
        # Held-out predictions tell how far a prediction shrinks; the adjustment restores the spread of text.
        shrunk = _held_out(x, y, ids, start, FOLDS, seed, best)
        size = float(shrunk.square().sum(1).mean().sqrt())
        stretch = min(GAIN_LIMIT, max(1.0 / GAIN_LIMIT, start.target_spread / size)) if size > 0 else 1.0
        adjustment = (start.weight + _of_fit(fit, best.strength)) * stretch - start.weight
    report = _report(predicted, by_text, partners, start.target_mean, fold_of, ids, seed)
    return Refinement(
        (fit.mean.float(), fit.spread) if best.recentered else None,
        None if adjustment is None else adjustment.float().contiguous(),
        PairsReport(
            modality=modality,
            target_modality=target_modality,
            pairs=len(x),
            skipped=tuple(skipped),
            recentered=best.recentered,
            strength=best.strength if math.isfinite(best.strength) else None,
            **report,
        ),
    )


def _best(x: Tensor, y: Tensor, ids: Tensor, start: Start, count: int, seed: int) -> Candidate:
    """The candidate whose held-out predictions point nearest to the partners; text's own if none does so clearly."""
    cosines = torch.zeros(len(CANDIDATES), len(x), dtype=torch.float64)
    for part in folds(ids, count, seed):
        if part.all():
            return CANDIDATES[0]
        fit = _fitted(x[~part], y[~part], start)
        aims = _partners(y[part], fit)
        for number, candidate in enumerate(CANDIDATES):
            mapped = _mapped(x[part], fit, start, candidate)
            cosines[number, part] = torch.nn.functional.cosine_similarity(mapped, aims, dim=1)
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
    mapped = torch.zeros_like(y)
    for part in folds(ids, count, seed):
        mapped[part] = _mapped(x[part], _fitted(x[~part], y[~part], start), start, candidate)
    return mapped


def _fitted(x: Tensor, y: Tensor, start: Start) -> _Fit:
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


def _mapped(x: Tensor, fit: _Fit, start: Start, candidate: Candidate) -> Tensor:
    """Rows (N, D_target), without the target's mean."""
    if not candidate.recentered:
        return (x - start.mean) * start.gain @ start.weight
    centered = (x - fit.mean) * (start.text_spread / fit.spread if fit.spread > 0 else 1.0)
    mapped = centered @ start.weight
    if math.isfinite(candidate.strength):
        mapped = mapped + centered @ _of_fit(fit, candidate.strength)
    return mapped


def _partners(y: Tensor, fit: _Fit) -> Tensor:
    """Where the partners lie, around their own mean, as widely as the target's text."""
    return (y - fit.target_mean) * fit.target_gain


def _of_fit(fit: _Fit, strength: float) -> Tensor:
    """The ridge regression (D_source, D_target) of what the weight leaves unexplained, by the singular values."""
    damped = fit.sizes / (fit.sizes.square() + strength * fit.unit)
    return fit.right.T @ (damped[:, None] * (fit.left.T @ fit.residual))


def _report(
    predicted: Tensor,
    by_text: Tensor,
    partners: Tensor,
    mean: Tensor,
    fold_of: Tensor,
    ids: Tensor,
    seed: int,
) -> dict[str, Any]:
    figures = [_figures(mapped, partners, mean, fold_of) for mapped in (by_text, predicted)]
    (text_cosine, text_top1, text_top10), (cosine, top1, top10) = figures
    return {
        "text_cosine": float(text_cosine.mean()),
        "cosine": float(cosine.mean()),
        "cosine_gain": _bootstrapped(cosine - text_cosine, ids, seed),
        "text_top1": float(text_top1.mean()),
        "top1": float(top1.mean()),
        "top1_gain": _bootstrapped(top1 - text_top1, ids, seed),
        "text_top10": float(text_top10.mean()),
        "top10": float(top10.mean()),
    }


def _figures(
    mapped: Tensor, partners: Tensor, mean: Tensor, fold_of: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """For each of N rows its centered cosine, and whether its partner is first, or among ten, of its fold's.

    Partners that the map was fitted on would come before: those of like items pull the row toward themselves.
    """
    cosine = torch.nn.functional.cosine_similarity(mapped, partners, dim=1)
    rows, aims = (torch.nn.functional.normalize(side + mean, dim=1) for side in (mapped, partners))
    scores = rows @ aims.T
    own = scores.diagonal()[:, None]
    # Equal rows are one item that occurs in several pairs; each of them is right.
    ahead = ((scores > own + 1e-9) & (fold_of[:, None] == fold_of[None])).sum(1)
    return cosine, (ahead < 1).double(), (ahead < 10).double()


def _bootstrapped(gains: Tensor, ids: Tensor, seed: int) -> tuple[float, float, float]:
    """The mean gain and its 95 % percentile interval, whole groups drawn together."""
    groups = int(ids.max()) + 1
    sums = torch.zeros(groups, dtype=torch.float64).index_add_(0, ids, gains)
    counts = torch.bincount(ids, minlength=groups).double()
    drawn = torch.randint(groups, (RESAMPLES, groups), generator=torch.Generator().manual_seed(seed))
    means = sums[drawn].sum(1) / counts[drawn].sum(1)  # (RESAMPLES,)
    low, high = torch.quantile(means, torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
    return float(gains.mean()), low, high


def _first_copies(rows: Tensor) -> list[int]:
    """For each of the unit rows (N, D) the index of the first that equals it: copies of a file have equal rows."""
    first: list[int] = []
    for part in rows.split(1024):
        first += (part @ rows.T >= EQUAL_ROWS).int().argmax(1).tolist()
    return first


def _joined_groups(*keys_of_sides: Sequence[Hashable]) -> Tensor:
    """(N,) numbers of groups: pairs with an equal key, directly or through others, are in one group."""
    count = len(keys_of_sides[0])
    parent = list(range(count))

    def root(index: int) -> int:
        while parent[index] != index:
            parent[index] = parent[parent[index]]
            index = parent[index]
        return index

    for keys in keys_of_sides:
        seen: dict[Hashable, int] = {}
        for index, key in enumerate(keys):
            parent[root(index)] = root(seen.setdefault(key, index))
    return group_ids([root(index) for index in range(count)], count)
