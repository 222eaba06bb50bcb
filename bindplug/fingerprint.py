"""Fingerprints of weights: sampled numbers, compared as closely as the storage formats allow.

A digest of the weights changes when they pass through float16, though every embedding stays what it was. A
fingerprint keeps a few hundred of the numbers instead, so that two copies of one network can be told from two
networks after either was rounded on disk.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

__all__ = [
    "Fingerprint",
    "same_fingerprints",
    "same_numbers",
]

PREFIX = "sample1"
"""First part of a fingerprint's text; the number is that of the format."""

EPSILON = {"bfloat16": 2.0**-7, "float16": 2.0**-10}
"""Distance from 1 to the next number of each format."""

EQUAL_SHARE = 0.9
"""Share of numbers that must be equal after rounding to the coarser format of two copies. Copies agree in all but a
few that lay at a boundary; of a network that was trained further hardly a number is equal."""

TWICE_ROUNDED_SHARE = 0.7
"""The same for a copy in float16 and one in bfloat16. Rounding to float16 first brings one number in eight to the
middle between two of bfloat16, from where half of them go the other way: one in sixteen is a step off."""

ABSOLUTE = 1e-7
"""Two steps of float16 near zero, where its numbers lie 6e-8 apart."""

SMALLEST_NORMAL = 2.0**-14
"""Below it float16 has fewer digits than above, so that numbers count as equal which are close."""


@dataclass(frozen=True, eq=False)
class Fingerprint:
    """Numbers sampled from weights, with the sizes of the network that they were taken from.

    Args:
        sizes: of the network, in an order that its maker defines; those of two fingerprints must agree.
        numbers: (N,) float32, sampled at places that depend on the sizes alone. A version of bindplug that samples
            more appends it.
    """

    sizes: tuple[int, ...]
    numbers: np.ndarray

    @cached_property
    def digest(self) -> str:
        """16 hexadecimal digits of a hash of the numbers, for display."""
        return hashlib.sha256(np.ascontiguousarray(self.numbers, dtype="<f4").tobytes()).hexdigest()[:16]

    def matches(self, other: Fingerprint) -> bool:
        """Whether both were taken from copies of the same weights; see :func:`same_numbers`.

        Where one is an earlier version's, which sampled less, the numbers that both have are compared.
        """
        count = min(len(self.numbers), len(other.numbers))
        if self.sizes != other.sizes or (not count and max(len(self.numbers), len(other.numbers))):
            return False
        return same_numbers(self.numbers[:count], other.numbers[:count])

    def __str__(self) -> str:
        content = base64.b64encode(np.ascontiguousarray(self.numbers, dtype="<f4").tobytes()).decode("ascii")
        return ":".join((self.digest, PREFIX, "x".join(map(str, self.sizes)), content))

    @classmethod
    def parse(cls, text: str) -> Fingerprint | None:
        """The fingerprint that ``str`` wrote; None for any other text."""
        parts = text.split(":")
        if len(parts) != 4 or parts[1] != PREFIX:
            return None
        try:
            sizes = tuple(int(size) for size in parts[2].split("x"))
            numbers = np.frombuffer(base64.b64decode(parts[3], validate=True), dtype="<f4")
        except (ValueError, binascii.Error):
            return None
        return cls(sizes, numbers.astype(np.float32))


def same_fingerprints(first: str, second: str) -> bool:
    """Whether two fingerprints are of the same weights: sampled ones within rounding, any others if they are equal."""
    if first == second:
        return True
    fingerprints = Fingerprint.parse(first), Fingerprint.parse(second)
    return (
        fingerprints[0] is not None
        and fingerprints[1] is not None
        and fingerprints[0].matches(fingerprints[1])
    )


def sample_positions(count: int, size: int) -> np.ndarray:
    """``count`` positions spread evenly over ``size`` numbers; fewer where there are fewer."""
    count = min(count, size)
    return ((2 * np.arange(count, dtype=np.int64) + 1) * size) // (2 * max(count, 1))


def same_numbers(first: np.ndarray, second: np.ndarray) -> bool:
    """Whether two samples are of the same weights, each perhaps rounded to float16 or bfloat16 and widened again.

    Both are rounded to the coarser of the formats that they went through, and to float16 at least: distinctions finer
    than that are noise of file formats and of the order of sums. Then at least :data:`EQUAL_SHARE` of the numbers
    must be equal (:data:`TWICE_ROUNDED_SHARE` of one copy in float16 and one in bfloat16), and all of them within two
    steps of that format.

    Args:
        first: (N,) float32.
        second: (N,) float32 of the same places.
    """
    if first.shape != second.shape:
        return False
    if not first.size:
        return True
    formats = {_format(first), _format(second)}
    name = "bfloat16" if "bfloat16" in formats else "float16"
    a, b = _rounded(first, name), _rounded(second, name)
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        return bool(np.array_equal(a, b))
    magnitudes = np.maximum(np.abs(a), np.abs(b))
    close = np.abs(a - b) <= 2 * EPSILON[name] * magnitudes + ABSOLUTE
    equal = (a == b) | (close & (magnitudes < SMALLEST_NORMAL))
    share = TWICE_ROUNDED_SHARE if formats == {"bfloat16", "float16"} else EQUAL_SHARE
    return bool(close.all()) and float(equal.mean()) >= share


def _format(numbers: np.ndarray) -> str:
    """The coarsest format that holds the numbers exactly."""
    for name in EPSILON:
        if np.array_equal(_rounded(numbers, name), numbers):
            return name
    return "float32"


def _rounded(numbers: np.ndarray, name: str) -> np.ndarray:
    numbers = np.ascontiguousarray(numbers, dtype=np.float32)
    if name == "float16":
        with np.errstate(over="ignore"):
            return numbers.astype(np.float16).astype(np.float32)
    # Round half to even: bfloat16 is the upper half of a float32.
    bits = numbers.view(np.uint32).astype(np.int64)
    rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000
    return rounded.astype(np.uint32).view(np.float32)


def joined(samples: Sequence[np.ndarray]) -> np.ndarray:
    """(N,) float32 of all samples, one after the other."""
    flat = [np.asarray(sample, dtype=np.float32).ravel() for sample in samples]
    return np.concatenate(flat) if flat else np.zeros(0, dtype=np.float32)
