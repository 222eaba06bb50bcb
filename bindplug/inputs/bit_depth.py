"""How many bits of a deep picture are in use: white levels, and the numbers of PGM files that Pillow scales."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from bindplug.errors import InputError
from bindplug.inputs.notes import note
from bindplug.inputs.tiff import BITS, PHOTOMETRIC, SAMPLE_FORMAT, SIGNED

FULL_16_BITS, FULL_15_BITS, TWELVE_BITS = 65535, 32767, 4095
MAX_SAMPLE_VALUE, S_MAX_SAMPLE_VALUE = 281, 341
WHITE_LEVELS = tuple(2**bits - 1 for bits in range(9, 16))
"""Largest values of 9 to 15 bits: a tag that holds another is a statistic of the picture."""


def white_level(picture: Image.Image) -> int:
    """The value that is white in a picture of one 16-bit channel: 65535, or less if a TIFF's tags say so.

    Of signed 16-bit integers it is 32767.
    """
    tags: Any = getattr(picture, "tag_v2", {})
    bits = _numbers(tags, BITS)[:1]
    levels = [2**number - 1 for number in bits if 8 < number < 16]
    if _numbers(tags, SAMPLE_FORMAT)[:1] == [SIGNED] and bits == [16]:
        levels.append(FULL_15_BITS)
    levels += [level for tag in (S_MAX_SAMPLE_VALUE, MAX_SAMPLE_VALUE) for level in _numbers(tags, tag)[:1]]
    return next((level for level in levels if level in WHITE_LEVELS), FULL_16_BITS)


def is_white_zero(picture: Image.Image) -> bool:
    """Whether 0 is white in a TIFF of one channel that Pillow leaves as stored (it inverts those of 8 bits)."""
    photometric = _numbers(getattr(picture, "tag_v2", {}), PHOTOMETRIC)[:1]
    return photometric == [0] and picture.mode.startswith(("I", "F"))


def note_darkness(brightest: int, full: int = FULL_16_BITS) -> None:
    """Note a picture of 16 bits of which at most 12 are in use, as cameras of 12 bits write it.

    Args:
        brightest: its largest value.
        full: the value that it is held against as white.
    """
    if 0 < brightest <= TWELVE_BITS * full // FULL_16_BITS:
        note(
            f"a 16-bit picture that uses {brightest / full:.1%} of its range and is nearly black; if it holds 12 bits, "
            "multiply its values by 16 first"
        )


def has_deep_channels(picture: Image.Image) -> bool:
    """Whether several 16-bit channels are stored, of which Pillow keeps the upper 8 bits; ask before pixels load."""
    tiles = getattr(picture, "tile", None)
    arguments = tiles[0][3] if tiles else None
    rows = arguments[0] if isinstance(arguments, tuple) and arguments else arguments
    return isinstance(rows, str) and ";16" in rows and picture.mode in ("RGB", "RGBA", "LA")


def pgm_maxval(picture: Image.Image, name: str) -> int | None:
    """The largest value of a 16-bit PGM that Pillow scales to 65535; None where the numbers stay as stored.

    Raises:
        InputError: the pixels were loaded before, and the header can no longer be read.
    """
    if picture.format != "PPM" or picture.mode != "I":
        return None
    tiles = getattr(picture, "tile", None)
    path = str(getattr(picture, "filename", "") or "")
    if not tiles and path and Path(path).is_file():
        with Image.open(path) as again:
            tiles = getattr(again, "tile", None) if again.size == picture.size else None
    if not tiles:
        problem = "a 16-bit PGM that Pillow scaled to 65535 by a largest value that is no longer known"
        remedy = "Give its path or bytes."
        raise InputError(name, found=problem, expected="its numbers as stored", remedy=remedy)
    arguments = tiles[0][3]  # ("ppm" and "ppm_plain" decoders: the maxval, alone or last)
    maxval = arguments[-1] if isinstance(arguments, tuple) else arguments
    return maxval if isinstance(maxval, int) and 255 < maxval < FULL_16_BITS else None


def as_stored(values: np.ndarray, maxval: int | None) -> np.ndarray:
    """Numbers of a PGM as its file holds them, int32; unchanged where ``maxval`` is None."""
    if maxval is None:
        return values
    stored = (values.astype(np.int64) * maxval + FULL_16_BITS // 2) // FULL_16_BITS
    return stored.astype(np.int32)


def _numbers(tags: Any, tag: int) -> list[int]:
    value = tags.get(tag, ())
    try:
        return [int(number) for number in (value if isinstance(value, (tuple, list)) else (value,))]
    except (TypeError, ValueError, OverflowError):
        return []
