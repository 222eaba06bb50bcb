"""Rows embedded earlier, on disk: one SQLite file, bounded in size, shared by runs and processes.

A row is found again by the digest of what embedded it and the digest of what was embedded
(:mod:`bindplug_lab.evaluation.identity`). Rows not used for the longest time go first when the file is full.
"""

from __future__ import annotations

import json
import os
import sqlite3
import time
import warnings
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bindplug.errors import InputError
from bindplug.hub import home

__all__ = ["LIMIT_BYTES", "CachedRow", "RowCache", "default_directory", "open_cache"]

FILENAME = "rows-1.sqlite3"
"""The number is that of the layout."""

LIMIT_BYTES = 2 << 30
"""Rows that are kept, in bytes: a million of width 512."""

FREED = 0.1
"""Share of the limit that is freed at once, so that a full file is not searched at each write."""

MOST_KEYS = 500
"""Keys in one statement; SQLite takes some thousand variables at most."""

TIMEOUT_S = 60.0
"""How long another process may hold the file."""

SCHEMA = """
CREATE TABLE IF NOT EXISTS rows (
    key TEXT PRIMARY KEY, row BLOB NOT NULL, notes TEXT NOT NULL, checksum INTEGER NOT NULL, used REAL NOT NULL
)
"""


@dataclass(frozen=True)
class CachedRow:
    """A row (D,) float32 of unit length, and what readers remarked on its sources as (source, text)."""

    row: np.ndarray
    notes: tuple[tuple[str, str], ...] = ()


def default_directory() -> Path:
    """Where rows are kept unless another directory is given: ``evaluation`` beside the weights."""
    return home() / "evaluation"


class RowCache:
    """Rows by key.

    Args:
        directory: that holds the file; made if it is missing.
        limit_bytes: of rows; the least recently used go when there are more.

    Raises:
        InputError: the directory cannot be written.

    Warns:
        UserWarning: the file was damaged; it is set aside and a new one begun.
    """

    def __init__(self, directory: str | os.PathLike[str], limit_bytes: int = LIMIT_BYTES) -> None:
        self.path, self.limit_bytes = Path(directory).expanduser() / FILENAME, limit_bytes
        self._size: int | None = None
        """Bytes of rows as far as this process knows; None until it has counted."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise _not_writable(self.path, error.strerror or str(error)) from None
        try:
            self._connection = self._open()
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError):
                raise _not_writable(self.path, str(error)) from None
            self._set_aside()
            self._connection = self._open()

    def get(self, keys: Sequence[str]) -> dict[str, CachedRow]:
        """The rows of those keys that are here, each checked against its checksum."""
        rows: dict[str, CachedRow] = {}
        with self._guarded() as connection:
            for start in range(0, len(keys), MOST_KEYS):
                part = list(keys[start : start + MOST_KEYS])
                marks = ",".join("?" * len(part))
                query = f"SELECT key, row, notes, checksum FROM rows WHERE key IN ({marks})"
                for key, content, notes, checksum in connection.execute(query, part):
                    if zlib.crc32(content + notes.encode()) == checksum:
                        values = np.frombuffer(content, dtype="<f4").astype(np.float32)
                        pairs = tuple((source, text) for source, text in json.loads(notes))
                        rows[key] = CachedRow(values, pairs)
                connection.execute(
                    f"UPDATE rows SET used = ? WHERE key IN ({marks})",
                    [time.time(), *part],
                )
        return rows

    def put(self, rows: Mapping[str, CachedRow]) -> None:
        """Keep rows; they are on disk when this returns. What cannot be written is not kept, with a warning."""
        now = time.time()
        records = []
        for key, cached in rows.items():
            content = np.ascontiguousarray(cached.row, dtype="<f4").tobytes()
            notes = json.dumps([list(pair) for pair in cached.notes])
            records.append((key, content, notes, zlib.crc32(content + notes.encode()), now))
        with self._guarded() as connection:
            connection.executemany("INSERT OR REPLACE INTO rows VALUES (?, ?, ?, ?, ?)", records)
            self._make_room(connection, sum(len(record[1]) for record in records))

    def __len__(self) -> int:
        return int(self._connection.execute("SELECT COUNT(*) FROM rows").fetchone()[0])

    def close(self) -> None:
        """Let go of the file."""
        self._connection.close()

    def __enter__(self) -> RowCache:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _make_room(self, connection: sqlite3.Connection, added: int) -> None:
        """Drop the least recently used rows if ``added`` bytes made the file too full."""
        if self._size is not None and self._size + added <= self.limit_bytes:
            self._size += added
            return
        (size,) = connection.execute("SELECT COALESCE(SUM(LENGTH(row)), 0) FROM rows").fetchone()
        target = self.limit_bytes * (1 - FREED) if size > self.limit_bytes else self.limit_bytes
        while size > target:
            oldest = connection.execute("SELECT key, LENGTH(row) FROM rows ORDER BY used, key LIMIT 1000")
            for key, length in oldest.fetchall():
                if size <= target:
                    break
                connection.execute("DELETE FROM rows WHERE key = ?", [key])
                size -= length
        self._size = size

    @contextmanager
    def _guarded(self) -> Iterator[sqlite3.Connection]:
        """One transaction. A cache that fails costs time and never a result."""
        try:
            with self._connection:
                yield self._connection
        except sqlite3.Error as error:
            warnings.warn(f"{self.path}: {error}; embeddings are made again and not kept", stacklevel=4)

    def _open(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, timeout=TIMEOUT_S)
        try:
            connection.execute(SCHEMA)
            connection.commit()
        except sqlite3.Error:
            connection.close()
            raise
        return connection

    def _set_aside(self) -> None:
        damaged = self.path.with_suffix(".damaged")
        self.path.replace(damaged)
        warnings.warn(f"{self.path} was damaged; it is {damaged.name} now and a new one begins", stacklevel=3)


def open_cache(directory: str | None, enabled: bool, limit_bytes: int = LIMIT_BYTES) -> RowCache | None:
    """The cache that a command's options name.

    Args:
        directory: of ``--cache``; the default for None, and where that cannot be written there is no cache.
        enabled: whether there is to be one.
        limit_bytes: of rows.

    Raises:
        InputError: the named directory cannot be written.

    Warns:
        UserWarning: the default directory cannot be written.
    """
    if not enabled:
        return None
    try:
        return RowCache(directory or default_directory(), limit_bytes)
    except InputError as error:
        if directory is not None:
            raise
        warnings.warn(f"{error.source}: {error.found}; embeddings are not kept", stacklevel=2)
        return None


def _not_writable(path: Path, reason: str) -> InputError:
    return InputError(
        str(path),
        found=reason,
        expected="a place for embeddings that can be written",
        remedy="Name another with --cache DIR, or say --no-cache",
    )
