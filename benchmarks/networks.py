"""Networks with synthetic weights under official names, for both sides alike."""

from __future__ import annotations

import math
import os
import zlib
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from benchmarks.harness import Skipped
from benchmarks.naive.model import SCALES, NaiveImageBind
from benchmarks.naive.shape import HUGE, TOWERS, Shape

if TYPE_CHECKING:
    from bindplug.imagebind import ImageBind, ImageBindConfig


def weight_by_name(name: str, shape: Collection[int]) -> Tensor:
    """A float32 tensor that depends on its official name and shape alone, scaled so that outputs stay sane."""
    last = name.rsplit(".", 1)[-1]
    if last == "mask":
        return torch.full(tuple(shape), float("-inf")).triu(1)
    if last == "log_logit_scale":
        return torch.tensor(math.log(SCALES[name.split(".")[1]]))
    noise = torch.randn(tuple(shape), generator=torch.Generator().manual_seed(zlib.crc32(name.encode())))
    if last in ("pos_embed", "cls_token", "bias_k", "bias_v") or name.endswith("token_embedding.weight"):
        return noise.mul_(0.1)
    if len(shape) >= 2:
        return noise.mul_(1 / math.sqrt(noise[0].numel()))
    return noise.mul_(0.1).add_(1) if last == "weight" else noise.mul_(0.02)


def synthetic_state(shape: Shape, towers: Collection[str] = TOWERS) -> dict[str, Tensor]:
    """The state dict of some towers under official names."""
    with torch.device("meta"):
        described = NaiveImageBind(shape, towers).state_dict()
    return {name: weight_by_name(name, tensor.shape) for name, tensor in described.items()}


def write_checkpoint(path: Path, shape: Shape) -> None:
    """A whole checkpoint as ``torch.save`` writes it; complete or absent."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        torch.save(synthetic_state(shape), partial)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def naive_network(state: dict[str, Tensor], shape: Shape, towers: Collection[str]) -> NaiveImageBind:
    """The baseline's network holding ``state``'s own tensors, in evaluation mode."""
    with torch.device("meta"):
        network = NaiveImageBind(shape, towers)
    network.load_state_dict(state, assign=True)
    return network.eval()


def our_config(shape: Shape) -> ImageBindConfig:
    """bindplug's config of that shape."""
    from bindplug.imagebind import ImageBindConfig

    if shape == HUGE:
        return ImageBindConfig.huge()
    return ImageBindConfig.from_official(shape.official_keywords())


def ours(
    state: dict[str, Tensor],
    shape: Shape,
    towers: Collection[str],
    dtype: str = "fp32",
    *,
    packed: bool = False,
    compiled: bool = False,
    device: str = "cpu",
) -> ImageBind:
    """bindplug's network with a copy of ``state``'s numbers, in evaluation mode.

    Args:
        state: float32 tensors under official names.
        shape: its shape.
        towers: which it holds.
        dtype: ``"fp32"``, ``"bf16"``, or ``"int8"`` for :func:`bindplug.quantize` of the float32 network.
        packed: whether to pass it through :func:`bindplug.pack`.
        compiled: whether to pass it through :func:`bindplug.compile`.
        device: where to.

    Raises:
        Skipped: this machine has no packed products of that dtype.
    """
    import bindplug
    from bindplug.errors import InputError
    from bindplug.imagebind import ImageBind

    stored = torch.bfloat16 if dtype == "bf16" else torch.float32
    network = ImageBind.from_official(state, our_config(shape), modalities=list(towers), dtype=stored)
    network = network.to(device).eval()
    try:
        if dtype == "int8":
            bindplug.quantize(network)
        if packed:
            bindplug.pack(network)
        if compiled:
            bindplug.compile(network)
    except InputError as error:
        raise Skipped(str(error)) from None
    return network


def fastest(
    state: dict[str, Tensor], shape: Shape, towers: Collection[str], dtype: str = "fp32", device: str = "cpu"
) -> ImageBind:
    """bindplug's network as :func:`ours` gives it: packed on CPUs that can, compiled on CUDA."""
    if device != "cpu":
        return ours(state, shape, towers, dtype, compiled=True, device=device)
    try:
        return ours(state, shape, towers, dtype, packed=True)
    except Skipped:
        return ours(state, shape, towers, dtype)
