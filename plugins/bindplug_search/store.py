"""An index as a LanceDB table: a directory with the table, a manifest and a lock.

Every change is one commit of Lance, which a reader or a restarted writer sees whole or not at all. One process writes
at a time; any number search.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa

from bindplug.errors import InputError
from bindplug.indexes import Condition, IndexInfo, IndexMatch, IndexRow
from bindplug.lazy import require
from bindplug.space import EmbeddingSpace
from bindplug_search.guards import committing, lock, reading
from bindplug_search.manifest import FORMAT_VERSION, Approximation, Manifest
from bindplug_search.means import read_means
from bindplug_search.table import (
    PREFIX,
    ROW_COLUMNS,
    STATE_COLUMNS,
    VECTOR,
    FileState,
    IndexedFile,
    check_columns,
    check_rows,
    file_digest,
    filter_of,
    is_among,
    metadata_column,
    metadata_fields,
    metadata_key,
    states_of,
    to_arrow,
    to_rows,
    vectors_of,
)

STORE = "lance"
"""Name of the store's card."""

TABLE = "rows"

EXACT_LIMIT = 100_000
"""Rows up to which every search compares with all of them."""

SCAN_ROWS = 8192
"""Rows of a batch where the whole table is read."""

KEPT_VERSIONS = timedelta(hours=1)
"""How long an old version stays, for searches that began on it."""


class LanceIndex:
    """An index in a LanceDB table; a :class:`bindplug.indexes.VectorIndex`.

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

    def add(self, vectors: np.ndarray, rows: Sequence[IndexRow]) -> None:
        """Add rows in one commit; rows of the same path, kind and span are replaced.

        Args:
            vectors: (N, D) float32 of unit length.
            rows: what each stands for.

        Raises:
            InputError: the arrays do not fit together, a row occurs twice, or the table cannot be written.
        """
        check_rows(vectors, rows, self.space.width, self.path)
        if not rows:
            return
        with self.writing():
            self._add_columns(rows)
            data = to_arrow(vectors, rows, [FileState()] * len(rows), self._table.schema)
            with committing(self.path):
                merge = (
                    self._table.merge_insert("key").when_matched_update_all().when_not_matched_insert_all()
                )
                merge.execute(data)

    def replace_files(
        self, vectors: np.ndarray, rows: Sequence[IndexRow], states: Mapping[tuple[str, str], FileState]
    ) -> None:
        """Put all rows of some files, and drop the rows these files had before, in one commit.

        Args:
            vectors: (N, D) float32 of unit length.
            rows: what each stands for.
            states: for the path and kind of each file, its state when it was read.

        Raises:
            InputError: as :meth:`add`.
        """
        check_rows(vectors, rows, self.space.width, self.path)
        if not rows:
            return
        with self.writing():
            self._add_columns(rows)
            data = to_arrow(vectors, rows, [states[row.path, row.kind] for row in rows], self._table.schema)
            digests = sorted({file_digest(path, kind) for path, kind in states})
            with committing(self.path):
                if not self._table.count_rows(is_among("file", digests)):
                    self._table.add(data)
                    return
                merge = (
                    self._table.merge_insert("key").when_matched_update_all().when_not_matched_insert_all()
                )
                merge.when_not_matched_by_source_delete(is_among("file", digests)).execute(data)

    def check_metadata(self, rows: Iterable[IndexRow]) -> None:
        """Return if metadata is of the types that the table's is.

        Raises:
            InputError: a value is of another type than those of other rows.
        """
        metadata_fields(rows, self._latest().schema)

    def _add_columns(self, rows: Sequence[IndexRow]) -> None:
        fields = metadata_fields(rows, self._latest().schema)
        if fields:
            with committing(self.path):
                self._table.add_columns(pa.schema(fields))

    def drop_empty_columns(self, keys: Iterable[str]) -> None:
        """Drop the columns of these metadata keys in which no row has a value any longer."""
        columns = sorted(set(map(metadata_column, keys)) & set(self._latest().schema.names))
        empty = [name for name in columns if not self._table.count_rows(f"`{name}` IS NOT NULL")]
        if empty:
            with self.writing(), committing(self.path):
                self._table.drop_columns(empty)

    def delete(self, paths: Iterable[str]) -> int:
        """Remove all rows of these paths in one commit, and return how many there were."""
        names = set(paths)
        digests = [digest for digest, file in self.files().items() if file.path in names]
        return self.delete_files(digests)

    def delete_files(self, digests: Sequence[str]) -> int:
        """Remove the rows of files by their digests in one commit, and return how many there were."""
        if not digests:
            return 0
        with self.writing():
            before = self.row_count
            with committing(self.path):
                self._table.delete(is_among("file", digests))
            return before - self.row_count

    def search(
        self,
        vector: np.ndarray,
        k: int,
        *,
        kinds: Sequence[str] = (),
        where: Sequence[Condition] = (),
        exact: bool = False,
    ) -> list[IndexMatch]:
        """The ``k`` rows of greatest cosine with a vector, best first.

        Exact where the index has no approximate search, or where its partitions give fewer rows than asked for.

        Args:
            vector: (D,) float32 of unit length.
            k: most rows to give.
            kinds: rows of these kinds only; of all for none.
            where: rows that meet all of these.
            exact: compare with every row in any case.

        Raises:
            InputError: no row has the metadata of a condition, or the table is damaged.
        """
        vector = np.asarray(vector, dtype=np.float32)
        if vector.shape != (self.space.width,):
            raise InputError(
                "search", found=f"a vector of shape {vector.shape}", expected=f"({self.space.width},)"
            )
        if k < 1:
            raise InputError("search", found=f"k={k}", expected="at least 1")
        with reading(self.path):
            table = self._latest()
            condition = filter_of(kinds, where, table.schema)
            approximation = None if exact else self.manifest.approximation
            matches = self._nearest(table, vector, k, condition, approximation)
            if approximation is not None and len(matches) < k:
                matches = self._nearest(table, vector, k, condition, None)
        return matches

    def approximate_scores(
        self, vector: np.ndarray, k: int, kinds: Sequence[str], approximation: Approximation
    ) -> list[float]:
        """Scores that the approximate search gives with settings that are tried."""
        with reading(self.path):
            condition = filter_of(kinds, (), self._table.schema)
            return [match.score for match in self._nearest(self._table, vector, k, condition, approximation)]

    def _nearest(
        self,
        table: Any,
        vector: np.ndarray,
        k: int,
        condition: str | None,
        approximation: Approximation | None,
    ) -> list[IndexMatch]:
        names = [*ROW_COLUMNS, *(name for name in table.schema.names if name.startswith(PREFIX)), "_distance"]
        search = (
            table.search(vector, vector_column_name=VECTOR).distance_type("cosine").limit(k).select(names)
        )
        if condition is not None:
            search = search.where(condition, prefilter=True)
        if approximation is None:
            search = search.bypass_vector_index()
        else:
            search = search.nprobes(approximation.nprobes).refine_factor(approximation.refine)
        nearest = search.to_arrow()
        scores = 1.0 - nearest.column("_distance").to_numpy()
        pairs = zip(to_rows(nearest), scores.tolist(), strict=True)
        matches = [IndexMatch(row, float(min(1.0, max(-1.0, score)))) for row, score in pairs]
        return sorted(
            matches, key=lambda match: (-match.score, match.row.path, match.row.kind, match.row.span or ())
        )

    def mean(self, kinds: Sequence[str] = ()) -> np.ndarray:
        """The mean (D,) float32 of the rows of these kinds, of all for none.

        Raises:
            InputError: there are no such rows.
        """
        sums = read_means(self.path, self.version, self.vectors_by_kind)
        counted = [sums[kind] for kind in (kinds or sums) if kind in sums]
        count = sum(number for number, _ in counted)
        if not count:
            raise InputError(
                str(self.path), found=f"no rows of {', '.join(kinds) or 'any kind'}", expected="some"
            )
        total = np.stack([part for _, part in counted]).sum(0)  # (K, D) -> (D,)
        mean: np.ndarray = (total / count).astype(np.float32)
        return mean

    def info(self) -> IndexInfo:
        """What the index holds."""
        with reading(self.path):
            column = self._latest().search().select(["kind"]).to_arrow().column("kind")
        counts = {entry["values"]: entry["counts"] for entry in column.value_counts().to_pylist()}
        approximation = self.manifest.approximation
        details: dict[str, Any] = {
            "format_version": FORMAT_VERSION,
            "files": len(self.files()),
            "metadata": self.metadata_keys,
            "folders": list(dict.fromkeys(folder.path for folder in self.manifest.folders)),
            "search": "exact" if approximation is None else asdict(approximation),
        }
        rows = int(sum(counts.values()))
        return IndexInfo(
            str(self.path), STORE, self.model, self.space, rows, dict(sorted(counts.items())), details
        )

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

    @property
    def small_fragments(self) -> int:
        """Number of the table's files that hold few rows."""
        with reading(self.path):
            return int(self._latest().stats()["fragment_stats"]["num_small_fragments"])

    @property
    def unindexed_rows(self) -> int | None:
        """Rows that the approximate search does not know yet; None if there is none."""
        with reading(self.path):
            indices = [index for index in self._latest().list_indices() if VECTOR in index.columns]
        return int(indices[0].num_unindexed_rows or 0) if indices else None

    def optimize(self) -> None:
        """Join small files of the table, drop versions that are old, and take new rows into the approximate search."""
        with self.writing(), committing(self.path):
            self._table.optimize(cleanup_older_than=KEPT_VERSIONS)

    def create_approximation(self, partitions: int) -> None:
        """Build the table's approximate search: partitions of rows in 8 bits a number."""
        require("lancedb", owner="bindplug_search", extra="index")
        from lancedb.index import IvfSq

        with self.writing(), committing(self.path):
            self._latest().create_index(
                VECTOR, config=IvfSq(distance_type="cosine", num_partitions=partitions)
            )

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
