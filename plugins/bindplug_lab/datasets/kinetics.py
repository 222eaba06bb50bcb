"""Kinetics-400: videos of 10 s in 400 actions."""

from __future__ import annotations

from bindplug.query import Query, video
from bindplug_lab.datasets.annotations import read_csv
from bindplug_lab.datasets.folder import DataFolder
from bindplug_lab.datasets.labels import ClassList, Entry, check_choice, labeled_items, spaced
from bindplug_lab.datasets.suffixes import VIDEO_SUFFIXES
from bindplug_lab.datasets.youtube import index_folder, segment_file
from bindplug_lab.tasks.items import LabeledItems

__all__ = ["read_kinetics"]

TABLES = {"val": ("val", "validate", "kinetics_val"), "test": ("test", "kinetics_test")}
COLUMNS = ("label", "youtube_id", "time_start", "time_end")


def read_kinetics(folder: DataFolder, *, split: str = "val", classes: int | None = 400) -> LabeledItems:
    """The videos of a split.

    Layout: ``annotations/val.csv``, ``val.csv`` or ``kinetics400/validate.csv`` (label, youtube_id, time_start,
    time_end, split) and videos ``<youtube_id>_<6 digits>_<6 digits>.mp4`` anywhere in ``val/``, with a folder for each
    class or without. The classes are the labels of the table, in alphabetical order.

    Args:
        folder: the data set.
        split: ``"val"`` or ``"test"``.
        classes: how many labels the table must have; None for any number.

    Raises:
        MissingData: the table or videos are missing; videos vanish from YouTube, so most copies lack some.
        InputError: the table is damaged.
    """
    check_choice("split", split, tuple(TABLES))
    bases = ("annotations/", "", "kinetics400/")
    table = folder.find(*(f"{base}{name}.csv" for base in bases for name in TABLES[split]))
    index = index_folder(folder, split, f"videos_{split}", f"{split}_256", suffixes=VIDEO_SUFFIXES)
    rows = list(read_csv(table, COLUMNS))
    labels = sorted({row.text("label") for row in rows})
    class_list = ClassList(labels, [spaced(label) for label in labels], str(table)).expect(classes)
    entries = []
    for row in rows:
        start, end = row.seconds("time_start"), row.seconds("time_end")
        name = f"{row.text('youtube_id')}_{int(start):06d}_{int(end):06d}"
        path = segment_file(index, row["youtube_id"], start, end)
        entries.append(Entry(name, path, (class_list.place(row["label"], row.place),)))
    return labeled_items(folder, entries, class_list, _video, "videos")


def _video(entry: Entry) -> Query:
    return video(entry.path)
