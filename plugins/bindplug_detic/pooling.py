"""Features of a box, from the pyramid level that fits its size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torchvision.ops import roi_align

from bindplug_detic.pyramid import STRIDES

POOLED_LEVELS = ("p3", "p4", "p5")
CANONICAL_LEVEL = 4


def assign_levels(boxes: Tensor, canonical_size: float) -> Tensor:
    """Level number, 3 to 5, that each box is pooled from: (N,) int64.

    Args:
        boxes: (N, 4) xyxy in pixels.
        canonical_size: edge of a box of level 4, in pixels.

    Source: arXiv 1612.03144, equation 1.
    """
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    level = (CANONICAL_LEVEL + (area.sqrt() / canonical_size + 1e-8).log2()).floor()
    # a size that is not a number goes where it does no harm; such boxes are dropped at the end
    return level.nan_to_num(CANONICAL_LEVEL).clamp(3, 5).long()


def pool(
    features: Mapping[str, Tensor], boxes: Sequence[Tensor], resolution: int, canonical_size: float
) -> Tensor:
    """Bilinear averages over a grid of cells of each box.

    Args:
        features: levels; p3..p5 of (B, channels, h, w) are read.
        boxes: for each image (n, 4) float32 xyxy in pixels of the network input.
        resolution: cells along an edge.
        canonical_size: edge of a box of level 4, in pixels.

    Returns:
        (N, channels, resolution, resolution) in the features' dtype, all images' boxes one after the other.
    """
    image = torch.cat(
        [
            found.new_full((len(found), 1), float(index), dtype=torch.float32)
            for index, found in enumerate(boxes)
        ]
    )
    flat = torch.cat([found.float() for found in boxes])
    regions = torch.cat((image, flat), 1)
    levels = assign_levels(flat, canonical_size)
    dtype = features[POOLED_LEVELS[0]].dtype
    pooled, rows = [], []
    for number, (name, stride) in enumerate(zip(POOLED_LEVELS, STRIDES[:3], strict=True), start=3):
        row = (levels == number).nonzero()[:, 0]
        # half precision would move the sampling points
        level = features[name].float()
        pooled.append(roi_align(level, regions[row], resolution, 1.0 / stride, aligned=True))
        rows.append(row)
    return torch.cat(pooled)[torch.cat(rows).argsort()].to(dtype)
