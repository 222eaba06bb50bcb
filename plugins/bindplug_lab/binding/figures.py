"""What a bound tower is measured by: retrieval of held-out pictures by samples and back, with intervals."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from math import sqrt
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from bindplug.training import FilePairs, fit_scale

RANKS = (1, 5)
"""Ks of recall at K."""

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

    def to_dict(self) -> dict[str, Any]:
        """Plain values for a card."""
        return asdict(self)


def measure(
    pairs: FilePairs, encode: Callable[[Tensor], Tensor], device: torch.device, batch: int
) -> HeldOutFigures:
    """Embed held-out pairs and see who finds whom.

    Args:
        pairs: at least two.
        encode: (B, ...) inputs on ``device`` -> (B, D) rows.
        device: of the tower.
        batch: samples in one pass.
    """
    rows, anchors = [], []
    for number, indices in enumerate(torch.arange(len(pairs)).split(batch)):
        inputs = pairs.samples(indices, torch.Generator().manual_seed(number))
        anchors.append(pairs.anchors(indices, torch.Generator().manual_seed(number)))
        with torch.inference_mode():
            rows.append(encode(inputs.to(device)).float().cpu().clone())
    samples, pictures = F.normalize(torch.cat(rows), dim=1), F.normalize(torch.cat(anchors).float(), dim=1)
    cosines = samples @ pictures.T
    return HeldOutFigures(
        len(pairs),
        [recall_at(cosines, k) for k in RANKS],
        [recall_at(cosines.T, k) for k in RANKS],
        fit_scale(samples, pictures, torch.arange(len(pairs))),
    )


def recall_at(cosines: Tensor, k: int) -> Recall:
    """Recall at K of queries (rows) whose partners are the candidates of the same index; ties are shared."""
    count = len(cosines)
    own = cosines.diagonal()[:, None]  # (N, 1)
    equal = (cosines - own).abs() <= CLOSE
    better = ((cosines > own) & ~equal).sum(1)
    hits = ((k - better) / equal.sum(1)).clamp(0, 1).double()
    low, high = wilson(float(hits.sum()), count)
    return Recall(k, float(hits.mean()), low, high, min(1.0, k / count))


def wilson(hits: float, count: int) -> tuple[float, float]:
    """The 95 % interval of a share. Source: Wilson (1927), Probable inference, JASA 22."""
    share, square = hits / count, Z * Z / count
    middle = (share + square / 2) / (1 + square)
    reach = Z * sqrt(share * (1 - share) / count + square / count / 4) / (1 + square)
    return max(0.0, middle - reach), min(1.0, middle + reach)
