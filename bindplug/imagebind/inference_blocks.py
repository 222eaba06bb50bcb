"""Blocks for inference, whose weights are in the layout of a kernel or in fewer bytes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from bindplug.errors import InputError
from bindplug.imagebind.layers import Block, attend, select_position


class FusedLinear(Protocol):
    """A linear layer that can apply what follows it in the same call."""

    def __call__(self, x: Tensor) -> Tensor:
        """(..., K) -> (..., N)."""

    def gelu(self, x: Tensor) -> Tensor:
        """(..., K) -> (..., N), through the exact GELU."""

    def plus(self, x: Tensor, residual: Tensor) -> Tensor:
        """(..., K) and (..., N) -> (..., N), their sum."""


LinearFactory = Callable[[Tensor, Tensor], Any]
"""Makes a :class:`FusedLinear` module from a linear layer's weight (N, K) and bias (N,)."""


class InferenceBlock(nn.Module):
    """What a :class:`Block` computes in evaluation mode, with query, key and value in one product.

    No gradient passes through it, it has no state dict, and it stays on its device and in its dtype.

    Args:
        block: plain, see :func:`require_plain_linears`. Its norms are shared; its other weights may be dropped.
        make_linear: makes the layers.
        last: whether it is the tower's last block, whose output is needed at one position only.
    """

    def __init__(self, block: Block, make_linear: LinearFactory, *, last: bool) -> None:
        super().__init__()
        attention = block.attn
        self.heads, self.width = attention.heads, attention.out_proj.out_features
        # Attributes, not buffers: an inference block moves and converts nothing.
        extra = attention.extra
        self.extra = None if extra is None else (extra[0].detach(), extra[1].detach())
        self.norm_1, self.norm_2 = block.norm_1, block.norm_2
        q, k, v = attention.q_proj, attention.k_proj, attention.v_proj
        # The last block needs queries at one position and keys and values at all.
        self.q = _fuse(make_linear, q) if last else None
        self.kv = _fuse(make_linear, k, v) if last else None
        self.qkv = None if last else _fuse(make_linear, q, k, v)
        self.out = _fuse(make_linear, attention.out_proj)
        self.fc1 = _fuse(make_linear, block.mlp.fc1)
        self.fc2 = _fuse(make_linear, block.mlp.fc2)

    def forward(self, x: Tensor, *, causal: bool = False) -> Tensor:
        """(B, L, D) -> (B, L, D)."""
        assert self.qkv is not None
        _refuse_gradients(x)
        q, k, v = self.qkv(self.norm_1(x)).chunk(3, dim=-1)  # (B, L, 3 D) -> 3 x (B, L, D)
        x = self.out.plus(attend(q, k, v, self.heads, extra=self.extra, causal=causal), x)
        return self.fc2.plus(self.fc1.gelu(self.norm_2(x)), x)

    def forward_one(self, x: Tensor, position: Tensor | None = None) -> Tensor:
        """As :meth:`Block.forward_one`: (B, L, D) and (B,) -> (B, D)."""
        assert self.q is not None
        assert self.kv is not None
        _refuse_gradients(x)
        normed = self.norm_1(x)
        token, query, mask = select_position(x, normed, position)
        k, v = self.kv(normed).chunk(2, dim=-1)  # (B, L, 2 D) -> 2 x (B, L, D)
        token = self.out.plus(attend(self.q(query), k, v, self.heads, extra=self.extra, mask=mask), token)
        return self.fc2.plus(self.fc1.gelu(self.norm_2(token)), token)[:, 0]

    def refuse_conversion(self, fn: Callable[[Tensor], Tensor]) -> None:
        """Raise if ``fn``, which is about to be applied to a module's tensors, would convert or move them.

        Raises:
            InputError: it would.
        """
        weight = self.norm_1.weight
        converted = fn(weight.detach()[:0])
        if (converted.dtype, converted.device) != (weight.dtype, weight.device):
            raise InputError(
                "a packed or quantized model",
                found=f"a conversion to {converted.dtype} on {converted.device}",
                expected="the dtype and device it has",
                remedy="Load the model again with the other dtype and device, and pack or quantize that",
            )

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        raise InputError(
            "a packed or quantized model",
            found="a request for its state dict",
            expected="a model with plain weights",
            remedy="Save or convert the model before packing it",
        )


def require_plain_linears(towers: nn.Module) -> None:
    """Return if every layer that is about to be replaced computes what its weight and bias say.

    Raises:
        InputError: one is another kind of module, such as an adapter that peft put around a linear layer.
    """
    for block in towers.modules():
        if isinstance(block, Block):
            for name, layer in _linears(block).items():
                if type(layer) is not nn.Linear:
                    raise InputError(
                        "pack() and quantize()",
                        found=f"a {type(layer).__name__} as {name}",
                        expected="torch.nn.Linear in every block",
                        remedy="Merge adapters first: bindplug.training.merge_adapters(model), or "
                        "merge_and_unload() in peft",
                    )


def _linears(block: Block) -> dict[str, nn.Module]:
    attention = block.attn
    return {
        "q_proj": attention.q_proj,
        "k_proj": attention.k_proj,
        "v_proj": attention.v_proj,
        "out_proj": attention.out_proj,
        "fc1": block.mlp.fc1,
        "fc2": block.mlp.fc2,
    }


def _fuse(make_linear: LinearFactory, *layers: nn.Linear) -> Any:
    """One layer that computes the outputs of several, side by side."""
    if len(layers) == 1:
        return make_linear(layers[0].weight.detach(), layers[0].bias.detach())
    weight = torch.cat([layer.weight.detach() for layer in layers])  # n x (D, D) -> (n D, D)
    return make_linear(weight, torch.cat([layer.bias.detach() for layer in layers]))


def _refuse_gradients(x: Tensor) -> None:
    if torch.is_grad_enabled() and x.requires_grad:
        raise InputError(
            "a packed or quantized model",
            found="an input that requires gradients",
            expected="inference",
            remedy="Load the model without packing it, or use torch.no_grad()",
        )
