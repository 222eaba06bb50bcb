"""Refuse what an open_clip tower would answer with an error from deep inside. Shapes only: nothing waits for a GPU."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from bindplug.errors import InputError


def check_image(x: Any, visual: Any) -> None:
    """Return if ``x`` is a batch that open_clip's image tower takes.

    Raises:
        InputError: it is no tensor, or of another shape, dtype or device.
    """
    if torch.jit.is_tracing():
        return
    height, width = _pair(visual.image_size)
    expected = f"preprocessed pictures (B, 3, {height}, {width})"
    if not isinstance(x, Tensor):
        _refuse("image", f"a {type(x).__name__}", expected)
    if tuple(x.shape[1:]) != (3, height, width):
        sides = ", or create the model with force_image_size=" if x.ndim == 4 and x.shape[1] == 3 else ""
        remedy = "Add the batch axis: x.unsqueeze(0)" if x.ndim == 3 else f"preprocess makes them{sides}"
        _refuse("image", f"a tensor of shape {tuple(x.shape)}", expected, remedy)
    weight = visual.conv1.weight
    if not x.is_floating_point():
        _refuse("image", f"{x.dtype}", expected, "Pixels of 0 to 255 are no model input; preprocess makes it")
    if x.dtype != weight.dtype and not torch.is_autocast_enabled(x.device.type):
        _refuse(
            "image",
            f"{x.dtype}",
            f"{weight.dtype} as the weights",
            f"Use x.to({weight.dtype}) or torch.autocast",
        )
    _same_device("image", x, weight)


def check_text(ids: Any, weight: Tensor, context_length: int) -> None:
    """Return if ``ids`` is a batch of token ids that open_clip's text tower takes.

    Args:
        ids: what was given.
        weight: (vocabulary, D), the token embedding.
        context_length: ids in a row.

    Raises:
        InputError: it is no tensor, or of another shape, dtype or device.
    """
    if torch.jit.is_tracing():
        return
    expected = f"token ids (B, {context_length}), int64 or int32"
    remedy = 'Texts become ids first: tokenizer(["a dog"])'
    if not isinstance(ids, Tensor):
        _refuse("text", f"a {type(ids).__name__}", expected, remedy)
    if ids.dtype not in (torch.int64, torch.int32):
        _refuse("text", f"{ids.dtype}", expected, remedy)
    if ids.ndim != 2 or ids.shape[1] != context_length:
        _refuse("text", f"a tensor of shape {tuple(ids.shape)}", expected, remedy)
    _same_device("text", ids, weight)


def _same_device(modality: str, x: Tensor, weight: Tensor) -> None:
    if x.device != weight.device:
        _refuse(
            modality,
            f"a tensor on {x.device}",
            f"one on the model's {weight.device}",
            "Move it with .to(...)",
        )


def _pair(size: int | tuple[int, int]) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else (size[0], size[1])


def _refuse(modality: str, found: str, expected: str, remedy: str = "") -> None:
    raise InputError(f"{modality} input", found=found, expected=expected, remedy=remedy)
