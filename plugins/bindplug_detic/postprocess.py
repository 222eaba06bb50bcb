"""From scores of every box and class to the detections of an image."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from bindplug_detic.cascade import clip_boxes
from bindplug_detic.nms import suppress


@dataclass
class RawDetections:
    """Detections of one image, best first, in pixels of the unpadded network input.

    Args:
        boxes: (N, 4) float32 xyxy, clipped to the image.
        scores: (N,) float32 in [0, 1].
        labels: (N,) int64, a row of the classifier each.
        mask_logits: (N, 28, 28) float32 over the box, a mask where its sigmoid is at least 0.5; None if not
            asked for.
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
    whole = boxes.isfinite().all(1) & scores.isfinite().all(1)
    boxes = clip_boxes(boxes, size)
    if isinstance(score_threshold, Tensor):
        score_threshold = score_threshold.to(scores)
    row, label = ((scores > score_threshold) & whole[:, None]).nonzero(as_tuple=True)
    found = scores[row, label]
    kept = suppress(boxes[row], found, nms_threshold, top_k, labels=label)
    row = row[kept]
    return RawDetections(boxes[row], found[kept], label[kept], None, row)


def combine_scores(probabilities: Tensor, proposal_scores: Tensor) -> Tensor:
    """Geometric mean of the mean class probability (N, C) and the proposal's own score (N,)."""
    return torch.sqrt(probabilities * proposal_scores[:, None])
