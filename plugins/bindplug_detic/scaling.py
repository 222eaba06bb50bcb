"""From what the network saw back to the picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from PIL import Image
from torch import Tensor

from bindplug_detic.results import Detections

if TYPE_CHECKING:
    from bindplug_detic.postprocess import RawDetections


def scale_boxes(boxes: Tensor, seen: Sequence[int], size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Boxes in pixels of what the network saw to pixels of the picture, clipped to it; empty ones are dropped.

    Args:
        boxes: (N, 4).
        seen: height and width of what the network saw.
        size: height and width of the picture.

    Returns:
        (K, 4) boxes, and which of the N they are, (N,) bool.
    """
    (height, width), (out_height, out_width) = seen, size
    by_x, by_y = out_width / width, out_height / height
    scaled = boxes * boxes.new_tensor([by_x, by_y, by_x, by_y])
    limit = boxes.new_tensor([out_width, out_height, out_width, out_height])
    scaled = torch.minimum(scaled.clamp(min=0), limit)
    kept = (scaled[:, 2] > scaled[:, 0]) & (scaled[:, 3] > scaled[:, 1])
    return scaled[kept], kept


def in_picture(
    raw: RawDetections, picture: Image.Image, seen: Sequence[int], names: Sequence[str] | None = None
) -> Detections:
    """What the network found, in pixels of the picture, on the CPU.

    Args:
        raw: in pixels of what the network saw.
        picture: the whole picture.
        seen: height and width of what the network saw of it.
        names: of the classes that ``raw`` counts; None leaves the labels empty.
    """
    size = (picture.height, picture.width)
    boxes, kept = scale_boxes(plain(raw.boxes), seen, size)
    rows = raw.labels.cpu()[kept].clone()
    return Detections(
        boxes,
        plain(raw.scores)[kept],
        [names[row] if names is not None else "" for row in rows.tolist()],
        rows,
        size,
        mask_logits=None if raw.mask_logits is None else plain(raw.mask_logits)[kept],
        picture=picture,
    )


def plain(tensor: Tensor) -> Tensor:
    """Float32 on the CPU, and free of inference mode's restrictions."""
    return tensor.float().cpu().clone()
