"""Greedy suppression of overlapping boxes, looking no further down the ranking than needed."""

from __future__ import annotations

import torch
from torch import Tensor
from torchvision.ops import batched_nms

PREFIX = 1000
"""Candidates tried first: up to here torchvision compares all boxes of a batch in one pass on a CPU."""


def suppress(
    boxes: Tensor,
    scores: Tensor,
    threshold: float,
    top_k: int,
    *,
    labels: Tensor | None = None,
    with_ties: bool = False,
) -> Tensor:
    """Indices of the boxes that survive, best first.

    A box falls if a better one that survives overlaps it by more than ``threshold``. That depends on better
    boxes only, so a prefix of the ranking that yields enough survivors gives the exact result.

    Args:
        boxes: (N, 4) xyxy.
        scores: (N,).
        threshold: IoU above which a box falls.
        top_k: most survivors.
        labels: (N,) of int64; only boxes of one label suppress each other. All do for None.
        with_ties: whether boxes that tie with the last survivor survive as well.

    Returns:
        Indices, int64, of at most ``top_k`` boxes (or more, with ties) in decreasing order of score.
    """
    if labels is None:
        labels = torch.zeros_like(scores, dtype=torch.int64)
    # labels are told apart by shifting boxes, whose corners float32 would round
    boxes, scores = boxes.double(), scores.double()
    kept = _survivors(boxes, scores, labels, threshold, min(PREFIX, len(scores)))
    if len(scores) > PREFIX and not _enough(scores[kept], top_k):
        kept = _survivors(boxes, scores, labels, threshold, len(scores))
    if with_ties and len(kept) > top_k:
        return kept[scores[kept] >= scores[kept[top_k - 1]]]
    return kept[:top_k]


def _survivors(boxes: Tensor, scores: Tensor, labels: Tensor, threshold: float, count: int) -> Tensor:
    best = scores.topk(count).indices
    return best[batched_nms(boxes[best], scores[best], labels[best], threshold)]


def _enough(scores: Tensor, top_k: int) -> bool:
    """Whether nothing further down the ranking can belong to the best ``top_k``, or tie with the last."""
    return len(scores) > top_k and bool(scores[-1] < scores[top_k - 1])
