"""Bounds on what a small file becomes once it is read: pixels of a picture, and bytes of packed tables and arrays."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib

from bindplug.errors import InputError
from bindplug.inputs import describe_source
from bindplug.modality import Modality
from bindplug.query import Leaf
from bindplug_serve.limits import Limits

PICTURES = (Modality.IMAGE, Modality.DEPTH, Modality.THERMAL, Modality.VIDEO)
TABLES = (Modality.DEPTH, Modality.THERMAL, Modality.IMU)
"""Senses whose readers take archives and arrays."""
MATLAB_HEADER_BYTES, MATLAB_COMPRESSED = 128, 15
"""Source: MathWorks, "MAT-File Format", level 5."""
PIECE_BYTES = 1 << 20
BYTES_OF_A_CELL = 8


def check_size(leaf: Leaf, limits: Limits) -> None:
    """Refuse a source that is small as a file and large in memory; what is damaged is left to its reader.

    Args:
        leaf: a source in bytes; others are not looked at.
        limits: ``pixels`` and ``unpacked_bytes`` are the most that is read.

    Raises:
        InputError: it holds more.
    """
    source = leaf.source
    data = source.getvalue() if isinstance(source, io.BytesIO) else source
    if not isinstance(data, bytes):
        return
    name = describe_source(source)
    if leaf.modality in PICTURES:
        _check_pixels(data, limits.pixels, name)
    if leaf.modality in TABLES and _unpacked_bytes(data, limits.unpacked_bytes) > limits.unpacked_bytes:
        raise InputError(
            name,
            found="data that unpack to more than is read",
            expected=f"at most {limits.unpacked_bytes:,} bytes once unpacked",
            remedy="Cut the recording into parts, or scale the map down.",
        )


def _check_pixels(data: bytes, most: int, name: str) -> None:
    from PIL import Image

    try:
        with Image.open(io.BytesIO(data)) as picture:
            width, height = picture.size
    except Image.DecompressionBombError:
        problem = "a picture of far more pixels than are read"
    except Exception:  # the reader says what is wrong with it
        return
    else:
        if width * height <= most:
            return
        problem = f"a picture of {width} x {height} pixels"
    raise InputError(name, found=problem, expected=f"at most {most:,} pixels")


def _unpacked_bytes(data: bytes, most: int) -> int:
    """Bytes that a packed file unpacks to; counted to a little over ``most``, 0 for other and for damaged files."""
    try:
        if data.startswith(b"PK"):
            with zipfile.ZipFile(io.BytesIO(data)) as archive:
                return sum(member.file_size for member in archive.infolist())
        if data.startswith(b"PAR1"):
            return _parquet_bytes(data)
        order = {b"IM": "<", b"MI": ">"}.get(data[MATLAB_HEADER_BYTES - 2 : MATLAB_HEADER_BYTES])
        return _matlab_bytes(data, order, most) if order else 0
    except Exception:  # the reader says what is wrong with it
        return 0


def _parquet_bytes(data: bytes) -> int:
    from pyarrow.parquet import ParquetFile

    metadata = ParquetFile(io.BytesIO(data)).metadata
    return int(metadata.num_rows * metadata.num_columns * BYTES_OF_A_CELL)


def _matlab_bytes(data: bytes, order: str, most: int) -> int:
    place, total = MATLAB_HEADER_BYTES, 0
    while place + 8 <= len(data) and total <= most:
        kind, size = struct.unpack_from(f"{order}II", data, place)
        if kind == MATLAB_COMPRESSED:
            total += _inflated_bytes(data[place + 8 : place + 8 + size], most - total)
            place += 8 + size
        else:
            place += 8 + -(-size // 8) * 8
    return total


def _inflated_bytes(packed: bytes, most: int) -> int:
    unpacker, total = zlib.decompressobj(), 0
    while not unpacker.eof and total <= most:
        piece = unpacker.decompress(packed, PIECE_BYTES)
        packed = unpacker.unconsumed_tail
        if not piece:
            break
        total += len(piece)
    return total
