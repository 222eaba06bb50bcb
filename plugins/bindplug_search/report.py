"""What adding, updating and removing did."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bindplug.modality import Modality

SAVE_EVERY = 256
"""Rows between two commits; an interrupted run loses at most the work on these."""


@dataclass
class AddReport:
    """What adding or updating did.

    Attributes:
        added, changed, unchanged: files that are new, that were read anew, and that were left alone.
        removed: files whose rows were deleted because they are no longer there.
        rows: rows written.
        metadata_changed: files that are otherwise unchanged and got other metadata.
        skipped: for each file left out ``{"source", "modality", "reason"}``.
        notes: what readers remarked on files: ``{"source", "modality", "note"}``.
        unmatched: patterns that no file matches.
        unjoined: paths of a metadata file that are none of the files.
        absent: files that are not there and whose rows were kept, since their folder is missing or empty.
    """

    added: int = 0
    changed: int = 0
    unchanged: int = 0
    removed: int = 0
    rows: int = 0
    metadata_changed: int = 0
    skipped: list[dict[str, str]] = field(default_factory=list)
    notes: list[dict[str, str]] = field(default_factory=list)
    absent: list[str] = field(default_factory=list)
    unmatched: list[str] = field(default_factory=list)
    unjoined: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class RemoveReport:
    """What removing did, or would do.

    Attributes:
        removed: for each file that went ``{"path", "kind", "rows"}``; of a sentence, ``path`` is the sentence.
        rows: rows that went.
        absent: files that are not there and whose rows were kept, since their folder is missing or empty.
        folders: that are forgotten: updates no longer look there.
        left_out: how many of the removed files are still in a remembered folder; updates leave them out until they
            are added again.
        dry_run: whether nothing was changed.
    """

    removed: list[dict[str, Any]]
    rows: int
    absent: list[str] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)
    left_out: int = 0
    dry_run: bool = False


def absolute(path: str | os.PathLike[str]) -> str:
    """A path as the index keeps it."""
    return os.path.abspath(os.path.expanduser(path))  # noqa: PTH100, PTH111 (keeps symbolic links)


def file_label(path: str, kind: str) -> str:
    """A file by its path from here where it lies below, a sentence in quotes; control characters as escapes."""
    if kind == Modality.TEXT.value:
        name = f"“{path}”"
    else:
        place = Path(path)
        name = str(place.relative_to(Path.cwd())) if place.is_relative_to(Path.cwd()) else path
    printable = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in name)
    return printable.encode("utf-8", errors="backslashreplace").decode("utf-8")
