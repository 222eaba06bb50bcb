"""The six towers. Shapes: B batch, L positions, D width, E embedding."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from bindplug.imagebind.config import IMU_CHANNELS, ImageBindConfig
from bindplug.imagebind.inference_blocks import InferenceBlock
from bindplug.imagebind.layers import BLOCK_EPS, STEM_EPS, Block, Head, is_tracing


@dataclass(frozen=True)
class Traits:
    """What sets a tower apart besides its size. Source: ImageBind's published network.

    Args:
        channels: channels of the input.
        scale: multiplier of unit embeddings in the official output; 0 where it is learned (text).
        stem_norm: whether a LayerNorm follows the patch projection.
        pre_norm: whether a LayerNorm precedes the blocks.
        extra_key: whether attention has a learned extra key and value.
        head_dropout: dropout before the head's projection, in training.
    """

    channels: int
    scale: float
    stem_norm: bool = True
    pre_norm: bool = False
    extra_key: bool = True
    head_dropout: float = 0.0


TRAITS = {
    "vision": Traits(3, 1.0, stem_norm=False, pre_norm=True, extra_key=False),
    "text": Traits(0, 0.0, stem_norm=False, extra_key=False),
    "audio": Traits(1, 20.0),
    "depth": Traits(1, 5.0),
    "thermal": Traits(1, 10.0),
    "imu": Traits(IMU_CHANNELS, 5.0, head_dropout=0.5),
}


HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
"""Where :class:`torch.nn.Module` keeps hooks."""


class Stem(nn.Module):
    """Patches to tokens: a bias-free projection, and a LayerNorm where the tower has one."""

    def __init__(self, proj: nn.Module, norm: nn.LayerNorm | None) -> None:
        super().__init__()
        self.proj = proj
        self.norm = norm

    def forward(self, x: Tensor) -> tuple[Tensor, tuple[int, ...]]:
        """One clip a row -> tokens (B, patches, D) and the grid they stand in."""
        patches = self.project(x)
        tokens = patches.flatten(2).transpose(1, 2)  # (B, D, *grid) -> (B, patches, D)
        return (tokens if self.norm is None else self.norm(tokens)), tuple(patches.shape[2:])

    def project(self, x: Tensor) -> Tensor:
        """(B, C, *size) -> (B, D, *grid)."""
        projected: Tensor = self.proj(x)
        return projected


class VideoStem(Stem):
    """A Conv3d over clips; a still's equal frames make it a Conv2d with the weights summed over time."""

    def __init__(self, proj: nn.Module, norm: nn.LayerNorm | None, frames: int) -> None:
        super().__init__(proj, norm)
        self.frames = frames

    def project(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) stills or (B, 3, T, H, W) clips -> (B, D, 1, rows, columns)."""
        if x.ndim == 5 and x.shape[2] > 1:
            return super().project(x)
        still = x if x.ndim == 4 else x[:, :, 0]
        if type(self.proj) is nn.Conv3d:
            projected = F.conv2d(still, self.proj.weight.sum(2), stride=self.proj.stride[1:])
            return projected.unsqueeze(2)  # (B, D, rows, columns) -> (B, D, 1, rows, columns)
        # What wraps the convolution, such as a LoRA adapter, has more than its weight: call it on whole clips.
        return super().project(still.unsqueeze(2).expand(-1, -1, self.frames, -1, -1))


class WindowStem(Stem):
    """Windows of consecutive IMU steps, channel-major within a window, projected."""

    def __init__(self, proj: nn.Module, norm: nn.LayerNorm | None, window: int) -> None:
        super().__init__(proj, norm)
        self.window = window

    def project(self, x: Tensor) -> Tensor:
        """(B, 6, steps) -> (B, D, steps // window)."""
        # (B, 6, steps) -> (B, 6, windows, window) -> (B, windows, 6 * window)
        count = x.shape[-1] // self.window
        windows = x[..., : count * self.window].unflatten(-1, (count, self.window)).transpose(1, 2).flatten(2)
        return super().project(windows).transpose(1, 2)


def _stem(name: str, config: ImageBindConfig) -> Stem:
    shape, traits = config.tower(name), TRAITS[name]
    norm = nn.LayerNorm(shape.width, eps=STEM_EPS) if traits.stem_norm else None
    if name == "imu":
        window = shape.kernel[0]
        return WindowStem(nn.Linear(traits.channels * window, shape.width, bias=False), norm, window)
    if name == "vision":
        frames, rows, columns = shape.kernel
        patch = (frames, rows, columns)
        return VideoStem(nn.Conv3d(traits.channels, shape.width, patch, patch, bias=False), norm, frames)
    (rows, columns), (down, right) = shape.kernel, shape.stride
    return Stem(nn.Conv2d(traits.channels, shape.width, (rows, columns), (down, right), bias=False), norm)


class Tower(nn.Module):
    """Tokens, blocks, and the head on one token.

    Args:
        name: one of the six towers.
        config: the network the tower belongs to.

    Attributes:
        gradient_checkpointing: whether training keeps the inputs of blocks only and computes the rest of a block
            again in the backward pass: less memory for about a third more time.
    """

    log_scale: Tensor | None

    def __init__(self, name: str, config: ImageBindConfig) -> None:
        super().__init__()
        shape, traits = config.tower(name), TRAITS[name]
        self.name = name
        self.gradient_checkpointing = False
        self.pos_embed = nn.Parameter(torch.empty(1, config.positions(name), shape.width))
        self.pre_norm = nn.LayerNorm(shape.width, eps=BLOCK_EPS) if traits.pre_norm else None
        self.blocks = nn.ModuleList(
            Block(shape.width, shape.heads, extra_key=traits.extra_key, drop_path=rate)
            for rate in _drop_path_rates(shape.drop_path, shape.blocks)
        )
        self.head = Head(shape.width, config.embed_dim, kind=shape.head, dropout=traits.head_dropout)
        # Vision's scale is 1 and text's is learned, a parameter of the whole model.
        log_scale = torch.tensor(math.log(traits.scale)) if traits.scale not in (0.0, 1.0) else None
        self.register_buffer("log_scale", log_scale)

    @property
    def dtype(self) -> torch.dtype:
        """The dtype that inputs are cast to."""
        return self.pos_embed.dtype

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Tower:
        # Every block may refuse before any tensor is changed.
        for block in self.blocks:
            if isinstance(block, InferenceBlock):
                block.refuse_conversion(fn)
        return super()._apply(fn, recurse)

    def forward(self, x: Tensor) -> Tensor:
        """One clip a row -> (B, E), the head's raw output."""
        raise NotImplementedError

    def _run_blocks(self, tokens: Tensor, position: Tensor | None = None, *, causal: bool = False) -> Tensor:
        """(B, L, D) through every block -> (B, D), the last block's output at one position a row."""
        *earlier, last = self.blocks
        for block in earlier:
            tokens = self.run_block(block, tokens, causal=causal)
        if _is_observed(last):
            tokens = self.run_block(last, tokens, causal=causal)
            if position is None:
                return tokens[:, 0]
            return tokens[torch.arange(tokens.shape[0], device=tokens.device), position]
        output: Tensor = self.run_block(last.forward_one, tokens, position)
        return output

    def run_block(self, block: Any, *args: Any, **kwargs: Any) -> Any:
        """Call a block, or a method of one, so that :attr:`gradient_checkpointing` is honored."""
        if self.gradient_checkpointing and self.training and torch.is_grad_enabled():
            return checkpoint(block, *args, use_reentrant=False, **kwargs)
        return block(*args, **kwargs)


def _is_observed(block: nn.Module) -> bool:
    """Whether someone relies on a block being called as a module: it is wrapped, or it or a part of it has hooks.

    Hooks, as Grad-CAM's, then see every position. Packed blocks compute one position only.
    """
    if isinstance(block, InferenceBlock):
        return False
    if type(block) is not Block or "forward" in vars(block):
        return True
    return any(getattr(module, hooks) for module in block.modules() for hooks in HOOKS)


class PatchTower(Tower):
    """A tower of patches behind a class token: every one but text."""

    def __init__(self, name: str, config: ImageBindConfig) -> None:
        super().__init__(name, config)
        self.grid = config.grid(name)
        self.stem = _stem(name, config)
        self.cls_token = nn.Parameter(torch.empty(1, 1, config.tower(name).width))

    def embed_tokens(self, x: Tensor) -> Tensor:
        """One clip a row -> (B, 1 + patches, D) with positions added."""
        tokens, grid = self.stem(x.to(self.dtype))
        # (1, 1, D) -> (B, 1, D), in front of (B, patches, D)
        cls_token = self.cls_token.to(tokens.dtype).expand(tokens.shape[0], -1, -1)
        tokens = torch.cat((cls_token, tokens), dim=1) + self.positions(grid)
        return tokens if self.pre_norm is None else self.pre_norm(tokens)

    def positions(self, grid: tuple[int, ...]) -> Tensor:
        """Position embeddings of a grid, (1, 1 + patches, D); interpolated for another image size."""
        if grid == self.grid:
            return self.pos_embed
        # (1, patches, D) -> (1, D, rows, columns)
        learned = self.pos_embed[:, 1:].transpose(1, 2).unflatten(2, self.grid[-2:]).float()
        resized = F.interpolate(learned, size=grid[-2:], mode="bicubic", align_corners=False)
        patches = resized.flatten(2).transpose(1, 2).to(self.dtype)
        return torch.cat((self.pos_embed[:, :1], patches), dim=1)

    def forward(self, x: Tensor) -> Tensor:
        """One clip a row -> (B, E), the head's raw output.

        Args:
            x: vision (B, 3, H, W) or (B, 3, T, H, W); audio, depth, thermal (B, 1, H, W); IMU (B, 6, steps).
        """
        return self.head(self._run_blocks(self.embed_tokens(x)))


class TextTower(Tower):
    """A causal tower read at the end-of-text token."""

    def __init__(self, name: str, config: ImageBindConfig) -> None:
        super().__init__(name, config)
        # nn.Embedding() would draw random numbers, which on the meta device imports torch's compiler.
        table = torch.empty(config.vocab_size, config.text.width)
        self.token_embedding = nn.Embedding.from_pretrained(table, freeze=False)

    def embed_tokens(self, x: Tensor) -> Tensor:
        """Token ids (B, L) -> (B, L, D) with positions added."""
        tokens: Tensor = self.token_embedding(x)
        return tokens + self.pos_embed[:, : x.shape[1]]

    def forward(self, x: Tensor) -> Tensor:
        """Token ids (B, L) -> (B, E), the head's raw output.

        Positions after the last end-of-text token cannot influence it, so they are not computed.
        """
        end = x.argmax(dim=-1)
        if not is_tracing() and x.shape[0]:
            x = x[:, : int(end.max()) + 1]
        return self.head(self._run_blocks(self.embed_tokens(x), end, causal=True))


def build_tower(name: str, config: ImageBindConfig) -> Tower:
    """The tower of that name, uninitialized."""
    return TextTower(name, config) if name == "text" else PatchTower(name, config)


def _drop_path_rates(rate: float, blocks: int) -> list[float]:
    """Stochastic-depth rates from 0 in the first block to ``rate`` in the last. Source: arXiv 1603.09382."""
    return [rate * index / max(blocks - 1, 1) for index in range(blocks)]
