"""Sound and video files that hold less than their headers say, or more.

Less is left after a copy or a download that broke off, more where files were joined or a recorder never came back to
its header.
"""

from __future__ import annotations

import os
from typing import BinaryIO

STREAMED_FROM = 0x7FFFF000
"""Sizes of 32 bits from here on stand for "not known": what writes to a pipe cannot go back to the header."""
RIFF = (b"RIFF", b"RIFX", b"RF64", b"BW64")
W64_RIFF, W64_DATA = b"riff\x2e\x91\xcf\x11", b"data\xf3\xac\xd3\x11"
MATROSKA, SEGMENT = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"
OGG_PAGE, OGG_LAST, OGG_TAIL_BYTES = b"OggS", 0x04, 1 << 17
OGG_FIRST = 0x02
NOTABLE_BYTES = 1024
"""Bytes after the sound that may be anything: tags, padding."""
MOST_CHUNKS = 10_000


def size_remarks(file: BinaryIO, start: int) -> tuple[str, ...]:
    """What to remark on the sound or video in ``file``: that it is cut short, and that more follows.

    Args:
        file: seekable; where it stands is restored.
        start: where the sound begins.
    """
    return tuple(filter(None, (cut_remark(file, start), remainder_remark(file, start))))


def cut_remark(file: BinaryIO, start: int) -> str:
    """What to remark on the sound in ``file`` if data that its header declares is missing; else an empty text.

    Args:
        file: seekable; where it stands is restored.
        start: where the sound begins.
    """
    place, size = file.tell(), file.seek(0, os.SEEK_END)
    try:
        file.seek(start)
        head = file.read(12)
        if head.startswith(OGG_PAGE):
            whole = _ends_an_ogg(file, start, size)
            return "" if whole else "the file breaks off before its stream ends; what is there was read"
        declared, stored = _sizes(file, start, size, head)
    finally:
        file.seek(place)
    if declared <= stored + 1:  # a byte of padding may be missing
        return ""
    return (
        f"the file holds {stored / declared:.1%} of the data that its header declares; what is there was read"
    )


def remainder_remark(file: BinaryIO, start: int) -> str:
    """What to remark on a WAV or MP4 file in which more follows the declared data; else an empty text.

    Args:
        file: seekable; where it stands is restored.
        start: where the sound begins.
    """
    place, size = file.tell(), file.seek(0, os.SEEK_END)
    try:
        file.seek(start)
        head = file.read(12)
        if head[4:8] == b"ftyp":
            rest = _second_recording(file, start, size)
            return (
                f"{rest} bytes of another recording follow the first one and were not read; split the file"
                if rest
                else ""
            )
        if head[:4] not in RIFF or head[8:] != b"WAVE":
            return ""
        declared, stored = _sizes(file, start, size, head)
        rest = stored - declared
        if not declared or rest <= NOTABLE_BYTES:
            return ""
        file.seek(size - rest + declared % 2)
        following = file.read(NOTABLE_BYTES)
    finally:
        file.seek(place)
    kind = following[:4]
    if kind in RIFF or kind == b"data":
        return f"{rest} bytes of another sound follow the first one and were not read; split the file"
    if any(following) and not all(32 <= byte < 127 for byte in kind):
        return f"{rest} bytes after the sound that the header declares were not read"
    return ""


def is_chained_ogg(file: BinaryIO, start: int) -> bool:
    """Whether sounds follow one another in an Ogg file: a stream begins after another one's data."""
    place, has_data = start, False
    while True:
        file.seek(place)
        head = file.read(27)
        if len(head) < 27 or not head.startswith(OGG_PAGE):
            return False
        is_first = bool(head[5] & OGG_FIRST)
        if is_first and has_data:
            return True
        has_data = has_data or not is_first
        segments = file.read(head[26])
        place += 27 + len(segments) + sum(segments)


def _sizes(file: BinaryIO, start: int, size: int, head: bytes) -> tuple[int, int]:
    """Bytes of sound that the header declares, and those that are there; zeros if it says nothing."""
    if head[:4] == b"RIFF" and head[8:] == b"AVI ":
        return _sizes_if_stated(int.from_bytes(head[4:8], "little"), size - start - 8)
    if head[4:8] == b"ftyp":
        return _boxes(file, start, size)
    if head[:4] in RIFF and head[8:] == b"WAVE":
        return _riff(file, start, size, "big" if head[:4] == b"RIFX" else "little")
    if head[:4] == b"FORM":
        return _chunks(file, start + 12, size, b"SSND", 4, "big")
    if head[:4] == b"caff":
        return _chunks(file, start + 8, size, b"data", 8, "big")
    if head[:4] == b".snd":
        begin, declared = int.from_bytes(head[4:8], "big"), int.from_bytes(head[8:12], "big")
        return _sizes_if_stated(declared, size - start - begin)
    if head[:8] == W64_RIFF:
        return _w64(file, start + 40, size)
    if head[:4] == MATROSKA:
        return _matroska(file, start, size)
    return 0, 0


def _sizes_if_stated(declared: int, stored: int, limit: int = STREAMED_FROM) -> tuple[int, int]:
    return (declared, max(0, stored)) if 0 < declared < limit else (0, 0)


def _riff(file: BinaryIO, start: int, size: int, order: str) -> tuple[int, int]:
    file.seek(start + 12)
    head = file.read(24)
    wide = int.from_bytes(head[16:24], "little") if head[:4] == b"ds64" else 0  # RF64: sizes of 64 bits
    return _chunks(file, start + 12, size, b"data", 4, order, wide)


def _chunks(
    file: BinaryIO, place: int, size: int, kind: bytes, width: int, order: str, declared: int = 0
) -> tuple[int, int]:
    """Declared and stored bytes of the first chunk of a kind; its length has ``width`` bytes.

    Args:
        file, size: the file and its bytes.
        place: of the first chunk.
        kind: what the chunk is called.
        width: bytes of a chunk's length.
        order: of these bytes, ``"big"`` or ``"little"``.
        declared: the length of that chunk, where the header has it.
    """
    for _ in range(MOST_CHUNKS):
        file.seek(place)
        head = file.read(4 + width)
        if len(head) < 4 + width:
            return 0, 0
        length = int.from_bytes(head[4:], "big" if order == "big" else "little")
        if head[:4] == kind:
            limit = STREAMED_FROM if width == 4 and not declared else 1 << 63
            return _sizes_if_stated(declared or length, size - place - len(head), limit)
        place += len(head) + length + (length % 2 if width == 4 else 0)
    return 0, 0


def _w64(file: BinaryIO, place: int, size: int) -> tuple[int, int]:
    for _ in range(MOST_CHUNKS):
        file.seek(place)
        head = file.read(24)
        if len(head) < 24:
            return 0, 0
        length = int.from_bytes(head[16:], "little")
        if head[:8] == W64_DATA:
            return _sizes_if_stated(length - 24, size - place - 24, 1 << 63)
        place += max(24, -(-length // 8) * 8)
    return 0, 0


def _boxes(file: BinaryIO, place: int, size: int) -> tuple[int, int]:
    """As :func:`_chunks` for the first box of media data of an MP4 or QuickTime file."""
    for _ in range(MOST_CHUNKS):
        file.seek(place)
        head = file.read(16)
        if len(head) < 8:
            return 0, 0
        length = int.from_bytes(head[:4], "big")
        length = int.from_bytes(head[8:], "big") if length == 1 else length  # 64 bits; 0: to the end
        if length < 8:
            return 0, 0
        if head[4:8] == b"mdat" and place + length > size:
            return _sizes_if_stated(length, size - place, 1 << 63)
        place += length
    return 0, 0


def _second_recording(file: BinaryIO, start: int, size: int) -> int:
    """Bytes from the second file type box of an MP4 on, where two whole files were joined; else 0."""
    place, second = start, 0
    for _ in range(MOST_CHUNKS):
        file.seek(place)
        head = file.read(16)
        length = int.from_bytes(head[:4], "big")
        length = int.from_bytes(head[8:], "big") if length == 1 else length
        if len(head) < 8 or length < 8 or head[4:8] == b"moof":  # fragments, each with a header of its own
            break
        if head[4:8] == b"ftyp" and place > start:
            second = second or size - place
        place += length
    return second if len(head) < 16 else 0


def _matroska(file: BinaryIO, start: int, size: int) -> tuple[int, int]:
    file.seek(start + 4)
    length, width = _ebml_size(file)
    place = start + 4 + width + length
    file.seek(place)
    if file.read(4) != SEGMENT:
        return 0, 0
    declared, width = _ebml_size(file)
    return _sizes_if_stated(declared, size - place - 4 - width, 1 << 56)


def _ebml_size(file: BinaryIO) -> tuple[int, int]:
    """A size as EBML writes it, 0 if it is not known, and the bytes it takes."""
    first = file.read(1)
    width = 9 - first[0].bit_length() if first and first[0] else 9
    if width > 8:
        return 0, 1
    data = bytes([first[0] & (0xFF >> width)]) + file.read(width - 1)
    value = int.from_bytes(data, "big")
    return (0 if value == (1 << 7 * width) - 1 else value), width


def _ends_an_ogg(file: BinaryIO, start: int, size: int) -> bool:
    """Whether the last page of an Ogg file is whole and marked as its stream's last."""
    begin = max(start, size - OGG_TAIL_BYTES)
    file.seek(begin)
    tail = file.read(size - begin)
    at = tail.rfind(OGG_PAGE)
    if at < 0 or len(tail) < at + 27:
        return False
    segments = tail[at + 27 : at + 27 + tail[at + 26]]
    is_whole = len(segments) == tail[at + 26] and at + 27 + len(segments) + sum(segments) <= len(tail)
    return bool(is_whole and tail[at + 5] & OGG_LAST)
