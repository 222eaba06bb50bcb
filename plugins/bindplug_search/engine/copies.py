"""Items made readable for the readers of this machine: remote files and bytes as temporary copies."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any, cast

from bindplug.cli.building import Source
from bindplug.errors import InputError
from bindplug_search.engine.addresses import copy_file, local_path
from bindplug_search.engine.plan import Item

FETCH_THREADS = 16
"""Files fetched from a store at once."""


@dataclass
class Copies:
    """Some items, each as a source that can be read here.

    Attributes:
        sources: what to read, in order; items that could not be had are left out.
        failures: those: ``(source, reason)``.
    """

    sources: list[Source] = field(default_factory=list)
    failures: list[tuple[Source, str]] = field(default_factory=list)
    _names: dict[str, str] = field(default_factory=dict)
    _directory: tempfile.TemporaryDirectory[str] | None = None

    def by_name(self, source: Source) -> Source:
        """The source as the output names it."""
        return replace(source, value=self._names.get(source.value, source.value))

    def renamed(self, text: str) -> str:
        """A text in which paths of copies are the names of what they are copies of."""
        if not self._names:
            return text
        for copy, name in self._names.items():
            if copy in text:
                text = text.replace(copy, name)
        return text

    def close(self) -> None:
        """Remove the copies."""
        if self._directory is not None:
            self._directory.cleanup()
            self._directory = None

    def add(self, item: Item, number: int, cwd: str) -> Callable[[], None] | None:
        """Take in an item; what fetches its files, where something is to be fetched."""
        source = item.source
        if item.failure:
            self.failures.append((source, item.failure))
            return None
        if source.is_text:
            self.sources.append(source)
            return None
        if item.content is not None:
            suffix = PurePosixPath(source.value).suffix
            path = (
                Path(self._place()) / f"{number:06d}{suffix if suffix.isascii() and len(suffix) < 12 else ''}"
            )
            path.write_bytes(item.content)
            self._take(source, str(path))
            return None
        files = source.files or {"": source.value}
        if all(local_path(path) is not None for path in files.values()):
            self._take(source, _joined({key: _absolute(path, cwd) for key, path in files.items()}))
            return None
        directory, place = self._place(), len(self.sources)
        self.sources.append(source)

        def fetch() -> None:
            copies = {
                key: copy_file(path, directory, number * 4 + index)
                if local_path(path) is None
                else _absolute(path, cwd)
                for index, (key, path) in enumerate(files.items())
            }
            self._take(source, _joined(copies), place)

        return fetch

    def _take(self, source: Source, value: str, place: int | None = None) -> None:
        if value != source.value:
            self._names[value] = source.value
        if place is None:
            self.sources.append(replace(source, value=value))
        else:
            self.sources[place] = replace(source, value=value)

    def _place(self) -> str:
        if self._directory is None:
            self._directory = tempfile.TemporaryDirectory(prefix="bindplug-")
        return self._directory.name


def copies_of(items: Iterable[Item], size: int, cwd: str) -> Iterator[Copies]:
    """Items in groups of ``size``, each group fetched while the one before is worked on.

    Args:
        items: in order.
        size: of a group.
        cwd: the directory that relative paths start from.
    """
    iterator = iter(items)
    with ThreadPoolExecutor(FETCH_THREADS, thread_name_prefix="bindplug-fetch") as threads:
        ahead: tuple[Copies, dict[int, Future[None]]] | None = None
        try:
            while True:
                group = list(islice(iterator, size))
                following = _start(group, threads, cwd) if group else None
                if ahead is not None:
                    yield _finished(*ahead)
                ahead = following
                if ahead is None:
                    return
        finally:
            if ahead is not None:
                for future in ahead[1].values():
                    future.cancel()
                threads.shutdown(wait=True, cancel_futures=True)
                ahead[0].close()


def _start(
    group: list[Item], threads: ThreadPoolExecutor, cwd: str
) -> tuple[Copies, dict[int, Future[None]]]:
    copies, futures = Copies(), {}
    for number, item in enumerate(group):
        fetch = copies.add(item, number, cwd)
        if fetch is not None:
            futures[len(copies.sources) - 1] = threads.submit(fetch)
    return copies, futures


def _finished(copies: Copies, futures: dict[int, Future[None]]) -> Copies:
    failed: set[int] = set()
    for place, future in futures.items():
        try:
            future.result()
        except InputError as error:
            failed.add(place)
            copies.failures.append((copies.sources[place], str(error)))
    copies.sources = [source for place, source in enumerate(copies.sources) if place not in failed]
    return copies


def _absolute(value: str, cwd: str) -> str:
    path = cast(str, local_path(value))
    return (
        path
        if path == value and (Path(path).is_absolute() or cwd == str(Path.cwd()))
        else str(Path(cwd) / path)
    )


def _joined(files: dict[str, Any]) -> str:
    """``accelerometer=a.csv,gyroscope=g.csv``, or the one path."""
    return ",".join(f"{key}={path}" if key else path for key, path in files.items())
