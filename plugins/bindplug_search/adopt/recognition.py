"""Whether a file was adopted; imports nothing, so that plugins can be listed without its packages."""

from __future__ import annotations

from pathlib import Path

MANIFEST_FILE = "adopted.json"
"""Name of the manifest inside of a record."""

SUFFIX = ".bindplug"
"""Appended to the name of a file for the directory beside it."""


def record_place(path: str | Path) -> Path:
    """The directory of the record of a file of rows, or the path itself if it is one."""
    path = Path(path)
    return path if (path / MANIFEST_FILE).is_file() else path.with_name(path.name + SUFFIX)


def is_adopted(path: str | Path) -> bool:
    """Whether a record stands beside the file, or is what the path names."""
    return bool(Path(path).name) and (record_place(path) / MANIFEST_FILE).is_file()
