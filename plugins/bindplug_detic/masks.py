"""Masks of detections: from 28x28 logits to pixels of the picture, and from pixels to COCO's run lengths.

Masks are pasted one box at a time, so that memory stays small.

COCO reads a mask down its columns, from the left. Counts of pixels alternate between outside and inside and begin with
outside. The compressed form stores, from the fourth count on, the difference to the count two before, in groups of five
bits, lowest first, each a printable character: 48 + bits, + 32 where more groups follow.
Source: https://cocodataset.org/#format-data.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

THRESHOLD = 0.5
"""A pixel belongs to the mask from this probability on. Source: detectron2's default, which Detic keeps."""

ROWS_AT_ONCE = 1024
"""Rows of one box that are held as floats at a time: 16 MB at 4000 pixels of width."""

FIRST_CHARACTER = 48
MORE = 0x20
"""First character and continuation bit of COCO's strings. Source: its reference encoder."""


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
    probability = logits.detach().float().cpu().sigmoid()  # (M, M)
    across = probability @ _weights(left, right, x1, x2, probability.shape[1]).T  # (M, M) @ (M, w) -> (M, w)
    down = _weights(top, bottom, y1, y2, probability.shape[0])  # (h, M)
    mask = torch.empty(bottom - top, right - left, dtype=torch.bool)
    for start in range(0, len(mask), ROWS_AT_ONCE):
        rows = slice(start, start + ROWS_AT_ONCE)
        torch.ge(down[rows] @ across, THRESHOLD, out=mask[rows])  # (rows, M) @ (M, w) -> (rows, w)
    return Crop(mask, top, left)


def paste_masks(logits: Tensor, boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """All masks at full size: logits (N, M, M), boxes (N, 4) -> (N, H, W) bool.

    The result takes N x H x W bytes and the work little more; :func:`paste_crop` needs only a box's share.
    """
    masks = torch.zeros(len(boxes), *size, dtype=torch.bool)
    for index, (box_logits, box) in enumerate(zip(logits, boxes, strict=True)):
        mask, top, left = paste_crop(box_logits, box, size)
        masks[index, top : top + mask.shape[0], left : left + mask.shape[1]] = mask
    return masks


def run_lengths(
    mask: np.ndarray, *, size: tuple[int, int] | None = None, top: int = 0, left: int = 0
) -> list[int]:
    """Counts of a mask's runs.

    Args:
        mask: (h, w) bool.
        size: height and width of the picture of which ``mask`` is a part; the mask's own by default.
        top: the picture's row of the mask's first row.
        left: the picture's column of its first column.

    Returns:
        Lengths of the runs, outside first (0 if the first pixel is inside), which sum to the picture's pixels.
    """
    height, width = size or mask.shape
    columns = np.zeros((mask.shape[1], mask.shape[0] + 2), np.int8)
    columns[:, 1:-1] = np.asarray(mask, bool).T
    steps = np.diff(columns, axis=1)  # +1 where a run begins in a column, -1 just after it ends
    offset = left * height + top
    starts, ends = (
        column * height + row + offset for column, row in (np.nonzero(steps == sign) for sign in (1, -1))
    )
    # a run that ends at the foot of a column may go on at the head of the next
    is_break = starts[1:] != ends[:-1]
    if len(starts):
        starts, ends = starts[np.r_[True, is_break]], ends[np.r_[is_break, True]]
    edges = np.concatenate([[0], np.stack([starts, ends], 1).ravel(), [height * width]])
    counts = np.diff(edges).tolist()
    return counts[:-1] if counts[-1] == 0 and len(counts) > 1 else counts


def compress(counts: Sequence[int]) -> str:
    """Counts as COCO's string."""
    characters = []
    for index, count in enumerate(counts):
        remainder = count - counts[index - 2] if index > 2 else count
        while True:
            bits, remainder = remainder & 0x1F, remainder >> 5
            is_last = remainder == (-1 if bits & 0x10 else 0)
            characters.append(chr(FIRST_CHARACTER + bits + (0 if is_last else MORE)))
            if is_last:
                break
    return "".join(characters)


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
