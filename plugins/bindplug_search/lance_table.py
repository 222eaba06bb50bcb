"""The LanceDB table of an index: what it holds of files and rows, and the lock that one writer has."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa

from bindplug.indexes import Condition, IndexRow
from bindplug.lazy import require
from bindplug.space import EmbeddingSpace
from bindplug_search.guards import committing, lock, reading
from bindplug_search.manifest import Manifest
from bindplug_search.table import (
    PREFIX,
    ROW_COLUMNS,
    STATE_COLUMNS,
    VECTOR,
    FileState,
    IndexedFile,
    check_columns,
    filter_of,
    is_among,
    metadata_column,
    metadata_key,
    states_of,
    to_rows,
    vectors_of,
)

TABLE = "rows"

SCAN_ROWS = 8192
"""Rows of a batch where the whole table is read."""


class LanceTable:
    """The table of an index, read as other processes have last committed it, and the lock of its writer.

    Args:
        path: directory of the index.

    Raises:
        InputError: the directory holds no index, or a damaged one.
        MissingDependency: LanceDB is not installed.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self.manifest = Manifest.read(self.path)
        self._lock: IO[bytes] | None = None
        check_columns(self._table, self.manifest.space.width, self.path)

    @property
    def model(self) -> str:
        """Name or path of the model that made the rows."""
        return self.manifest.model

    @property
    def space(self) -> EmbeddingSpace:
        """Where the rows live."""
        return self.manifest.space

    @cached_property
    def _table(self) -> Any:
        lancedb = require("lancedb", owner="bindplug_search", extra="index")
        with reading(self.path):
            return lancedb.connect(str(self.path)).open_table(TABLE)

    @property
    def row_count(self) -> int:
        """Number of rows."""
        with reading(self.path):
            return int(self._latest().count_rows())

    @property
    def version(self) -> int:
        """Number of the newest commit."""
        with reading(self.path):
            return int(self._latest().version)

    def _latest(self) -> Any:
        """The table with what other processes have committed."""
        self._table.checkout_latest()
        return self._table

    @property
    def metadata_keys(self) -> list[str]:
        """Keys of the metadata that rows have."""
        with reading(self.path):
            return [metadata_key(name) for name in self._latest().schema.names if name.startswith(PREFIX)]

    def metadata_type(self, key: str) -> pa.DataType:
        """The type of a metadata key's values."""
        return self._table.schema.field(metadata_column(key)).type

    def files(self) -> dict[str, IndexedFile]:
        """The files of the index by their digests."""
        with reading(self.path):
            table = self._latest().search().select(list(STATE_COLUMNS)).to_arrow()
        files: dict[str, IndexedFile] = {}
        for digest, path, kind, state in states_of(table):
            files.setdefault(digest, IndexedFile(path, kind, state)).rows += 1
        return files

    def files_where(self, conditions: Sequence[Condition]) -> set[str]:
        """Digests of the files with a row that meets all conditions.

        Raises:
            InputError: no row has the metadata of a condition, or its value is of another type.
        """
        with reading(self.path):
            table = self._latest()
            condition = filter_of((), conditions, table.schema)
            column = table.search().where(condition).select(["file"]).to_arrow().column("file")
        return set(column.to_pylist())

    def recipes(self, digests: Sequence[str]) -> dict[str, str]:
        """How files became rows, by their digests; of none that is not there, or was added as vectors."""
        with reading(self.path):
            search = self._latest().search().where(is_among("file", digests)).select(["file", "recipe"])
            columns = search.to_arrow()
        pairs = zip(columns.column("file").to_pylist(), columns.column("recipe").to_pylist(), strict=True)
        return {digest: text for digest, text in pairs if text}

    def rows_of(self, digests: Sequence[str]) -> tuple[np.ndarray, list[IndexRow], list[FileState]]:
        """Vectors (N, D), rows and states of files by their digests."""
        with reading(self.path):
            table = self._latest().search().where(is_among("file", digests)).to_arrow()
        states = [state for *_, state in states_of(table)]
        return vectors_of(table), to_rows(table), states

    def batches(self, *, vectors: bool = True) -> Iterator[tuple[np.ndarray, list[IndexRow]]]:
        """All rows of the table as it is now, in batches of (N, D) vectors and what they stand for."""
        table = self._latest()
        names = [*ROW_COLUMNS, *(name for name in table.schema.names if name.startswith(PREFIX))]
        for part in self._scan([*names, VECTOR] if vectors else names):
            yield (vectors_of(part) if vectors else np.empty((part.num_rows, 0), np.float32)), to_rows(part)

    def vectors_by_kind(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """All rows in batches: kinds (N,) and vectors (N, D)."""
        for part in self._scan(["kind", VECTOR]):
            yield part.column("kind").to_numpy(zero_copy_only=False), vectors_of(part)

    def _scan(self, names: list[str]) -> Iterator[pa.Table]:
        with reading(self.path):
            for batch in self._latest().search().select(names).to_batches(batch_size=SCAN_ROWS):
                if batch.num_rows:
                    yield pa.Table.from_batches([batch])

    def update_manifest(self, **changes: Any) -> None:
        """Replace fields of the manifest.

        Raises:
            InputError: it cannot be written.
        """
        with self.writing(), committing(self.path):
            manifest = replace(Manifest.read(self.path), **changes)
            manifest.write(self.path)
            self.manifest = manifest

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Hold the lock that one writer has; may be nested.

        Raises:
            InputError: another process is writing, or the directory cannot be written.
        """
        if self._lock is not None:
            yield
            return
        self._lock = lock(self.path)
        try:
            yield
        finally:
            self._lock.close()
            self._lock = None
