"""Whether a call's options are in their range."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from bindplug.errors import InputError


def checked_threshold(threshold: float | Sequence[float] | Tensor, classes: int) -> float | Tensor:
    """A threshold as a number, or as (C,) float32 for each of the C ``classes``.

    Raises:
        InputError: it is neither, or outside 0 to 1.
    """
    expected = f"a number, or one for each of the {classes} classes"
    try:
        values = torch.as_tensor(threshold, dtype=torch.float32)
    except (TypeError, ValueError, RuntimeError):
        raise InputError("threshold", found=repr(threshold), expected=expected) from None
    if values.ndim > 1 or (values.ndim == 1 and len(values) != classes):
        raise InputError("threshold", found=f"shape {tuple(values.shape)}", expected=expected)
    if not ((values >= 0) & (values <= 1)).all():
        raise InputError("threshold", found=f"{threshold}", expected="from 0 to 1")
    return values if values.ndim else float(values)


def check_fraction(name: str, value: float | None) -> None:
    """Raise :class:`InputError` for an option outside 0 to 1; None is in order."""
    if value is not None and not 0 <= value <= 1:
        raise InputError(name, found=f"{value}", expected="from 0 to 1")


def check_count(name: str, value: int | None) -> None:
    """Raise :class:`InputError` for an option that is no whole number from 1; None is in order."""
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
        raise InputError(name, found=f"{value!r}", expected="a whole number from 1")
