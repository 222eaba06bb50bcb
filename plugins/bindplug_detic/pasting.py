"""Masks of 28x28 logits laid over the picture, one box at a time so that memory stays small."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

THRESHOLD = 0.5
"""A pixel belongs to the mask from this probability on. Source: detectron2's default, which Detic keeps."""

ROWS_AT_ONCE = 1024
"""Rows of one box that are held as floats at a time: 16 MB at 4000 pixels of width."""


class Crop(NamedTuple):
    """The part of a picture where a mask can be set.

    Attributes:
        mask: (h, w) bool.
        top: the picture's row of the first row of ``mask``.
        left: the picture's column of its first column.
    """

    mask: Tensor
    top: int
    left: int


def paste_crop(logits: Tensor, box: Tensor, size: tuple[int, int]) -> Crop:
    """One mask in the pixels of the picture that its box touches.

    The center of pixel (X, Y) samples the map of probabilities, stretched over the box, bilinearly; outside
    the map are zeros, so past the box's edge no value reaches the threshold.

    Args:
        logits: (M, M), before the sigmoid.
        box: (4,) x1, y1, x2, y2 in pixels of the picture.
        size: height and width of the picture.
    """
    height, width = size
    x1, y1, x2, y2 = box.tolist()
    left, right = _pixels_between(x1, x2, width)
    top, bottom = _pixels_between(y1, y2, height)
    chance = logits.detach().float().cpu().sigmoid()
    across = chance @ _weights(left, right, x1, x2, chance.shape[1]).T  # (M, w)
    down = _weights(top, bottom, y1, y2, chance.shape[0])  # (h, M)
    mask = torch.empty(bottom - top, right - left, dtype=torch.bool)
    for start in range(0, len(mask), ROWS_AT_ONCE):
        rows = slice(start, start + ROWS_AT_ONCE)
        torch.ge(down[rows] @ across, THRESHOLD, out=mask[rows])
    return Crop(mask, top, left)


def paste_masks(logits: Tensor, boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """All masks at full size: logits (N, M, M), boxes (N, 4) -> (N, H, W) bool.

    The result takes N x H x W bytes and the work little more; :func:`paste_crop` needs only a box's share.
    """
    masks = torch.zeros(len(boxes), *size, dtype=torch.bool)
    for row, (one, box) in enumerate(zip(logits, boxes, strict=True)):
        mask, top, left = paste_crop(one, box, size)
        masks[row, top : top + mask.shape[0], left : left + mask.shape[1]] = mask
    return masks


def _pixels_between(low: float, high: float, limit: int) -> tuple[int, int]:
    """First pixel whose center is not before ``low``, and one past the last that is not after ``high``."""
    first = min(max(math.ceil(low - 0.5), 0), limit)
    return first, max(first, min(math.floor(high - 0.5) + 1, limit))


def _weights(first: int, last: int, low: float, high: float, cells: int) -> Tensor:
    """(last - first, cells): the share of every cell in every pixel; bilinear sampling is this on both axes.

    -1 and +1 of ``torch.nn.functional.grid_sample(align_corners=False)`` are ``low`` and ``high`` here.
    """
    centers = torch.arange(first, last, dtype=torch.float64) + 0.5
    position = (centers - low) / (high - low) * cells - 0.5
    distance = (position[:, None] - torch.arange(cells, dtype=torch.float64)).abs()
    return (1 - distance).clamp(min=0).float()
