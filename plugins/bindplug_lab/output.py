"""What reports are written with: files that appear whole, and rows of Markdown tables."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

__all__ = ["markdown_cell", "markdown_row", "write_whole"]


def write_whole(path: Path, content: bytes) -> None:
    """Write a file that appears whole or not at all; its folder is made if it is missing.

    Raises:
        OSError: it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def markdown_row(cells: Iterable[str]) -> str:
    """A row of a Markdown table."""
    return f"| {' | '.join(map(markdown_cell, cells))} |"


def markdown_cell(value: str) -> str:
    """A text on one line, its bars escaped."""
    return " ".join(value.replace("|", "\\|").split())
