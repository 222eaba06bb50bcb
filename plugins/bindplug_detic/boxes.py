"""Arithmetic on boxes, (N, 4) x1, y1, x2, y2 in pixels: corrections, clipping, scaling."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from bindplug_detic.config import Quadruple

LARGEST_GROWTH = math.log(1000 / 16)
"""Most that the logarithm of a box's edge may grow by in one stage. Source: Detectron's box coder."""


def decode_boxes(deltas: Tensor, boxes: Tensor, weights: Quadruple) -> Tensor:
    """Boxes after a stage's correction.

    Args:
        deltas: (N, 4) of dx, dy, dw, dh.
        boxes: (N, 4) xyxy in pixels that the deltas belong to.
        weights: divisors of the deltas.

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
    target_size = (targets[:, 2:] - targets[:, :2]).float()
    shift = (targets[:, :2] + targets[:, 2:] - boxes[:, :2] - boxes[:, 2:]).float() / (2 * size)
    return torch.cat((shift, (target_size / size).log()), 1) * size.new_tensor(weights)


def clip_boxes(boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """Boxes (N, 4) xyxy within an image of ``size`` (height, width)."""
    height, width = size
    limit = boxes.new_tensor((width, height, width, height))
    return torch.minimum(boxes.clamp(min=0), limit)


def scale_boxes(boxes: Tensor, input_size: Sequence[int], size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Boxes in pixels of the network input to pixels of the picture, clipped to it; empty ones are dropped.

    Args:
        boxes: (N, 4).
        input_size: height and width of the network input.
        size: height and width of the picture.

    Returns:
        (K, 4) boxes, and which of the N they are, (N,) bool.
    """
    (in_height, in_width), (height, width) = input_size, size
    x_scale, y_scale = width / in_width, height / in_height
    scaled = clip_boxes(boxes * boxes.new_tensor([x_scale, y_scale, x_scale, y_scale]), size)
    is_whole = (scaled[:, 2] > scaled[:, 0]) & (scaled[:, 3] > scaled[:, 1])
    return scaled[is_whole], is_whole
