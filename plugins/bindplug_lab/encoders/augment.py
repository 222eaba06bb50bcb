"""Random crops and colors of a batch of images, every choice drawn from a generator."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class ViewRecipe:
    """How a random view of an image is made.

    Attributes:
        side: height and width of the view in pixels.
        area: smallest and largest share of the image that a crop holds.
        flip: probability of a mirror image.
        color: strength of the changes of brightness, contrast and of each color's share.
        gray: probability of a view without color.
    """

    side: int
    area: tuple[float, float]
    flip: float = 0.5
    color: float = 0.4
    gray: float = 0.0


def random_views(pixels: Tensor, recipe: ViewRecipe, generator: torch.Generator) -> Tensor:
    """One random view of each image.

    Args:
        pixels: (B, 3, H, W) uint8.
        recipe: of the views.
        generator: of every choice.

    Returns:
        (B, 3, side, side) float32 of 0 to 255.
    """
    return _colored(_cropped(pixels.float(), recipe, generator), recipe, generator)


def _cropped(images: Tensor, recipe: ViewRecipe, generator: torch.Generator) -> Tensor:
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


def _colored(images: Tensor, recipe: ViewRecipe, generator: torch.Generator) -> Tensor:
    count, strength = len(images), recipe.color
    if strength:

        def around_one(channels: int, share: float) -> Tensor:
            drawn = torch.rand(count, channels, 1, 1, generator=generator) * 2 - 1
            return 1 + share * strength * drawn

        mean = images.mean(dim=(1, 2, 3), keepdim=True)
        images = (images - mean) * around_one(1, 1.0) + mean * around_one(1, 1.0)
        images = images * around_one(3, 0.5)
    if recipe.gray:
        is_gray = torch.rand(count, 1, 1, 1, generator=generator) < recipe.gray
        images = torch.where(is_gray, images.mean(1, keepdim=True), images)
    return images.clamp(0, 255)
