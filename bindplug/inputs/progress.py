"""A progress bar on stderr that stays silent for quick work."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable, Iterator, Sized
from typing import TextIO, TypeVar

T = TypeVar("T")

SHOW_AFTER_S = 2.0
"""Work shorter than this prints nothing."""
REDRAW_TERMINAL_S = 0.2
REDRAW_LOG_S = 10.0
BAR_WIDTH = 24


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
    """Yield ``items`` unchanged, drawing a bar on stderr once the work has taken over two seconds.

    Args:
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
    live = bool(getattr(out, "isatty", lambda: False)())
    start = drawn = time.monotonic()
    shown, done = False, 0
    try:
        for item in items:
            yield item
            done += 1
            now = time.monotonic()
            pause = 0.0 if not shown else REDRAW_TERMINAL_S if live else REDRAW_LOG_S
            if now - start >= show_after_s and now - drawn >= pause:
                out.write(
                    ("\r" if live else "") + _line(label, done, total, now - start) + ("" if live else "\n")
                )
                out.flush()
                shown, drawn = True, now
    finally:
        if shown:
            out.write(("\r" if live else "") + _line(label, done, total, time.monotonic() - start) + "\n")
            out.flush()


def _line(label: str, done: int, total: int | None, elapsed_s: float) -> str:
    head = f"{label} " if label else ""
    if not total:
        return f"{head}{done} done, {elapsed_s:.0f} s"
    filled = min(BAR_WIDTH, BAR_WIDTH * done // total)
    left_s = elapsed_s / max(done, 1) * max(total - done, 0)
    bar = "#" * filled + "." * (BAR_WIDTH - filled)
    return f"{head}[{bar}] {done}/{total}, {elapsed_s:.0f} s, {left_s:.0f} s left"
