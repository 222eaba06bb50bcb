"""The structure of MP3 files: tags, the frame that counts bytes, and sounds that were joined in one file."""

from __future__ import annotations

import os
import struct
from typing import BinaryIO

from bindplug.inputs.source import FileView

XING_BYTES, XING_WITHIN = 0x2, 200


def joined_mp3s(file: BinaryIO, start: int) -> list[FileView]:
    """The sounds after the first one in a file of joined MP3s.

    Each begins with a Xing or Info frame that counts its bytes; decoders that believe it end there.
    """
    tails, place = [], start
    end = file.seek(0, os.SEEK_END)
    while True:
        place = after_id3(file, place)
        size = xing_size(file, place)
        if not size or place + size >= end:
            break
        place += size
        file.seek(place)
        following = after_id3(file, place)
        file.seek(following)
        if _is_mpeg_frame(file.read(4)):
            tails.append(FileView(file, place, end))
        else:
            break
    stops = [tail.start for tail in tails[1:]]
    for tail, stop in zip(tails, stops, strict=False):
        tail.stop = stop
    return tails


def after_id3(file: BinaryIO, place: int) -> int:
    """Where the sound begins after the ID3 tags at ``place``; ``place`` itself without one."""
    while True:
        file.seek(place)
        head = file.read(10)
        if len(head) < 10 or head[:3] != b"ID3" or any(byte >= 0x80 for byte in head[6:]):
            return place
        place += 10 + sum(byte << shift for byte, shift in zip(head[6:], (21, 14, 7, 0), strict=True))


def xing_size(file: BinaryIO, place: int) -> int:
    """Bytes of the MP3 at ``place`` as its Xing or Info frame counts them; 0 if there is none."""
    file.seek(place)
    head = file.read(XING_WITHIN)
    if not _is_mpeg_frame(head[:4]):
        return 0
    for tag in (b"Xing", b"Info"):
        at = head.find(tag)
        if at < 0 or len(head) < at + 16:
            continue
        flags = struct.unpack(">I", head[at + 4 : at + 8])[0]
        if flags & XING_BYTES:
            at += 8 + (4 if flags & 1 else 0)
            return int(struct.unpack(">I", head[at : at + 4])[0])
    return 0


def _is_mpeg_frame(head: bytes) -> bool:
    """Whether four bytes begin a frame of MPEG audio, layer III."""
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return False
    version, layer = (head[1] >> 3) & 3, (head[1] >> 1) & 3
    bitrate, rate = head[2] >> 4, (head[2] >> 2) & 3
    return version != 1 and layer == 1 and bitrate != 15 and rate != 3
