"""What a source is called in errors, and how its bytes are reached: a path, bytes or a file object."""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
import torch
from PIL import Image

from bindplug.errors import InputError, OptionError
from bindplug.inputs.limits import MOST_BYTES, check_limit

LONGEST_QUOTE = 60
PIECE_BYTES = 1 << 20


def describe_source(source: object) -> str:
    """How an error names ``source``: a path as it was given, else the kind of object and its shape."""
    if isinstance(source, os.PathLike):
        return os.fsdecode(source)
    if isinstance(source, str):
        return source if len(source) <= 4 * LONGEST_QUOTE else source[: 4 * LONGEST_QUOTE] + "…"
    if isinstance(source, (bytes, bytearray, memoryview)):
        return f"<{len(source)} bytes>"
    if isinstance(source, Image.Image):
        return str(
            getattr(source, "filename", "") or f"<PIL image {source.mode} {source.width}x{source.height}>"
        )
    if isinstance(source, np.ndarray):
        return f"<array {source.shape} {source.dtype}>"
    if isinstance(source, torch.Tensor):
        return f"<tensor {tuple(source.shape)} {str(source.dtype).removeprefix('torch.')}>"
    if isinstance(source, Mapping) and source and all(map(is_file_like, source.values())):
        return " + ".join(map(describe_source, source.values()))
    name = getattr(source, "name", None)
    return name if isinstance(name, str) and name else f"<{type(source).__name__}>"


def is_file_like(source: object) -> bool:
    """Whether ``source`` is a path, bytes or a file object, which :func:`open_source` opens."""
    kinds = (str, os.PathLike, bytes, bytearray, memoryview)
    return isinstance(source, kinds) or callable(getattr(source, "read", None))


def suffix_of(source: object) -> str:
    """The lower-case file extension of a path or named file object, ``""`` if there is none."""
    if isinstance(source, (str, os.PathLike)):
        return Path(source).suffix.lower()
    name = getattr(source, "name", None)
    return Path(name).suffix.lower() if isinstance(name, str) else ""


def peek(source: object, count: int) -> bytes:
    """The first ``count`` bytes of a path, bytes or seekable file object; empty where they cannot be had.

    Nothing is read of what is not a regular file: a pipe may block for ever, and would lose what is read.
    """
    if isinstance(source, (bytes, bytearray, memoryview)):
        return bytes(source[:count])
    try:
        if isinstance(source, (str, os.PathLike)):
            if kind_of_path(Path(source)):
                return b""
            with Path(source).open("rb") as opened:
                return opened.read(count)
        file: Any = source
        start = file.tell()
        head = file.read(count)
        file.seek(start)
    except (OSError, ValueError, AttributeError):
        return b""
    return head if isinstance(head, bytes) else b""


def kind_of_path(path: Path) -> str:
    """What is at ``path`` if it is not a regular file, as ``"a directory"``; else an empty string.

    Raises:
        OSError: there is nothing there, or no permission to look.
    """
    mode = path.stat().st_mode
    return next((words for is_kind, words in _OTHER_KINDS if is_kind(mode)), "")


_OTHER_KINDS: tuple[tuple[Callable[[int], bool], str], ...] = (
    (stat.S_ISDIR, "a directory"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
    (stat.S_ISSOCK, "a socket"),
)


@contextmanager
def open_source(source: object, expected: str) -> Iterator[BinaryIO]:
    """Open a path, bytes or a binary file object for seekable reading.

    A file object is read from where it stands and is left open.

    Args:
        source: what to open.
        expected: what ought to be in it, for the error ("a sound file").

    Raises:
        InputError: there is no such file, it is a directory, a pipe or a device, unreadable or empty, the
            file object is in text mode, a stream that cannot seek holds more than 4 GiB, or ``source`` is none
            of these kinds.
    """
    name = describe_source(source)
    if isinstance(source, (str, os.PathLike)):
        with _open_path(Path(source), name, expected) as file:
            yield file
        return
    if isinstance(source, (bytes, bytearray, memoryview)):
        file = io.BytesIO(source)
    elif callable(getattr(source, "read", None)):
        file = _as_binary(source, name, expected)
    else:
        raise InputError(name, found=f"an object of type {type(source).__name__}", expected=expected)
    _refuse_empty(file, name, expected)
    yield file


def _open_path(path: Path, name: str, expected: str) -> BinaryIO:
    try:
        kind = kind_of_path(path)  # before opening: a pipe would wait for its writer
        if kind:
            remedy = "" if kind == "a directory" else "Write its data to a file, or pass the bytes."
            raise InputError(name, found=kind, expected=expected, remedy=remedy)
        file = path.open("rb")
    except FileNotFoundError:
        remedy = "" if path.is_absolute() else f"Relative paths start at {Path.cwd()}."
        raise InputError(name, found="no such file", expected=expected, remedy=remedy) from None
    except InputError:
        raise
    except (OSError, ValueError) as error:
        raise InputError(name, found=f"a file that cannot be opened ({error})", expected=expected) from None
    try:
        _refuse_empty(file, name, expected)
    except InputError:
        file.close()
        raise
    return file


def _as_binary(source: Any, name: str, expected: str) -> BinaryIO:
    if isinstance(source, io.TextIOBase):
        raise InputError(
            name, found="a file object in text mode", expected=expected, remedy='Open it with mode "rb".'
        )
    if getattr(source, "closed", False):
        raise InputError(name, found="a closed file object", expected=expected)
    seekable = getattr(source, "seekable", None)
    if seekable is not None and seekable():
        return cast(BinaryIO, source)
    return io.BytesIO(read_whole(source, name))


def read_whole(file: Any, name: str) -> bytes:
    """The rest of a binary file or stream, read piece by piece: one large read allocates all it might return.

    Raises:
        InputError: there are more than 4 GiB.
    """
    pieces, size = [], 0
    while piece := file.read(PIECE_BYTES):
        size += len(piece)
        check_limit(name, size, MOST_BYTES, "bytes or more", "Cut it into parts.")
        pieces.append(piece)
    return b"".join(pieces)


def _refuse_empty(file: BinaryIO, name: str, expected: str) -> None:
    start = file.tell()
    empty = not file.read(1)
    file.seek(start)
    if empty:
        raise InputError(name, found="no data (0 bytes)", expected=expected)


class FileView(io.RawIOBase):
    """A stretch of a file as decoders see it: read only, nameless, and any place can be sought.

    Decoders in C do not expect an exception from ``seek``.

    Args:
        file: seekable, in binary mode.
        start: where the stretch begins; where ``file`` stands by default.
        stop: where it ends; the file's end by default.
    """

    def __init__(self, file: BinaryIO, start: int | None = None, stop: int | None = None) -> None:
        self.file = file
        self.start = file.tell() if start is None else start
        self.stop = file.seek(0, io.SEEK_END) if stop is None else stop
        self.place = 0

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True

    def tell(self) -> int:
        return self.place

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self.place, io.SEEK_END: self.stop - self.start}[whence]
        self.place = max(0, base + offset)
        return self.place

    def read(self, size: int = -1) -> bytes:
        left = max(0, self.stop - self.start - self.place)
        size = left if size < 0 else min(size, left)
        if size == 0:  # the place may be beyond what the system can seek
            return b""
        self.file.seek(self.start + self.place)
        data = self.file.read(size)
        self.place += len(data)
        return data

    def readinto(self, buffer: Any) -> int:
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


def to_numpy(source: np.ndarray | torch.Tensor) -> np.ndarray:
    """``source`` as a numpy array (a tensor is brought to the CPU); the caller's memory may be shared.

    Masked floats become NaN.

    Raises:
        InputError: ``source`` is a masked array of another type, in which no value stands for a missing one.
    """
    if isinstance(source, torch.Tensor):
        tensor = source.detach().cpu()
        return (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy()
    if isinstance(source, np.ma.MaskedArray):
        if source.dtype.kind == "f":
            return source.filled(np.nan)
        if source.mask.any():
            found, expected = f"a masked array of type {source.dtype}", "an array, or masked floats"
            remedy = "Fill it, as array.filled(0)."
            raise InputError(describe_source(source), found=found, expected=expected, remedy=remedy)
        return source.data
    return source


def check_choice(name: str, value: object, choices: tuple[str, ...] | list[str]) -> None:
    """Raise ``OptionError`` unless the option ``name`` has one of its ``choices``."""
    if value not in choices:
        raise OptionError(f"{name}={value!r}; expected one of {', '.join(map(repr, choices))}")
