"""Files packed by gzip, unpacked in memory."""

from __future__ import annotations

import gzip
import io
import zlib
from typing import BinaryIO, cast

from bindplug.errors import InputError
from bindplug.inputs.limits import check_limit
from bindplug.inputs.source import describe_source, open_source, peek

GZIP_MAGIC = b"\x1f\x8b"
MOST_UNPACKED_BYTES = 1 << 30
PIECE_BYTES = 1 << 20


class NamedBytes(io.BytesIO):
    """Bytes in memory under the name of the file that they come from."""

    def __init__(self, data: bytes, name: str) -> None:
        super().__init__(data)
        self.name = name


def is_gzip(source: object) -> bool:
    """Whether ``source`` begins as gzip files do."""
    return peek(source, len(GZIP_MAGIC)) == GZIP_MAGIC


def unzipped(source: object, expected: str) -> NamedBytes:
    """What a gzip file holds, under its name without ``.gz``.

    Args:
        source: a path, bytes or file object.
        expected: what ought to be in it, for errors.

    Raises:
        InputError: it is damaged or cut short, or unpacks to more than 1 GiB.
    """
    name = describe_source(source)
    pieces, size = [], 0
    with open_source(source, expected) as file:
        packed = cast(BinaryIO, gzip.GzipFile(fileobj=file))
        try:
            while piece := packed.read(PIECE_BYTES):
                size += len(piece)
                check_limit(name, size, MOST_UNPACKED_BYTES, "bytes or more unpacked", "Unpack and split it.")
                pieces.append(piece)
        except (EOFError, OSError, zlib.error) as error:
            raise InputError(name, found=f"a damaged gzip file ({error})", expected=expected) from None
    return NamedBytes(b"".join(pieces), name[: -len(".gz")] if name.lower().endswith(".gz") else name)
