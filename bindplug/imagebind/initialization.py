"""Ordinary initialization, for training a tower from scratch."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from bindplug.imagebind.layers import Attention
from bindplug.imagebind.towers import TRAITS, PatchTower, Tower

STD = 0.02
"""Standard deviation of linear layers, tokens and positions. Source: arXiv 2010.11929 and its successors."""

TEXT_LOG_SCALE = math.log(1 / 0.07)
"""Where CLIP's learned log scale starts. Source: arXiv 2103.00020, 2.5."""


def initialize_tower(tower: Tower, generator: torch.Generator | None = None) -> None:
    """Fill every parameter and buffer of ``tower`` in place, reproducibly if a generator is given."""

    def normal(tensor: Tensor | None, std: float = STD) -> None:
        if tensor is not None:
            nn.init.trunc_normal_(tensor, std=std, a=-2 * std, b=2 * std, generator=generator)

    normal(tower.pos_embed)
    if isinstance(tower, PatchTower):
        normal(tower.cls_token)
    for module in tower.modules():
        if isinstance(module, nn.LayerNorm):
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Linear):
            normal(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, Attention):
            normal(module.bias_k)
            normal(module.bias_v)
        elif isinstance(module, nn.Embedding):
            normal(module.weight)
    # Projections in and out keep unit variance whatever the patch and the width.
    normal(tower.head.proj.weight, tower.head.proj.in_features**-0.5)
    if isinstance(tower, PatchTower):
        weight = tower.stem.proj.weight
        assert isinstance(weight, Tensor)
        normal(weight, weight[0].numel() ** -0.5)
    if tower.log_scale is not None:
        with torch.no_grad():
            tower.log_scale.fill_(math.log(TRAITS[tower.name].scale))
