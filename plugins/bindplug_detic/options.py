"""Checks of a call's options."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from bindplug.errors import InputError


def checked_thresholds(threshold: float | Sequence[float] | Tensor, count: int) -> Tensor:
    """(count,) float32 on the CPU from one threshold for all, or one for each.

    Raises:
        InputError: another number of thresholds, or one outside 0 to 1.
    """
    expected = f"a number from 0 to 1, or {count} of them"
    try:
        limits = torch.as_tensor(threshold, dtype=torch.float32).cpu()
    except (TypeError, ValueError, RuntimeError):
        raise InputError("threshold", found=repr(threshold), expected=expected) from None
    if limits.ndim > 1 or (limits.ndim == 1 and len(limits) != count):
        raise InputError("threshold", found=f"shape {tuple(limits.shape)}", expected=expected)
    if not ((limits >= 0) & (limits <= 1)).all():
        raise InputError("threshold", found=f"{threshold}", expected=expected)
    return limits.expand(count).clone()


def check_fraction(name: str, value: Any) -> None:
    """Raise :class:`InputError` unless an option is None or a number from 0 to 1."""
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 1:
        raise InputError(name, found=repr(value), expected="a number from 0 to 1")


def check_count(name: str, value: Any) -> None:
    """Raise :class:`InputError` unless an option is None or a whole number from 1."""
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise InputError(name, found=repr(value), expected="a whole number from 1")


def checked_edges(resize: object, default: tuple[int, int]) -> tuple[int, int] | None:
    """The edges that the option ``resize`` stands for: None ``default``, False no resizing, else (short, long).

    Raises:
        InputError: it is none of these.
    """
    if resize is None or resize is True:
        return default
    if resize is False:
        return None
    if isinstance(resize, (tuple, list)) and len(resize) == 2 and all(type(edge) is int for edge in resize):
        short, long = resize
        if 0 < short <= long:
            return short, long
    expected = "None, False, or (short edge, long edge) in pixels, short <= long, as (800, 1333)"
    raise InputError("resize", found=repr(resize), expected=expected)
