"""Where the rows go: a directory of Parquet files; a partition appears whole or not at all.

``OUT/part-….parquet`` are the rows. ``OUT/_job.json`` says which job they are of, ``OUT/_errors`` and ``OUT/_notes``
are tables of bad items and of remarks. Readers of Parquet directories leave out names that start with ``_``. For a
dataset ``OUT.lance`` the same stands in ``OUT.lance.parts``, with the description of the written fragments in place of
the rows.
"""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
from pyarrow import fs

from bindplug.cli.building import as_utf8
from bindplug.errors import InputError
from bindplug.files import lock_file
from bindplug_search.engine.addresses import open_place, whole_file
from bindplug_search.engine.partition import MOST_REMARKS, PartitionReport

OWN_NAMES = re.compile(
    r"_job\.json|_lock|_errors|_notes|_tmp|_begun|part-\d{9,}-[0-9a-f]{12}\.(parquet|json)"
)
PARTITION = re.compile(r"(part-(\d{9,})-[0-9a-f]{12})\.(parquet|json)")
REPORT_KEY = b"bindplug.partition"
"""Where a partition's Parquet file keeps the counts of what came of it."""
ROW_GROUP = 8192
"""Rows of a Parquet row group, and of a batch handed to Lance."""
REPORT_THREADS = 32
"""Partitions whose counts are read at once."""


class Destination:
    """A directory of Parquet files.

    Args:
        output: path or address of the directory.
    """

    suffix = ".parquet"

    def __init__(self, output: str) -> None:
        self.output = output
        self.filesystem, self.path = open_place(self._parts_of(output))
        self._lock: IO[bytes] | None = None

    def _parts_of(self, output: str) -> str:
        """The place of the partitions."""
        return output

    def ensure_own(self) -> None:
        """Raise :class:`InputError` if the place holds anything that no such job wrote; nothing is touched."""
        info = self.filesystem.get_file_info(self.path)
        if info.type == fs.FileType.NotFound:
            return
        foreign = [
            item.base_name for item in self._list(self.path) if not OWN_NAMES.fullmatch(item.base_name)
        ]
        if info.is_file or foreign:
            raise InputError(
                self.output,
                found=f"{foreign[0]!r} in it" if foreign else "a file",
                expected="no such place, an empty directory, or one of an earlier job of this engine",
                remedy="Move it away, or choose another --output",
            )

    def open(self) -> None:
        """Make the directory, and keep other processes of this machine from writing there.

        Raises:
            InputError: another process does, or the place cannot be written.
        """
        try:
            self.filesystem.create_dir(self.path, recursive=True)
            if isinstance(self.filesystem, fs.LocalFileSystem):
                self._lock = (Path(self.path) / "_lock").open("ab")
                if not lock_file(self._lock):
                    self.close()
                    raise InputError(
                        self.output,
                        found="another process writing there",
                        expected="one process for an output",
                    )
            self.clear()
        except OSError as error:
            raise self._not_writable(error) from None

    def close(self) -> None:
        """Let go of the directory."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def read_job(self) -> dict[str, Any] | None:
        """What ``_job.json`` holds; None if there is none.

        Raises:
            InputError: it is damaged.
        """
        path = f"{self.path}/_job.json"
        if not self.filesystem.get_file_info(path).is_file:
            return None
        try:
            job = json.loads(self._read(path))
            if not (isinstance(job, dict) and isinstance(job["identity"], dict) and int(job["step"]) > 0):
                raise ValueError(job)
        except (OSError, ValueError, KeyError, TypeError):
            raise InputError(
                path,
                found="damaged",
                expected="the description of a job",
                remedy="Say --overwrite to begin anew",
            ) from None
        return job

    def write_job(self, job: Mapping[str, Any]) -> None:
        """Keep the description of the job."""
        self._write(f"{self.path}/_job.json", json.dumps(job).encode())

    def finished(self) -> dict[str, int]:
        """Names of the partitions that stand here, and their numbers."""
        matches = (PARTITION.fullmatch(item.base_name) for item in self._list(self.path))
        return {match[1]: int(match[2]) for match in matches if match and f".{match[3]}" == self.suffix}

    @property
    def errors(self) -> str:
        """The place of the table of bad items."""
        head, mark, query = self._parts_of(self.output).partition("?")
        return f"{head.rstrip('/')}/_errors{mark}{query}"

    def is_finished(self, name: str) -> bool:
        """Whether a partition stands here."""
        return bool(self.filesystem.get_file_info(self._file(name)).is_file)

    def drop(self, name: str) -> None:
        """Remove a partition."""
        places = [
            self._file(name),
            *(f"{self.path}/{table}/{name}.parquet" for table in ("_errors", "_notes")),
        ]
        for place in places:
            if self.filesystem.get_file_info(place).is_file:
                self.filesystem.delete_file(place)

    def begin(self, name: str) -> int:
        """Note that a worker has begun a partition; how often it has been begun in this run."""
        try:
            self.filesystem.create_dir(f"{self.path}/_begun", recursive=True)
            attempt = 1
            while self.filesystem.get_file_info(f"{self.path}/_begun/{name}.{attempt}").is_file:
                attempt += 1
            self.filesystem.open_output_stream(f"{self.path}/_begun/{name}.{attempt}").close()
        except OSError as error:
            raise self._not_writable(error) from None
        return attempt

    def write(
        self, name: str, schema: pa.Schema, tables: Iterable[pa.Table], report: PartitionReport
    ) -> None:
        """Keep a partition; it is there, whole, when this returns.

        Args:
            name: of the partition.
            schema: of its rows.
            tables: the rows, made while they are written.
            report: complete once ``tables`` are exhausted.

        Raises:
            InputError: it cannot be written.
        """
        try:
            self._write_rows(name, schema, tables, report)
        except OSError as error:
            raise self._not_writable(error) from None

    def report(self, name: str) -> PartitionReport:
        """The counts of a partition that stands here, and what was skipped and remarked.

        Raises:
            InputError: it is damaged.
        """
        import pyarrow.parquet as pq

        try:
            counts = self._read_counts(name)
            report = PartitionReport(
                int(counts["rows"]), skipped_count=int(counts["skipped"]), notes_count=int(counts["notes"])
            )
            for key, table, word in (("skipped", "_errors", "reason"), ("notes", "_notes", "note")):
                if counts[key]:
                    path = f"{self.path}/{table}/{name}.parquet"
                    rows = pq.read_table(path, filesystem=self.filesystem).slice(0, MOST_REMARKS).to_pylist()
                    items = [
                        {"modality": row["modality"], "source": row["path"], word: row[word]} for row in rows
                    ]
                    setattr(report, key, items)
        except (OSError, ValueError, KeyError) as error:
            raise InputError(
                self._file(name),
                found=f"damaged ({str(error).splitlines()[0]})",
                expected="a finished partition",
                remedy="Remove it and run the same command again",
            ) from None
        return report

    def reports(self, names: Iterable[str]) -> Iterator[PartitionReport]:
        """:meth:`report` for many partitions, in order."""
        with ThreadPoolExecutor(REPORT_THREADS) as threads:
            yield from threads.map(self.report, names)

    def commit(self, schema: pa.Schema, names: Iterable[str]) -> None:
        """Make the rows of all partitions one table, where that takes a step of its own."""

    def _write_rows(
        self, name: str, schema: pa.Schema, tables: Iterable[pa.Table], report: PartitionReport
    ) -> None:
        import pyarrow.parquet as pq

        path = self._file(name)
        with self._whole(path) as file, pq.ParquetWriter(file, schema) as writer:
            for table in regrouped(tables, ROW_GROUP):
                writer.write_table(table)
            self._write_remarks(name, report)
            writer.add_key_value_metadata({REPORT_KEY.decode(): json.dumps(counts_of(report))})

    def _write_remarks(self, name: str, report: PartitionReport) -> None:
        """The tables of bad items and of remarks; they stand before the partition counts as finished."""
        import pyarrow.parquet as pq

        for items, table, word in ((report.skipped, "_errors", "reason"), (report.notes, "_notes", "note")):
            if not items:
                continue
            columns = {
                "path": [as_utf8(item["source"]) for item in items],
                "modality": [item["modality"] for item in items],
                word: [as_utf8(item[word]) for item in items],
            }
            self.filesystem.create_dir(f"{self.path}/{table}", recursive=True)
            with self._whole(f"{self.path}/{table}/{name}.parquet") as file:
                pq.write_table(pa.table(columns), file)

    def _read_counts(self, name: str) -> dict[str, Any]:
        import pyarrow.parquet as pq

        metadata = pq.read_metadata(self._file(name), filesystem=self.filesystem).metadata
        counts: dict[str, Any] = json.loads(metadata[REPORT_KEY])
        return counts

    def clear(self) -> None:
        """Remove what killed workers left."""
        for name in ("_tmp", "_begun"):
            if self.filesystem.get_file_info(f"{self.path}/{name}").type == fs.FileType.Directory:
                self.filesystem.delete_dir(f"{self.path}/{name}")

    def _whole(self, path: str) -> AbstractContextManager[IO[bytes]]:
        return whole_file(self.filesystem, path, f"{self.path}/_tmp")

    def _file(self, name: str) -> str:
        return f"{self.path}/{name}{self.suffix}"

    def _list(self, path: str) -> list[fs.FileInfo]:
        try:
            return list(self.filesystem.get_file_info(fs.FileSelector(path, allow_not_found=True)))
        except NotADirectoryError:
            return []
        except OSError as error:
            raise self._not_writable(error) from None

    def _read(self, path: str) -> bytes:
        with self.filesystem.open_input_stream(path) as file:
            return bytes(file.read())

    def _write(self, path: str, content: bytes) -> None:
        try:
            self.filesystem.create_dir(posixpath.dirname(path), recursive=True)
            with self._whole(path) as file:
                file.write(content)
        except OSError as error:
            raise self._not_writable(error) from None

    def _not_writable(self, error: OSError) -> InputError:
        detail = (error.strerror or str(error)).splitlines()[0]
        return InputError(self.output, found=detail, expected="a place that can be written, with space left")


def counts_of(report: PartitionReport) -> dict[str, int]:
    """What a partition notes of itself."""
    return {"rows": report.rows, "skipped": len(report.skipped), "notes": len(report.notes)}


def regrouped(tables: Iterable[pa.Table], rows: int) -> Iterator[pa.Table]:
    """The same rows in tables of at least ``rows``, but for the last."""
    waiting: list[pa.Table] = []
    for table in tables:
        waiting.append(table)
        if sum(map(len, waiting)) >= rows:
            yield pa.concat_tables(waiting).combine_chunks()
            waiting = []
    if waiting:
        yield pa.concat_tables(waiting).combine_chunks()
