"""Tables for people: rich consoles and cells colored by value."""

from __future__ import annotations

import json
import os
import re
from typing import IO, Any, cast

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

COLD, MIDDLE, HOT = (32, 58, 110), (44, 120, 115), (214, 96, 28)
"""Ends and middle of the cells' color scale; white text stays readable on all of them."""


BLANKS_AT_END = re.compile(r"[ \t]+(?=\n)")
UNLIMITED = 100_000
"""Columns of a pipe or a file, where nothing has to be folded."""


def console() -> Console:
    """A console on the current stdout; colors, and lines folded to its width, only where it is a terminal.

    Elsewhere lines end with their last character: rich fills them up to the width.
    """
    out = _Console(soft_wrap=False, highlight=False)
    if out.is_terminal:
        return out
    out.file = cast("IO[str]", _TrimmedLines(out.file))
    if "COLUMNS" not in os.environ:
        out.width = UNLIMITED
    return out


class _Console(Console):
    """A console whose reader may leave early, as ``head`` does: rich would exit with 1."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError  # `bindplug.cli.app.run` ends the command


class _TrimmedLines:
    """A text stream that leaves out the blanks at the ends of lines."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        return self._stream.write(BLANKS_AT_END.sub("", text))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def print_json(value: Any) -> None:
    """Print a value as indented JSON; names of files that are not UTF-8 as escaped surrogates."""
    text = json.dumps(value, indent=2, ensure_ascii=False)
    if not text.isascii():
        try:
            text.encode("utf-8")
        except UnicodeEncodeError:
            text = json.dumps(value, indent=2)
    click.echo(text)


def heat(
    value: float, low: float, high: float, *, percent: bool = False, dim: bool = False, places: int = 3
) -> Text:
    """A cell with a number, on a background from cold at ``low`` to hot at ``high``."""
    number = f"{value * 100:5.1f} %" if percent else f"{value:+.{places}f}"
    if dim:
        return Text(number, style="dim", justify="right")
    share = 0.0 if high <= low else min(1.0, max(0.0, (value - low) / (high - low)))
    first, second, mix = (COLD, MIDDLE, share * 2) if share < 0.5 else (MIDDLE, HOT, share * 2 - 1)
    red, green, blue = (round(a + (b - a) * mix) for a, b in zip(first, second, strict=True))
    return Text(f" {number} ", style=f"bold white on rgb({red},{green},{blue})", justify="right")


def heat_table(
    title: str,
    rows: list[str],
    columns: list[str],
    values: list[list[float]],
    *,
    percent: bool = False,
    same: bool = False,
    places: int = 3,
    width: int = UNLIMITED,
) -> list[Table]:
    """Tables of numbers with colored cells: one, or as many as it takes for the columns to fit side by side.

    Args:
        title: what the numbers are.
        rows, columns: names along both axes.
        values: (rows, columns).
        percent: the values are probabilities, shown in per cent on a scale from 0 to 1.
        same: rows and columns are the same things, so that the diagonal tells nothing.
        places: decimals of a cosine.
        width: columns of the screen.
    """
    off_diagonal = [v for i, row in enumerate(values) for j, v in enumerate(row) if not (same and i == j)]
    low, high = (0.0, 1.0) if percent or not off_diagonal else (min(off_diagonal), max(off_diagonal))
    head = min(24, max(map(len, rows))) + 1
    fitting = max(1, (width - head) // (places + 5))
    tables = []
    for start in range(0, len(columns), fitting):
        table = _empty_table(title if not start else "")
        table.add_column("", overflow="fold", min_width=head - 1)
        for name in columns[start : start + fitting]:
            table.add_column(Text(f" {name} "), justify="right", overflow="fold", min_width=places + 5)
        for i, (name, row) in enumerate(zip(rows, values, strict=True)):
            cells = [
                heat(v, low, high, percent=percent, dim=same and i == j, places=places)
                for j, v in enumerate(row)
                if start <= j < start + fitting
            ]
            table.add_row(Text(f"{name} "), *cells)
        tables.append(table)
    return tables


def _empty_table(title: str) -> Table:
    return Table(
        title=title,
        title_justify="left",
        title_style="bold",
        header_style="dim",
        box=None,
        padding=0,
    )
