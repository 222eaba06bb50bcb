"""A decoder of COCO's run lengths, written from their published description, to check the encoder."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bindplug_detic.masks import FIRST_CHARACTER, MORE


def decompress(text: str) -> list[int]:
    """COCO's string as counts.

    Raises:
        ValueError: a character that none of its groups has, or a number cut off.
    """
    counts: list[int] = []
    value = shift = 0
    for character in text:
        group = ord(character) - FIRST_CHARACTER
        if not 0 <= group < 2 * MORE:
            raise ValueError(f"RLE: the character {character!r}")
        value |= (group & 0x1F) << shift
        shift += 5
        if group & MORE:
            continue
        if group & 0x10:
            value -= 1 << shift
        counts.append(value + (counts[-2] if len(counts) > 2 else 0))
        value = shift = 0
    if shift:
        raise ValueError("RLE: a string that ends inside a number")
    return counts


def decode(counts: str | Sequence[int], size: tuple[int, int]) -> np.ndarray:
    """The mask, (H, W) bool, of counts or of COCO's string.

    Raises:
        ValueError: the counts do not fill a picture of that size.
    """
    lengths = decompress(counts) if isinstance(counts, str) else list(counts)
    height, width = size
    if sum(lengths) != height * width or min(lengths, default=0) < 0:
        raise ValueError(f"RLE: runs of {sum(lengths)} pixels for {height}x{width}")
    inside = np.arange(len(lengths)) % 2 == 1
    return np.repeat(inside, lengths).reshape(width, height).T
