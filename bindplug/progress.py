"""Progress bars on stderr that stay silent for quick work."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable, Iterator, Sized
from typing import TextIO, TypeVar

__all__ = [
    "is_quiet",
    "iterate_with_progress",
]

T = TypeVar("T")

SHOW_AFTER_S = 2.0
"""Work shorter than this prints nothing."""
REDRAW_S = 0.2
"""A terminal's line is redrawn this often."""
LOG_EVERY_S = 10.0
"""Files and pipes get a line this often."""


def is_quiet(quiet: bool | None = None) -> bool:
    """Whether progress is to be withheld: ``quiet`` if given, else the variable ``BINDPLUG_QUIET``."""
    if quiet is not None:
        return quiet
    return os.environ.get("BINDPLUG_QUIET", "").lower() not in ("", "0", "false", "no")


def iterate_with_progress(
    items: Iterable[T],
    *,
    label: str = "",
    total: int | None = None,
    quiet: bool | None = None,
    stream: TextIO | None = None,
    show_after_s: float = SHOW_AFTER_S,
) -> Iterator[T]:
    """Yield ``items`` unchanged, drawing tqdm's bar on stderr once the work has taken over two seconds.

    A terminal gets one line that is redrawn. Other streams, such as log files, get a new line every ten seconds.

    Args:
        items: what to go through.
        label: what is being done, before the bar.
        total: number of items; read from ``items`` where it has a length.
        quiet: ``True`` draws nothing, ``False`` draws whatever the environment says, ``None`` asks
            the environment variable ``BINDPLUG_QUIET``.
        stream: where to draw instead of stderr.
        show_after_s: seconds before the bar first appears.
    """
    if is_quiet(quiet):
        yield from items
        return
    if total is None and isinstance(items, Sized):
        total = len(items)
    out = sys.stderr if stream is None else stream
    if getattr(out, "isatty", lambda: False)():
        yield from _bar(items, label, total, out, show_after_s)
    else:
        yield from _lines(items, label, total, out, show_after_s)


def _bar(items: Iterable[T], label: str, total: int | None, out: TextIO, show_after_s: float) -> Iterator[T]:
    from tqdm import tqdm

    class Bar(tqdm):  # type: ignore[misc]
        monitor_interval = 0  # no thread beside the work

    yield from Bar(
        items,
        desc=label or None,
        total=total,
        file=out,
        delay=show_after_s,
        mininterval=REDRAW_S,
        dynamic_ncols=True,
    )


def _lines(
    items: Iterable[T], label: str, total: int | None, out: TextIO, show_after_s: float
) -> Iterator[T]:
    from tqdm import tqdm

    def write(done: int) -> None:
        elapsed_s = time.monotonic() - start
        out.write(tqdm.format_meter(done, total, elapsed_s, prefix=label, ascii=True) + "\n")
        out.flush()

    start, due_s, done, written = time.monotonic(), show_after_s, 0, -1
    try:
        for item in items:
            yield item
            done += 1
            if time.monotonic() - start >= due_s:
                write(done)
                written, due_s = done, time.monotonic() - start + LOG_EVERY_S
    finally:
        if 0 <= written < done:
            write(done)
