"""Towers run over every token up to the end, for callers that read hidden states or attention weights.

The towers themselves compute the last block for one token only. B batch, L tokens, D width, H heads, E embedding.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from bindplug.imagebind import PatchTower, TextTower, Tower


class FullPass(NamedTuple):
    """What a tower computes.

    Attributes:
        rows: (B, E), the head's raw output.
        pooled: (B, D), the token that ``rows`` are projected from, after the head's norm.
        last: (B, L, D), the last block's output; text's with the head's norm applied, as CLIP has it.
        states: (B, L, D) before the first block and after every block.
        attentions: (B, H, L, L) of every block; None where they were not requested.
    """

    rows: Tensor
    pooled: Tensor
    last: Tensor
    states: tuple[Tensor, ...]
    attentions: tuple[Tensor, ...] | None


def full_image_pass(tower: PatchTower, x: Tensor, *, attentions: bool = False) -> FullPass:
    """Images (B, 3, H, W) through every block, all tokens."""
    states, weights = _run(tower, tower.embed_tokens(x), causal=False, attentions=attentions)
    pooled = tower.head.pool(states[-1][:, 0])
    return FullPass(tower.head.proj(pooled), pooled, states[-1], states, weights)


def full_text_pass(tower: TextTower, x: Tensor, *, attentions: bool = False) -> FullPass:
    """Token ids (B, L) through every block, all tokens."""
    states, weights = _run(tower, tower.embed_tokens(x), causal=True, attentions=attentions)
    # The state at the end-of-text token: (B, L, D) -> (B, D)
    ends = states[-1][torch.arange(x.shape[0], device=x.device), x.argmax(dim=-1)]
    pooled = tower.head.pool(ends)
    return FullPass(tower.head.proj(pooled), pooled, tower.head.norm(states[-1]), states, weights)


def _run(
    tower: Tower, tokens: Tensor, *, causal: bool, attentions: bool
) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...] | None]:
    states, weights = [tokens], []
    for block in tower.blocks:
        if attentions:
            tokens, own = tower.run_block(block.forward_with_weights, tokens, causal=causal)
            weights.append(own)
        else:
            tokens = tower.run_block(block, tokens, causal=causal)
        states.append(tokens)
    return tuple(states), tuple(weights) if attentions else None
