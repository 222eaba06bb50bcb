"""Damage to files, as disks, networks and hostile people do it; the same for the same seed."""

from __future__ import annotations

import struct
from collections.abc import Sequence

import numpy as np

HEADER = 256
"""Bytes at the start that are damaged more often than the rest."""
SIZES = (
    0,
    1,
    0x7F,
    0x80,
    0xFF,
    0x7FFF,
    0x8000,
    0xFFFF,
    0x10000,
    0x7FFFFFFF,
    0x80000000,
    0xFFFFFFFE,
    0xFFFFFFFF,
)


def mutate(data: bytes, others: Sequence[bytes], rng: np.random.Generator) -> bytes:
    """``data`` damaged in one to three ways.

    Args:
        data: a whole file.
        others: other whole files, for splices.
        rng: decides everything.
    """
    for _ in range(int(rng.integers(1, 4))):
        way = WAYS[int(rng.integers(len(WAYS)))]
        data = way(data, others, rng) or b"\0"
    return data


def _place(data: bytes, rng: np.random.Generator) -> int:
    reach = min(len(data), HEADER) if rng.integers(2) else len(data)
    return int(rng.integers(reach))


def flip_bits(data: bytes, others: Sequence[bytes], rng: np.random.Generator) -> bytes:
    """One to twenty bits flipped."""
    changed = bytearray(data)
    for _ in range(int(rng.integers(1, 21))):
        changed[_place(data, rng)] ^= 1 << int(rng.integers(8))
    return bytes(changed)


def replace_bytes(data: bytes, others: Sequence[bytes], rng: np.random.Generator) -> bytes:
    """A run of up to 40 bytes replaced by noise, zeros or ones."""
    place, size = _place(data, rng), int(rng.integers(1, 41))
    filling = (rng.bytes(size), bytes(size), b"\xff" * size)[int(rng.integers(3))]
    return data[:place] + filling + data[place + size :]


def cut(data: bytes, others: Sequence[bytes], rng: np.random.Generator) -> bytes:
    """The end missing, or the start."""
    place = _place(data, rng)
    return data[:place] if rng.integers(4) else data[place:]


def remove(data: bytes, others: Sequence[bytes], rng: np.random.Generator) -> bytes:
    """A stretch in the middle missing."""
    place = _place(data, rng)
    return data[:place] + data[place + int(rng.integers(1, max(2, len(data) // 4))) :]


def repeat(data: bytes, others: Sequence[bytes], rng: np.random.Generator) -> bytes:
    """A stretch written twice."""
    place = _place(data, rng)
    return data[: place + int(rng.integers(1, 2000))] + data[place:]


def splice(data: bytes, others: Sequence[bytes], rng: np.random.Generator) -> bytes:
    """The start of one file before the end of another."""
    other = others[int(rng.integers(len(others)))]
    return data[: _place(data, rng)] + other[_place(other, rng) :]


def lie_about_size(data: bytes, others: Sequence[bytes], rng: np.random.Generator) -> bytes:
    """A number of 1, 2, 4 or 8 bytes replaced by an extreme one, in either order of bytes."""
    kind = "BHIQ"[int(rng.integers(4))]
    width = struct.calcsize(kind)
    value = SIZES[int(rng.integers(len(SIZES)))] & ((1 << 8 * width) - 1)
    place = max(0, min(_place(data, rng), len(data) - width))
    return data[:place] + struct.pack("<>"[int(rng.integers(2))] + kind, value) + data[place + width :]


WAYS = (flip_bits, replace_bytes, cut, remove, repeat, splice, lie_about_size, lie_about_size)
