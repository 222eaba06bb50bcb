"""Towers run over every token up to the end, for callers that read hidden states.

The towers themselves compute the last block for one token alone. B batch, L tokens, D width, E embedding.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from bindplug.imagebind import PatchTower, TextTower


class FullPass(NamedTuple):
    """What a tower computes.

    Attributes:
        rows: (B, E), the head's raw output.
        last: (B, L, D), the last block's output; text's with the head's norm applied, as CLIP has it.
        states: (B, L, D) before the first block and after every block.
    """

    rows: Tensor
    last: Tensor
    states: tuple[Tensor, ...]


def full_image_pass(tower: PatchTower, x: Tensor) -> FullPass:
    """Images (B, 3, H, W) through every block, all tokens."""
    states = [tower.embed_tokens(x)]
    for block in tower.blocks:
        states.append(block(states[-1]))
    return FullPass(tower.head(states[-1][:, 0]), states[-1], tuple(states))


def full_text_pass(tower: TextTower, x: Tensor) -> FullPass:
    """Token ids (B, L) through every block, all tokens."""
    states = [tower.embed_tokens(x)]
    for block in tower.blocks:
        states.append(block(states[-1], causal=True))
    ends = states[-1][torch.arange(len(x), device=x.device), x.argmax(dim=-1)]
    return FullPass(tower.head(ends), tower.head.norm(states[-1]), tuple(states))
