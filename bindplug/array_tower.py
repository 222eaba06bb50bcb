"""A small convolutional tower for senses of one's own, whose samples are arrays of one shape.

tower = ArrayTower((256,), embed_dim=512)       # a signal of 256 numbers
tower = ArrayTower((64, 64), embed_dim=512)     # a map
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["ArrayTower"]

MOST_CHANNELS = 16
"""Of two axes the first counts as channels of a signal if it is no longer than this and much shorter than the other."""

MOST_SIZE = 1 << 16
"""Longest axis and widest layer of a stored description."""

GROUPS = 8


class ArrayTower(nn.Module):
    """Arrays (B, *shape) to rows (B, embed_dim): strided convolutions, a mean over what is left, and a linear head.

    Args:
        shape: of one sample: a signal (L,) or (C, L) of at most 16 channels, a map (H, W), or (C, H, W).
        embed_dim: width of a row.
        width: channels of the last layers; a multiple of 16.
        blocks: convolutions of stride 2, at least 1.

    Attributes:
        mean, std: of the training samples' numbers, which inputs are normalized by.

    Raises:
        ValueError: the shape has no or more than three axes, or a size is out of range.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, shape: Sequence[int], embed_dim: int, *, width: int = 128, blocks: int = 4) -> None:
        super().__init__()
        self.shape = tuple(int(size) for size in shape)
        sizes = (*self.shape, embed_dim, width)
        if not 1 <= len(self.shape) <= 3 or min(sizes) < 1 or max(sizes) > MOST_SIZE:
            raise ValueError(
                f"arrays of shape {self.shape} to rows of {embed_dim}: expected one to three axes"
            )
        if width % 16 or not 1 <= blocks <= 16:
            raise ValueError(f"width {width} must be a multiple of 16, and blocks {blocks} from 1 to 16")
        self.embed_dim, self.width, self.blocks = embed_dim, width, blocks
        *_, last = self.shape
        has_channels = len(self.shape) == 3 or (
            len(self.shape) == 2 and self.shape[0] <= MOST_CHANNELS and last > 4 * self.shape[0]
        )
        self.has_channels = has_channels
        extents = self.shape[1:] if has_channels else self.shape
        convolution: type[nn.Conv1d] | type[nn.Conv2d] = nn.Conv1d if len(extents) == 1 else nn.Conv2d
        kernel = 7 if len(extents) == 1 else 3
        layers: list[nn.Module] = []
        channels = self.shape[0] if has_channels else 1
        for index in range(blocks):
            out = max(16, width >> max(0, blocks - 2 - index))
            layers += [
                convolution(channels, out, kernel, stride=2, padding=kernel // 2),
                nn.GroupNorm(GROUPS, out),
                nn.GELU(),
            ]
            channels = out
        self.layers = nn.Sequential(*layers)
        # A few positions stay apart, for when something happens may matter.
        self.pool: nn.Module = nn.AdaptiveAvgPool1d(4) if len(extents) == 1 else nn.AdaptiveAvgPool2d(2)
        self.head = nn.Linear(4 * channels, embed_dim)
        self.register_buffer("mean", torch.zeros(()))
        self.register_buffer("std", torch.ones(()))

    def fit_normalization(self, samples: Tensor) -> None:
        """Set mean and standard deviation from samples (N, *shape)."""
        self.mean.fill_(float(samples.double().mean()))
        self.std.fill_(max(float(samples.double().std()), 1e-6) if samples.numel() > 1 else 1.0)

    def forward(self, x: Tensor) -> Tensor:
        """(B, *shape) -> (B, embed_dim)."""
        x = (x.to(self.head.weight.dtype) - self.mean) / self.std
        if not self.has_channels:
            x = x.unsqueeze(1)  # (B, ...) -> (B, 1, ...)
        pooled = self.pool(self.layers(x))  # (B, C, 4) or (B, C, 2, 2)
        rows: Tensor = self.head(pooled.flatten(1))
        return rows

    def to_dict(self) -> dict[str, Any]:
        """What :meth:`from_dict` builds the same network from, ready for JSON."""
        return {
            "shape": list(self.shape), "embed_dim": self.embed_dim, "width": self.width, "blocks": self.blocks
        }  # fmt: skip

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ArrayTower:
        """The network of a stored description, without its weights.

        Raises:
            ValueError: the description is damaged.
        """
        shape = values.get("shape")
        numbers = [values.get(name) for name in ("embed_dim", "width", "blocks")]
        whole = [*numbers, *(shape if isinstance(shape, list) else [None])]
        if any(isinstance(n, bool) or not isinstance(n, int) for n in whole) or not isinstance(shape, list):
            raise ValueError(f"no array tower has {str(dict(values))[:120]}")
        if math.prod(shape) > MOST_SIZE**2:
            raise ValueError(f"no array has the shape {shape}")
        return cls(shape, values["embed_dim"], width=values["width"], blocks=values["blocks"])
