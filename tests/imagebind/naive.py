"""The towers again without any shortcut: every position, every query, every frame, plain softmax attention."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from bindplug.imagebind.layers import Block
from bindplug.imagebind.towers import PatchTower, TextTower, Tower


def naive_block(block: Block, x: Tensor, *, causal: bool) -> Tensor:
    normed = block.norm_1(x)
    batch, length, width = x.shape
    attn = block.attn
    q, k, v = (
        F.linear(normed, layer.weight, layer.bias) for layer in (attn.q_proj, attn.k_proj, attn.v_proj)
    )
    if attn.bias_k is not None:
        k = torch.cat([k, attn.bias_k.expand(batch, 1, width)], dim=1)
        v = torch.cat([v, attn.bias_v.expand(batch, 1, width)], dim=1)

    def split(t: Tensor) -> Tensor:
        return t.reshape(batch, -1, attn.heads, width // attn.heads).permute(0, 2, 1, 3)

    scores = split(q) @ split(k).transpose(-1, -2) / math.sqrt(width // attn.heads)
    if causal:
        scores = scores + torch.full((length, length), float("-inf"), dtype=x.dtype).triu(1)
    out = (scores.softmax(dim=-1) @ split(v)).permute(0, 2, 1, 3).reshape(batch, length, width)
    x = x + attn.out_proj(out)
    return x + block.mlp.fc2(F.gelu(block.mlp.fc1(block.norm_2(x))))


def naive_tower(tower: Tower, x: Tensor) -> Tensor:
    """Raw rows of one clip each, by the long way."""
    causal = isinstance(tower, TextTower)
    if isinstance(tower, TextTower):
        tokens, position = tower.token_embedding(x) + tower.pos_embed, x.argmax(-1)
    else:
        assert isinstance(tower, PatchTower)
        tokens, position = naive_tokens(tower, x), torch.zeros(len(x), dtype=torch.long)
    for block in tower.blocks:
        tokens = naive_block(block, tokens, causal=causal)
    normed = tower.head.norm(tokens)[torch.arange(len(x)), position]
    if tower.head.hidden is not None:
        normed = F.gelu(tower.head.hidden(normed))
    return tower.head.proj(normed)


def naive_tokens(tower: PatchTower, x: Tensor) -> Tensor:
    if tower.name == "vision":
        frames = tower.stem.proj.weight.shape[2]
        video = x if x.ndim == 5 else x[:, :, None].expand(-1, -1, frames, -1, -1)
        patches = tower.stem.proj(video).flatten(2).transpose(1, 2)
    elif tower.name == "imu":
        window = tower.stem.window
        pieces = x.reshape(len(x), 6, -1, window).permute(0, 2, 1, 3).reshape(len(x), -1, 6 * window)
        patches = tower.stem.norm(tower.stem.proj(pieces))
    else:
        patches = tower.stem.norm(tower.stem.proj(x).flatten(2).transpose(1, 2))
    tokens = torch.cat([tower.cls_token.expand(len(x), -1, -1), patches], dim=1) + tower.pos_embed
    return tokens if tower.pre_norm is None else tower.pre_norm(tokens)
