"""A Swin transformer: attention within windows that shift from block to block."""

from __future__ import annotations

from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bindplug_detic.config import DeticConfig

MASKED = -100.0
"""Added to the attention logit of tokens that a roll brought side by side. Source: arXiv 2103.14030."""

PATCH = 4
MLP_RATIO = 4


@lru_cache(maxsize=8)
@torch.inference_mode(False)  # the cached tensor must work in training as well
def relative_position_index(window: int, device: torch.device | None = None) -> Tensor:
    """Row of the bias table for each pair of tokens of a window: (window^2, window^2) int64, query first."""
    axis = torch.arange(window, device=device or "cpu")
    y, x = (part.flatten() for part in torch.meshgrid(axis, axis, indexing="ij"))
    rows = y[:, None] - y[None] + window - 1
    columns = x[:, None] - x[None] + window - 1
    return rows * (2 * window - 1) + columns


def shift_mask(height: int, width: int, window: int, like: Tensor) -> Tensor:
    """What rolled windows add to their logits: (windows, window^2, window^2), 0 or :data:`MASKED`.

    Args:
        height, width: of the padded map, multiples of ``window``.
        window: tokens along a window's edge.
        like: a tensor of the device and dtype to return.
    """

    def regions(size: int) -> Tensor:
        position = torch.arange(size, device=like.device)
        return (position >= size - window).long() + (position >= size - window // 2).long()

    labels = regions(height)[:, None] * 3 + regions(width)[None]
    labels = to_windows(labels[None, ..., None], window).squeeze(-1)  # (H, W) -> (windows, window^2)
    return (labels[:, :, None] != labels[:, None]).to(like.dtype) * MASKED


def to_windows(x: Tensor, window: int) -> Tensor:
    """(B, H, W, C) -> (B windows, window^2, C), windows row by row within an image."""
    B, H, W, C = x.shape
    # (B, H, W, C) -> (B, rows, window, columns, window, C) -> (B * rows * columns, window^2, C)
    x = x.view(B, H // window, window, W // window, window, C)
    return x.transpose(2, 3).reshape(-1, window * window, C)


def from_windows(x: Tensor, window: int, height: int, width: int) -> Tensor:
    """The inverse of :func:`to_windows`."""
    C = x.shape[-1]
    x = x.view(-1, height // window, width // window, window, window, C)
    return x.transpose(2, 3).reshape(-1, height, width, C)


class WindowAttention(nn.Module):
    """Attention among the tokens of a window, with a learned bias for their relative position."""

    def __init__(self, width: int, heads: int, window: int) -> None:
        super().__init__()
        self.heads, self.window = heads, window
        self.relative_position_bias_table = nn.Parameter(torch.zeros((2 * window - 1) ** 2, heads))
        nn.init.trunc_normal_(self.relative_position_bias_table, std=0.02)
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def bias(self) -> Tensor:
        """(1, heads, window^2, window^2)."""
        index = relative_position_index(self.window, self.relative_position_bias_table.device)
        return self.relative_position_bias_table[index].permute(2, 0, 1)[None].contiguous()

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """(windows, window^2, C) with a mask (windows of one image, window^2, window^2) -> the same shape."""
        N, T, C = x.shape
        # (N, T, 3C) -> three of (N, heads, T, C / heads)
        q, k, v = self.qkv(x).view(N, T, 3, self.heads, C // self.heads).permute(2, 0, 3, 1, 4)
        bias = self.bias()
        if mask is not None:
            bias = (bias + mask[:, None]).repeat(N // len(mask), 1, 1, 1)
        x = F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
        return self.proj(x.transpose(1, 2).reshape(N, T, C))  # (N, heads, T, C / heads) -> (N, T, C)


class Mlp(nn.Module):
    """Two linear layers with a GELU between."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, width * MLP_RATIO)
        self.fc2 = nn.Linear(width * MLP_RATIO, width)

    def forward(self, x: Tensor) -> Tensor:
        """(..., width) in and out."""
        return self.fc2(F.gelu(self.fc1(x)))


class Block(nn.Module):
    """Window attention and an MLP, each after a layer norm and beside a shortcut."""

    def __init__(self, width: int, heads: int, window: int, shifted: bool) -> None:
        super().__init__()
        self.window, self.shift = window, window // 2 if shifted else 0
        self.norm1 = nn.LayerNorm(width)
        self.attn = WindowAttention(width, heads, window)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = Mlp(width)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """(B, H, W, C) and the stage's shift mask -> the same shape."""
        x = x + self._attend(self.norm1(x), mask)
        return x + self.mlp(self.norm2(x))

    def _attend(self, x: Tensor, mask: Tensor) -> Tensor:
        _, H, W, _ = x.shape
        # padding comes after the norm, so a padding token's key and value are the biases of qkv
        x = F.pad(x, (0, 0, 0, -W % self.window, 0, -H % self.window))
        padded = x.shape[1:3]
        if self.shift:
            x = x.roll((-self.shift, -self.shift), (1, 2))
        x = self.attn(to_windows(x, self.window), mask if self.shift else None)
        x = from_windows(x, self.window, *padded)
        if self.shift:
            x = x.roll((self.shift, self.shift), (1, 2))
        return x[:, :H, :W]


class PatchMerging(nn.Module):
    """Four neighboring tokens become one of twice the width."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.reduction = nn.Linear(4 * width, 2 * width, bias=False)
        self.norm = nn.LayerNorm(4 * width)

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, H / 2, W / 2, 2 C); odd edges are padded with zeros."""
        x = F.pad(x, (0, 0, 0, x.shape[2] % 2, 0, x.shape[1] % 2))
        corners = [x[:, row::2, column::2] for row, column in ((0, 0), (1, 0), (0, 1), (1, 1))]
        return self.reduction(self.norm(torch.cat(corners, -1)))


class Stage(nn.Module):
    """Blocks of one width, and the merging that leads to the next stage."""

    def __init__(self, width: int, depth: int, heads: int, window: int, merges: bool) -> None:
        super().__init__()
        self.window = window
        self.blocks = nn.ModuleList(Block(width, heads, window, index % 2 == 1) for index in range(depth))
        self.downsample = PatchMerging(width) if merges else None

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(B, H, W, C) -> this stage's map, and the next stage's input."""
        _, H, W, _ = x.shape
        mask = shift_mask(H + -H % self.window, W + -W % self.window, self.window, x)
        for block in self.blocks:
            x = block(x, mask)
        return x, x if self.downsample is None else self.downsample(x)


class PatchEmbedding(nn.Module):
    """4x4 pixels become a token."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, width, PATCH, PATCH)
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, H / 4, W / 4, width)."""
        return self.norm(self.proj(x).permute(0, 2, 3, 1))


class Swin(nn.Module):
    """A Swin transformer that gives its maps of strides 8, 16 and 32.

    Args:
        config: of the detector; the fields ``swin_*`` count.
    """

    def __init__(self, config: DeticConfig) -> None:
        super().__init__()
        widths = [config.swin_width * 2**index for index in range(4)]
        self.channels = tuple(widths[1:])
        self.patch_embed = PatchEmbedding(widths[0])
        self.layers = nn.ModuleList(
            Stage(width, depth, heads, config.swin_window, merges=index < 3)
            for index, (width, depth, heads) in enumerate(
                zip(widths, config.swin_depths, config.swin_heads, strict=True)
            )
        )
        for index in (1, 2, 3):
            self.add_module(f"norm{index}", nn.LayerNorm(widths[index]))

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Normalized (B, 3, H, W), edges multiples of 32 -> three maps of ``channels``."""
        x = self.patch_embed(x)
        maps = []
        for index, stage in enumerate(self.layers):
            feature_map, x = stage(x)
            if index:
                # (B, H, W, C) -> (B, C, H, W)
                maps.append(self.get_submodule(f"norm{index}")(feature_map).permute(0, 3, 1, 2))
        return tuple(maps)
