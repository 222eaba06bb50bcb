"""Pairs of a picture and another sense as data: where each side lies, and what could not become a pair."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch

from bindplug.directories import sha256_of
from bindplug.errors import InputError

PIXELS = frozenset(
    (
        ".jpg",
        ".jpeg",
        ".png",
        ".webp",
        ".bmp",
        ".gif",
        ".tif",
        ".tiff",
        ".ppm",
        ".heic",
        ".heif",
        ".avif",
        ".jp2",
    )
)
VIDEOS = frozenset((".mp4", ".mkv", ".webm", ".mov", ".avi", ".m4v", ".mpg", ".mpeg", ".ts", ".flv", ".3gp"))
SOUNDS = frozenset(
    (
        ".wav",
        ".flac",
        ".ogg",
        ".oga",
        ".opus",
        ".mp3",
        ".m4a",
        ".aac",
        ".aif",
        ".aiff",
        ".au",
        ".wma",
        ".wv",
        ".ac3",
    )
)
MAPS = frozenset((".npy", ".npz", ".exr", ".pfm", ".mat", ".tif", ".tiff", ".pgm", ".raw", ".h5"))
"""Endings of depth maps and heat pictures that are not an ordinary picture's."""
LOGS = frozenset((".csv", ".tsv", ".npy", ".npz", ".parquet", ".mat", ".zip"))
"""Endings of motion logs."""
ARRAYS = frozenset((".npy", ".npz"))
"""Endings of the samples of a sense of one's own."""

SUFFIXES_OF = {
    "audio": SOUNDS,
    "depth": MAPS | {".png"},
    "thermal": MAPS | {".png", ".jpg", ".jpeg"},
    "imu": LOGS,
}


def suffixes_of(sense: str) -> frozenset[str]:
    """File endings, with the dot, that may hold samples of a sense; those of arrays for a sense of one's own."""
    return frozenset(SUFFIXES_OF.get(sense, ARRAYS))


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

    def open(self) -> NamedBytes:
        """The member's bytes, with its name.

        Raises:
            InputError: the tar is gone or shorter than it was.
        """
        try:
            with Path(self.path).open("rb") as file:
                file.seek(self.offset)
                content = file.read(self.size)
        except OSError as error:
            raise InputError(self.name, found=str(error), expected="the tar that was listed") from error
        if len(content) < self.size:
            raise InputError(
                self.name, found=f"{len(content)} of {self.size} bytes", expected="a tar that is not cut off"
            )
        return NamedBytes(content, Path(self.member).name)


@dataclass(frozen=True, eq=False)
class DatasetCell:
    """A cell of a Hugging Face data set, whose bytes are read from the mapped table when it is opened.

    Args:
        table: the data set, its media columns undecoded.
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
                self.name, found=f"the path {path!r}", expected=f"bytes, or a file inside {self.folder}"
            )
        if isinstance(cell, list) and cell:
            return np.asarray(cell)
        kind = "an empty cell" if not cell else f"a {type(cell).__name__}"
        raise InputError(self.name, found=kind, expected="bytes, a path, or an array")


@dataclass(frozen=True)
class PairItem:
    """A picture, or a moment of a video, and what another sense recorded of it.

    Args:
        anchor: the picture or video.
        sample: what the other sense recorded; of a video its sound.
        name: for messages.
        group: of the recording; pairs of one group never fall on both sides of a split.
        moment_s: when the frame is taken, if the anchor is a video; its middle for None.
        start_s, end_s: the stretch of the sample that belongs to the anchor; all of it for None.
        is_video: whether the anchor is a video.
        label: class of the pair, if known; never trained on.
        caption: sentence on the pair, if known; never trained on.
    """

    anchor: PairSource
    sample: PairSource
    name: str
    group: str
    moment_s: float | None = None
    start_s: float | None = None
    end_s: float | None = None
    is_video: bool = False
    label: str = ""
    caption: str = ""


@dataclass(frozen=True)
class PairProblem:
    """Something that did not become a pair.

    Args:
        source: the file, row or member.
        reason: why.
        kind: ``"unpaired"``, which lacks its other side, or ``"bad"``, which cannot be read.
    """

    source: str
    reason: str
    kind: str = "bad"


@dataclass
class PairList:
    """Pairs in a fixed order, and what did not become one.

    Attributes:
        items: the pairs.
        problems: unpaired and unreadable items.
        format: what they were read from: ``"folder"``, ``"table"``, ``"shards"`` or ``"dataset"``.
        source: where from, as it was given.
        notes: remarks for a person, as that videos were cut into windows.
    """

    items: list[PairItem]
    problems: list[PairProblem] = field(default_factory=list)
    format: str = ""
    source: str = ""
    notes: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.items)

    def __iter__(self) -> Iterator[PairItem]:
        return iter(self.items)

    def __getitem__(self, index: int) -> PairItem:
        return self.items[index]

    def with_items(self, items: Iterable[PairItem]) -> PairList:
        """The same list with other pairs."""
        return PairList(list(items), self.problems, self.format, self.source, self.notes)

    def split(self, share: float, *, seed: int = 0) -> tuple[PairList, PairList]:
        """Pairs to train on and pairs to validate on; no recording and no file is on both sides.

        Args:
            share: of the groups that validate, from 0 to below 1; 0 leaves the second list empty.
            seed: of the draw.

        Raises:
            InputError: the share is out of range, or the pairs are one group only and cannot be divided.
        """
        if not 0 <= share < 1:
            raise InputError("validation share", found=f"{share:g}", expected="a share from 0 to below 1")
        if share == 0 or not self.items:
            return self.with_items(self.items), self.with_items([])
        groups = joined_groups(self.items)
        names = sorted(set(groups))
        if len(names) < 2:
            raise InputError(
                self.source or "pairs",
                found=f"{len(self.items)} pairs of one recording or picture",
                expected="at least two recordings, so that one can be held out",
                remedy="Say --validation 0 to train without",
            )
        order = torch.randperm(len(names), generator=torch.Generator().manual_seed(seed)).tolist()
        count = min(len(names) - 1, max(1, round(share * len(names))))
        held = {names[place] for place in order[:count]}
        train = [item for item, group in zip(self.items, groups, strict=True) if group not in held]
        validation = [item for item, group in zip(self.items, groups, strict=True) if group in held]
        return self.with_items(train), self.with_items(validation)


def joined_groups(items: Sequence[PairItem]) -> list[str]:
    """For each pair a group; pairs that share a recording, a picture or a sample are in one, copies of files too."""
    parents: dict[str, str] = {}

    def root(key: str) -> str:
        parents.setdefault(key, key)
        while parents[key] != key:
            parents[key] = parents[parents[key]]
            key = parents[key]
        return key

    content_of = _contents({source.name: source for item in items for source in (item.anchor, item.sample)})
    for item in items:
        first = root(f"group {item.group}")
        for other in (f"file {content_of[item.anchor.name]}", f"file {content_of[item.sample.name]}"):
            joined, second = sorted((root(other), first))
            parents[second] = joined
            first = joined
    return [root(f"group {item.group}") for item in items]


def _contents(sources: Mapping[str, PairSource]) -> dict[str, str]:
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


def _digest(opened: str | NamedBytes) -> str:
    if isinstance(opened, NamedBytes):
        return hashlib.sha256(opened.getbuffer()).hexdigest()
    return sha256_of(Path(opened))
