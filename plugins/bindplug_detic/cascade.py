"""Three box heads, each refining the boxes of the one before and naming them by a zero-shot classifier."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bindplug_detic.config import DeticConfig, Quadruple

LARGEST_GROWTH = math.log(1000 / 16)
"""Most that the logarithm of a box's edge may grow by in one stage. Source: Detectron's box coder."""


class StageOutput(NamedTuple):
    """What one cascade stage says of N boxes, all images' one after the other.

    Args:
        features: (N, box_head_width) that both predictors read.
        embeddings: (N, embedding_width), to be compared with class vectors; not unit length.
        deltas: (N, 4) of dx, dy, dw, dh, before division by the stage's weights.
    """

    features: Tensor
    embeddings: Tensor
    deltas: Tensor


class BoxHead(nn.Module):
    """Two hidden layers over a pooled region."""

    def __init__(self, config: DeticConfig) -> None:
        super().__init__()
        self.fc1 = nn.Linear(config.fpn_channels * config.box_resolution**2, config.box_head_width)
        self.fc2 = nn.Linear(config.box_head_width, config.box_head_width)

    def forward(self, pooled: Tensor) -> Tensor:
        """(N, channels, resolution, resolution) -> (N, box_head_width)."""
        return F.relu(self.fc2(F.relu(self.fc1(pooled.flatten(1)))))


class ZeroShotClassifier(nn.Module):
    """The projection of a region into the space of class vectors."""

    def __init__(self, config: DeticConfig) -> None:
        super().__init__()
        self.linear = nn.Linear(config.box_head_width, config.embedding_width)

    def forward(self, features: Tensor) -> Tensor:
        """(N, box_head_width) -> (N, embedding_width), not unit length."""
        return self.linear(features)


class BoxPredictor(nn.Module):
    """Embedding and box correction of a region."""

    def __init__(self, config: DeticConfig) -> None:
        super().__init__()
        width = config.box_head_width
        self.cls_score = ZeroShotClassifier(config)
        self.bbox_pred = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 4))

    def forward(self, features: Tensor) -> StageOutput:
        """(N, box_head_width) -> embeddings and deltas."""
        return StageOutput(features, self.cls_score(features), self.bbox_pred(features))


def class_logits(embeddings: Tensor, classifier: Tensor, temperature: float) -> Tensor:
    """Temperature times cosine similarity, computed in float32.

    The published networks append a background class whose logit is always 0; it takes part in no result and
    is left out.

    Args:
        embeddings: (N, D) of any length.
        classifier: (C, D), one row a class, of any length.
        temperature: factor from a cosine to a logit.

    Returns:
        (N, C) float32.
    """
    rows = temperature * F.normalize(embeddings.float(), dim=1)
    return rows @ F.normalize(classifier.float(), dim=1).T


def decode_boxes(deltas: Tensor, boxes: Tensor, weights: Quadruple) -> Tensor:
    """Boxes after a stage's correction.

    Args:
        deltas: (N, 4) of dx, dy, dw, dh.
        boxes: (N, 4) xyxy in pixels that the deltas belong to.
        weights: what the deltas are divided by.

    Returns:
        (N, 4) float32 xyxy in pixels, not clipped.

    Source: arXiv 1311.2524, appendix C.
    """
    dx, dy, dw, dh = (deltas.float() / deltas.new_tensor(weights, dtype=torch.float32)).unbind(1)
    boxes = boxes.float()
    width, height = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    x = dx * width + (boxes[:, 0] + 0.5 * width)
    y = dy * height + (boxes[:, 1] + 0.5 * height)
    half_width = 0.5 * width * dw.clamp(max=LARGEST_GROWTH).exp()
    half_height = 0.5 * height * dh.clamp(max=LARGEST_GROWTH).exp()
    return torch.stack((x - half_width, y - half_height, x + half_width, y + half_height), 1)


def encode_boxes(targets: Tensor, boxes: Tensor, weights: Quadruple) -> Tensor:
    """The deltas by which :func:`decode_boxes` turns ``boxes`` into ``targets``: (N, 4) float32."""
    size = (boxes[:, 2:] - boxes[:, :2]).float()
    wanted = (targets[:, 2:] - targets[:, :2]).float()
    shift = (targets[:, :2] + targets[:, 2:] - boxes[:, :2] - boxes[:, 2:]).float() / (2 * size)
    return torch.cat((shift, (wanted / size).log()), 1) * size.new_tensor(weights)


def clip_boxes(boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """Boxes (N, 4) xyxy within an image of ``size`` (height, width)."""
    height, width = size
    limit = boxes.new_tensor((width, height, width, height))
    return torch.minimum(boxes.clamp(min=0), limit)


def split(rows: Tensor, like: Sequence[Tensor]) -> list[Tensor]:
    """Rows of all images -> rows of each, as many as its entry of ``like`` has."""
    return list(rows.split([len(found) for found in like]))
