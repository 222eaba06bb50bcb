"""Rows in Parquet files and Lance tables."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bindplug.directories import first_line
from bindplug.errors import BindplugError, InputError
from bindplug.lazy import require
from bindplug_search.adopt.path_lists import read_paths
from bindplug_search.adopt.row_file import KIND_NAMES, PATH_NAMES, Chunk, RowFile, ambiguous

if TYPE_CHECKING:
    import pyarrow as pa

OWNER = "bindplug index adopt"
NUMBERS = ("halffloat", "float", "double", "int8", "uint8", "bool")
"""Arrow's names of the numbers that rows may be of."""


class ArrowRows(RowFile):
    """What Parquet and Lance have in common: a schema, and batches of columns."""

    def _choose(self, schema: pa.Schema, rows: str | None, paths: str | None, kinds: str | None) -> None:
        """Find the columns, and read all but the vectors."""
        column = _vector_column(self.path, schema, rows)
        self.column = column.name
        self.dtype = np.dtype(column.type.value_type.to_pandas_dtype())
        self.width = self._width_of(column)
        texts = [field.name for field in schema if _is_text(field.type)]
        self.path_column = _path_column(self.path, texts, paths)
        kind_column = kinds or next((name for name in KIND_NAMES if name in texts), None)
        if kinds and kinds not in texts:
            raise InputError(str(self.path), found=f"no column of text {kinds!r}", expected=_one_of(texts))
        spans = [name for name in ("start", "end") if name in schema.names]
        has_spans = len(spans) == 2 and all(str(schema.field(name).type) == "double" for name in spans)
        columns_to_read = [name for name in (self.path_column, kind_column) if name and name in texts] + (
            spans if has_spans else []
        )
        table = self._columns(list(dict.fromkeys(columns_to_read)))
        if self.path_column in texts:
            self.paths = table[self.path_column]
        else:
            self.paths_file, self.path_column = Path(self.path_column).expanduser(), ""
            self.paths = read_paths(self.paths_file)
        self.kinds = table[kind_column] if kind_column else None
        if has_spans:
            stacked = [table[name].to_numpy() for name in spans]
            self.spans = np.stack(stacked, axis=1)  # 2 x (N,) -> (N, 2), NaN for null
        own = ("model", "space") if b"bindplug" in (schema.metadata or {}) else ()  # the same in every row
        self.metadata_columns = [
            field.name
            for field in schema
            if field.name not in (*columns_to_read, *own) and _is_scalar(field.type)
        ]

    def metadata(self, name: str) -> Sequence[object]:
        if name not in self.metadata_columns:
            raise KeyError(name)
        values: list[object] = self._columns([name]).column(0).to_pylist()
        return values

    def _width_of(self, column: pa.Field) -> int:
        """Of fixed-size lists the type tells the width, of others the first row that is there."""
        size = getattr(column.type, "list_size", None)
        if size:
            return int(size)
        for batch in self._batches():
            lengths = batch.column(0).drop_null().value_lengths()
            if len(lengths):
                return int(lengths[0].as_py())
        if not self.count:
            return 0
        raise InputError(str(self.path), found=f"nothing but nulls in {self.column!r}", expected="embeddings")

    def chunks(self) -> Iterator[Chunk]:
        start = 0
        for batch in self._batches():
            column = batch.column(0)
            for offset in range(0, len(column), self.chunk_rows):
                piece = column.slice(offset, self.chunk_rows)
                rows, present = self._numbers(piece, start)
                yield Chunk(start, rows, present)
                start += len(piece)

    def _numbers(self, lists: Any, start: int) -> tuple[np.ndarray, np.ndarray]:
        """(n, width) numbers of a column of lists, zeros for nulls, and which rows are there."""
        present = np.asarray(lists.is_valid().to_numpy(zero_copy_only=False), dtype=bool)
        lengths = np.asarray(_lengths(lists))
        wrong = present & (lengths != self.width)
        if wrong.any():
            row = int(np.flatnonzero(wrong)[0])
            raise InputError(
                f"{self.path}: row {start + row} of {self.column!r}",
                found=f"{lengths[row]} numbers",
                expected=f"{self.width}, as in the first row",
            )
        values = lists.drop_null().flatten()
        if values.null_count:
            if self.dtype.kind != "f":
                raise InputError(
                    f"{self.path}: {self.column!r}", found="nulls inside vectors", expected="numbers"
                )
            values = values.fill_null(float("nan"))
        flat = values.to_numpy(zero_copy_only=False)
        rows = np.zeros((len(lists), self.width), dtype=self.dtype)
        rows[present] = flat.reshape(-1, self.width)  # (n * width,) -> (n, width)
        return rows, present

    def _batches(self) -> Iterable[pa.RecordBatch]:
        """The column of vectors, in order."""
        raise NotImplementedError

    def _columns(self, names: list[str]) -> pa.Table:
        raise NotImplementedError


class ParquetRows(ArrowRows):
    """Rows of a Parquet file, one row group at a time."""

    def __init__(self, path: Path, rows: str | None, paths: str | None, kinds: str | None) -> None:
        parquet = require("pyarrow.parquet", owner=OWNER, extra="index")
        self.path = path
        with _damage_named(path, "a Parquet file"):
            self._file = parquet.ParquetFile(path, memory_map=True)
            self.count = self._file.metadata.num_rows
            schema = self._file.schema_arrow
        with _damage_named(path, "a Parquet file"):
            self._choose(schema, rows, paths, kinds)

    def _batches(self) -> Iterable[pa.RecordBatch]:
        with _damage_named(self.path, "a Parquet file"):
            yield from self._file.iter_batches(batch_size=16384, columns=[self.column])

    def _columns(self, names: list[str]) -> pa.Table:
        return self._file.read(columns=names)

    def take(self, positions: np.ndarray) -> np.ndarray:
        positions = np.asarray(positions)
        sizes = [self._file.metadata.row_group(i).num_rows for i in range(self._file.metadata.num_row_groups)]
        starts = np.concatenate([[0], np.cumsum(sizes)])
        rows = np.empty((len(positions), self.width), dtype=self.dtype)
        groups = np.searchsorted(starts, positions, side="right") - 1
        with _damage_named(self.path, "a Parquet file"):
            for group in np.unique(groups):
                inside = np.flatnonzero(groups == group)
                column = self._file.read_row_group(int(group), columns=[self.column]).column(0)
                cells = column.take(positions[inside] - starts[group]).combine_chunks()
                rows[inside] = self._numbers(cells, int(starts[group]))[0]
        return rows


class LanceRows(ArrowRows):
    """Rows of a Lance table, read through LanceDB at its newest version."""

    def __init__(
        self, path: Path, rows: str | None, paths: str | None, kinds: str | None, table: str | None
    ) -> None:
        lancedb = require("lancedb", owner=OWNER, extra="index")
        self.path = _table_directory(path, table)
        with _damage_named(self.path, "a Lance table"):
            self._table = lancedb.connect(str(self.path.parent)).open_table(self.path.stem)
            self.count = self._table.count_rows()
            self._choose(self._table.schema, rows, paths, kinds)

    def _batches(self) -> Iterable[pa.RecordBatch]:
        with _damage_named(self.path, "a Lance table"):
            yield from self._table.search().select([self.column]).to_batches(16384)

    def _columns(self, names: list[str]) -> pa.Table:
        return self._table.search().select(names).to_arrow() if names else None

    def take(self, positions: np.ndarray) -> np.ndarray:
        positions = np.asarray(positions)
        order = np.argsort(positions)  # the table gives them back in its own order
        with _damage_named(self.path, "a Lance table"):
            offsets = [int(position) for position in positions[order]]
            column = (
                self._table.take_offsets(offsets).select([self.column]).to_arrow().column(0).combine_chunks()
            )
        rows = np.empty((len(positions), self.width), dtype=self.dtype)
        rows[order] = self._numbers(column, 0)[0]
        return rows


def _table_directory(path: Path, table: str | None) -> Path:
    """The directory of a Lance table: the path itself, or the table inside of a database's directory."""
    if (path / "_versions").is_dir():
        return path
    tables = sorted(child for child in path.glob("*.lance") if (child / "_versions").is_dir())
    matching_tables = [child for child in tables if table in (None, child.stem)]
    if len(matching_tables) == 1:
        return matching_tables[0]
    if not tables:
        raise InputError(
            str(path),
            found="a directory without a Lance table, Parquet files or .npy files",
            expected="embeddings",
        )
    names = ", ".join(child.stem for child in tables)
    if table is not None:
        raise InputError(str(path), found=f"no table {table!r}", expected=f"one of {names}")
    raise InputError(
        str(path), found=f"several tables: {names}", expected="to know which one",
        remedy=f"Name it: --table {tables[0].stem}",
    )  # fmt: skip


def _vector_column(path: Path, schema: pa.Schema, name: str | None) -> pa.Field:
    vectors = [field for field in schema if _holds_vectors(field.type)]
    if name is not None:
        vector_field = next((field for field in vectors if field.name == name), None)
        if vector_field is None:
            kind = f"of {schema.field(name).type}" if name in schema.names else "in the table"
            names = [field.name for field in vectors]
            problem = f"{name!r} {kind}" if name in schema.names else f"no column {name!r} {kind}"
            raise InputError(str(path), found=problem, expected=f"a column of vectors: {_one_of(names)}")
        return vector_field
    floats = [field for field in vectors if str(field.type.value_type) in NUMBERS[:3]]
    candidates = floats or vectors
    if len(candidates) == 1:
        return candidates[0]
    if candidates:
        raise ambiguous(path, "vectors", [field.name for field in candidates], "--rows")
    columns = ", ".join(f"{field.name} ({field.type})" for field in schema)
    raise InputError(
        str(path),
        found=f"no column of vectors: {columns[:300]}",
        expected="a list column of floats, int8 or uint8",
    )


def _path_column(path: Path, texts: Sequence[str], paths: str | None) -> str:
    """The name of a column of text, or of a file of paths."""
    if paths is not None:
        if paths in texts or Path(paths).expanduser().is_file():
            return paths
        raise InputError(
            str(path), found=f"--paths {paths}", expected=f"a file, or a column: {_one_of(texts)}"
        )
    usual = [name for name in texts if name.lower() in PATH_NAMES]
    candidates = usual or [name for name in texts if name.lower() not in KIND_NAMES]
    if len(candidates) == 1:
        return candidates[0]
    if candidates:
        raise ambiguous(path, "paths", candidates, "--paths")
    raise InputError(
        str(path), found="no column of text", expected="to know which file each row was made from",
        remedy="Give a list with one path a line: --paths FILE",
    )  # fmt: skip


def _holds_vectors(kind: pa.DataType) -> bool:
    value_type = getattr(kind, "value_type", None)
    is_list = str(kind).startswith(("list", "large_list", "fixed_size_list"))
    return is_list and str(value_type) in NUMBERS


def _is_text(kind: pa.DataType) -> bool:
    return str(kind) in ("string", "large_string", "string_view") or str(kind).startswith(
        "dictionary<values=string"
    )


def _is_scalar(kind: pa.DataType) -> bool:
    return (
        _is_text(kind)
        or str(kind) == "bool"
        or str(kind).startswith(("int", "uint", "float", "double", "halffloat"))
    )


def _lengths(lists: Any) -> Any:
    size = getattr(lists.type, "list_size", None)
    if size:
        return np.full(len(lists), size)
    return lists.value_lengths().fill_null(0).to_numpy(zero_copy_only=False)


def _one_of(names: Sequence[str]) -> str:
    return ", ".join(names) or "none"


@contextmanager
def _damage_named(path: Path, expected: str) -> Iterator[None]:
    """What Arrow and Lance raise over a damaged file, as an :class:`InputError` that names it."""
    try:
        yield
    except (BindplugError, ImportError):
        raise
    except Exception as error:
        problem = f"damage or another format ({first_line(error)})"
        raise InputError(str(path), found=problem, expected=expected) from None
