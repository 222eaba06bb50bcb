"""Items from the rows of a table: Parquet and Lance with paths or bytes in a column, and webdataset's tar files."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import pyarrow as pa

from bindplug.cli.building import EmbedJob, Source, file_state
from bindplug.errors import BindplugError, InputError
from bindplug.lazy import require
from bindplug_search.engine.addresses import FileEntry, lance_uri, list_files, local_path, open_place
from bindplug_search.engine.plan import Item, Partition, Plan, digest_of, partition_name

SUFFIXES = {".parquet": "parquet", ".lance": "lance", ".tar": "webdataset"}
READ_ROWS = 256
"""Rows of a table that are read at once."""


@dataclass(frozen=True)
class TableSlice:
    """Consecutive rows of a table.

    Attributes:
        address: path or address of the table.
        kind: ``parquet``, ``lance`` or ``webdataset``.
        modality: what the items are.
        column: that holds paths, sentences or bytes; of webdataset, the suffix of the member, as ``jpg``.
        id_column: that holds names for bytes; None for ``table#row``.
        start: the first row.
        count: number of rows; of webdataset 0, for the whole file.
    """

    address: str
    kind: str
    modality: str
    column: str
    id_column: str | None
    start: int = 0
    count: int = 0

    def describe(self) -> str:
        """The rows, for a person."""
        rows = f", rows {self.start} to {self.start + self.count - 1}" if self.count else ""
        return f"{self.address}{rows}"

    def items(self) -> Iterator[Item]:
        """The items, in order.

        Raises:
            InputError: the table has changed or cannot be read.
        """
        if self.kind == "webdataset":
            return self._members()
        return self._rows()

    def _rows(self) -> Iterator[Item]:
        columns = [self.column] + ([self.id_column] if self.id_column else [])
        batches = (_parquet_batches if self.kind == "parquet" else _lance_batches)(self, columns)
        row = self.start
        for batch in batches:
            values = batch.column(self.column).to_pylist()
            names = batch.column(self.id_column).to_pylist() if self.id_column else [None] * len(values)
            for value, name in zip(values, names, strict=True):
                yield self._item(value, name, row)
                row += 1
        if row != self.start + self.count:
            raise InputError(
                self.address,
                found=f"{row - self.start} of {self.count} rows from row {self.start}",
                expected="a table that stays as it is",
            )

    def _item(self, value: str | bytes | None, name: object, row: int) -> Item:
        place = f"{self.address}#{row}"
        label = place if name is None else str(name)
        if value is None:
            return Item(Source(self.modality, label), failure=f"no value in column {self.column!r}")
        if isinstance(value, str):
            return Item(Source(self.modality, value))
        if self.modality == "text":
            return Item(Source(self.modality, value.decode("utf-8", errors="replace")))
        return Item(Source(self.modality, label), content=value)

    def _members(self) -> Iterator[Item]:
        filesystem, path = open_place(self.address)
        suffix = f".{self.column.lstrip('.')}"
        count = 0
        try:
            with filesystem.open_input_stream(path) as raw, tarfile.open(fileobj=raw, mode="r|") as archive:
                for member in archive:
                    if not member.isfile() or not member.name.lower().endswith(suffix.lower()):
                        continue
                    file = archive.extractfile(member)
                    content = b"" if file is None else file.read()
                    name = f"{self.address}/{member.name}"
                    count += 1
                    if self.modality == "text":
                        yield Item(Source(self.modality, content.decode("utf-8", errors="replace")))
                    else:
                        yield Item(Source(self.modality, name), content=content)
                # tarfile takes the end of a file for the end of the archive, which a block of zeros marks
                if filesystem.get_file_info(path).size < archive.offset + tarfile.BLOCKSIZE:
                    raise tarfile.ReadError("it ends before its end mark")
        except (tarfile.TarError, EOFError) as error:
            raise InputError(
                self.address, found=f"a damaged archive ({error})", expected="a tar file"
            ) from None
        if not count:
            raise InputError(
                self.address,
                found=f"no member that ends in {suffix}",
                expected="members of that kind",
                remedy="Name the suffix with -E column=jpg",
            )


def plan_tables(job: EmbedJob, column: str, id_column: str | None, step: int) -> Plan:
    """The partitions of the tables that a job names, of at most ``step`` rows.

    Raises:
        InputError: a file that is no table of a known kind, or has no such column.
    """
    partitions: list[Partition] = []
    identity: list[object] = [[column, id_column]]
    modalities: dict[str, None] = {}
    count = 0
    for source in job.sources.items:
        if not source.modality:
            raise InputError(
                source.value,
                found="a table of items of no stated modality",
                expected="one",
                remedy="Say what the column holds: --modality image|video|text|audio|depth|thermal|imu",
            )
        modalities[source.modality] = None
        for entry in _list_tables(source.value, job):
            kind = kind_of(entry.name)
            rows = _count_rows(entry.name, kind, column, id_column)
            state = list(entry.state) or _state_of(entry.name, kind)
            identity.append([source.modality, entry.name, rows])
            count += rows
            for start in range(0, rows, step) if kind != "webdataset" else (0,):
                size = min(step, rows - start) if kind != "webdataset" else 0
                part = TableSlice(entry.name, kind, source.modality, column, id_column, start, size)
                content = [source.modality, entry.name, column, id_column, start, size]
                partitions.append(Partition(partition_name(len(partitions), content, state), table=part))
    return Plan(partitions, count, digest_of(identity), list(modalities))


def kind_of(name: str) -> str:
    """The kind of table that a name's suffix tells.

    Raises:
        InputError: none that is known.
    """
    suffix = PurePosixPath(name.partition("?")[0].rstrip("/")).suffix.lower()
    if suffix not in SUFFIXES:
        raise InputError(
            name,
            found=f"the suffix {suffix!r}",
            expected="a table that ends in .parquet, .lance or .tar, as -E column is given",
        )
    return SUFFIXES[suffix]


def _list_tables(value: str, job: EmbedJob) -> list[FileEntry]:
    if PurePosixPath(value.partition("?")[0].rstrip("/")).suffix.lower() == ".lance":
        return [FileEntry(value)]
    include = job.include or ("*.parquet", "*.tar")
    return list_files(value, recursive=job.recursive, include=include)


def _count_rows(name: str, kind: str, column: str, id_column: str | None) -> int:
    """Rows of a table, after checking its columns; 0 for webdataset, whose members are not counted."""
    if kind == "webdataset":
        return 0
    try:
        if kind == "lance":
            dataset = _lance_dataset(name)
            schema, rows = dataset.schema, int(dataset.count_rows())
        else:
            import pyarrow.parquet as pq

            filesystem, path = open_place(name)
            metadata = pq.read_metadata(path, filesystem=filesystem)
            schema, rows = metadata.schema.to_arrow_schema(), int(metadata.num_rows)
    except BindplugError:
        raise
    except (OSError, ValueError) as error:
        detail = str(error).splitlines()[0]
        raise InputError(name, found=f"not readable ({detail})", expected=f"a {kind} table") from None
    _check_columns(name, schema, column, id_column)
    return rows


def _check_columns(name: str, schema: pa.Schema, column: str, id_column: str | None) -> None:
    for wanted in (column, id_column):
        if wanted is not None and wanted not in schema.names:
            raise InputError(
                name,
                found=f"the columns {', '.join(schema.names)}",
                expected=f"a column {wanted!r}",
                remedy="Name one with -E column=NAME",
            )
    kind = schema.field(column).type
    readable = (pa.types.is_string, pa.types.is_large_string, pa.types.is_binary, pa.types.is_large_binary)
    if not any(check(kind) for check in readable):
        raise InputError(
            f"{name}: {column}", found=f"a column of {kind}", expected="paths or sentences (string) or bytes"
        )


def _state_of(name: str, kind: str) -> list[int]:
    if kind == "lance":
        return [int(_lance_dataset(name).version)]
    path = local_path(name)
    return [] if path is None else file_state(Source("image", path))


def _lance_dataset(name: str) -> Any:
    lance = require("lance", owner="the ray engine, for Lance tables,", extra="ray")
    return lance.dataset(lance_uri(name))


def _lance_batches(part: TableSlice, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    scanner = _lance_dataset(part.address).scanner(
        columns=list(columns), offset=part.start, limit=part.count, batch_size=READ_ROWS, scan_in_order=True
    )
    yield from scanner.to_batches()


def _parquet_batches(part: TableSlice, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    import pyarrow.parquet as pq

    filesystem, path = open_place(part.address)
    with filesystem.open_input_file(path) as file:
        table = pq.ParquetFile(file)
        groups: list[int] = []
        first = end = 0
        for group in range(table.num_row_groups):
            rows = table.metadata.row_group(group).num_rows
            if end + rows > part.start and end < part.start + part.count:
                first = end if not groups else first
                groups.append(group)
            end += rows
        skip, left = part.start - first, part.count
        for batch in table.iter_batches(READ_ROWS, row_groups=groups, columns=list(columns)):
            cut = min(skip, len(batch))
            skip -= cut
            batch = batch.slice(cut, min(left, len(batch) - cut))
            left -= len(batch)
            if len(batch):
                yield batch
            if not left:
                return
