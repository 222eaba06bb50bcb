"""Exit codes, and lines on stderr for the person at the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from bindplug.errors import printable

OK, FAILED, USAGE, SKIPPED, INTERRUPTED = 0, 1, 2, 3, 130
"""Exit codes: done, an error, wrong usage, done with inputs skipped, stopped by the user."""


def say(line: str) -> None:
    """Print ``bindplug: line`` on stderr, on one line.

    What a file name or an error text may hold besides is escaped: control characters, which could command the
    terminal, and bytes that are not UTF-8.
    """
    click.echo(f"bindplug: {printable(' '.join(line.split()))}", err=True)


MOST_NOTES = 50
"""Files whose notes are printed; the output and ``--json`` have those of all."""


def report_notes(notes: Sequence[dict[str, Any]]) -> None:
    """Print what readers remarked on sources on stderr, one line a source.

    Args:
        notes: for each remark its ``"source"`` and ``"note"``; repeats (of windows of one file) count once.
    """
    by_source: dict[str, dict[str, None]] = {}
    for item in notes:
        by_source.setdefault(item["source"], {})[item["note"]] = None
    for source, texts in list(by_source.items())[:MOST_NOTES]:
        say(f"note on {source}: {'; '.join(texts)}")
    more = len(by_source) - MOST_NOTES
    if more > 0:
        say(f"notes on {more} more files are in the output's metadata and in --json")


def report_skipped(skipped: Sequence[dict[str, Any]]) -> int:
    """Name the skipped inputs on stderr.

    Args:
        skipped: for each input its ``"source"`` and ``"reason"``.

    Returns:
        The exit code: 3 if there are any, else 0.
    """
    for item in skipped:
        reason = item["reason"].removeprefix(f"{item['source']}: ")
        say(f"skipped {item['source']}: {reason}")
    return SKIPPED if skipped else OK
