"""ESC-50: 2,000 sounds of 5 s in 50 classes and 5 folds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bindplug.errors import InputError, OptionError
from bindplug.query import Query, audio
from bindplug_lab.datasets.annotations import read_csv
from bindplug_lab.datasets.folder import DataFolder, FileIndex, is_file
from bindplug_lab.datasets.labels import ClassList, Entry, labeled_items, spaced
from bindplug_lab.datasets.suffixes import AUDIO_SUFFIXES
from bindplug_lab.tasks.items import LabeledItems

__all__ = ["read_esc50"]

FOLDS = (1, 2, 3, 4, 5)


def read_esc50(folder: DataFolder, *, folds: Sequence[int] = FOLDS, classes: int | None = 50) -> LabeledItems:
    """The sounds of some folds.

    Layout: ``meta/esc50.csv`` or ``esc50.csv`` (filename, fold, target, category, ...) beside ``audio/``, as the
    archive unpacks, in the folder itself or in ``ESC-50-master``. Sounds may lie deeper in ``audio/``, in another
    format too.

    Args:
        folder: the data set.
        folds: which of the five folds.
        classes: how many classes the table must list; None for any number.

    Raises:
        MissingData: the table or sounds are missing.
        InputError: the table is damaged, a target has two categories or a file stands twice.
        OptionError: there is no such fold.
    """
    if not folds or not set(folds) <= set(FOLDS):
        raise OptionError(f"folds = {list(folds)!r}; expected some of 1, 2, 3, 4, 5")
    table = folder.find("meta/esc50.csv", "esc50.csv")
    sounds = folder.find("audio/", what="the folder of sounds")
    rows = list(read_csv(table, ("filename", "fold", "target", "category")))
    categories: dict[int, str] = {}
    for row in rows:
        target = row.number("target")
        if categories.setdefault(target, row.text("category")) != row["category"]:
            found = f"target {target} for {row['category']!r} and {categories[target]!r}"
            raise InputError(row.place, found=found, expected="a category for each target")
        if row.number("fold") not in FOLDS:
            row.refuse("fold", "1 to 5")
    index = FileIndex(sounds, AUDIO_SUFFIXES)
    keys = [categories[target] for target in sorted(categories)]
    class_list = ClassList(keys, [spaced(key) for key in keys], str(table)).expect(classes)
    entries = [
        Entry(
            row.text("filename"),
            path if (path := index.get(Path(row["filename"]).stem)) and is_file(path) else None,
            (class_list.place(row["category"], row.place),),
            row.number("fold"),
            _recording(row["filename"]),
        )
        for row in rows
        if row.number("fold") in folds
    ]
    return labeled_items(folder, entries, class_list, _sound, "sounds", with_folds=True)


def _recording(filename: str) -> str:
    """The recording that a sound is cut from: names are fold, recording, take and target, as ``1-100032-A-0.wav``."""
    parts = filename.split("-")
    return parts[1] if len(parts) == 4 else ""


def _sound(entry: Entry) -> Query:
    return audio(entry.path)
