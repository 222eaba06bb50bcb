"""The heads that look at single boxes: region pooling, the three stages of the cascade, and masks.

Shapes: N boxes of all images together, one image's boxes after another's; D is ``embedding_width``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.ops import roi_align

from bindplug_detic.config import DeticConfig
from bindplug_detic.pyramid import STRIDES

POOLED_LEVELS = ("p3", "p4", "p5")
CANONICAL_LEVEL = 4


class StageOutput(NamedTuple):
    """Outputs of one cascade stage for N boxes.

    Args:
        features: (N, box_head_width), the input of both predictors.
        embeddings: (N, D), compared with class vectors; not unit length.
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
        x = pooled.flatten(1)  # (N, C, R, R) -> (N, C * R * R)
        return F.relu(self.fc2(F.relu(self.fc1(x))))


class ZeroShotClassifier(nn.Module):
    """The projection of a region into the space of class vectors."""

    def __init__(self, config: DeticConfig) -> None:
        super().__init__()
        self.linear = nn.Linear(config.box_head_width, config.embedding_width)

    def forward(self, features: Tensor) -> Tensor:
        """(N, box_head_width) -> (N, D), not unit length."""
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


class MaskHead(nn.Module):
    """Convolutions over a pooled region, then one logit a cell at twice its resolution; class-agnostic.

    Args:
        config: of the detector.
    """

    def __init__(self, config: DeticConfig) -> None:
        super().__init__()
        channels, width = config.fpn_channels, config.mask_channels
        self.names = tuple(f"mask_fcn{index + 1}" for index in range(config.mask_convs))
        for name in self.names:
            self.add_module(name, nn.Conv2d(channels, width, 3, 1, 1))
            channels = width
        self.deconv = nn.ConvTranspose2d(channels, width, 2, 2)
        self.predictor = nn.Conv2d(width, 1, 1)

    def forward(self, pooled: Tensor) -> Tensor:
        """(N, fpn_channels, resolution, resolution) -> logits (N, 2 resolution, 2 resolution)."""
        for name in self.names:
            pooled = F.relu(self.get_submodule(name)(pooled))
        # (N, C, R, R) -> (N, C, 2R, 2R) -> (N, 1, 2R, 2R) -> (N, 2R, 2R)
        return self.predictor(F.relu(self.deconv(pooled)))[:, 0]


class RoiHeads(nn.Module):
    """Box head and predictor of every cascade stage, and the mask head."""

    def __init__(self, config: DeticConfig) -> None:
        super().__init__()
        stages = range(len(config.cascade_weights))
        self.box_head = nn.ModuleList(BoxHead(config) for _ in stages)
        self.box_predictor = nn.ModuleList(BoxPredictor(config) for _ in stages)
        self.mask_head = MaskHead(config)


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
    return rows @ F.normalize(classifier.float(), dim=1).T  # (N, D) @ (D, C) -> (N, C)


def assign_levels(boxes: Tensor, canonical_size: float) -> Tensor:
    """Level number, 3 to 5, that each box is pooled from: (N,) int64.

    Args:
        boxes: (N, 4) xyxy in pixels.
        canonical_size: edge of a box of level 4, in pixels.

    Source: arXiv 1612.03144, equation 1.
    """
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    level = (CANONICAL_LEVEL + (area.sqrt() / canonical_size + 1e-8).log2()).floor()
    # a size that is not a number may go to any level: such boxes are dropped at the end
    return level.nan_to_num(CANONICAL_LEVEL).clamp(3, 5).long()


def pool(
    features: Mapping[str, Tensor], boxes: Sequence[Tensor], resolution: int, canonical_size: float
) -> Tensor:
    """Bilinear averages over a grid of cells of each box, from the pyramid level that fits its size.

    Args:
        features: levels; p3..p5 of (B, channels, h, w) are read.
        boxes: for each image (n, 4) float32 xyxy in pixels of the network input.
        resolution: cells along an edge.
        canonical_size: edge of a box of level 4, in pixels.

    Returns:
        (N, channels, resolution, resolution) in the features' dtype, all images' boxes one after the other.
    """
    image_index = torch.cat(
        [
            image_boxes.new_full((len(image_boxes), 1), float(index), dtype=torch.float32)
            for index, image_boxes in enumerate(boxes)
        ]
    )
    flat = torch.cat([image_boxes.float() for image_boxes in boxes])
    regions = torch.cat((image_index, flat), 1)  # (N, 1) and (N, 4) -> (N, 5), as roi_align takes them
    levels = assign_levels(flat, canonical_size)
    dtype = features[POOLED_LEVELS[0]].dtype
    pooled, rows = [], []
    for number, (name, stride) in enumerate(zip(POOLED_LEVELS, STRIDES[:3], strict=True), start=3):
        row = (levels == number).nonzero()[:, 0]
        # half precision would move the sampling points
        level = features[name].float()
        pooled.append(roi_align(level, regions[row], resolution, 1.0 / stride, aligned=True))
        rows.append(row)
    return torch.cat(pooled)[torch.cat(rows).argsort()].to(dtype)  # from level by level to the boxes' order


def split(rows: Tensor, like: Sequence[Tensor]) -> list[Tensor]:
    """Rows of all images -> rows of each, as many as its entry of ``like`` has."""
    return list(rows.split([len(image_boxes) for image_boxes in like]))
