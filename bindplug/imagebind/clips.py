"""Several clips of one item: fold them into the batch, embed equal ones once, and average."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor


def unit(rows: Tensor) -> Tensor:
    """Rows of unit length; half precision is normalized in float32."""
    if rows.dtype in (torch.float16, torch.bfloat16):
        return F.normalize(rows.float(), dim=-1).to(rows.dtype)
    return F.normalize(rows, dim=-1)


def embed_clips(embed: Callable[[Tensor], Tensor], x: Tensor, *, once: bool) -> Tensor:
    """Embed every clip of every item.

    A sound under two seconds gives three equal clips, and a square video equal crops: runs of equal clips
    are embedded once.

    Args:
        embed: (N, ...) -> (N, E).
        x: (B, S, ...).
        once: whether equal clips surely have equal embeddings (no dropout) and no gradient flows to ``x``.

    Returns:
        (B, S, E).
    """
    flat = x.flatten(0, 1)
    if once and x.shape[1] > 1 and not torch.compiler.is_compiling():
        first = torch.ones(x.shape[:2], dtype=torch.bool, device=x.device)
        first[:, 1:] = (x[:, 1:] != x[:, :-1]).flatten(2).any(-1)
        if not bool(first.all()):
            first = first.flatten()
            return embed(flat[first])[first.cumsum(0) - 1].unflatten(0, x.shape[:2])
    return embed(flat).unflatten(0, x.shape[:2])


def average_raw(clips: Tensor) -> Tensor:
    """One row an item from raw rows: the mean direction, at the clips' mean length. (B, S, E) -> (B, E)."""
    length = clips.norm(dim=-1, keepdim=True).mean(1)
    return unit(unit(clips).mean(1)) * length
