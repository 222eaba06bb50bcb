"""Files that tell why a data set is incomplete: packed archives, and downloads that were not finished."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

__all__ = ["explain_missing", "is_lfs_pointer"]

ARCHIVES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".zip", ".7z", ".rar", ".001", ".z01")
TABLES = (".parquet", ".arrow")
UNFINISHED = (".part", ".crdownload", ".aria2", ".ytdl", ".download", ".incomplete", ".!qb", ".tmp")

MOST_FILES = 20_000
"""Files that are looked at, so that a message about a large data set does not take minutes."""

POINTER = b"version https://git-lfs.github.com/spec/"
LARGEST_POINTER_BYTES = 1024


def is_lfs_pointer(path: Path) -> bool:
    """Whether a file is what Git LFS has in place of a file that was not fetched."""
    try:
        if path.stat().st_size > LARGEST_POINTER_BYTES:
            return False
        with path.open("rb") as file:
            return file.read(len(POINTER)) == POINTER
    except OSError:
        return False


def explain_missing(root: Path) -> str:
    """A sentence for each kind of file below a folder that tells why others are missing; empty if there is none."""
    kinds: dict[str, list[str]] = {}
    for path in islice(_files(root), MOST_FILES):
        name = path.name.casefold()
        if name.endswith(UNFINISHED):
            kinds.setdefault("unfinished", []).append(path.name)
        elif name.endswith(ARCHIVES):
            kinds.setdefault("packed", []).append(path.name)
        elif name.endswith(TABLES):
            kinds.setdefault("tables", []).append(path.name)
        elif is_lfs_pointer(path):
            kinds.setdefault("pointers", []).append(path.name)
    sentences = {
        "packed": "Unpack {}.",
        "unfinished": "Finish the download of {}.",
        "pointers": "Fetch {} with git lfs pull: only pointers of Git LFS are here.",
        "tables": "{} cannot be read here: write its items to files as the data set is distributed.",
    }
    return " ".join(
        sentence.format(_first(kinds[kind])) for kind, sentence in sentences.items() if kind in kinds
    )


def _first(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"


def _files(root: Path) -> Iterator[Path]:
    for directory, folders, files in os.walk(root):
        folders.sort()
        for name in sorted(files):
            yield Path(directory, name)
