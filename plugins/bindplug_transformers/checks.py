"""Refuse calls that transformers' own CLIP would take and ImageBind cannot honor."""

from __future__ import annotations

import torch
from torch import Tensor

from bindplug.errors import InputError
from bindplug.imagebind import is_tracing
from bindplug_transformers.configuration import ImageBindConfig


def require(call: str, argument: str, value: Tensor | None) -> Tensor:
    """Return ``value``.

    Raises:
        InputError: it is None; the message names the argument.
    """
    if value is None:
        remedy = "ImageBindProcessor makes it."
        raise InputError(call, found=f"no {argument}", expected=f"{argument}=...", remedy=remedy)
    return value


def check_text(input_ids: Tensor, attention_mask: Tensor | None, position_ids: Tensor | None) -> None:
    """Return if mask and positions describe what a causal tower read at the end mark computes anyway.

    Raises:
        InputError: a token up to the end mark is masked (padding on the left), or positions are not 0, 1, ...
    """
    if is_tracing() or not isinstance(input_ids, Tensor) or input_ids.ndim != 2:
        return
    if attention_mask is not None and not input_ids.is_meta:
        if attention_mask.shape != input_ids.shape:
            detail = f"attention_mask of shape {tuple(attention_mask.shape)}"
            raise InputError("text input", found=detail, expected=f"{tuple(input_ids.shape)}, as input_ids")
        positions = torch.arange(input_ids.shape[1], device=input_ids.device)
        needed = positions <= input_ids.argmax(-1, keepdim=True)  # (B, L)
        if bool((needed & (attention_mask.to(input_ids.device) == 0)).any()):
            remedy = "Use a tokenizer with padding_side='right'."
            detail = "a masked token before the end mark"
            raise InputError("text input", found=detail, expected="padding on the right", remedy=remedy)
    if position_ids is not None:
        expected = torch.arange(input_ids.shape[1], device=position_ids.device)
        if position_ids.shape[-1] != len(expected) or not bool((position_ids == expected).all()):
            raise InputError("text input", found="other position_ids", expected="0, 1, 2, ..., or none")


def check_image_size(pixel_values: Tensor, config: ImageBindConfig, interpolate: bool) -> None:
    """Return if images have the size the network learned positions for, or these may be interpolated.

    Raises:
        InputError: they have not, and may not.
    """
    side = config.image_size
    if interpolate or not isinstance(pixel_values, Tensor) or pixel_values.ndim < 4:
        return
    height, width = pixel_values.shape[-2:]
    if (height, width) != (side, side):
        remedy = "Pass interpolate_pos_encoding=True to use them at their own size."
        raise InputError(
            "image input", found=f"images of {height}x{width}", expected=f"{side}x{side}", remedy=remedy
        )
