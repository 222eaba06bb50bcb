"""COCO's run-length encoding of masks, written from its published description.

A mask is read down its columns, from the left. Counts of pixels alternate between outside and inside and begin
with outside. The compressed form keeps, from the fourth count on, the difference to the count two before, in
groups of five bits, lowest first, each a printable character: 48 + bits, + 32 where more groups follow.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bindplug.errors import InputError

FIRST_CHARACTER = 48
MORE = 0x20
"""Source: the COCO data format, https://cocodataset.org/#format-data, and its reference encoder's strings."""


def run_lengths(
    mask: np.ndarray, *, size: tuple[int, int] | None = None, top: int = 0, left: int = 0
) -> list[int]:
    """Counts of a mask.

    Args:
        mask: (h, w) bool.
        size: height and width of the picture of which ``mask`` is a part; the mask's own by default.
        top: the picture's row of the mask's first row.
        left: the picture's column of its first column.

    Returns:
        Lengths of the runs, outside first (0 if the first pixel is inside), which sum to the picture's pixels.
    """
    height, width = size or mask.shape
    columns = np.zeros((mask.shape[1], mask.shape[0] + 2), np.int8)
    columns[:, 1:-1] = np.asarray(mask, bool).T
    steps = np.diff(columns, axis=1)  # +1 where a run begins in a column, -1 just after it ends
    offset = left * height + top
    starts, ends = (
        (column + 0) * height + row + offset
        for column, row in (np.nonzero(steps == sign) for sign in (1, -1))
    )
    apart = starts[1:] != ends[:-1]  # a run that leaves one column at its foot enters the next at its head
    starts, ends = (
        starts[np.r_[True, apart]] if len(starts) else starts,
        ends[np.r_[apart, True]] if len(ends) else ends,
    )
    edges = np.concatenate([[0], np.stack([starts, ends], 1).ravel(), [height * width]])
    counts = np.diff(edges).tolist()
    return counts[:-1] if counts[-1] == 0 and len(counts) > 1 else counts


def compress(counts: Sequence[int]) -> str:
    """Counts as COCO's string."""
    characters = []
    for index, count in enumerate(counts):
        rest = count - counts[index - 2] if index > 2 else count
        while True:
            bits, rest = rest & 0x1F, rest >> 5
            is_last = rest == (-1 if bits & 0x10 else 0)
            characters.append(chr(FIRST_CHARACTER + bits + (0 if is_last else MORE)))
            if is_last:
                break
    return "".join(characters)


def decompress(text: str) -> list[int]:
    """COCO's string as counts.

    Raises:
        InputError: a character that none of its groups has, or a number cut off.
    """
    counts: list[int] = []
    value = shift = 0
    for character in text:
        group = ord(character) - FIRST_CHARACTER
        if not 0 <= group < 2 * MORE:
            raise InputError(
                "RLE", found=f"the character {character!r}", expected="characters from '0' to 'o'"
            )
        value |= (group & 0x1F) << shift
        shift += 5
        if group & MORE:
            continue
        if group & 0x10:
            value -= 1 << shift
        counts.append(value + (counts[-2] if len(counts) > 2 else 0))
        value = shift = 0
    if shift:
        raise InputError("RLE", found="a string that ends inside a number", expected="a whole one")
    return counts


def decode(counts: str | Sequence[int], size: tuple[int, int]) -> np.ndarray:
    """The mask, (H, W) bool, of counts or of COCO's string.

    Raises:
        InputError: the counts do not fill a picture of that size.
    """
    lengths = decompress(counts) if isinstance(counts, str) else list(counts)
    height, width = size
    if sum(lengths) != height * width or min(lengths, default=0) < 0:
        raise InputError(
            "RLE", found=f"runs of {sum(lengths)} pixels", expected=f"{height * width}, for {height}x{width}"
        )
    inside = np.arange(len(lengths)) % 2 == 1
    return np.repeat(inside, lengths).reshape(width, height).T
