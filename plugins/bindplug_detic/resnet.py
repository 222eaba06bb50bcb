"""A bottleneck ResNet whose batch norms may be frozen."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bindplug_detic.config import DeticConfig

EPS = 1e-5
EXPANSION = 4
"""Output channels of a bottleneck over its inner ones. Source: arXiv 1512.03385, table 1."""


class FrozenBatchNorm(nn.Module):
    """An affine transform from stored statistics, which training does not touch.

    Args:
        channels: of the maps.
    """

    weight: Tensor
    bias: Tensor
    running_mean: Tensor
    running_var: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("weight", torch.ones(channels))
        self.register_buffer("bias", torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def affine(self) -> tuple[Tensor, Tensor]:
        """Scale and shift, float32 (channels,) each."""
        scale = self.weight.float() * (self.running_var.float() + EPS).rsqrt()
        return scale, self.bias.float() - self.running_mean.float() * scale

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels, H, W) in and out."""
        scale, shift = (part.to(x.dtype).view(1, -1, 1, 1) for part in self.affine())
        return x * scale + shift


def make_norm(kind: str, channels: int, groups: int) -> nn.Module:
    """A norm over ``channels``: ``"frozen_batch"``, ``"batch"`` or ``"group"``."""
    if kind == "frozen_batch":
        return FrozenBatchNorm(channels)
    if kind == "batch":
        return nn.BatchNorm2d(channels, eps=EPS)
    return nn.GroupNorm(math.gcd(groups, channels), channels, eps=EPS)


def conv_norm(conv: nn.Conv2d, norm: nn.Module, x: Tensor) -> Tensor:
    """``norm(conv(x))``; a frozen norm goes into the kernel, which saves a pass over the map."""
    if not isinstance(norm, FrozenBatchNorm):
        return norm(conv(x))
    scale, shift = norm.affine()
    kernel = (conv.weight * scale.view(-1, 1, 1, 1)).to(x.dtype)
    return F.conv2d(x, kernel, shift.to(x.dtype), conv.stride, conv.padding)


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 convolutions beside a shortcut; the 3x3 one carries the stride."""

    def __init__(self, channels: int, width: int, stride: int, norm: str, groups: int) -> None:
        super().__init__()
        out = width * EXPANSION
        self.conv1 = nn.Conv2d(channels, width, 1, bias=False)
        self.bn1 = make_norm(norm, width, groups)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.bn2 = make_norm(norm, width, groups)
        self.conv3 = nn.Conv2d(width, out, 1, bias=False)
        self.bn3 = make_norm(norm, out, groups)
        self.downsample: nn.Sequential | None = None
        if stride != 1 or channels != out:
            conv = nn.Conv2d(channels, out, 1, stride, bias=False)
            self.downsample = nn.Sequential(conv, make_norm(norm, out, groups))

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels, H, W) -> (B, 4 width, H / stride, W / stride)."""
        y = F.relu(conv_norm(self.conv1, self.bn1, x))
        y = F.relu(conv_norm(self.conv2, self.bn2, y))
        y = conv_norm(self.conv3, self.bn3, y)
        if self.downsample is not None:
            conv, norm = self.downsample
            assert isinstance(conv, nn.Conv2d)
            x = conv_norm(conv, norm, x)
        return F.relu(y + x)


class _Trunk(nn.Module):
    """Stem and four layers."""

    def __init__(self, config: DeticConfig) -> None:
        super().__init__()
        stem, norm, groups = config.resnet_stem_width, config.norm, config.norm_groups
        self.conv1 = nn.Conv2d(3, stem, 7, 2, 3, bias=False)
        self.bn1 = make_norm(norm, stem, groups)
        channels = stem
        for index, blocks in enumerate(config.resnet_blocks):
            width = stem * 2**index
            layer = nn.Sequential()
            for block in range(blocks):
                stride = 2 if index > 0 and block == 0 else 1
                layer.append(Bottleneck(channels, width, stride, norm, groups))
                channels = width * EXPANSION
            self.add_module(f"layer{index + 1}", layer)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        x = F.relu(conv_norm(self.conv1, self.bn1, x))
        x = F.max_pool2d(x, 3, 2, 1)
        outputs = []
        for name in ("layer1", "layer2", "layer3", "layer4"):
            x = self.get_submodule(name)(x)
            outputs.append(x)
        return tuple(outputs[1:])


class ResNet(nn.Module):
    """A ResNet that gives its maps of strides 8, 16 and 32.

    Args:
        config: of the detector; the fields ``resnet_*`` and ``norm*`` count.
    """

    def __init__(self, config: DeticConfig) -> None:
        super().__init__()
        self.base = _Trunk(config)
        self.channels = tuple(config.resnet_stem_width * EXPANSION * 2**index for index in (1, 2, 3))

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Normalized (B, 3, H, W), edges multiples of 32 -> three maps of ``channels``."""
        return self.base(x)
