"""Random crops whose place is known, so that a picture and another map can be cropped alike."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def random_boxes(
    count: int, generator: torch.Generator, *, area: tuple[float, float] = (0.2, 1.0), flip: float = 0.5
) -> Tensor:
    """Square crops at random places.

    Args:
        count: how many.
        generator: all chance comes from it.
        area: smallest and largest fraction of the picture.
        flip: probability that a crop is mirrored.

    Returns:
        (count, 4) float32: x and y of the crop's center, and its half extents, as fractions of the picture's half
        sides, from -1 (left, top) to 1. A mirrored crop's half width is negative.
    """
    half = (area[0] + (area[1] - area[0]) * torch.rand(count, 1, generator=generator)).sqrt()
    # (count, 2): centers that keep the crop inside
    centers = (2 * torch.rand(count, 2, generator=generator) - 1) * (1 - half)
    mirrored = torch.rand(count, 1, generator=generator) < flip
    return torch.cat((centers, torch.where(mirrored, -half, half), half), dim=1)


def crop(maps: Tensor, boxes: Tensor, side: int) -> Tensor:
    """Cut a box out of each map and resize it.

    Args:
        maps: (B, C, H, W), any type.
        boxes: (B, 4) of :func:`random_boxes`.
        side: height and width of the result in pixels.

    Returns:
        (B, C, side, side) float32.
    """
    x, y, half_width, half_height = boxes.unbind(1)
    zero = torch.zeros_like(x)
    # (B, 2, 3): from the crop's coordinates to the map's
    affine = torch.stack((half_width, zero, x, zero, half_height, y), dim=1).unflatten(1, (2, 3))
    grid = F.affine_grid(affine, [len(maps), maps.shape[1], side, side], align_corners=False)
    return F.grid_sample(maps.float(), grid, mode="bilinear", padding_mode="border", align_corners=False)
