"""Captions and what they describe, as pairs to be retrieved."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bindplug.errors import InputError
from bindplug.query import Query, text
from bindplug_lab.datasets.folder import DataFolder
from bindplug_lab.tasks.items import PairedItems, Queries

__all__ = ["Candidate", "captioned_items"]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A sound or video that captions describe.

    Attributes:
        id: its name, once in the data set.
        path: its file; None if it is not there.
        captions: its captions, at least one.
    """

    id: str
    path: Path | None
    captions: tuple[str, ...]


def captioned_items(
    folder: DataFolder,
    candidates: Sequence[Candidate],
    make: Callable[[Candidate], Query],
    what: str,
    right_name: str,
) -> PairedItems:
    """Captions on the left, the candidates whose files are there on the right.

    Args:
        folder: the data set.
        candidates: what its annotations list.
        make: the query of a candidate.
        what: what the files are, as ``"sounds"``.
        right_name: what candidates are, as ``"audio"``.

    Raises:
        MissingData: files are missing, see :meth:`DataFolder.select`.
        InputError: an id stands twice.
    """
    places = folder.select([item.path for item in candidates], [item.id for item in candidates], what)
    present = [candidates[place] for place in places]
    left_ids: list[str] = []
    sentences: list[str] = []
    matches: list[frozenset[int]] = []
    for place, candidate in enumerate(present):
        if not candidate.captions:
            raise InputError(candidate.id, found="no caption", expected="at least one")
        for number, caption in enumerate(candidate.captions, start=1):
            left_ids.append(f"{candidate.id}#{number}")
            sentences.append(caption)
            matches.append(frozenset((place,)))
    return PairedItems(
        left_ids=tuple(left_ids),
        left=Queries(sentences, text),
        right_ids=tuple(candidate.id for candidate in present),
        right=Queries(present, make),
        matches=tuple(matches),
        left_name="text",
        right_name=right_name,
        expected=len(candidates),
        missing=tuple(candidate.id for candidate in candidates if candidate.path is None)[:10],
    )
