"""Depth maps whose values are spread evenly."""

from __future__ import annotations

import torch
from torch import Tensor


def equalize(maps: Tensor) -> Tensor:
    """Each value of a map (B, 1, H, W) replaced by its rank among the map's, from -1.7 to 1.7: unit deviation."""
    # (B, 1, H, W) -> (B, H * W)
    flat = maps.float().flatten(1)
    values = flat.sort(dim=1).values
    # equal values share the middle of their ranks
    ranks = torch.searchsorted(values, flat) + torch.searchsorted(values, flat, right=True)
    centered_ranks = 1.732 * (ranks / flat.shape[1] - 1)
    return centered_ranks.to(torch.float16).view_as(maps)
