"""RoIAlign as two matrix products, for training on CPUs: the operator's own backward pass there takes half a step.

An average of bilinear samples on a grid is separable: ``rows @ map @ columns``. The numbers are those of
:func:`bindplug_detic.roi_heads.pool`.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from bindplug_detic.pyramid import STRIDES
from bindplug_detic.roi_heads import POOLED_LEVELS, assign_levels


def pool_by_products(
    features: Mapping[str, Tensor], boxes: Tensor, resolution: int, canonical_size: float
) -> Tensor:
    """Bilinear averages over a grid of cells of each box, from the level that fits its size.

    Args:
        features: levels; p3..p5 of (B, C, h, w) are read.
        boxes: (B, R, 4) float32 xyxy in pixels, as many for each scene.
        resolution: cells along an edge.
        canonical_size: edge of a box of level 4, in pixels.

    Returns:
        (B * R, C, resolution, resolution) in the features' dtype.
    """
    level_of = assign_levels(boxes.flatten(0, 1), canonical_size).view(boxes.shape[:2])
    total: Tensor | None = None
    for number, (name, stride) in enumerate(zip(POOLED_LEVELS, STRIDES[:3], strict=True), start=3):
        level = features[name]
        on_level = (level_of == number)[..., None, None].float()
        rows, columns = (
            sampling_matrix(boxes[..., axis], boxes[..., axis + 2], stride, size, resolution) * on_level
            for axis, size in ((1, level.shape[2]), (0, level.shape[3]))
        )
        pooled = _products(level, rows.to(level.dtype), columns.to(level.dtype))
        total = pooled if total is None else total + pooled
    assert total is not None
    return total.permute(0, 3, 1, 2)


def sampling_matrix(low: Tensor, high: Tensor, stride: int, size: int, resolution: int) -> Tensor:
    """What each cell of a level adds to each cell of a region, along one axis.

    Args:
        low: (B, R) lower edges of boxes in pixels.
        high: (B, R) upper edges.
        stride: of the level, in pixels.
        size: cells of the level along the axis.
        resolution: cells of a region along the axis.

    Returns:
        (B, R, resolution, size) float32; rows sum to 1 where the region is within the level.
    """
    start, length = low / stride - 0.5, (high - low) / stride
    samples = (length / resolution).ceil().clamp(min=1)  # a cell
    number = torch.arange(int(samples.max()), device=low.device)
    within = (
        torch.arange(resolution, device=low.device)[:, None] * samples[..., None, None] + number + 0.5
    ) / (samples * resolution)[..., None, None]
    place = start[..., None, None] + length[..., None, None] * within  # (B, R, resolution, samples)
    is_counted = (number < samples[..., None, None]) & (place >= -1) & (place <= size)
    cells = torch.arange(size, device=low.device)
    hat = (1 - (place.clamp(0, size - 1)[..., None] - cells).abs()).clamp(min=0)
    return (hat * is_counted[..., None]).sum(-2) / samples[..., None, None]


def _products(level: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """(B, C, h, w) with (B, R, p, h) and (B, R, q, w) -> (B * R, p, q, C)."""
    count, channels, height, width = level.shape
    regions, resolution = rows.shape[1:3]
    flat = level.permute(0, 2, 3, 1).reshape(count, height, width * channels)
    across = torch.bmm(rows.reshape(count, -1, height), flat).view(-1, width, channels)
    repeated = columns[:, :, None].expand(-1, -1, resolution, -1, -1).reshape(-1, resolution, width)
    return torch.bmm(repeated, across).view(count * regions, resolution, resolution, channels)
