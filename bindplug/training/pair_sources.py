"""Where one side of a pair lies: a file, a member of a tar, a cell of a data set."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from bindplug.directories import sha256_of
from bindplug.errors import InputError

SAMPLED_BYTES = 1 << 14
"""Of each of three places of a file, by which :func:`sampled_digest` knows it again."""


class PairSource(Protocol):
    """One side of a pair, opened when it is read.

    Attributes:
        name: how messages name it.
    """

    @property
    def name(self) -> str:
        """How messages name it."""
        ...

    @property
    def identity(self) -> str:
        """A text that changes when the content does: what caches of rows go by."""
        ...

    def open(self) -> Any:
        """What a reader takes: a path, or a file object with the content."""
        ...


@dataclass(frozen=True)
class FileSource:
    """A file.

    Args:
        path: where it is.
    """

    path: str

    @property
    def name(self) -> str:
        """The path."""
        return self.path

    @property
    def identity(self) -> str:
        """Absolute path, size, time of the last change and inode, which moves along when files swap names.

        The path alone of a file that is not there.
        """
        absolute = Path(self.path).absolute()
        try:
            status = absolute.stat()
        except OSError:
            return str(absolute)
        return f"{absolute}|{status.st_size}|{status.st_mtime_ns}|{status.st_ino}"

    def open(self) -> str:
        """The path."""
        return self.path


class NamedBytes(io.BytesIO):
    """A file in memory with a name, by whose ending readers know the format."""

    def __init__(self, content: bytes, name: str) -> None:
        super().__init__(content)
        self.name = name


class FilePart(io.RawIOBase):
    """A stretch of a file as a file of its own, of which only what is asked for is read.

    The file is open while it is read only, so that thousands of parts may be held.

    Args:
        path: of the whole file.
        offset, size: of the stretch, in bytes.
        name: by whose ending readers know the format.
    """

    def __init__(self, path: str, offset: int, size: int, name: str) -> None:
        super().__init__()
        self.path, self.offset, self.size, self.name = path, offset, size, name
        self._place = 0

    def readable(self) -> bool:
        """True."""
        return True

    def seekable(self) -> bool:
        """True."""
        return True

    def tell(self) -> int:
        """Bytes from the stretch's start."""
        return self._place

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move as in any file."""
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self.size}[whence]
        if start + offset < 0:
            raise ValueError(f"a place before the start: {start + offset}")
        self._place = start + offset
        return self._place

    def readinto(self, buffer: Any) -> int:
        """Fill the buffer from where the part stands; how many bytes there were."""
        view = memoryview(buffer).cast("B")[: max(0, self.size - self._place)]
        with Path(self.path).open("rb", buffering=0) as file:
            file.seek(self.offset + self._place)
            count = file.readinto(view) or 0
        self._place += count
        return count


@dataclass(frozen=True)
class ShardMember:
    """A file inside an uncompressed tar, read where it lies; nothing is ever unpacked to disk.

    Args:
        path: of the tar.
        member: its name inside.
        offset, size: of its bytes.
    """

    path: str
    member: str
    offset: int
    size: int

    @property
    def name(self) -> str:
        """``shard.tar:member``."""
        return f"{self.path}:{self.member}"

    @property
    def identity(self) -> str:
        """That of the tar, and the place in it."""
        return f"{FileSource(self.path).identity}|{self.member}|{self.offset}|{self.size}"

    def open(self) -> io.BufferedReader:
        """The member as a file with its name; what is not read of it takes no memory.

        Raises:
            InputError: the tar is gone or shorter than it was.
        """
        try:
            size = Path(self.path).stat().st_size
        except OSError as error:
            raise InputError(self.name, found=str(error), expected="the tar that was listed") from error
        if size < self.offset + self.size:
            raise InputError(
                self.name,
                found=f"{max(0, size - self.offset)} of {self.size} bytes",
                expected="a tar that is not cut off",
            )
        return io.BufferedReader(FilePart(self.path, self.offset, self.size, Path(self.member).name))


@dataclass(frozen=True, eq=False)
class DatasetCell:
    """A cell of a Hugging Face data set, whose bytes are read from the mapped table when it is opened.

    Args:
        table: the data set's column, undecoded.
        row, column: of the cell.
        folder: which paths in cells are relative to.
        title: of the data set, for messages.
    """

    table: Any
    row: int
    column: str
    folder: str
    title: str

    @property
    def name(self) -> str:
        """``title[row].column``."""
        return f"{self.title}[{self.row}].{self.column}"

    @property
    def identity(self) -> str:
        """A digest of the content."""
        opened = self.open()
        if isinstance(opened, NamedBytes):
            return hashlib.sha256(opened.getvalue()).hexdigest()
        if isinstance(opened, str):
            return FileSource(opened).identity
        return hashlib.sha256(opened.tobytes()).hexdigest()

    def open(self) -> Any:
        """The content as a file object, a path inside the data set's directory, or an array of numbers.

        Raises:
            InputError: the cell is empty, of another kind, or names a file outside the directory.
        """
        import numpy as np

        cell = self.table[self.row][self.column]
        if isinstance(cell, (bytes, bytearray)):
            return NamedBytes(bytes(cell), self.name)
        if isinstance(cell, Mapping) and isinstance(cell.get("bytes"), bytes):
            path = cell.get("path")
            return NamedBytes(cell["bytes"], Path(path).name if isinstance(path, str) else self.name)
        path = cell.get("path") if isinstance(cell, Mapping) else cell
        if isinstance(path, str) and path:
            root = Path(self.folder).resolve()
            file = (root / path).resolve()
            if file.is_relative_to(root):
                return str(file)
            raise InputError(
                self.name,
                found=f"the path {path!r}",
                expected=f"bytes, or a file inside {self.folder}",
                remedy="Store the content itself: cast the column to datasets.Image() or Audio() and save the data set "
                "again, or give a table of paths",
            )
        if isinstance(cell, list) and cell:
            return np.asarray(cell)
        kind = "an empty cell" if not cell else f"a {type(cell).__name__}"
        raise InputError(self.name, found=kind, expected="bytes, a path, or an array")


def contents_of(sources: Mapping[str, PairSource]) -> dict[str, str]:
    """For each source's name a text that is the same for copies; only sources of one size are read."""
    by_size: dict[int, list[str]] = {}
    contents = {name: name for name in sources}
    for name, source in sources.items():
        try:
            if isinstance(source, DatasetCell):
                contents[name] = source.identity
            elif isinstance(source, (FileSource, ShardMember)):
                size = source.size if isinstance(source, ShardMember) else Path(source.path).stat().st_size
                by_size.setdefault(size, []).append(name)
        except (OSError, InputError):  # gone, or no media: it stands for itself
            continue
    for names in by_size.values():
        for name in names if len(names) > 1 else ():
            try:
                contents[name] = _digest(sources[name].open())
            except (OSError, InputError):
                continue
    return contents


def _digest(opened: str | io.BufferedReader) -> str:
    if isinstance(opened, str):
        return sha256_of(Path(opened))
    digest = hashlib.sha256()
    with opened:
        while piece := opened.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def sampled_digest(source: PairSource) -> str:
    """A digest of a source's size and of its first, middle and last bytes; the same on any machine.

    Files that were copied, moved or touched keep it; it changes with the content, but for small changes inside of
    large files. Empty where the source cannot be opened.
    """
    try:
        opened = source.open()
        if not isinstance(opened, str) and not callable(getattr(opened, "read", None)):
            return hashlib.sha256(opened.tobytes()).hexdigest()  # an array
        with Path(opened).open("rb") if isinstance(opened, str) else opened as file:
            size = file.seek(0, io.SEEK_END)
            digest = hashlib.sha256(str(size).encode())
            for place in sorted({0, max(0, (size - SAMPLED_BYTES) // 2), max(0, size - SAMPLED_BYTES)}):
                file.seek(place)
                digest.update(file.read(SAMPLED_BYTES))
    except (OSError, InputError):
        return ""
    return digest.hexdigest()
