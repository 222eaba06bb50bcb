"""Sources that stay open between reads, for the windows of one recording."""

from __future__ import annotations

import atexit
import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Generic, TypeVar

T = TypeVar("T")

OPEN_AT_ONCE = 4


class SharedSources(Generic[T]):
    """Opens a path once for many reads, also of several threads, which then take turns.

    A file that changed is opened anew. The least recently used is closed when more than a few are open. Sources
    other than paths are opened for each read.

    Args:
        opener: what opens a source.
        at_once: how many stay open.
    """

    def __init__(
        self, opener: Callable[[object], AbstractContextManager[T]], *, at_once: int = OPEN_AT_ONCE
    ) -> None:
        self.opener, self.at_once = opener, at_once
        self._lock = threading.Lock()
        self._entries: OrderedDict[tuple[object, ...], _Entry[T]] = OrderedDict()
        atexit.register(self.close)  # before the modules that close the files are gone

    @contextmanager
    def __call__(self, source: object) -> Iterator[T]:
        """The open source, for this thread alone until the block ends."""
        key = _identity(source)
        if key is None:
            with self.opener(source) as value:
                yield value
            return
        entry, evicted = self._entry(key)
        for other in evicted:
            other.close()
        with entry.lock:
            if not entry.values:
                entry.values.append(entry.stack.enter_context(self.opener(source)))
            yield entry.values[0]

    def close(self) -> None:
        """Close what is open."""
        with self._lock:
            entries = list(self._entries.values())
            self._entries.clear()
        for entry in entries:
            entry.close()

    def _entry(self, key: tuple[object, ...]) -> tuple[_Entry[T], list[_Entry[T]]]:
        with self._lock:
            entry = self._entries.setdefault(key, _Entry())
            self._entries.move_to_end(key)
            evicted = [self._entries.popitem(last=False)[1] for _ in range(len(self._entries) - self.at_once)]
            return entry, evicted


class Recent(Generic[T]):
    """Keeps results computed from the last few paths, until a file changes.

    Args:
        at_once: how many results are kept.
    """

    def __init__(self, *, at_once: int = OPEN_AT_ONCE) -> None:
        self.at_once = at_once
        self._lock = threading.Lock()
        self._entries: OrderedDict[tuple[object, ...], _Entry[T]] = OrderedDict()

    def get(self, source: object, key: object, make: Callable[[], T]) -> T:
        """The result of ``make`` for ``source`` and ``key``; computed each time if ``source`` is not a path."""
        identity = _identity(source)
        if identity is None:
            return make()
        with self._lock:
            entry = self._entries.setdefault((*identity, key), _Entry())
            self._entries.move_to_end((*identity, key))
            while len(self._entries) > self.at_once:
                self._entries.popitem(last=False)
        with entry.lock:
            if not entry.values:
                entry.values.append(make())
            return entry.values[0]


class _Entry(Generic[T]):
    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.stack = ExitStack()
        self.values: list[T] = []

    def close(self) -> None:
        """Close the source, unless a thread is reading it, which may never end: then it goes with that thread."""
        if self.lock.acquire(blocking=False):
            try:
                self.stack.close()
                self.values.clear()
            finally:
                self.lock.release()


def _identity(source: object) -> tuple[object, ...] | None:
    if isinstance(source, Mapping) and all(
        isinstance(value, (str, os.PathLike)) for value in source.values()
    ):
        parts = [(key, _identity(value)) for key, value in source.items()]
        return None if any(part is None for _, part in parts) else tuple(parts)
    if not isinstance(source, (str, os.PathLike)):
        return None
    path = Path(source)
    try:
        state = path.stat()
    except (OSError, ValueError):
        return None
    return (str(path.absolute()), state.st_size, state.st_mtime_ns)
