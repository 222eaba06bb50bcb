"""Rows in ``.npy`` and ``.npz`` files, mapped into memory and never unpickled."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from bindplug.directories import first_line
from bindplug.errors import InputError
from bindplug_search.adopt.path_lists import as_file, required_paths
from bindplug_search.adopt.row_file import KIND_NAMES, PATH_NAMES, Chunk, RowFile, ambiguous

PICKLED = "pickled objects, which could run code"
EXPECTED = "an array of shape (rows, width) of floats, int8, uint8 or bool"


class ArrayRows(RowFile):
    """Rows of an array, which may be mapped from disk."""

    def __init__(
        self,
        path: Path,
        array: np.ndarray,
        paths: Sequence[str | None],
        *,
        column: str = "",
        path_column: str = "",
        paths_file: Path | None = None,
        kinds: Sequence[str] | None = None,
        spans: np.ndarray | None = None,
    ) -> None:
        if not holds_rows(array):
            raise InputError(str(path), found=f"{array.dtype} {array.shape}", expected=EXPECTED)
        self.path, self.array, self.paths = path, array, paths
        self.count, self.width, self.dtype = len(array), array.shape[1], array.dtype
        self.column, self.path_column, self.paths_file = column, path_column, paths_file
        self.kinds, self.spans = kinds, spans

    def chunks(self) -> Iterator[Chunk]:
        for start in range(0, self.count, self.chunk_rows):
            rows = np.asarray(self.array[start : start + self.chunk_rows])
            yield Chunk(start, rows, np.ones(len(rows), dtype=bool))

    def take(self, positions: np.ndarray) -> np.ndarray:
        return np.asarray(self.array[np.asarray(positions)])


def holds_rows(array: np.ndarray) -> bool:
    """Whether an array may hold embeddings."""
    return array.ndim == 2 and (array.dtype.kind == "f" or array.dtype in (np.int8, np.uint8, np.bool_))


def open_numpy(path: Path, rows: str | None, paths: str | None, kinds: str | None) -> ArrayRows:
    """See :func:`bindplug_search.adopt.open_rows`."""
    try:
        if path.suffix.lower() == ".npy":
            if rows is not None:
                raise InputError(str(path), found=f"--rows {rows}", expected="no name: the file is one array")
            array = np.load(path, mmap_mode="r", allow_pickle=False)
            return ArrayRows(path, array, required_paths(path, paths), paths_file=as_file(paths))
        members, pickled = _members(path)
        if pickled and paths is None and not any(name in PATH_NAMES for name in members):
            raise InputError(
                f"{path}: {', '.join(pickled)}", found=PICKLED, expected="an array of text with the paths",
                remedy="Save them as np.array(paths, dtype=str), or give a list of them: --paths FILE",
            )  # fmt: skip
        return _open_archive(path, members, rows, paths, kinds)
    except InputError:
        raise
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, MemoryError) as error:
        of_objects = "Python objects" in str(error) or "allow_pickle" in str(error)
        problem = PICKLED if of_objects else f"damage ({first_line(error)})"
        raise InputError(str(path), found=problem, expected=EXPECTED) from None


def _open_archive(
    path: Path, members: Mapping[str, np.ndarray], rows: str | None, paths: str | None, kinds: str | None
) -> ArrayRows:
    vectors = [name for name, array in members.items() if holds_rows(array)]
    if rows is not None and rows not in vectors:
        raise InputError(
            str(path), found=f"no array {rows!r} of rows", expected=f"one of {', '.join(vectors) or 'none'}"
        )
    if not vectors:
        raise InputError(str(path), found=f"the arrays {', '.join(members) or 'none'}", expected=EXPECTED)
    if rows is None and len(vectors) > 1:
        raise ambiguous(path, "vectors", vectors, "--rows")
    column = rows or vectors[0]
    texts = {
        name: a
        for name, a in members.items()
        if a.ndim == 1 and a.dtype.kind in "US" and len(a) == len(members[column])
    }
    path_column = paths or next((name for name in PATH_NAMES if name in texts), "")
    path_texts = texts.get(path_column)  # None: a file, or nothing
    kind_column = kinds or next((name for name in KIND_NAMES if name in texts), "")
    if kinds and kinds not in texts:
        raise InputError(
            str(path), found=f"no array of text {kinds!r}", expected=f"one of {', '.join(texts) or 'none'}"
        )
    spans = None
    if {"start", "end"} <= members.keys():
        spans = np.stack([members["start"], members["end"]], axis=1).astype(np.float64)  # 2 x (N,) -> (N, 2)
    return ArrayRows(
        path,
        members[column],
        required_paths(path, paths) if path_texts is None else path_texts.astype(str).tolist(),
        column=column,
        path_column="" if path_texts is None else path_column,
        paths_file=as_file(paths) if path_texts is None else None,
        kinds=texts[kind_column].astype(str).tolist() if kind_column else None,
        spans=spans,
    )


def _members(path: Path) -> tuple[dict[str, np.ndarray], list[str]]:
    """The arrays of an archive by name, and the names of pickled ones, which are not read.

    Arrays that are stored uncompressed are mapped into memory.

    Raises:
        ValueError: a member is damaged.
    """
    members: dict[str, np.ndarray] = {}
    pickled: list[str] = []
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            name = info.filename.removesuffix(".npy")
            if name == info.filename:
                continue
            with archive.open(info) as stream:
                version = np.lib.format.read_magic(stream)
                first = version == (1, 0)
                header = np.lib.format.read_array_header_1_0 if first else np.lib.format.read_array_header_2_0
                shape, fortran, dtype = header(stream)
                header_bytes = stream.tell()
            if dtype.hasobject:
                pickled.append(name)
            elif info.compress_type != zipfile.ZIP_STORED or 0 in shape or not shape:
                with archive.open(info) as stream:
                    members[name] = np.lib.format.read_array(stream, allow_pickle=False)
            else:
                offset = _data_offset(path, info) + header_bytes
                order: Literal["C", "F"] = "F" if fortran else "C"
                members[name] = np.memmap(path, dtype, "r", offset=offset, shape=shape, order=order)
    return members, pickled


def _data_offset(path: Path, info: zipfile.ZipInfo) -> int:
    """Where a member's content begins; the local header repeats the name and has an extra field of its own."""
    with path.open("rb") as file:
        file.seek(info.header_offset + 26)
        name_bytes, extra_bytes = (int.from_bytes(file.read(2), "little") for _ in range(2))
    return info.header_offset + 30 + name_bytes + extra_bytes
