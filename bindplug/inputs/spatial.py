"""Resizing and cropping that all pictures share, and reading pictures of any bit depth."""

from __future__ import annotations

import numpy as np
from PIL import Image, UnidentifiedImageError

from bindplug.errors import InputError
from bindplug.inputs.pillow_warnings import suppress_pillow_warnings
from bindplug.inputs.source import describe_source, open_source

IMAGE_SIZE = 224
SIXTEEN_BIT_MODES = ("I;16", "I;16B", "I;16L", "I;16N")


def resize_short_side(picture: Image.Image, size: int, resample: Image.Resampling) -> Image.Image:
    """``picture`` with its short side at ``size`` pixels and its proportions kept (rounded down)."""
    width, height = picture.size
    short = min(width, height)
    target = (max(size, size * width // short), max(size, size * height // short))
    return picture if target == (width, height) else picture.resize(target, resample)


def center_crop(picture: Image.Image, size: int) -> Image.Image:
    """The ``size`` x ``size`` pixels in the middle of ``picture``."""
    left, top = round((picture.width - size) / 2.0), round((picture.height - size) / 2.0)
    return picture.crop((left, top, left + size, top + size))


def resize_and_crop(values: np.ndarray, size: int, resample: Image.Resampling) -> np.ndarray:
    """A float map (H, W): short side to ``size``, center crop, (size, size) float32."""
    picture = Image.fromarray(np.ascontiguousarray(values, dtype=np.float32))
    return np.asarray(center_crop(resize_short_side(picture, size, resample), size), dtype=np.float32)


def open_picture(source: object, expected: str) -> Image.Image:
    """A picture from a path, bytes or file object, its pixels decoded (a moving one: its first frame).

    Raises:
        InputError: the source is missing, empty, no picture, damaged, or too large to be safe to decode.
    """
    name = describe_source(source)
    with open_source(source, expected) as file, suppress_pillow_warnings():
        try:
            picture = Image.open(file)
        except UnidentifiedImageError:
            found = "data in no picture format that Pillow knows"
            raise InputError(name, found=found, expected=expected) from None
        except Image.DecompressionBombError as error:
            raise InputError(
                name, found=f"a picture too large to decode ({error})", expected=expected
            ) from None
        except (OSError, ValueError, SyntaxError) as error:
            raise InputError(name, found=f"a damaged picture ({error})", expected=expected) from None
        load_pixels(picture, name, expected)
    return picture


def load_pixels(picture: Image.Image, name: str, expected: str) -> None:
    """Decode ``picture`` now, while its file is open.

    Raises:
        InputError: the data is truncated or damaged.
    """
    try:
        picture.load()
    except (OSError, ValueError, SyntaxError, IndexError, EOFError) as error:
        raise InputError(name, found=f"a damaged picture ({error})", expected=expected) from None


def is_sixteen_bit(picture: Image.Image) -> bool:
    """Whether ``picture`` holds one channel of 16-bit (or 32-bit) integers."""
    return picture.mode in SIXTEEN_BIT_MODES or picture.mode == "I"


def check_plane(values: np.ndarray, name: str, what: str) -> np.ndarray:
    """``values`` as (H, W), dropping axes of length 1.

    Raises:
        InputError: it has other axes, no pixels, or is not a numeric array.
    """
    plane = values.squeeze(
        tuple(axis for axis in (0, -1) if values.ndim == 3 and values.shape[axis] == 1)[:1]
    )
    if plane.ndim != 2 or plane.size == 0:
        expected = f"{what} of shape (H, W), (1, H, W) or (H, W, 1) with pixels in it"
        raise InputError(name, found=f"an array of shape {values.shape}", expected=expected)
    if plane.dtype.kind not in "fiu":
        raise InputError(name, found=f"an array of type {plane.dtype}", expected=f"{what} of numbers")
    return plane
