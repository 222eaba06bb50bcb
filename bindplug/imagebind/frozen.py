"""Blocks for inference alone, whose weights are kept in a form that a kernel likes or in fewer bytes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from bindplug.errors import InputError
from bindplug.imagebind.layers import Block, attend, pick


class Projection(Protocol):
    """A linear layer, with what follows it."""

    def __call__(self, x: Tensor) -> Tensor:
        """(..., K) -> (..., N)."""

    def gelu(self, x: Tensor) -> Tensor:
        """(..., K) -> (..., N), through the exact GELU."""

    def plus(self, x: Tensor, residual: Tensor) -> Tensor:
        """(..., K) and (..., N) -> (..., N), their sum."""


Freeze = Callable[[Tensor, Tensor], Any]
"""From a linear layer's weight (N, K) and bias (N,) to a module that is a :class:`Projection`."""


class FrozenBlock(nn.Module):
    """What a :class:`Block` computes in evaluation mode, with its products done by other layers.

    No gradient passes through it, it has no state dict, and it stays on its device and in its dtype.

    Args:
        block: where norms and weights come from; its weights may be dropped afterwards.
        freeze: makes the layers.
        last: whether it is its tower's last, in which one token alone asks.
    """

    def __init__(self, block: Block, freeze: Freeze, *, last: bool) -> None:
        super().__init__()
        attention, width = block.attn, block.attn.in_proj_weight.shape[1]
        weight, bias = attention.in_proj_weight.detach(), attention.in_proj_bias.detach()
        self.heads, self.width = attention.heads, width
        # an attribute, not a buffer: a frozen block moves and converts nothing
        self.extra = None if attention.extra is None else attention.extra.detach()
        self.norm_1, self.norm_2 = block.norm_1, block.norm_2
        split = width if last else 3 * width
        self.asking = freeze(weight[:split], bias[:split])
        self.asked = freeze(weight[split:], bias[split:]) if last else None
        self.out = freeze(attention.out_proj.weight.detach(), attention.out_proj.bias.detach())
        self.hidden = freeze(block.mlp.fc1.weight.detach(), block.mlp.fc1.bias.detach())
        self.shown = freeze(block.mlp.fc2.weight.detach(), block.mlp.fc2.bias.detach())

    def forward(self, x: Tensor, *, causal: bool = False) -> Tensor:
        """(B, L, D) -> (B, L, D)."""
        _refuse_gradients(x)
        query, keyed = self.asking(self.norm_1(x)).split((self.width, 2 * self.width), dim=-1)
        x = self.out.plus(attend(query, keyed, self.heads, extra=self.extra, causal=causal), x)
        return self.shown.plus(self.hidden.gelu(self.norm_2(x)), x)

    def for_one(self, x: Tensor, position: Tensor | None = None) -> Tensor:
        """As :meth:`Block.for_one`: (B, L, D) and (B,) -> (B, D)."""
        assert self.asked is not None
        _refuse_gradients(x)
        normed = self.norm_1(x)
        one, query, mask = pick(x, normed, position)
        found = attend(self.asking(query), self.asked(normed), self.heads, extra=self.extra, mask=mask)
        one = self.out.plus(found, one)
        return self.shown.plus(self.hidden.gelu(self.norm_2(one)), one)[:, 0]

    def stay(self, fn: Callable[[Tensor], Tensor]) -> None:
        """Refuse ``fn``, which a module's tensors are about to go through, if it would convert or move them."""
        weight = self.norm_1.weight
        moved = fn(weight.detach()[:0])
        if (moved.dtype, moved.device) != (weight.dtype, weight.device):
            raise InputError(
                "a packed or quantised model",
                found=f"asked to become {moved.dtype} on {moved.device}",
                expected="that it stays as it is",
                remedy="Load it anew with the dtype and device wanted, and pack or quantise that",
            )

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        raise InputError(
            "a packed or quantised model",
            found="asked for its state dict",
            expected="a model with plain weights",
            remedy="Save or convert the model before packing it",
        )


def _refuse_gradients(x: Tensor) -> None:
    if torch.is_grad_enabled() and x.requires_grad:
        raise InputError(
            "a packed or quantised model",
            found="an input that gradients are asked for",
            expected="inference alone",
            remedy="Load the model without packing it, or use torch.no_grad()",
        )
