"""Files of embeddings that other tools wrote: rows, paths, kinds and spans, read in pieces and never changed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bindplug.errors import InputError

CHUNK_BYTES = 32 << 20
"""About how much of a file is held in memory at a time."""

PATH_NAMES = (
    "path", "paths", "file", "files", "filename", "filenames", "file_name", "file_names", "filepath", "filepaths",
    "file_path", "file_paths", "image", "image_path", "image_paths", "uri", "url",
)  # fmt: skip
"""Names under which tables usually hold paths."""

KIND_NAMES = ("modality", "kind")


@dataclass(frozen=True)
class Chunk:
    """Consecutive rows of a file.

    Attributes:
        start: position of the first one.
        rows: (n, width) numbers as they are stored.
        present: (n,) bool, False for a row that is null.
    """

    start: int
    rows: np.ndarray
    present: np.ndarray


class RowFile(ABC):
    """An open file of rows.

    Attributes:
        path: of the file, or of a Lance table's directory.
        count: number of rows.
        width: stored numbers a row.
        dtype: of the stored numbers.
        column: name of what holds the rows; empty where a file holds nothing else.
        paths: for each row a path or None; anything that can be indexed.
        path_column: name of the column that holds the paths; empty where a file does.
        paths_file: file that the paths were read from; None where a column holds them.
        kinds: for each row the name of its modality; None if the file does not say.
        spans: for each row (start, end) in seconds, NaN for a whole recording; None if the file does not say.
        codec: name of a lossy index that the rows are reconstructed from; empty where they are as they were.
        metadata_columns: names of further columns of text, numbers or truth values.
    """

    path: Path
    count: int
    width: int
    dtype: np.dtype
    column: str = ""
    paths: Sequence[str | None]
    path_column: str = ""
    paths_file: Path | None = None
    kinds: Sequence[str] | None = None
    spans: np.ndarray | None = None
    codec: str = ""
    metadata_columns: Sequence[str] = ()

    def metadata(self, name: str) -> Sequence[object]:
        """For each row its value in one of the metadata columns, or None."""
        raise KeyError(name)

    @abstractmethod
    def chunks(self) -> Iterator[Chunk]:
        """All rows in order, in pieces of about :data:`CHUNK_BYTES`.

        Raises:
            InputError: the file is damaged, or a row has another width.
        """

    @abstractmethod
    def take(self, positions: np.ndarray) -> np.ndarray:
        """(n, width) stored numbers of rows at n positions, none of which is null."""

    def through_codec(self, rows: np.ndarray) -> np.ndarray | None:
        """Float rows as a lossy index would give them back; None where rows are stored as they are."""
        return None

    @property
    def chunk_rows(self) -> int:
        """Rows of a chunk."""
        return max(1, CHUNK_BYTES // (self.width * max(4, self.dtype.itemsize)))


def name_at(values: Sequence[str | None], position: int) -> str | None:
    """The text at a position of a list, a numpy array or an Arrow column; None for a null or an empty text."""
    value: Any = values[position]
    value = value.as_py() if hasattr(value, "as_py") else value  # Arrow's own scalars
    return str(value) if value is not None and str(value) else None


def ambiguous(path: Path, what: str, names: Sequence[str], option: str) -> InputError:
    """The error for several columns that may be meant."""
    name_list = ", ".join(names[:8]) + ("" if len(names) <= 8 else ", ...")
    return InputError(
        str(path), found=f"several columns that may hold {what}: {name_list}", expected="to know which one",
        remedy=f"Name it: {option} {names[0]}",
    )  # fmt: skip
