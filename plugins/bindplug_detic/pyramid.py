"""The feature pyramid: five levels of equal width over a backbone's three maps."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from bindplug_detic.config import DeticConfig
from bindplug_detic.resnet import ResNet
from bindplug_detic.swin import Swin

LEVELS = ("p3", "p4", "p5", "p6", "p7")
STRIDES = (8, 16, 32, 64, 128)
"""Pixels between cells of each level."""

PADDING_UNIT = 32
"""Both edges of a network input are multiples of this, so that every level up to p5 halves evenly."""


class ExtraLevels(nn.Module):
    """p6 and p7, each a strided convolution of the level before."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.p6 = nn.Conv2d(channels, channels, 3, 2, 1)
        self.p7 = nn.Conv2d(channels, channels, 3, 2, 1)

    def forward(self, p5: Tensor) -> tuple[Tensor, Tensor]:
        """p5 -> p6, p7."""
        p6 = self.p6(p5)
        return p6, self.p7(F.relu(p6))


class Pyramid(nn.Module):
    """A backbone with its feature pyramid.

    Args:
        config: of the detector.
    """

    def __init__(self, config: DeticConfig) -> None:
        super().__init__()
        self.bottom_up: ResNet | Swin = Swin(config) if config.backbone == "swin" else ResNet(config)
        width = config.fpn_channels
        for level, channels in zip((3, 4, 5), self.bottom_up.channels, strict=True):
            self.add_module(f"fpn_lateral{level}", nn.Conv2d(channels, width, 1))
            self.add_module(f"fpn_output{level}", nn.Conv2d(width, width, 3, 1, 1))
        self.top_block = ExtraLevels(width)

    def merge(self, maps: tuple[Tensor, ...]) -> dict[str, Tensor]:
        """The backbone's maps of strides 8, 16, 32 -> levels p3..p7."""
        merged: Tensor | None = None
        levels = {}
        for level, feature_map in zip((5, 4, 3), reversed(maps), strict=True):
            lateral = self.get_submodule(f"fpn_lateral{level}")(feature_map)
            merged = lateral if merged is None else lateral + F.interpolate(merged, scale_factor=2.0)
            levels[f"p{level}"] = self.get_submodule(f"fpn_output{level}")(merged)
        p6, p7 = self.top_block(levels["p5"])
        return {"p3": levels["p3"], "p4": levels["p4"], "p5": levels["p5"], "p6": p6, "p7": p7}

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Normalized (B, 3, H, W), edges multiples of 32 -> level name -> (B, fpn_channels, h, w)."""
        return self.merge(self.bottom_up(x))
