"""What reports are written with: files that appear whole, and rows of Markdown tables."""

from __future__ import annotations

from collections.abc import Iterable

from bindplug.files import write_whole

__all__ = ["markdown_cell", "markdown_row", "write_whole"]


def markdown_row(cells: Iterable[str]) -> str:
    """A row of a Markdown table."""
    return f"| {' | '.join(map(markdown_cell, cells))} |"


def markdown_cell(value: str) -> str:
    """A text on one line, its bars escaped."""
    return " ".join(value.replace("|", "\\|").split())
