"""Partitions of a job: what is embedded together, and under which name it is kept.

A partition's name holds its number and a digest of its items and of the state of their files, so that a list of the
names that exist tells what is done.
"""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from bindplug.cli.building import EmbedJob, Source, file_state
from bindplug.errors import InputError
from bindplug_search.engine.addresses import is_address, list_files, local_path
from bindplug_search.engine.file_kinds import described, kind_of_name

PARTITION_ITEMS = 4096
"""Items in a partition: rows of 1,024 numbers make a file of 16 MB."""

WINDOWED_ITEMS = 64
"""Recordings in a partition where windows make many rows of each."""


@dataclass(frozen=True)
class Item:
    """A source by name, and its content where that comes from a table.

    Attributes:
        source: as the output names it.
        content: bytes of the file; None where ``source`` is to be read.
        failure: why there is nothing to embed; empty where there is.
    """

    source: Source
    content: bytes | None = None
    failure: str = ""


class Rows(Protocol):
    """Rows of a table that hold items."""

    def describe(self) -> str:
        """The rows, for a person."""

    def items(self) -> Iterator[Item]:
        """The items, in order."""


@dataclass(frozen=True)
class Partition:
    """Items that are embedded and kept together.

    Attributes:
        name: unique in the job; sorts by number.
        items: what to embed, or
        table: the rows of a table that hold it.
    """

    name: str
    items: tuple[Source, ...] = ()
    table: Rows | None = None

    def describe(self) -> str:
        """The first and the last item, for a person."""
        if self.table is not None:
            return self.table.describe()
        first, last = self.items[0].value, self.items[-1].value
        return first if len(self.items) == 1 else f"{first} ... {last}"


@dataclass
class Plan:
    """All partitions of a job.

    Attributes:
        partitions: in the order of the items.
        count: items in all.
        digest: SHA-256 of what they are, whatever the state of their files and the size of partitions.
        modalities: that occur.
        with_bytes: whether some names are not UTF-8.
    """

    partitions: list[Partition]
    count: int
    digest: str
    modalities: list[str]
    with_bytes: bool = False


def plan_items(items: Sequence[Source], states: Sequence[Sequence[int]], step: int) -> list[Partition]:
    """Partitions of ``step`` items each.

    Args:
        items: all sources, in order.
        states: for each one what tells whether its file has changed.
        step: items in a partition.
    """
    partitions = []
    for number, start in enumerate(range(0, len(items), step)):
        chunk = tuple(items[start : start + step])
        chunk_states = [list(state) for state in states[start : start + step]]
        name = partition_name(number, [[s.modality, s.value] for s in chunk], chunk_states)
        partitions.append(Partition(name, chunk))
    return partitions


def partition_name(number: int, *content: object) -> str:
    """``part-000000012-`` and 12 hex digits of the digest of the content."""
    return f"part-{number:09d}-{hashlib.sha256(json.dumps(content).encode()).hexdigest()[:12]}"


def digest_of(values: Iterable[object]) -> str:
    """SHA-256 of a sequence of JSON values, taken one by one."""
    digest = hashlib.sha256()
    for value in values:
        digest.update(json.dumps(value).encode() + b"\n")
    return digest.hexdigest()


def list_items(job: EmbedJob) -> tuple[list[Source], list[tuple[int, ...]]]:
    """The sources that a job names, directories and prefixes expanded, and the state of their files.

    Raises:
        InputError: a directory, pattern or prefix stands for no file; a file is not there, unless bad ones are to be
            skipped; or the names of files of no stated modality do not tell it.
    """
    items: list[Source] = []
    states: list[tuple[int, ...]] = []
    by_name: list[str] = []
    for source in job.sources.items:
        if source.is_text or source.files:
            items.append(source)
            states.append(tuple(file_state(source)))
            continue
        for entry in list_files(source.value, recursive=job.recursive, include=job.include):
            states.append(entry.state or _local_state(replace(source, value=entry.name)))
            kind = source.modality
            if not kind and (states[-1] or is_address(entry.name)):
                kind = kind_of_name(entry.name)
                by_name.append(entry.name)
            items.append(replace(source, modality=kind, value=entry.name))
    _ensure_known(items, states)
    if job.on_error != "skip":
        ensure_present(items)
    if by_name and not job.quiet:
        warnings.warn(
            f"taken by their names for {described(by_name)}; say --modality to read them otherwise",
            stacklevel=2,
        )
    return items, states


def _ensure_known(items: Sequence[Source], states: Sequence[Sequence[int]]) -> None:
    """Raise :class:`InputError` for the first file that is not there and has no modality either."""
    for source, state in zip(items, states, strict=True):
        if not source.modality and not state:
            raise InputError(source.value, found="no such file or directory", expected="files that exist")


def ensure_present(items: Sequence[Source]) -> None:
    """Raise :class:`InputError` for the first file of this machine that does not exist."""
    for source in items:
        if source.is_text or source.files or is_address(source.value):
            continue
        if not file_state(source):
            raise InputError(
                source.value,
                found="no such file",
                expected="files that exist",
                remedy="Or say --on-error skip: it is then listed in the table of errors",
            )


def _local_state(source: Source) -> tuple[int, ...]:
    path = local_path(source.value)
    return () if path is None else tuple(file_state(replace(source, value=path)))
