"""What a bound tower is measured by: retrieval of held-out pictures by samples and back, with intervals."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from math import comb, sqrt
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from bindplug.training import FilePairs, fit_scale

RANKS = (1, 5)
"""Ks of recall at K."""

CHANCE_NOTE = (
    "on the held-out pairs the tower cannot be told from chance. More pairs help most, then more epochs; see whether "
    "pictures and samples really belong together"
)
"""Of figures that :attr:`HeldOutFigures.is_chance` is true of."""

CLOSE = 1e-6
"""Cosines that differ by less are equal."""

Z = 1.96
"""Of intervals of 95 %."""


@dataclass(frozen=True)
class Recall:
    """Share of queries whose own partner is among the K nearest.

    Attributes:
        k: of nearest candidates.
        share: of queries.
        low, high: of the 95 % interval, Wilson's score interval.
        chance: what guessing gives.
    """

    k: int
    share: float
    low: float
    high: float
    chance: float


@dataclass(frozen=True)
class HeldOutFigures:
    """Figures on held-out pairs.

    Attributes:
        pairs: how many.
        sample_to_picture: a sample asks, pictures answer.
        picture_to_sample: the other way.
        similarity_scale: factor on cosines at which probabilities come true on them.
    """

    pairs: int
    sample_to_picture: list[Recall]
    picture_to_sample: list[Recall]
    similarity_scale: float

    @property
    def is_chance(self) -> bool:
        """Whether no recall is above chance beyond doubt, both ways."""
        return all(
            recall.low <= recall.chance for recall in (*self.sample_to_picture, *self.picture_to_sample)
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values for a card."""
        return asdict(self) | {"is_chance": self.is_chance}


def measure(
    pairs: FilePairs, encode: Callable[[Tensor], Tensor], device: torch.device, batch: int
) -> HeldOutFigures | None:
    """Embed held-out pairs and see who finds whom.

    Pairs of one picture, as the windows of a sound beside it, share a candidate: each of its samples is right.

    Args:
        pairs: held out.
        encode: (B, ...) inputs on ``device`` -> (B, D) rows.
        device: of the tower.
        batch: samples in one pass.

    Returns:
        The figures; None where fewer than two pictures differ.
    """
    keys = [(item.anchor.name, item.moment_s) for item in pairs.items]
    number_of = {key: number for number, key in enumerate(dict.fromkeys(keys))}
    if len(number_of) < 2:
        return None
    owner = torch.tensor([number_of[key] for key in keys])  # (N,), the picture of each sample
    rows, anchors = [], []
    for number, indices in enumerate(torch.arange(len(pairs)).split(batch)):
        inputs = pairs.samples(indices, torch.Generator().manual_seed(number))
        anchors.append(pairs.anchors(indices, torch.Generator().manual_seed(number)))
        with torch.inference_mode():
            rows.append(encode(inputs.to(device)).float().cpu().clone())
    firsts = [keys.index(key) for key in number_of]
    samples = F.normalize(torch.cat(rows), dim=1)
    pictures = F.normalize(torch.cat(anchors).float()[firsts], dim=1)
    cosines = samples @ pictures.T  # (N, P)
    right = owner[:, None] == torch.arange(len(pictures))
    return HeldOutFigures(
        len(pairs),
        [recall_at(cosines, right, k) for k in RANKS],
        [recall_at(cosines.T, right.T, k) for k in RANKS],
        fit_scale(samples, pictures, owner),
    )


def recall_at(cosines: Tensor, right: Tensor, k: int) -> Recall:
    """Share of queries (rows) with a right candidate among the K nearest; ties with wrong ones are shared.

    Args:
        cosines: (Q, C).
        right: (Q, C) bool, at least one in each row.
        k: of nearest candidates.
    """
    count, candidates = cosines.shape
    best = cosines.masked_fill(~right, -2).amax(1, keepdim=True)  # (Q, 1)
    equal = ((cosines - best).abs() <= CLOSE) & ~right
    better = ((cosines > best) & ~equal & ~right).sum(1)
    hits = ((k - better) / (1 + equal.sum(1))).clamp(0, 1).double()
    low, high = wilson(float(hits.sum()), count)
    drawn = min(k, candidates)
    # of m right candidates at least one is among k that are drawn
    misses = [comb(candidates - m, drawn) / comb(candidates, drawn) for m in right.sum(1).tolist()]
    return Recall(k, float(hits.mean()), low, high, 1 - sum(misses) / count)


def wilson(hits: float, count: int) -> tuple[float, float]:
    """The 95 % interval of a share. Source: Wilson (1927), Probable inference, JASA 22."""
    share, square = hits / count, Z * Z / count
    middle = (share + square / 2) / (1 + square)
    reach = Z * sqrt(share * (1 - share) / count + square / count / 4) / (1 + square)
    return max(0.0, middle - reach), min(1.0, middle + reach)
