"""Augmentations of the published recipe that act on a batch of model inputs."""

from __future__ import annotations

import torch
from torch import Tensor


def frequency_mask(fbank: Tensor, width: int, generator: torch.Generator) -> Tensor:
    """Hide one random band of up to ``width`` mel bins in each filter bank.

    Args:
        fbank: (B, 1, M, T) normalized filter banks.
        width: widest band, in bins; 0 returns the input.
        generator: of the random bands.

    Returns:
        (B, 1, M, T) copy; the band holds the filter bank's own mean.

    Source: SpecAugment (arXiv 1904.08779), section 2; width 12 in ImageBind's appendix B.1.
    """
    if width <= 0:
        return fbank
    bins = fbank.shape[-2]
    widths = torch.randint(0, width + 1, (len(fbank), 1), generator=generator)
    starts = (torch.rand(len(fbank), 1, generator=generator) * (bins - widths + 1)).long()
    position = torch.arange(bins)
    hidden = (position >= starts) & (position < starts + widths)
    return torch.where(hidden[:, None, :, None], fbank.mean(dim=(-1, -2), keepdim=True), fbank)


def random_erase(
    image: Tensor,
    probability: float,
    generator: torch.Generator,
    area: tuple[float, float] = (0.02, 0.25),
) -> Tensor:
    """Erase a random rectangle of some images, filling it with the image's mean.

    Args:
        image: (B, C, H, W).
        probability: of an image being erased, 0..1.
        generator: of the rectangles.
        area: smallest and largest fraction of the image that is erased.

    Returns:
        (B, C, H, W), a copy where anything is erased.

    Source: random erasing (arXiv 1708.04896), with probability 0.25 in ImageBind's appendix B.1.
    """
    if probability <= 0:
        return image
    count, _, height, width = image.shape
    chosen = torch.rand(count, generator=generator) < probability
    fraction = area[0] + (area[1] - area[0]) * torch.rand(count, generator=generator)
    aspect = torch.exp((torch.rand(count, generator=generator) - 0.5) * 2 * 1.2)  # 0.3 to 3.3
    box_h = (fraction * aspect).sqrt().mul(height).clamp(1, height).long()
    box_w = (fraction / aspect).sqrt().mul(width).clamp(1, width).long()
    top = (torch.rand(count, generator=generator) * (height - box_h + 1)).long()
    left = (torch.rand(count, generator=generator) * (width - box_w + 1)).long()
    rows, columns = torch.arange(height), torch.arange(width)
    in_rows = (rows >= top[:, None]) & (rows < (top + box_h)[:, None])
    in_columns = (columns >= left[:, None]) & (columns < (left + box_w)[:, None])
    erased = (chosen[:, None] & in_rows)[:, None, :, None] & in_columns[:, None, None, :]
    return torch.where(erased, image.mean(dim=(-1, -2), keepdim=True), image)
