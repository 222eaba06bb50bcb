"""The whole network, written plainly. Shapes: B batch, S clips, T frames, L positions, D width."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.naive.shape import HUGE, TOWERS, Shape

CONTEXT, VOCABULARY = 77, 49408
MLP_RATIO = 4
STEM_NAMES = {
    "vision": "rgbt_stem",
    "audio": "rgbt_stem",
    "depth": "depth_stem",
    "thermal": "rgbt_stem",
    "imu": "imu_stem",
}
PATCHES = {"vision": 16 * 16, "audio": 12 * 19, "depth": 14 * 14, "thermal": 14 * 14, "imu": 250}
SCALES = {"text": 1 / 0.07, "audio": 20.0, "depth": 5.0, "thermal": 10.0, "imu": 5.0}
CLIP_AXES = 5
"""Inputs with this many axes or more count clips of one item along axis 1."""


class DoubleFrames(nn.Module):
    """A still image (B, 3, H, W) becomes a video of two equal frames (B, 3, 2, H, W)."""

    def forward(self, x: Tensor) -> Tensor:
        return x if x.ndim == 5 else x.unsqueeze(2).repeat(1, 1, 2, 1, 1)


class VideoStem(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        convolution = nn.Conv3d(3, width, (2, 14, 14), (2, 14, 14), bias=False)
        self.proj = nn.Sequential(DoubleFrames(), convolution)

    def forward(self, x: Tensor) -> Tensor:
        return self.proj(x).flatten(2).transpose(1, 2)


class PictureStem(nn.Module):
    def __init__(self, width: int, stride: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(1, width, 16, stride, bias=False)
        self.norm_layer = nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm_layer(self.proj(x).flatten(2).transpose(1, 2))


class MotionStem(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.proj = nn.Linear(6 * 8, width, bias=False)
        self.norm_layer = nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        windows = x.unfold(-1, 8, 8).permute(0, 2, 1, 3).flatten(2)
        return self.norm_layer(self.proj(windows))


def build_stem(tower: str, width: int) -> nn.Module:
    if tower == "vision":
        return VideoStem(width)
    return MotionStem(width) if tower == "imu" else PictureStem(width, 10 if tower == "audio" else 16)


class Positions(nn.Module):
    def __init__(self, length: int, width: int) -> None:
        super().__init__()
        self.pos_embed = nn.Parameter(torch.zeros(1, length, width))


class PatchPreprocessor(nn.Module):
    """Stem, class token, positions."""

    def __init__(self, tower: str, width: int) -> None:
        super().__init__()
        self.stem_name = STEM_NAMES[tower]
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.add_module(self.stem_name, build_stem(tower, width))
        if tower == "imu":
            self.pos_embed = nn.Parameter(torch.zeros(1, 1 + PATCHES[tower], width))
        else:
            self.pos_embedding_helper = Positions(1 + PATCHES[tower], width)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.get_submodule(self.stem_name)(x)
        tokens = torch.cat([self.cls_token.expand(len(tokens), -1, -1), tokens], dim=1)
        positions = self if hasattr(self, "pos_embed") else self.pos_embedding_helper
        return tokens + positions.pos_embed


class TextPreprocessor(nn.Module):
    """Token and position embeddings, and the causal mask of all 77 positions."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.token_embedding = nn.Embedding(VOCABULARY, width)
        self.pos_embed = nn.Parameter(torch.zeros(1, CONTEXT, width))
        self.register_buffer("mask", torch.full((CONTEXT, CONTEXT), float("-inf")).triu(1))

    def forward(self, x: Tensor) -> Tensor:
        return self.token_embedding(x) + self.pos_embed


class MLP(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, MLP_RATIO * width)
        self.fc2 = nn.Linear(MLP_RATIO * width, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(x)))


class Block(nn.Module):
    def __init__(self, width: int, heads: int, extra_key: bool) -> None:
        super().__init__()
        self.attn = nn.MultiheadAttention(width, heads, add_bias_kv=extra_key, batch_first=True)
        self.mlp = MLP(width)
        self.norm_1 = nn.LayerNorm(width, eps=1e-6)
        self.norm_2 = nn.LayerNorm(width, eps=1e-6)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        y = self.norm_1(x)
        x = x + self.attn(y, y, y, need_weights=False, attn_mask=mask)[0]
        return x + self.mlp(self.norm_2(x))


class Trunk(nn.Module):
    def __init__(self, tower: str, width: int, blocks: int, heads: int) -> None:
        super().__init__()
        norm = nn.LayerNorm(width, eps=1e-6) if tower == "vision" else nn.Identity()
        self.pre_transformer_layer = nn.Sequential(norm)
        self.blocks = nn.ModuleList(
            Block(width, heads, extra_key=tower not in ("vision", "text")) for _ in range(blocks)
        )

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        x = self.pre_transformer_layer(x)
        for block in self.blocks:
            x = block(x, mask)
        return x


class ClassToken(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x[:, 0]


class TextHead(nn.Module):
    def __init__(self, width: int, embed_dim: int) -> None:
        super().__init__()
        self.proj = nn.Sequential(nn.LayerNorm(width, eps=1e-6), nn.Linear(width, embed_dim, bias=False))

    def forward(self, x: Tensor, ids: Tensor) -> Tensor:
        return self.proj(x[torch.arange(len(x)), ids.argmax(dim=-1)])


def build_head(tower: str, width: int, embed_dim: int) -> nn.Module:
    if tower == "text":
        return TextHead(width, embed_dim)
    layers = [nn.LayerNorm(width, eps=1e-6), ClassToken(), nn.Linear(width, embed_dim, bias=False)]
    if tower == "imu":
        layers.insert(2, nn.Dropout(0.5))
    return nn.Sequential(*layers)


class Unit(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return F.normalize(x, dim=-1)


class Scale(nn.Module):
    def __init__(self, scale: float, learned: bool) -> None:
        super().__init__()
        self.log_logit_scale = nn.Parameter(torch.tensor(math.log(scale)), requires_grad=learned)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.log_logit_scale.exp().clip(max=100)


def initialize(module: nn.Module) -> None:
    """Linear layers as vision transformers have them. Source: arXiv 2010.11929 and its successors."""
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


class NaiveImageBind(nn.Module):
    """Six randomly initialized towers; ``forward`` takes and returns a dict by tower name.

    Tensors carry the official checkpoint's names, so that ``load_state_dict`` takes it as it is.

    Args:
        shape: its sizes.
        towers: which towers to build. The straightforward way builds all; the benchmarks of one tower's
            throughput spare the memory of the others.
    """

    def __init__(self, shape: Shape = HUGE, towers: Collection[str] = TOWERS) -> None:
        super().__init__()
        self.modality_preprocessors = nn.ModuleDict()
        self.modality_trunks = nn.ModuleDict()
        self.modality_heads = nn.ModuleDict()
        self.modality_postprocessors = nn.ModuleDict()
        for tower in towers:
            width, blocks, heads = shape.towers[tower]
            start = TextPreprocessor(width) if tower == "text" else PatchPreprocessor(tower, width)
            self.modality_preprocessors[tower] = start
            self.modality_trunks[tower] = Trunk(tower, width, blocks, heads)
            self.modality_heads[tower] = build_head(tower, width, shape.embed_dim)
            scale = [Scale(SCALES[tower], tower == "text")] if tower in SCALES else []
            self.modality_postprocessors[tower] = nn.Sequential(Unit(), *scale)
        for name, parameter in self.named_parameters():
            if name.endswith(("pos_embed", "cls_token")):
                nn.init.trunc_normal_(parameter, std=0.02)
        self.apply(initialize)

    def forward(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {tower: self._embed(tower, x) for tower, x in inputs.items()}

    def _embed(self, tower: str, x: Tensor) -> Tensor:
        clips = x.shape[1] if x.ndim >= CLIP_AXES else 0
        if clips:
            x = x.flatten(0, 1)
        start = self.modality_preprocessors[tower]
        tokens = self.modality_trunks[tower](start(x), start.mask if tower == "text" else None)
        head = self.modality_heads[tower]
        raw = head(tokens, x) if tower == "text" else head(tokens)
        scaled = self.modality_postprocessors[tower](raw)
        return scaled.unflatten(0, (-1, clips)).mean(1) if clips else scaled
