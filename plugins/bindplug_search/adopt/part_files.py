"""Directories of parts: Parquet files, or ``.npy`` files with tables of paths as clip-retrieval and img2dataset write.

``img_emb/img_emb_0.npy`` of clip-retrieval belongs to ``metadata/metadata_0.parquet`` beside it, row for row.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from bindplug.errors import InputError
from bindplug_search.adopt.arrow_files import ParquetRows
from bindplug_search.adopt.numpy_files import open_numpy
from bindplug_search.adopt.path_lists import read_paths
from bindplug_search.adopt.row_file import Chunk, RowFile, ambiguous, name_at

EMBEDDINGS = "_emb"
"""How the names of clip-retrieval's directories of vectors end: ``img_emb``, ``text_emb``."""

METADATA = "metadata"
"""Its directory of tables, beside them."""


class PartRows(RowFile):
    """Rows of several files, one after another.

    Args:
        path: the directory.
        parts: its files, of one width and one kind of numbers.
    """

    def __init__(self, path: Path, parts: Sequence[RowFile]) -> None:
        first = parts[0]
        for part in parts:
            if (part.width, part.dtype, part.column) != (first.width, first.dtype, first.column):
                raise InputError(
                    str(part.path),
                    found=f"{part.dtype} rows of width {part.width} {part.column!r}".rstrip(" '"),
                    expected=f"{first.dtype} of width {first.width}, as in {first.path.name}",
                )
            if len(part.paths) != part.count:
                raise InputError(
                    str(part.paths_file or part.path),
                    found=f"{len(part.paths)} paths for {part.count} rows of {part.path.name}",
                    expected="one path for every row, in the order of the rows",
                )
        self.path, self.parts = path, parts
        self.width, self.dtype, self.column = first.width, first.dtype, first.column
        self._starts = np.cumsum([0, *(part.count for part in parts)])
        self.count = int(self._starts[-1])
        self.paths = [name_at(part.paths, place) for part in parts for place in range(part.count)]
        self.path_column = first.path_column
        kinds = [part.kinds for part in parts if part.kinds is not None]
        if len(kinds) == len(parts):
            self.kinds = [name_at(names, place) or "" for names in kinds for place in range(len(names))]
        spans = [part.spans for part in parts if part.spans is not None]
        self.spans = np.concatenate(spans) if len(spans) == len(parts) else None
        self.metadata_columns = [
            name for name in first.metadata_columns if all(name in part.metadata_columns for part in parts)
        ]

    def metadata(self, name: str) -> Sequence[object]:
        if name not in self.metadata_columns:
            raise KeyError(name)
        return [value for part in self.parts for value in part.metadata(name)]

    def chunks(self) -> Iterator[Chunk]:
        for start, part in zip(self._starts, self.parts, strict=False):
            for chunk in part.chunks():
                yield Chunk(int(start) + chunk.start, chunk.rows, chunk.present)

    def take(self, positions: np.ndarray) -> np.ndarray:
        positions = np.asarray(positions)
        rows = np.empty((len(positions), self.width), dtype=self.dtype)
        owners = np.searchsorted(self._starts, positions, side="right") - 1
        for number in np.unique(owners):
            inside = np.flatnonzero(owners == number)
            rows[inside] = self.parts[number].take(positions[inside] - self._starts[number])
        return rows


def holds_parts(path: Path) -> bool:
    """Whether a directory holds parts that are read together, and no Lance table."""
    if (path / "_versions").is_dir() or any(path.glob("*.lance")):
        return False
    return bool(_files(path, ".parquet") or _files(path, ".npy") or _directories(path))


def open_parts(path: Path, rows: str | None, paths: str | None, kinds: str | None) -> RowFile:
    """Open a directory of parts; see :func:`bindplug_search.adopt.open_rows`.

    Raises:
        InputError: parts do not fit together, or it is not clear which of them hold vectors or paths.
    """
    directories = _directories(path)
    if directories and not _files(path, ".npy"):
        names = [directory.name for directory in directories]
        if rows is None and len(names) > 1:
            raise ambiguous(path, "vectors", names, "--rows")
        if rows is not None and rows not in names:
            raise InputError(
                str(path), found=f"no directory {rows!r} of vectors", expected=f"one of {', '.join(names)}"
            )
        part = _open_arrays(path / (rows or names[0]), None, paths)
        part.path, part.column = path, rows or names[0]
        return part
    if _files(path, ".npy"):
        return _open_arrays(path, rows, paths)
    return PartRows(path, [ParquetRows(file, rows, paths, kinds) for file in _files(path, ".parquet")])


def _open_arrays(path: Path, rows: str | None, paths: str | None) -> PartRows:
    files = _files(path, ".npy")
    place = path.parent / METADATA if paths is None else Path(paths).expanduser()
    tables = _files(place, ".parquet") if place.is_dir() else []
    if paths is None and not tables:
        raise InputError(
            str(path), found="vectors without paths", expected=f"a directory {METADATA} of Parquet files beside it",
            remedy="Give a list of the paths, a line or row for each row of all files in order: --paths FILE",
        )  # fmt: skip
    if tables and len(tables) != len(files):
        raise InputError(
            str(place),
            found=f"{len(tables)} tables for {len(files)} files of vectors",
            expected="one for each",
        )
    if tables:
        pairs = zip(files, tables, strict=True)
        whole = PartRows(path, [open_numpy(file, rows, str(table), None) for file, table in pairs])
    else:
        whole = _with_one_list(path, files, rows, place)
    whole.paths_file = place
    return whole


def _with_one_list(path: Path, files: Sequence[Path], rows: str | None, place: Path) -> PartRows:
    """Parts whose paths lie in one list."""
    names = read_paths(place)
    counts = [len(np.load(file, mmap_mode="r", allow_pickle=False)) for file in files]
    if sum(counts) != len(names):
        raise InputError(
            str(place),
            found=f"{len(names)} paths for {sum(counts)} rows of {path.name}",
            expected="one path for every row, in the order of the rows",
        )
    parts, start = [], 0
    for file, count in zip(files, counts, strict=True):
        part = open_numpy(file, rows, str(place), None)
        part.paths, start = names[start : start + count], start + count
        parts.append(part)
    return PartRows(path, parts)


def _directories(path: Path) -> list[Path]:
    """Directories of vectors in the output of clip-retrieval."""
    return [
        child for child in sorted(path.glob(f"*{EMBEDDINGS}")) if child.is_dir() and _files(child, ".npy")
    ]


def _files(path: Path, suffix: str) -> list[Path]:
    """The parts of a directory, in the order of the numbers in their names; hidden ones are none."""
    files = [
        file for file in path.glob(f"*{suffix}") if not file.name.startswith((".", "_")) and file.is_file()
    ]
    return sorted(
        files, key=lambda file: [int(p) if p.isdigit() else p for p in re.split(r"(\d+)", file.name)]
    )
