"""Optimizer groups and the learning-rate schedule."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from torch import Tensor


def warmup_cosine(step: int, *, total_steps: int, warmup_steps: int) -> float:
    """Factor on the peak learning rate at ``step`` (counted from 0): linear warm-up, then cosine to zero."""
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    progress = (step - warmup_steps) / max(1, total_steps - warmup_steps)
    return 0.5 * (1.0 + math.cos(math.pi * min(1.0, progress)))


def parameter_groups(named: Iterable[tuple[str, Tensor]], weight_decay: float) -> list[dict[str, Any]]:
    """AdamW's two groups: matrices and kernels decay; biases, norms, tokens, positions and scales do not."""
    decayed: list[Tensor] = []
    free: list[Tensor] = []
    for name, parameter in named:
        if not parameter.requires_grad:
            continue
        is_matrix = parameter.ndim >= 2 and not any(
            part in name
            for part in (
                "pos_embed",
                "positional_embedding",
                "cls_token",
                "bias_k",
                "bias_v",
                "token_embedding",
            )
        )
        (decayed if is_matrix else free).append(parameter)
    return [{"params": decayed, "weight_decay": weight_decay}, {"params": free, "weight_decay": 0.0}]
