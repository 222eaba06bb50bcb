"""Random crops and colors of a batch of images, every choice drawn from a generator."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

YIQ = torch.tensor([[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])
"""RGB to brightness and two axes of color, in which hues turn. Source: NTSC's YIQ."""


@dataclass(frozen=True)
class ViewRecipe:
    """How a random view of an image is made.

    Attributes:
        side: height and width of the view in pixels.
        area: smallest and largest share of the image that a crop holds.
        flip: probability of a mirror image.
        color: strength of the changes of brightness, contrast and of each color's share.
        gray: probability of a view without color.
        hue: largest turn of all hues, as a share of half the color circle.
        solarize: probability of a view whose light half is inverted.
    """

    side: int
    area: tuple[float, float]
    flip: float = 0.5
    color: float = 0.4
    gray: float = 0.0
    hue: float = 0.0
    solarize: float = 0.0


def random_views(pixels: Tensor, recipe: ViewRecipe, generator: torch.Generator) -> Tensor:
    """One random view of each image.

    Args:
        pixels: (B, 3, H, W) uint8.
        recipe: of the views.
        generator: of every choice.

    Returns:
        (B, 3, side, side) float32 of 0 to 255.
    """
    return _change_colors(_crop(pixels.float(), recipe, generator), recipe, generator)


def _crop(images: Tensor, recipe: ViewRecipe, generator: torch.Generator) -> Tensor:
    count = len(images)
    low, high = recipe.area
    area = low + (high - low) * torch.rand(count, generator=generator)
    aspect = torch.exp((torch.rand(count, generator=generator) - 0.5) * 0.57)  # 3/4 to 4/3
    height, width = (area / aspect).sqrt().clamp(max=1.0), (area * aspect).sqrt().clamp(max=1.0)
    # affine_grid has coordinates from -1 to 1: a crop of half the width is a scale of 0.5
    left = (torch.rand(count, generator=generator) * 2 - 1) * (1 - width)
    top = (torch.rand(count, generator=generator) * 2 - 1) * (1 - height)
    mirror = torch.where(torch.rand(count, generator=generator) < recipe.flip, -1.0, 1.0)
    zero = torch.zeros(count)
    # rows (B, 3) stacked -> (B, 2, 3)
    affine = torch.stack(
        (torch.stack((width * mirror, zero, left), 1), torch.stack((zero, height, top), 1)), 1
    )
    grid = F.affine_grid(affine, [count, 3, recipe.side, recipe.side], align_corners=False)
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="reflection", align_corners=False)


def _change_colors(images: Tensor, recipe: ViewRecipe, generator: torch.Generator) -> Tensor:
    count, strength = len(images), recipe.color
    if strength:

        def around_one(channels: int, share: float) -> Tensor:
            shift = torch.rand(count, channels, 1, 1, generator=generator) * 2 - 1
            return 1 + share * strength * shift

        mean = images.mean(dim=(1, 2, 3), keepdim=True)
        images = (images - mean) * around_one(1, 1.0) + mean * around_one(1, 1.0)
        images = images * around_one(3, 0.5)
    if recipe.hue:
        turn = (torch.rand(count, generator=generator) * 2 - 1) * recipe.hue * math.pi
        images = torch.einsum("bij,bjhw->bihw", _hue_rotations(turn), images).clamp(0, 255)
    if recipe.gray:
        is_gray = torch.rand(count, 1, 1, 1, generator=generator) < recipe.gray
        images = torch.where(is_gray, images.mean(1, keepdim=True), images)
    if recipe.solarize:
        is_solarized = torch.rand(count, 1, 1, 1, generator=generator) < recipe.solarize
        images = torch.where(is_solarized & (images >= 128), 255 - images, images)
    return images.clamp(0, 255)


def _hue_rotations(turn: Tensor) -> Tensor:
    """Angles (B,) in radians -> (B, 3, 3) matrices on RGB that turn hues and leave brightness alone."""
    cosine, sine, zero = turn.cos(), turn.sin(), torch.zeros_like(turn)
    rows = ((zero + 1, zero, zero), (zero, cosine, -sine), (zero, sine, cosine))
    # rows of (B,) -> (B, 3, 3)
    in_yiq = torch.stack([torch.stack(row, 1) for row in rows], 1)
    return torch.linalg.inv(YIQ) @ in_yiq @ YIQ
