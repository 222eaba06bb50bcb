"""Resizing and cropping that all pictures and maps share."""

from __future__ import annotations

import numpy as np
from PIL import Image

from bindplug.errors import InputError

IMAGE_SIZE = 224
MOST_SCALED_PIXELS = 2**26
"""Pixels after scaling the short side: a strip of 224 x 299593, under 300 MB in any of our formats."""


def scaled_size(width: int, height: int, size: int) -> tuple[int, int]:
    """Width and height with the short side at ``size`` and the proportions kept (rounded down)."""
    short = min(width, height)
    return max(size, size * width // short), max(size, size * height // short)


def check_scaled_size(width: int, height: int, size: int, name: str) -> None:
    """Refuse a picture that grows without bounds when its short side is scaled to ``size``.

    Raises:
        InputError: it has no pixels, or more than ``MOST_SCALED_PIXELS`` after scaling.
    """
    if min(width, height) == 0:
        raise InputError(name, found=f"{width}x{height} pixels", expected="at least one pixel")
    wide, high = scaled_size(width, height, size)
    if wide * high > MOST_SCALED_PIXELS:
        detail = f"{width}x{height} pixels, which become {wide}x{high} as the short side is scaled to {size}"
        expected = f"at most {MOST_SCALED_PIXELS} pixels after scaling"
        raise InputError(name, found=detail, expected=expected, remedy="Crop it to the part that matters.")


def resize_short_side(picture: Image.Image, size: int, resample: Image.Resampling) -> Image.Image:
    """``picture`` with its short side at ``size`` pixels and its proportions kept (rounded down)."""
    target = scaled_size(*picture.size, size)
    return picture if target == picture.size else picture.resize(target, resample)


def center_crop(picture: Image.Image, size: int) -> Image.Image:
    """The ``size`` x ``size`` pixels in the middle of ``picture``."""
    left, top = round((picture.width - size) / 2.0), round((picture.height - size) / 2.0)
    return picture.crop((left, top, left + size, top + size))


def resize_and_crop(values: np.ndarray, size: int, resample: Image.Resampling) -> np.ndarray:
    """A float map (H, W): short side to ``size``, center crop, (size, size) float32."""
    picture = Image.fromarray(np.ascontiguousarray(values, dtype=np.float32))
    return np.asarray(center_crop(resize_short_side(picture, size, resample), size), dtype=np.float32)


def check_plane(values: np.ndarray, name: str, what: str) -> np.ndarray:
    """``values`` as (H, W), dropping first and last axes of length 1.

    Raises:
        InputError: it has other axes, no pixels, or is not a numeric array.
    """
    plane = values
    while plane.ndim > 2 and plane.shape[0] == 1:
        plane = plane[0]  # (1, ..., H, W) -> (H, W)
    while plane.ndim > 2 and plane.shape[-1] == 1:
        plane = plane[..., 0]  # (H, W, 1) -> (H, W)
    if plane.ndim != 2 or plane.size == 0:
        expected = f"{what} of shape (H, W), (1, H, W) or (H, W, 1) with pixels in it"
        raise InputError(name, found=f"an array of shape {values.shape}", expected=expected)
    if plane.dtype.kind not in "fiu":
        raise InputError(name, found=f"an array of type {plane.dtype}", expected=f"{what} of numbers")
    return plane
