"""The table of an index: its columns, and how rows and conditions are written in them.

Every metadata key has a column of its own, of texts, numbers or truth values. A ``file`` digest stands for path and
kind, and a ``key`` digest for path, kind and span, so that no name of a file ever becomes part of a filter.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from bindplug.errors import InputError
from bindplug.indexes import Condition, IndexRow, MetadataValue
from bindplug.modality import Modality

PREFIX = "m_"
"""First part of the names of metadata columns."""

VECTOR = "vector"

TYPES = {str: pa.string(), float: pa.float64(), bool: pa.bool_()}
WORDS = {pa.string(): "text", pa.float64(): "numbers", pa.bool_(): "truth values"}

STATE_COLUMNS = (
    "file",
    "path",
    "path_bytes",
    "kind",
    "recipe",
    "hash",
    "size",
    "modified_ns",
    "changed_ns",
    "parts",
)
ROW_COLUMNS = ("path", "path_bytes", "kind", "start", "end")


@dataclass(frozen=True, slots=True)
class FileState:
    """What tells whether a file is still the one that was embedded.

    Args:
        hash: SHA-256 of its content, in hexadecimal digits; of a sentence, of its UTF-8 text.
        size: in bytes; 0 of a sentence.
        modified_ns, changed_ns: times of the last change of its content and of its entry, in nanoseconds.
        recipe: how it became rows.
        parts: rows that it became when every window of it could be read.
    """

    hash: str = ""
    size: int = 0
    modified_ns: int = 0
    changed_ns: int = 0
    recipe: str = ""
    parts: int = 1


@dataclass(slots=True)
class IndexedFile:
    """A file of an index.

    Args:
        path: of the file, or for text the sentence itself.
        kind: name of the modality.
        state: when it was read.
        rows: how many it has.
    """

    path: str
    kind: str
    state: FileState
    rows: int = 0

    @property
    def is_whole(self) -> bool:
        """Whether every window of it is there."""
        return self.rows == self.state.parts


def schema(width: int) -> pa.Schema:
    """Columns of an index without metadata."""
    return pa.schema(
        [
            ("key", pa.string()),
            ("file", pa.string()),
            ("path", pa.string()),
            ("path_bytes", pa.binary()),  # of a path that is not UTF-8
            ("kind", pa.string()),
            ("start", pa.float64()),  # seconds; null of a whole file
            ("end", pa.float64()),
            ("hash", pa.string()),
            ("size", pa.int64()),
            ("modified_ns", pa.int64()),
            ("changed_ns", pa.int64()),
            ("recipe", pa.string()),
            ("parts", pa.int32()),
            (VECTOR, pa.list_(pa.float32(), width)),
        ]
    )


def check_columns(table: Any, width: int, path: Path) -> None:
    """Return if a table has the columns of an index.

    Raises:
        InputError: one is absent or of another type.
    """
    columns = table.schema
    for field in schema(width):
        stored = columns.field(field.name).type if field.name in columns.names else None
        if stored != field.type:
            detail = "no such column" if stored is None else f"the type {stored}"
            raise InputError(
                f"{path}, column {field.name!r}",
                found=detail,
                expected=f"{field.type}, as bindplug writes it",
                remedy="Make rows of another tool searchable with `bindplug index adopt`",
            )


def file_digest(path: str, kind: str) -> str:
    """What stands for a file of a kind in filters."""
    return _digest(kind, path)


def row_digest(row: IndexRow) -> str:
    """What stands for a row; equal for the same path, kind and span."""
    return _digest(row.kind, row.path, *(row.span or ()))


def _digest(*parts: str | float) -> str:
    text = json.dumps(parts)  # escapes what is not UTF-8 in a path
    return hashlib.sha256(text.encode("ascii")).hexdigest()[:32]


def metadata_column(key: str) -> str:
    """The column of a metadata key: letters and digits as they are, all else as ``_`` and its code.

    Raises:
        InputError: the key is empty.
    """
    if not key:
        raise InputError("metadata", found="a key without letters", expected="a name for each value")
    return PREFIX + re.sub(r"[^A-Za-z0-9]", lambda match: f"_{ord(match[0]):x}_", key)


def metadata_key(column: str) -> str:
    """The key whose column that is."""
    return re.sub(r"_([0-9a-f]+)_", lambda match: chr(int(match[1], 16)), column[len(PREFIX) :])


def metadata_fields(rows: Iterable[IndexRow], existing: pa.Schema) -> list[pa.Field]:
    """The metadata columns that rows need and a table does not have.

    Raises:
        InputError: a value is of another type than the column's other values.
    """
    types: dict[str, pa.DataType] = {
        name: existing.field(name).type for name in existing.names if name.startswith(PREFIX)
    }
    fields: dict[str, pa.Field] = {}
    for row in rows:
        for key, value in row.metadata.items():
            name = metadata_column(key)
            value_type = _type_of(key, value)
            if name not in types:
                types[name] = value_type
                fields[name] = pa.field(name, value_type)
            elif types[name] != value_type:
                raise InputError(
                    f"metadata {key!r} of {row.path}",
                    found=repr(value),
                    expected=f"{WORDS[types[name]]}, as in the other rows",
                )
    return list(fields.values())


def _type_of(key: str, value: MetadataValue) -> pa.DataType:
    for kind in (bool, str):
        if isinstance(value, kind):
            return TYPES[kind]
    if isinstance(value, (int, float)):
        return TYPES[float]
    raise InputError(
        f"metadata {key!r}", found=f"a {type(value).__name__}", expected="a text, a number or a truth value"
    )


def to_arrow(
    vectors: np.ndarray, rows: Sequence[IndexRow], states: Sequence[FileState], columns: pa.Schema
) -> pa.Table:
    """Rows as a table of these columns."""
    width = columns.field(VECTOR).type.list_size
    values: dict[str, Any] = {
        "key": [row_digest(row) for row in rows],
        "file": [file_digest(row.path, row.kind) for row in rows],
        "path": [_as_utf8(row.path) for row in rows],
        "path_bytes": [None if _is_utf8(row.path) else os.fsencode(row.path) for row in rows],
        "kind": [row.kind for row in rows],
        "start": [row.span[0] if row.span else None for row in rows],
        "end": [row.span[1] if row.span else None for row in rows],
    }
    for name in ("hash", "size", "modified_ns", "changed_ns", "recipe", "parts"):
        values[name] = [getattr(state, name) for state in states]
    flat = np.ascontiguousarray(vectors, dtype=np.float32).reshape(-1)  # (N, D) -> (N * D,)
    arrays = []
    for field in columns:
        if field.name == VECTOR:
            arrays.append(pa.FixedSizeListArray.from_arrays(pa.array(flat, pa.float32()), width))
            continue
        if field.name.startswith(PREFIX):
            key = metadata_key(field.name)
            values[field.name] = [_stored(row.metadata.get(key)) for row in rows]
        arrays.append(pa.array(values[field.name], field.type))
    return pa.Table.from_arrays(arrays, schema=columns)


def _stored(value: MetadataValue | None) -> MetadataValue | None:
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


def to_rows(table: pa.Table) -> list[IndexRow]:
    """The rows of a table that holds :data:`ROW_COLUMNS` and metadata columns."""
    columns = {name: table.column(name).to_pylist() for name in ROW_COLUMNS}
    metadata = {
        metadata_key(name): table.column(name).to_pylist()
        for name in table.column_names
        if name.startswith(PREFIX)
    }
    rows = []
    for place in range(table.num_rows):
        raw, start = columns["path_bytes"][place], columns["start"][place]
        rows.append(
            IndexRow(
                path=columns["path"][place] if raw is None else os.fsdecode(raw),
                kind=columns["kind"][place],
                span=None if start is None else (start, columns["end"][place]),
                metadata={
                    key: values[place] for key, values in metadata.items() if values[place] is not None
                },
            )
        )
    return rows


def filter_of(kinds: Sequence[str], where: Sequence[Condition], columns: pa.Schema) -> str | None:
    """A filter for rows of these kinds that meet all conditions; None for all rows.

    Raises:
        InputError: no row has the metadata of a condition, or its value is of another type.
        UnknownModality: a kind is none of the modalities.
    """
    parts = [_condition(condition, columns) for condition in where]
    if kinds:
        names = ", ".join(f"'{Modality.parse(kind).value}'" for kind in kinds)
        parts.insert(0, f"kind IN ({names})")
    return " AND ".join(parts) or None


def _condition(condition: Condition, columns: pa.Schema) -> str:
    name = metadata_column(condition.key)
    if name not in columns.names:
        keys = [metadata_key(column) for column in columns.names if column.startswith(PREFIX)]
        raise InputError(
            f"the condition on {condition.key!r}",
            found="no row with that metadata",
            expected=f"one of {', '.join(map(repr, keys))}" if keys else "an index with metadata",
        )
    stored = columns.field(name).type
    value = _value_for(condition, stored)
    return f"(`{name}` {condition.operator} {value})"


def _value_for(condition: Condition, stored: pa.DataType) -> str:
    value = condition.value
    if stored == pa.string() and isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    if stored == pa.bool_() and str(value).lower() in ("true", "false"):
        return str(value).lower()
    if stored == pa.float64() and not isinstance(value, bool):
        try:
            number = float(value)
        except ValueError:
            number = float("nan")
        if np.isfinite(number):
            return repr(number)
    raise InputError(
        f"the condition on {condition.key!r}", found=repr(value), expected=f"{WORDS[stored]}, as in the rows"
    )


def _is_utf8(text: str) -> bool:
    return text.isascii() or not any("\ud800" <= character <= "\udfff" for character in text)


def _as_utf8(text: str) -> str:
    """The text with bytes that are not UTF-8 as ``\\xNN``."""
    return text if _is_utf8(text) else os.fsencode(text).decode("utf-8", errors="backslashreplace")


def states_of(table: pa.Table) -> Iterable[tuple[str, str, str, FileState]]:
    """For each row of a table of :data:`STATE_COLUMNS`: its file's digest, path, kind and state."""
    columns: Mapping[str, list[Any]] = {name: table.column(name).to_pylist() for name in STATE_COLUMNS}
    for digest, path, raw, kind, recipe, content, size, modified, changed, parts in zip(
        *columns.values(), strict=True
    ):
        state = FileState(content, size, modified, changed, recipe, parts)
        yield digest, path if raw is None else os.fsdecode(raw), kind, state


def is_among(column: str, digests: Sequence[str]) -> str:
    """A filter for rows whose digest in a column is one of these."""
    return f"{column} IN ({', '.join(repr(digest) for digest in digests)})"


def vectors_of(table: pa.Table) -> np.ndarray:
    """The vectors (N, D) of a table."""
    column = table.column(VECTOR).combine_chunks()
    column = column.chunk(0) if isinstance(column, pa.ChunkedArray) else column
    width = column.type.list_size
    vectors: np.ndarray = (
        column.flatten().to_numpy(zero_copy_only=False).reshape(-1, width)
    )  # (N * D,) -> (N, D)
    return vectors


def check_rows(vectors: np.ndarray, rows: Sequence[IndexRow], width: int, path: Path) -> None:
    """Return if vectors and rows fit together and an index of that width.

    Raises:
        InputError: they do not, a vector is not of unit length, or a row occurs twice.
    """
    expected = (len(rows), width)
    if vectors.shape != expected:
        raise InputError(str(path), found=f"vectors of shape {vectors.shape}", expected=f"{expected}")
    if len(rows) and not (np.abs(np.linalg.norm(vectors, axis=1) - 1) < 1e-3).all():
        raise InputError(str(path), found="vectors of another length", expected="rows of unit length")
    if len({row_digest(row) for row in rows}) != len(rows):
        raise InputError(str(path), found="a path, kind and span twice", expected="each row once")
