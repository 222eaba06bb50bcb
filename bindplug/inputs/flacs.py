"""The structure of FLAC files: where sounds begin that were joined in one file."""

from __future__ import annotations

import os
from typing import BinaryIO

from bindplug.inputs.source import FileView

STREAM_MARKS = (b"fLaC\x00\x00\x00\x22", b"fLaC\x80\x00\x00\x22")
"""How a stream begins: its marker, then the header of the block of 34 bytes that comes first, which may be the last."""
PIECE_BYTES = 1 << 22


def joined_flacs(file: BinaryIO, start: int) -> list[FileView]:
    """The sounds in a file of joined FLACs, each as a file of its own; none where there is only one.

    A decoder ends at the number of samples that the first stream states. The whole file is looked through.

    Args:
        file: seekable.
        start: where the sound begins.
    """
    places = _stream_places(file, start)
    if len(places) < 2:
        return []
    stops = [*places[1:], file.seek(0, os.SEEK_END)]
    return [FileView(file, place, stop) for place, stop in zip(places, stops, strict=True)]


def _stream_places(file: BinaryIO, start: int) -> list[int]:
    overlap = len(STREAM_MARKS[0]) - 1
    places: list[int] = []
    file.seek(start)
    position, rest = start, b""
    while piece := file.read(PIECE_BYTES):
        data = rest + piece
        for mark in STREAM_MARKS:
            at = data.find(mark)
            while at >= 0:
                places.append(position - len(rest) + at)
                at = data.find(mark, at + 1)
        position += len(piece)
        rest = data[-overlap:]
    return sorted(places)
