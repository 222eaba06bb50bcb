"""What adding and updating did."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

SAVE_EVERY = 256
"""Rows between two commits; an interrupted run loses at most the work on these."""


@dataclass
class AddReport:
    """What adding or updating did.

    Attributes:
        added, changed, unchanged: files that are new, that were read anew, and that were left alone.
        removed: files whose rows were deleted because they are no longer there.
        rows: rows written.
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
    skipped: list[dict[str, str]] = field(default_factory=list)
    notes: list[dict[str, str]] = field(default_factory=list)
    absent: list[str] = field(default_factory=list)
    unmatched: list[str] = field(default_factory=list)
    unjoined: list[str] = field(default_factory=list)


def absolute(path: str | os.PathLike[str]) -> str:
    """A path as the index keeps it."""
    return os.path.abspath(os.path.expanduser(path))  # noqa: PTH100, PTH111 (keeps symbolic links)
