"""Linear layers for inference: in oneDNN's own layout, and in eight bits."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bindplug.errors import InputError

PROBE = (4, 32, 64)
"""Rows, inputs and outputs of the product that shows whether packed layers work here."""

INT8_MOST = 127
"""Largest magnitude of a weight in eight bits."""


class PackedLinear(nn.Module):
    """A linear layer whose weight was laid out once as oneDNN's kernels read it, with GELU and sum fused.

    An ordinary layer on the CPU brings its weight into that layout in every call.

    Args:
        weight: (N, K) float32, bfloat16 or float16, where :func:`packing_obstacle` has no objection.
        bias: (N,).
    """

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        super().__init__()
        # An attribute, not a buffer: oneDNN's tensors are opaque to state dicts and conversions.
        self.weight = torch.ops.mkldnn._reorder_linear_weight(weight.contiguous())
        self.bias = bias.clone()

    def forward(self, x: Tensor) -> Tensor:
        """(..., K) -> (..., N)."""
        _refuse_export()
        return torch.ops.mkldnn._linear_pointwise(x, self.weight, self.bias, "none", [], "")

    def gelu(self, x: Tensor) -> Tensor:
        """(..., K) -> (..., N), through the exact GELU."""
        _refuse_export()
        return torch.ops.mkldnn._linear_pointwise(x, self.weight, self.bias, "gelu", [], "none")

    def plus(self, x: Tensor, residual: Tensor) -> Tensor:
        """(..., K) and (..., N) -> (..., N)."""
        _refuse_export()
        return torch.ops.mkldnn._linear_pointwise.binary(x, residual, self.weight, self.bias, "add")

    def __getstate__(self) -> dict[str, Any]:
        """With the plain weight: oneDNN's layout may differ on the machine that unpickles it."""
        return self.__dict__ | {"weight": self.weight.to_dense()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state | {"weight": torch.ops.mkldnn._reorder_linear_weight(state["weight"])})


def packing_obstacle(dtype: torch.dtype) -> str:
    """Why packed layers of that dtype do not work on this machine; empty if they do.

    The operators are torch's own but carry no promise of stability, so a small product is tried.
    """
    ops = torch.ops.mkldnn
    if not torch.backends.mkldnn.is_available():
        return "this build of torch has no oneDNN"
    try:
        supported = {
            torch.float32: True,
            torch.bfloat16: ops._is_mkldnn_bf16_supported(),
            torch.float16: ops._is_mkldnn_fp16_supported(),
        }
        if not supported.get(dtype):
            return f"oneDNN has no {dtype} products for this processor"
        return "" if _is_accurate(dtype) else "oneDNN's packed product is wrong here"
    except (AttributeError, RuntimeError, TypeError) as error:
        return f"torch {torch.__version__} packs in another way ({str(error).splitlines()[0]})"


def _is_accurate(dtype: torch.dtype) -> bool:
    rows, inputs, outputs = PROBE
    generator = torch.Generator().manual_seed(0)
    x, weight = (torch.randn(n, inputs, generator=generator).to(dtype) for n in (rows, outputs))
    bias, residual = (
        torch.randn(*shape, generator=generator).to(dtype) for shape in ((outputs,), (rows, outputs))
    )
    with torch.inference_mode():
        packed = PackedLinear(weight, bias)
        plain = F.linear(x.float(), weight.float(), bias.float())
        pairs = (
            (packed(x), plain),
            (packed.gelu(x), F.gelu(plain)),
            (packed.plus(x, residual), plain + residual.float()),
        )
        return all(torch.allclose(row.float(), truth, rtol=0.02, atol=0.05) for row, truth in pairs)


def _refuse_export() -> None:
    is_exporting = getattr(torch.compiler, "is_exporting", torch.compiler.is_compiling)  # from torch 2.7 on
    if is_exporting() or torch.jit.is_tracing():
        raise InputError(
            "a packed model",
            found="an export",
            expected="a model with plain or quantized weights",
            remedy="Load the model without packing it, and export that",
        )


class Int8Linear(nn.Module):
    """A linear layer whose weight is eight-bit integers with one scale a row; products are of its input's dtype.

    Weight-only, symmetric, rounded to the nearest.

    Args:
        weight: (N, K) floating point.
        bias: (N,).
    """

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        super().__init__()
        # One scale a row, so that the largest weight of each row becomes 127: (N, K) -> (N,)
        scale = weight.float().abs().amax(dim=1).clamp(min=torch.finfo(torch.float32).tiny) / INT8_MOST
        integers = (weight.float() / scale[:, None]).round().clamp(-INT8_MOST, INT8_MOST)
        # Attributes, not buffers: conversions would turn the integers into floats.
        self.weight, self.scale, self.bias = integers.to(torch.int8), scale.to(weight.dtype), bias.clone()

    def forward(self, x: Tensor) -> Tensor:
        """(..., K) -> (..., N)."""
        # Scales are applied to the product, which is smaller than the weight: (..., N) * (N,)
        return F.linear(x, self.weight.to(x.dtype)) * self.scale + self.bias

    def gelu(self, x: Tensor) -> Tensor:
        """(..., K) -> (..., N), through the exact GELU."""
        return F.gelu(self(x))

    def plus(self, x: Tensor, residual: Tensor) -> Tensor:
        """(..., K) and (..., N) -> (..., N)."""
        return self(x) + residual
