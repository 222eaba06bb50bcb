"""What a reader remarks on a source that it could read, and how that reaches a person.

A reader calls :func:`note` while it reads. The note travels with the batch (:attr:`bindplug.inputs.Batch.notes`)
and with the rows (:attr:`bindplug.embed.Embedded.notes`), and is issued as an :class:`~bindplug.errors.InputNote`
warning in the thread of whoever called ``embed`` or ``preprocess[...]``.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path

from bindplug.errors import InputNote
from bindplug.inputs.source import describe_source

MOST_WARNINGS = 20
"""Sources of one call that get a warning of their own; the others are counted in one more."""
PACKAGE = str(Path(__file__).parents[1])

_texts: ContextVar[list[str] | None] = ContextVar("texts", default=None)
_notes: ContextVar[list[Note] | None] = ContextVar("notes", default=None)


@dataclass(frozen=True)
class Note:
    """A remark on a source that was read.

    Attributes:
        index: place of the source (or of its query) in the list given.
        source: name of the source.
        text: what was remarked, as "2.0 s of padding after the end".
    """

    index: int
    source: str
    text: str

    def __str__(self) -> str:
        return f"{self.source}: {self.text}"


def note(text: str) -> None:
    """Remark ``text`` on the source that is being read; call it from :meth:`Preprocess.read`.

    Args:
        text: one line without the source's name; say what was done and, if there is one, the option that
            changes it. Repeats of a text are dropped.
    """
    texts = _texts.get()
    if texts is None:
        warnings.warn(text, InputNote, stacklevel=outer_level())
    elif text not in texts:
        texts.append(text)


@contextmanager
def notes_on(source: object, index: int = 0) -> Iterator[None]:
    """Attribute what :func:`note` gets in the block to ``source``, and deliver it at the end.

    Inside a block of :func:`collected_notes` it is delivered there, and elsewhere as warnings. Within another
    block of this kind it joins that one.
    """
    if _texts.get() is not None:
        yield
        return
    texts: list[str] = []
    token = _texts.set(texts)
    try:
        yield
    finally:
        _texts.reset(token)
    deliver([Note(index, describe_source(source), text) for text in texts])


def deliver(notes: Sequence[Note]) -> None:
    """Hand notes to the block of :func:`collected_notes` around, or issue them as warnings if there is none."""
    collected = _notes.get()
    if collected is None:
        warn_notes(notes)
    else:
        collected.extend(notes)


@contextmanager
def collected_notes() -> Iterator[list[Note]]:
    """A list that receives the notes on all sources read in the block, in place of warnings."""
    notes: list[Note] = []
    token = _notes.set(notes)
    try:
        yield notes
    finally:
        _notes.reset(token)


@contextmanager
def caught_remarks() -> Iterator[list[str]]:
    """A list of the texts of :func:`note` in the block, for what opens a source that is read later, or often."""
    texts: list[str] = []
    token = _texts.set(texts)
    try:
        yield texts
    finally:
        _texts.reset(token)


@contextmanager
def without_notes(source: object) -> Iterator[None]:
    """Drop what is remarked on ``source`` in the block, as for a look at its length before it is read."""
    with collected_notes(), notes_on(source):
        yield


def warn_notes(notes: Iterable[Note]) -> None:
    """Issue an :class:`InputNote` warning for each source, at the line outside this package that called it."""
    by_source: dict[tuple[int, str], list[str]] = {}
    for item in notes:
        by_source.setdefault((item.index, item.source), []).append(item.text)
    level = outer_level()
    for (_, source), texts in list(by_source.items())[:MOST_WARNINGS]:
        warnings.warn(f"{source}: {'; '.join(texts)}", InputNote, stacklevel=level)
    more = len(by_source) - MOST_WARNINGS
    if more > 0:
        text = (
            f"notes on {more} more sources; embed_with_report(...).notes and batch(...).notes have them all"
        )
        warnings.warn(text, InputNote, stacklevel=level)


def outer_level() -> int:
    """The ``stacklevel`` by which the caller's warning points to the first frame outside this package."""
    frame, level = sys._getframe(1), 1
    while frame.f_back is not None and _is_inner(frame.f_code.co_filename):
        frame, level = frame.f_back, level + 1
    return level


def _is_inner(file: str) -> bool:
    return file.startswith(PACKAGE) or Path(file).name in ("contextlib.py", "functools.py")
