"""An index as a LanceDB table: a directory with the table, a manifest and a lock.

Every change is one commit of Lance, which a reader or a restarted writer sees whole or not at all. One process writes
at a time; any number search.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import timedelta
from typing import Any

import numpy as np
import pyarrow as pa

from bindplug.errors import InputError
from bindplug.indexes import Condition, IndexInfo, IndexMatch, IndexRow
from bindplug.lazy import require
from bindplug_search.guards import committing, reading
from bindplug_search.lance_table import LanceTable
from bindplug_search.manifest import FORMAT_VERSION, Approximation
from bindplug_search.means import read_means
from bindplug_search.table import (
    PREFIX,
    ROW_COLUMNS,
    VECTOR,
    FileState,
    check_rows,
    file_digest,
    filter_of,
    is_among,
    metadata_column,
    metadata_fields,
    to_arrow,
    to_rows,
)

STORE = "lance"
"""Name of the store's card."""

EXACT_LIMIT = 100_000
"""Rows up to which every search compares with all of them."""

KEPT_VERSIONS = timedelta(hours=1)
"""How long an old version stays, for searches that began on it."""


class LanceIndex(LanceTable):
    """An index in a LanceDB table; a :class:`bindplug.indexes.VectorIndex`.

    Args:
        path: directory of the index.

    Raises:
        InputError: the directory holds no index, or a damaged one.
        MissingDependency: LanceDB is not installed.
    """

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
