"""Reads numeric arrays from MATLAB files of versions 5 to 7.2.

scipy's reader ends the process on damaged files (a segmentation fault on an unknown type of data), so the part of the
format that holds plain matrices is read here. Source: MathWorks, "MAT-File Format", level 5.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from bindplug.errors import InputError
from bindplug.inputs.limits import MOST_BYTES, check_limit

HEADER_BYTES, ENDIAN_AT = 128, 126
MATRIX, COMPRESSED = 14, 15
STORED = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
"""Types of stored numbers; MATLAB stores the narrowest that holds the values."""
CLASSES = {6: "f8", 7: "f4", 8: "i1", 9: "u1", 10: "i2", 11: "u2", 12: "i4", 13: "u4", 14: "i8", 15: "u8"}
"""Numeric classes of arrays."""
OTHER_CLASSES = {1: "a cell array", 2: "a structure", 3: "an object", 4: "text", 5: "a sparse matrix"}
COMPLEX = 0x0800


@dataclass(frozen=True)
class Variable:
    """An array of a file whose numbers are not decoded yet.

    Attributes:
        name: as in MATLAB.
        shape: as in MATLAB.
        kind: numpy's name for its class, or what it is if it is not a real numeric array.
        parts: the elements after its name.
        order: ``"<"`` or ``">"``.
    """

    name: str
    shape: tuple[int, ...]
    kind: str
    parts: tuple[tuple[int, bytes], ...]
    order: str

    def array(self, source: str) -> np.ndarray:
        """The numbers, of this shape.

        Raises:
            InputError: it is not a real numeric array, or damaged.
        """
        if self.kind not in CLASSES.values():
            remedy = "Save the map itself, as a numeric matrix."
            problem = f"{self.kind} called {self.name!r}"
            raise InputError(source, found=problem, expected="a numeric matrix", remedy=remedy)
        count = math.prod(self.shape)
        code, data = self.parts[0] if self.parts else (0, b"")
        if code not in STORED or len(data) < count * int(STORED[code][1]):
            raise _damaged(source, f"the numbers of {self.name!r} are missing")
        values = np.frombuffer(data, self.order + STORED[code], count)
        return values.astype(self.kind).reshape(self.shape, order="F")


def read_variables(data: bytes, source: str) -> list[Variable]:
    """The variables of a MATLAB file.

    Args:
        data: the whole file.
        source: what errors call it.

    Raises:
        InputError: it is damaged, of another version, or unpacks to more than 4 GiB.
    """
    order = {b"IM": "<", b"MI": ">"}.get(data[ENDIAN_AT:HEADER_BYTES])
    if order is None:
        remedy = "Save it with -v6 or -v7."
        raise InputError(
            source, found="no MATLAB file of version 5 to 7.2", expected="a .mat file", remedy=remedy
        )
    variables = []
    for kind, body in _elements(data[HEADER_BYTES:], order, source, padded=False):
        if kind == COMPRESSED:
            unpacker = zlib.decompressobj()
            try:
                body = unpacker.decompress(body, MOST_BYTES)
            except zlib.error as error:
                raise _damaged(source, str(error)) from None
            check_limit(
                source, len(body) + len(unpacker.unconsumed_tail), MOST_BYTES - 1, "bytes once unpacked"
            )
            kind, body = next(_elements(body, order, source), (0, b""))
        if kind == MATRIX:
            variables.append(_variable(body, order, source))
    return variables


def _variable(body: bytes, order: str, source: str) -> Variable:
    parts = list(_elements(body, order, source))
    if len(parts) < 3 or len(parts[0][1]) < 8:
        raise _damaged(source, "a variable without a header")
    flags = struct.unpack(f"{order}I", parts[0][1][:4])[0]
    dimensions = np.frombuffer(parts[1][1][: len(parts[1][1]) // 4 * 4], f"{order}i4")
    if not 2 <= dimensions.size <= 32 or (dimensions < 0).any():
        raise _damaged(source, "impossible dimensions")
    kind = CLASSES.get(flags & 0xFF) or OTHER_CLASSES.get(flags & 0xFF, "an array of an unknown class")
    if flags & COMPLEX:
        kind = "a complex array"
    name = parts[2][1].decode("latin-1")
    return Variable(name, tuple(map(int, dimensions)), kind, tuple(parts[3:]), order)


def _elements(data: bytes, order: str, source: str, *, padded: bool = True) -> Iterator[tuple[int, bytes]]:
    """Type and content of each element of ``data``; all but compressed ones fill up to multiples of 8 bytes."""
    place = 0
    while place + 8 <= len(data):
        kind, size = struct.unpack(f"{order}II", data[place : place + 8])
        if kind >> 16:  # up to four bytes, within the tag
            kind, size, start, length = kind & 0xFFFF, kind >> 16, place + 4, 8
            size = min(size, 4)
        else:
            start = place + 8
            length = 8 + (size if kind == COMPRESSED and not padded else -(-size // 8) * 8)
        if start + size > len(data):
            raise _damaged(source, f"an element of {size} bytes, of which {len(data) - start} are there")
        yield kind, data[start : start + size]
        place += length


def _damaged(source: str, what: str) -> InputError:
    return InputError(source, found=f"a damaged MATLAB file ({what})", expected="a whole .mat file")
