"""Class lists, and the items of single-label data sets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import TypeVar

from bindplug.errors import InputError, OptionError
from bindplug.query import Query
from bindplug_lab.datasets.folder import DataFolder
from bindplug_lab.tasks.items import LabeledItems, Queries

__all__ = ["ClassList", "Entry", "check_choice", "labeled_items", "spaced"]

Record = TypeVar("Record")


@dataclass(frozen=True, slots=True)
class Entry:
    """An item as its annotations list it.

    Attributes:
        id: its name, once in the data set.
        path: its file; None if it is not there.
        labels: indices of its classes.
        fold: of a cross-validation.
        cluster: what it is cut from, where several items are; empty where it stands alone.
        start, end: seconds of the file that are the item; None for its begin and end.
    """

    id: str
    path: Path | None
    labels: tuple[int, ...]
    fold: int = 0
    cluster: str = ""
    start: float | None = None
    end: float | None = None


class ClassList:
    """Classes in their order, with the names that annotations know them by.

    Args:
        keys: C names in the annotations, as ``"n01440764"`` or ``"living_room"``.
        names: C names for people and prompts; the keys by default.
        source: where they stand, for errors.
        synonyms: for each class the names to prompt with; its name by default.

    Raises:
        InputError: there is none, or a key or name stands twice.
    """

    def __init__(
        self,
        keys: Sequence[str],
        names: Sequence[str] | None = None,
        source: str = "the class list",
        synonyms: Sequence[tuple[str, ...]] = (),
    ) -> None:
        self.keys, self.names, self.source = tuple(keys), tuple(keys if names is None else names), source
        self.synonyms = tuple(synonyms)
        if not self.keys:
            raise InputError(source, found="no classes", expected="at least one")
        for column in (self.keys, self.names):
            repeated = (
                [name for name in column if column.count(name) > 1] if len(set(column)) < len(column) else []
            )
            if repeated:
                raise InputError(source, found=f"{repeated[0]!r} twice", expected="each class once")
        self._places = {key: place for place, key in enumerate(self.keys)}

    def __len__(self) -> int:
        return len(self.keys)

    def place(self, key: str, source: str) -> int:
        """The index of a class.

        Raises:
            InputError: it is not in the list.
        """
        if key not in self._places:
            close = get_close_matches(key, self.keys, 1)
            expected = f"one of the {len(self)} classes of {self.source}"
            remedy = f"The closest is {close[0]!r}." if close else ""
            raise InputError(
                source, found=f"a label {key!r} that is no class", expected=expected, remedy=remedy
            )
        return self._places[key]

    def expect(self, count: int | None) -> ClassList:
        """The list itself.

        Raises:
            InputError: it has not ``count`` classes; ``None`` allows any number.
        """
        if count is not None and len(self) != count:
            found = f"{len(self)} classes"
            remedy = f"Are they complete? For a subset, write a task of your own with classes = {len(self)}."
            raise InputError(self.source, found=found, expected=f"{count} classes", remedy=remedy)
        return self


def labeled_items(
    folder: DataFolder,
    entries: Sequence[Entry],
    classes: ClassList,
    make: Callable[[Entry], Query],
    what: str,
    *,
    with_folds: bool = False,
    expected: int | None = None,
) -> LabeledItems:
    """Items of the entries whose files are there.

    Args:
        folder: the data set.
        entries: what its annotations list.
        classes: its classes.
        make: the query of an entry.
        what: what the files are, as ``"sounds"``.
        with_folds: whether entries are of folds.
        expected: how many a complete data set has; as many as are listed by default.

    Raises:
        MissingData: files are missing, see :meth:`DataFolder.select`.
        InputError: an id stands twice.
    """
    places = folder.select([entry.path for entry in entries], [entry.id for entry in entries], what)
    present = [entries[place] for place in places]
    return LabeledItems(
        ids=tuple(entry.id for entry in present),
        queries=Queries(present, make),
        labels=tuple(entry.labels for entry in present),
        class_names=classes.names,
        synonyms=classes.synonyms,
        folds=tuple(entry.fold for entry in present) if with_folds else (),
        clusters=tuple(entry.cluster or entry.id for entry in present)
        if any(entry.cluster for entry in present)
        else (),
        expected=len(entries) if expected is None else expected,
        missing=tuple(entry.id for entry in entries if entry.path is None)[:10],
    )


def spaced(label: str) -> str:
    """A label as words: underscores become blanks."""
    return " ".join(label.replace("_", " ").split())


def check_choice(name: str, value: object, choices: Sequence[object]) -> None:
    """Refuse an option's value that is none of its choices.

    Raises:
        OptionError: it is none.
    """
    if value not in choices:
        options = ", ".join(map(repr, choices))
        raise OptionError(f"{name} = {value!r}; expected {'one of ' if len(choices) > 1 else ''}{options}")
