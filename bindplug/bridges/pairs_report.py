"""What paired items of a modality add to a bridge: figures with intervals, and how they are measured."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from bindplug.bridges.pairs import first_mask

RESAMPLES = 1000
"""Bootstrap resamples of an interval. Source: Efron and Tibshirani, An Introduction to the Bootstrap (1993)."""


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
        groups: sets of pairs held out together, because they share an item or are near-copies; None in the reports
            of earlier releases.
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
    groups: int | None = None

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
            report.groups or 0,
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
        gain, low, high = self.cosine_gain
        points = [100.0 * value for value in self.top1_gain]
        lines = [
            f"{self.modality} -> {self.target_modality}, {self.pairs} pairs{in_groups(self.pairs, self.groups)}: {way}",
            f"  centered cosine {self.text_cosine:.3f} -> {self.cosine:.3f}, {gain:+.3f} ({low:+.3f} to {high:+.3f})",
            f"  top-1 {self.text_top1:.1%} -> {self.top1:.1%}, {points[0]:+.1f} ({points[1]:+.1f} to {points[2]:+.1f}) "
            f"points; top-10 {self.text_top10:.1%} -> {self.top10:.1%}",
        ]
        lines += [f"  skipped {item}" for item in self.skipped]
        return "\n".join(lines)


def in_groups(pairs: int, groups: int | None) -> str:
    """Words on how many groups pairs are in; none where each is its own, or that is not known."""
    return "" if groups in (None, pairs) else f" in {groups} groups"


def measure_gain(
    predictions: Tensor,
    text_predictions: Tensor,
    partners: Tensor,
    mean: Tensor,
    fold_of: Tensor,
    ids: Tensor,
    copies: Tensor,
    seed: int,
) -> dict[str, Any]:
    """The figures of a :class:`PairsReport`, from predictions for pairs that were held out.

    Args:
        predictions, text_predictions: (N, D_target) float64 rows around zero, refined and by text alone.
        partners: (N, D_target) what they should be.
        mean: (D_target,) of the target, which all of them lack.
        fold_of: (N,) fold in which a pair was held out.
        ids: (N,) group of each pair; the bootstrap draws whole groups.
        copies: (N,) of :func:`bindplug.bridges.pairs.near_copies`; near-copies are one item to choose.
        seed: of the bootstrap.
    """
    figures = [_figures(rows, partners, mean, fold_of, copies) for rows in (text_predictions, predictions)]
    (text_cosine, text_top1, text_top10), (cosine, top1, top10) = figures
    return {
        "text_cosine": float(text_cosine.mean()),
        "cosine": float(cosine.mean()),
        "cosine_gain": _bootstrap_interval(cosine - text_cosine, ids, seed),
        "text_top1": float(text_top1.mean()),
        "top1": float(top1.mean()),
        "top1_gain": _bootstrap_interval(top1 - text_top1, ids, seed),
        "text_top10": float(text_top10.mean()),
        "top10": float(top10.mean()),
    }


def _figures(
    predictions: Tensor, partners: Tensor, mean: Tensor, fold_of: Tensor, copies: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """For each of N rows its centered cosine, and whether its partner is first, or among ten, of its fold's.

    Partners that the map was fitted on would come before: those of like items pull the row toward themselves.
    """
    cosine = torch.nn.functional.cosine_similarity(predictions, partners, dim=1)
    rows, targets = (torch.nn.functional.normalize(side + mean, dim=1) for side in (predictions, partners))
    scores = rows @ targets.T  # (N, N)
    own = scores.diagonal()[:, None]
    # Equal rows are one item that occurs in several pairs; each of them is right. So are near-copies of the pair, and
    # those of another are one rival.
    is_rival = (fold_of[:, None] == fold_of[None]) & (copies[:, None] != copies[None]) & first_mask(copies)
    ahead = ((scores > own + 1e-9) & is_rival).sum(1)
    return cosine, (ahead < 1).double(), (ahead < 10).double()


def _bootstrap_interval(gains: Tensor, ids: Tensor, seed: int) -> tuple[float, float, float]:
    """The mean gain and its 95 % percentile interval, whole groups drawn together."""
    groups = int(ids.max()) + 1
    sums = torch.zeros(groups, dtype=torch.float64).index_add_(0, ids, gains)
    counts = torch.bincount(ids, minlength=groups).double()
    sample = torch.randint(groups, (RESAMPLES, groups), generator=torch.Generator().manual_seed(seed))
    means = sums[sample].sum(1) / counts[sample].sum(1)  # (RESAMPLES,)
    low, high = torch.quantile(means, torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
    return float(gains.mean()), low, high
