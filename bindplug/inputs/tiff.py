"""Checks of TIFF files before libtiff decodes them."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from typing import Any, BinaryIO

from PIL import Image

from bindplug.errors import InputError

WIDTH, HEIGHT, BITS, COMPRESSION, OFFSETS, SAMPLES, ROWS_PER_STRIP, COUNTS, PLANAR = (
    256, 257, 258, 259, 273, 277, 278, 279, 284,
)  # fmt: skip
TILE_WIDTH, TILE_HEIGHT, TILE_OFFSETS, TILE_COUNTS = 322, 323, 324, 325
GDAL_NO_DATA, SUBFILE_TYPE, SAMPLE_FORMAT = 42113, 254, 339
REDUCED, MASK = 1, 4
"""Bits of the subfile type: a reduced version of another page, and a transparency mask."""
SAMPLE_KINDS = {1: "integers", 2: "signed integers", 3: "floats", 5: "complex integers", 6: "complex floats"}
PHOTOMETRIC, SIGNED = 262, 2
MOST_PAGES, MOST_TAGS = 10_000, 4096
UNCOMPRESSED, JPEG_COMPRESSION, SEPARATE_PLANES = 1, 7, 2


def check_pixels(picture: Image.Image, name: str) -> None:
    """Refuse kinds of pixels that Pillow decodes to other values without a word.

    Raises:
        InputError: 16-bit channels in planes of their own, or signed 8-bit integers.
    """
    tags: Any = getattr(picture, "tag_v2", {})
    bits, samples = _first(tags, BITS, 1), _first(tags, SAMPLES, 1)
    if bits == 16 and samples > 1 and _first(tags, PLANAR, 1) == SEPARATE_PLANES:
        kind = f"{samples} channels of 16 bits in planes of their own"
    elif bits == 8 and _first(tags, SAMPLE_FORMAT, 1) == SIGNED:
        kind = "signed 8-bit integers"
    else:
        return
    remedy = (
        "Pass the array that tifffile.imread(path) gives, as 8-bit RGB; or save it with interleaved channels."
    )
    expected = "pixels that Pillow reads"
    raise InputError(name, found=f"a TIFF of {kind}", expected=expected, remedy=remedy)


def check_strips(picture: Image.Image, file: BinaryIO, name: str) -> None:
    """Refuse a TIFF that declares more rows than it stores; Pillow leaves those rows black.

    Args:
        picture: a TIFF whose header was read.
        file: where it is read from.
        name: what errors call it.

    Raises:
        InputError: strips or tiles are missing, lie outside the file, or are too short.
    """
    tags: Any = getattr(picture, "tag_v2", {})
    width, height = _first(tags, WIDTH), _first(tags, HEIGHT)
    samples = _first(tags, SAMPLES, 1)
    planes = samples if _first(tags, PLANAR, 1) == SEPARATE_PLANES else 1
    if TILE_OFFSETS in tags:
        across, down = _first(tags, TILE_WIDTH, 1) or 1, _first(tags, TILE_HEIGHT, 1) or 1
        pieces = -(-width // across) * -(-height // down) * planes
        offsets, counts, what = _all(tags, TILE_OFFSETS), _all(tags, TILE_COUNTS), "tiles"
    else:
        rows = min(_first(tags, ROWS_PER_STRIP, height) or height, height)
        pieces = -(-height // rows) * planes
        offsets, counts, what = _all(tags, OFFSETS), _all(tags, COUNTS), "strips"
    detail = ""
    if len(offsets) < pieces or (counts and len(counts) < pieces):
        pieces_stored = min(len(offsets), len(counts) or len(offsets))
        detail = f"a TIFF that declares {height} rows in {pieces} {what} and stores {pieces_stored} of them"
    elif counts:
        size = _size(file)
        outside = sum(offset + count > size for offset, count in zip(offsets, counts, strict=False))
        bits = sum(_all(tags, BITS)) or samples
        bits //= planes if planes > 1 else 1
        if outside:
            detail = f"a TIFF of which {outside} of {len(offsets)} {what} lie beyond the end of the file"
        elif min(counts[:pieces]) == 0:
            detail = f"a TIFF with empty {what}"
        elif (
            what == "strips"
            and _first(tags, COMPRESSION, 1) == UNCOMPRESSED
            and sum(counts) < height * planes * -(-width * bits // 8)
        ):
            detail = f"a TIFF that declares {height} rows and stores {sum(counts)} bytes, too few for them"
        elif what == "strips" and _first(tags, COMPRESSION, 1) == JPEG_COMPRESSION:
            last = height - rows * (pieces // planes - 1)
            file.seek(offsets[pieces - 1])
            stored_rows = _jpeg_rows(file.read(counts[pieces - 1]))
            if 0 < stored_rows < last:
                detail = f"a TIFF whose last strip declares {last} rows and stores {stored_rows}"
    if detail:
        raise InputError(name, found=detail, expected="a complete picture", remedy="Copy or export it again.")


def count_pages(file: BinaryIO, start: int) -> int:
    """Pictures of full size in a TIFF: its directories without previews, pyramid levels and masks."""
    pages = 0
    for tags in _directories(file, start):
        pages += not tags.get(SUBFILE_TYPE, (0,))[0] & (REDUCED | MASK)
    return pages


def describe_pixels(file: BinaryIO, start: int) -> str:
    """The pixels of a TIFF's first page, as "3 channels of 64-bit floats"; empty if that cannot be told."""
    tags = next(_directories(file, start), {})
    bits = tags.get(BITS, ())
    if not bits:
        return ""
    samples = tags.get(SAMPLES, (len(bits),))[0]
    kind = SAMPLE_KINDS.get(tags.get(SAMPLE_FORMAT, (1,))[0], "values")
    return f"{samples} channel{'s' * (samples != 1)} of {bits[0]}-bit {kind}"


def _directories(file: BinaryIO, start: int) -> Iterator[dict[int, tuple[int, ...]]]:
    """The tags of short or long integers of each page; ends where a directory cannot be read."""
    file.seek(start)
    head = file.read(16)
    order = {b"II": "<", b"MM": ">"}.get(head[:2])
    if order is None or len(head) < 16:
        return
    big = head[2:4] in (b"+\0", b"\0+")
    count_form, entry_size, offset_form = ("Q", 20, "Q") if big else ("H", 12, "I")
    (place,) = struct.unpack_from(order + offset_form, head, 8 if big else 4)
    visited: set[int] = set()
    while place and place not in visited and len(visited) < MOST_PAGES:
        visited.add(place)
        file.seek(start + place)
        width = struct.calcsize(count_form)
        head = file.read(width)
        count = struct.unpack(order + count_form, head)[0] if len(head) == width else 0
        data = file.read(min(count, MOST_TAGS) * entry_size + struct.calcsize(offset_form))
        if not 0 < count <= MOST_TAGS or len(data) < count * entry_size + struct.calcsize(offset_form):
            return
        tags: dict[int, tuple[int, ...]] = {}
        for at in range(0, count * entry_size, entry_size):
            tag, form, number = struct.unpack_from(order + "HH" + offset_form, data, at)
            letter = {3: "H", 4: "I"}.get(form)
            size = entry_size - struct.calcsize("HH" + offset_form)
            if letter and number:
                fit = min(number, size // struct.calcsize(letter))
                value = struct.unpack_from(f"{order}{fit}{letter}", data, at + entry_size - size)
                if number > fit:  # stored elsewhere: only the first is read
                    (offset,) = struct.unpack_from(order + offset_form, data, at + entry_size - size)
                    file.seek(start + offset)
                    cell = file.read(struct.calcsize(letter))
                    value = (
                        struct.unpack(order + letter, cell) if len(cell) == struct.calcsize(letter) else ()
                    )
                if value:
                    tags[tag] = value
        yield tags
        (place,) = struct.unpack_from(order + offset_form, data, count * entry_size)


def no_data_value(picture: Image.Image) -> float | None:
    """The value that GDAL's tag of a TIFF declares as "no data", or None."""
    text = getattr(picture, "tag_v2", {}).get(GDAL_NO_DATA)
    try:
        return float(str(text).strip("\x00 ")) if text is not None else None
    except ValueError:
        return None


def _jpeg_rows(data: bytes) -> int:
    """Rows that the frame header of a JPEG stream declares, 0 if there is none."""
    place = 2
    while place + 9 <= len(data) and data[place] == 0xFF:
        marker, length = data[place + 1], int.from_bytes(data[place + 2 : place + 4], "big")
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            return int.from_bytes(data[place + 5 : place + 7], "big")
        place += 2 + length
    return 0


def _all(tags: Any, tag: int) -> list[int]:
    value = tags.get(tag, ())
    return [int(number) for number in (value if isinstance(value, (tuple, list)) else (value,))]


def _first(tags: Any, tag: int, default: int = 0) -> int:
    numbers = _all(tags, tag)
    return numbers[0] if numbers else default


def _size(file: BinaryIO) -> int:
    place = file.tell()
    size = file.seek(0, os.SEEK_END)
    file.seek(place)
    return size
