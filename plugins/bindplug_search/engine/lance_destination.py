"""Rows as a Lance dataset: workers write fragments, which become one version of the dataset at the end."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pyarrow as pa
from pyarrow import fs

from bindplug.errors import InputError
from bindplug.lazy import require
from bindplug_search.engine.addresses import lance_uri, open_place
from bindplug_search.engine.destination import (
    REPORT_THREADS,
    ROW_GROUP,
    Destination,
    counts_of,
    regrouped,
)
from bindplug_search.engine.partition import PartitionReport


def open_destination(output: str) -> Destination:
    """The destination at a path or address: Lance where it ends in ``.lance``, else a directory of Parquet files.

    Raises:
        InputError: a file's name, or a store that Arrow does not know.
        MissingDependency: the package for Lance is absent.
    """
    plain = output.partition("?")[0].rstrip("/")
    if plain.endswith(".lance"):
        return LanceDestination(output)
    if plain.endswith((".parquet", ".npz")):
        raise InputError(
            output,
            found="the name of a file",
            expected="a directory, which gets a Parquet file for each partition, or a name that ends in .lance",
            remedy=f"Say -o {plain.rpartition('.')[0]}",
        )
    return Destination(output)


class LanceDestination(Destination):
    """A Lance dataset, whose fragments are written by workers and become one version at the end.

    Args:
        output: path or address of the dataset, which ends in ``.lance``.
    """

    suffix = ".json"

    def __init__(self, output: str) -> None:
        require("lance", owner="the ray engine, for Lance,", extra="ray")
        super().__init__(output)
        self.uri = lance_uri(output)

    def _parts_of(self, output: str) -> str:
        head, mark, query = output.partition("?")
        return f"{head.rstrip('/')}.parts{mark}{query}"

    def ensure_own(self) -> None:
        super().ensure_own()
        filesystem, path = open_place(self.output)
        exists = filesystem.get_file_info(path).type != fs.FileType.NotFound
        if exists and not self.filesystem.get_file_info(f"{self.path}/_job.json").is_file:
            raise InputError(
                self.output,
                found="a dataset that this engine did not make",
                expected="a new place",
                remedy="Choose another --output",
            )

    def finished(self) -> dict[str, int]:
        """Names of the partitions whose fragments stand in the dataset; none where someone removed that."""
        filesystem, path = open_place(self.output)
        exists = filesystem.get_file_info(path).type != fs.FileType.NotFound
        return super().finished() if exists else {}

    def _write_rows(
        self, name: str, schema: pa.Schema, tables: Iterable[pa.Table], report: PartitionReport
    ) -> None:
        from lance.fragment import write_fragments

        errors: list[Exception] = []

        def batches() -> Iterator[pa.RecordBatch]:
            try:
                for table in regrouped(tables, ROW_GROUP):
                    yield from table.to_batches()
            except Exception as error:
                errors.append(error)
                raise

        reader = pa.RecordBatchReader.from_batches(schema, batches())
        try:
            fragments = write_fragments(reader, self.uri, schema=schema, mode="create")
        except Exception:
            if errors:  # Lance raises what happened in making the rows as an error of its own
                raise errors[0] from None
            raise
        self._write_remarks(name, report)
        mark = {**counts_of(report), "fragments": [fragment.to_json() for fragment in fragments]}
        with self._whole(self._file(name)) as file:
            file.write(json.dumps(mark).encode())

    def _read_counts(self, name: str) -> dict[str, Any]:
        counts: dict[str, Any] = json.loads(self._read(self._file(name)))
        return counts

    def commit(self, schema: pa.Schema, names: Iterable[str]) -> None:
        """Make the fragments of all partitions the newest version of the dataset.

        Raises:
            InputError: it cannot be written.
        """
        import lance

        fragments: list[Any] = []
        with ThreadPoolExecutor(REPORT_THREADS) as threads:
            for counts in threads.map(self._read_counts, names):
                for fragment in counts["fragments"]:
                    numbered = {**fragment, "id": len(fragments)}
                    fragments.append(lance.FragmentMetadata.from_json(json.dumps(numbered)))
        try:
            lance.LanceDataset.commit(self.uri, lance.LanceOperation.Overwrite(schema, fragments))
        except OSError as error:
            raise self._not_writable(error) from None
