"""From scores of every box and class to the detections of an image."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torchvision.ops import batched_nms

from bindplug_detic.boxes import clip_boxes

PREFIX = 1000
"""Candidates tried first: up to here torchvision compares all boxes of a batch in one pass on a CPU."""


@dataclass
class RawDetections:
    """Detections of one image, best first, in pixels of the unpadded network input.

    Args:
        boxes: (N, 4) float32 xyxy, clipped to the image.
        scores: (N,) float32 in [0, 1].
        labels: (N,) int64, a row of the classifier each.
        mask_logits: (N, 28, 28) float32 over the box, a mask where its sigmoid is at least 0.5; None without
            masks.
        proposal_index: (N,) int64, the proposal that each came from; classes of one proposal share its box
            and mask.
    """

    boxes: Tensor
    scores: Tensor
    labels: Tensor
    mask_logits: Tensor | None
    proposal_index: Tensor

    def __len__(self) -> int:
        return len(self.scores)


def keep_best_class(scores: Tensor) -> Tensor:
    """Scores (N, C) with 0 wherever a row has a higher one."""
    return scores * (scores == scores.amax(1, keepdim=True))


def combine_scores(probabilities: Tensor, proposal_scores: Tensor) -> Tensor:
    """Geometric mean of the mean class probability (N, C) and the proposal's own score (N,)."""
    return torch.sqrt(probabilities * proposal_scores[:, None])


def select_detections(
    boxes: Tensor,
    scores: Tensor,
    size: tuple[int, int],
    *,
    score_threshold: float | Tensor,
    nms_threshold: float,
    top_k: int,
) -> RawDetections:
    """The pairs of a box and a class that are detections.

    Args:
        boxes: (N, 4) float32 xyxy of the proposals after the last cascade stage.
        scores: (N, C) float32 of every class.
        size: (height, width) of the image, to clip to.
        score_threshold: a score must exceed it; one number, or one a class (C,).
        nms_threshold: IoU above which a detection suppresses a lower one of its class.
        top_k: most detections.

    Returns:
        Detections without masks.
    """
    is_finite = boxes.isfinite().all(1) & scores.isfinite().all(1)
    boxes = clip_boxes(boxes, size)
    if isinstance(score_threshold, Tensor):
        score_threshold = score_threshold.to(scores)
    # (N, C) -> the M pairs of proposal and class above the threshold
    proposals, labels = ((scores > score_threshold) & is_finite[:, None]).nonzero(as_tuple=True)
    pair_scores = scores[proposals, labels]
    best = suppress(boxes[proposals], pair_scores, nms_threshold, top_k, labels=labels)
    rows = proposals[best]
    return RawDetections(boxes[rows], pair_scores[best], labels[best], None, rows)


def suppress(
    boxes: Tensor,
    scores: Tensor,
    threshold: float,
    top_k: int,
    *,
    labels: Tensor | None = None,
    with_ties: bool = False,
) -> Tensor:
    """Indices of the boxes that survive greedy non-maximum suppression, best first.

    A box falls if a better one that survives overlaps it by more than ``threshold``; of equal scores the first
    box is the better. That depends on better boxes only, so a prefix of the ranking that yields enough
    survivors gives the exact result.

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
    # torchvision separates labels by shifting the boxes, whose corners float32 would round
    boxes, scores = boxes.double(), scores.double()
    rows = _survivors(boxes, scores, labels, threshold, min(PREFIX, len(scores)))
    if len(scores) > PREFIX and not _is_complete(scores[rows], top_k):
        rows = _survivors(boxes, scores, labels, threshold, len(scores))
    if with_ties and len(rows) > top_k:
        return rows[scores[rows] >= scores[rows[top_k - 1]]]
    return rows[:top_k]


def _survivors(boxes: Tensor, scores: Tensor, labels: Tensor, threshold: float, count: int) -> Tensor:
    best = scores.argsort(descending=True, stable=True)[:count]  # of equal scores the first box is the better
    # distinct, as torchvision's sort of equal scores is not stable
    ranks = torch.arange(count, 0, -1, dtype=scores.dtype, device=scores.device)
    return best[batched_nms(boxes[best], ranks, labels[best], threshold)]


def _is_complete(scores: Tensor, top_k: int) -> bool:
    """Whether nothing further down the ranking can belong to the best ``top_k``, or tie with the last."""
    return len(scores) > top_k and bool(scores[-1] < scores[top_k - 1])
