"""Reads numbers, texts, cells and structures from MATLAB files of versions 5 to 7.2.

Splits and lists of data sets come in such files. scipy's reader ends the process on damaged ones (segmentation faults
and bus errors, seen in scipy 1.17), so the part of the format that they use is read here.
Source: MathWorks, "MAT-File Format", level 5.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bindplug.errors import InputError

__all__ = ["read_mat"]

HEADER_BYTES = 128
MATRIX, COMPRESSED = 14, 15
NUMBERS = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
"""Types of stored numbers."""
TEXTS = {1: "latin-1", 2: "latin-1", 4: "utf-16", 16: "utf-8", 17: "utf-16", 18: "utf-32"}
"""Encodings of stored texts, by type."""
CELL, STRUCTURE, TEXT = 1, 2, 4
NUMERIC = range(6, 16)
IS_COMPLEX = 0x0800
MOST_BYTES = 1 << 28
DEEPEST = 16
EXPECTED = "a whole MATLAB file of version 5"


def read_mat(path: Path, names: Sequence[str]) -> dict[str, Any]:
    """Variables of a file.

    Args:
        path: the file.
        names: of the variables.

    Returns:
        For each name an array of numbers in MATLAB's shape; a text; for cells a list of these; for structures a list
        of a mapping each, by their fields. Lists are in MATLAB's order, columns first.

    Raises:
        InputError: the file is missing, damaged, too large, of another version, lacks a variable, or one holds
            something else.
    """
    try:
        size = path.stat().st_size
        data = path.read_bytes() if size <= MOST_BYTES else b""
    except OSError as error:
        found = f"a file that cannot be read ({error.strerror})"
        raise InputError(str(path), found=found, expected=EXPECTED) from None
    if size > MOST_BYTES:
        raise InputError(str(path), found="more than 256 MiB", expected=EXPECTED)
    if data.startswith(b"MATLAB 7.3") or data[:8] == b"\x89HDF\r\n\x1a\n":
        raise InputError(str(path), found="a MATLAB file of version 7.3", expected=EXPECTED)
    if not data.startswith(b"MATLAB 5.0") or data[126:128] not in (b"IM", b"MI"):
        raise InputError(str(path), found="no MATLAB file", expected=EXPECTED, remedy="Download it again.")
    order = "<" if data[126:128] == b"IM" else ">"
    variables: dict[str, Any] = {}
    try:
        for kind, body in _elements(data[HEADER_BYTES:], order):
            if kind == COMPRESSED:
                unpacked = zlib.decompressobj().decompress(body, MOST_BYTES)
                kind, body = next(_elements(unpacked, order), (0, b""))
            if kind == MATRIX:
                name = _name(body, order)
                if name in names:
                    variables[name] = _value(body, order, 0)
    except (_DamageError, zlib.error, UnicodeDecodeError, struct.error, ValueError) as error:
        found = f"a damaged MATLAB file ({error})"
        raise InputError(str(path), found=found, expected=EXPECTED, remedy="Download it again.") from None
    for name in names:
        if name not in variables:
            found = f"no variable {name!r}"
            raise InputError(
                str(path), found=found, expected=", ".join(names), remedy="It may have been cut off."
            )
    return variables


class _DamageError(Exception):
    """Bytes that are no element of the format."""


def _elements(data: bytes, order: str) -> Iterator[tuple[int, bytes]]:
    """(type, content) of elements that stand one after another."""
    at = 0
    while at + 8 <= len(data):
        kind, count = struct.unpack(f"{order}II", data[at : at + 8])
        if kind >> 16:  # a short element holds its size and up to four bytes in its tag
            kind, count = kind & 0xFFFF, kind >> 16
            if count > 4:
                raise _DamageError(f"a short element of {count} bytes")
            yield kind, data[at + 4 : at + 4 + count]
            at += 8
            continue
        if at + 8 + count > len(data):
            raise _DamageError(f"an element that ends {at + 8 + count - len(data)} bytes beyond the file")
        yield kind, data[at + 8 : at + 8 + count]
        at += 8 + (count if kind == COMPRESSED else -(-count // 8) * 8)


def _header(body: bytes, order: str) -> tuple[int, tuple[int, ...], str, list[tuple[int, bytes]]]:
    """Class, shape, name, and the elements after them of a matrix."""
    parts = list(_elements(body, order))
    if len(parts) < 3 or len(parts[0][1]) != 8 or len(parts[1][1]) % 4:
        raise _DamageError("a matrix without its header")
    flags = struct.unpack(f"{order}II", parts[0][1])[0]
    shape = tuple(np.frombuffer(parts[1][1], f"{order}i4").tolist())
    if min(shape, default=0) < 0 or len(shape) > 8:
        raise _DamageError(f"a matrix of shape {shape[:8]}")
    kind = flags & 0xFF if not flags & IS_COMPLEX else -1
    return kind, shape, parts[2][1].decode("latin-1"), parts[3:]


def _name(body: bytes, order: str) -> str:
    return _header(body, order)[2]


def _value(body: bytes, order: str, depth: int) -> Any:
    if depth > DEEPEST:
        raise _DamageError("cells within cells without end")
    if not body:
        return np.zeros((0, 0))
    kind, shape, _, parts = _header(body, order)
    count = math.prod(shape)
    if kind in NUMERIC:
        return _numbers(parts, shape, count, order)
    if kind == TEXT:
        return _text(parts, count, order)
    if kind == CELL:
        return [_value(inner, order, depth + 1) for inner in _matrices(parts, count)]
    if kind == STRUCTURE:
        return _structures(parts, count, order, depth)
    raise _DamageError("complex numbers" if kind < 0 else f"an array of class {kind}")


def _numbers(
    parts: Sequence[tuple[int, bytes]], shape: tuple[int, ...], count: int, order: str
) -> np.ndarray:
    kind, data = parts[0] if parts else (9, b"")
    if kind not in NUMBERS or len(data) != count * int(NUMBERS[kind][1]):
        raise _DamageError(f"{len(data)} bytes of type {kind} for {count} numbers")
    return np.frombuffer(data, order + NUMBERS[kind]).reshape(shape, order="F")


def _text(parts: Sequence[tuple[int, bytes]], count: int, order: str) -> str:
    kind, data = parts[0] if parts else (16, b"")
    if kind not in TEXTS:
        raise _DamageError(f"a text of type {kind}")
    encoding = TEXTS[kind]
    text = data.decode(
        encoding + ("-le" if order == "<" else "-be") if encoding in ("utf-16", "utf-32") else encoding
    )
    if len(text) != count:
        raise _DamageError(f"a text of {len(text)} letters for {count}")
    return text


def _structures(
    parts: Sequence[tuple[int, bytes]], count: int, order: str, depth: int
) -> list[dict[str, Any]]:
    if len(parts) < 2 or len(parts[0][1]) != 4:
        raise _DamageError("a structure without fields")
    width = struct.unpack(f"{order}i", parts[0][1])[0]
    if width < 1:
        raise _DamageError(f"names of {width} letters")
    names = parts[1][1]
    fields = [names[at : at + width].split(b"\0")[0].decode("latin-1") for at in range(0, len(names), width)]
    values = [_value(inner, order, depth + 1) for inner in _matrices(parts[2:], count * len(fields))]
    return [
        dict(zip(fields, values[at : at + len(fields)], strict=True))
        for at in range(0, len(values), len(fields))
    ]


def _matrices(parts: Sequence[tuple[int, bytes]], count: int) -> list[bytes]:
    if len(parts) != count or any(kind != MATRIX for kind, _ in parts):
        raise _DamageError(f"{len(parts)} parts for {count} cells")
    return [body for _, body in parts]
