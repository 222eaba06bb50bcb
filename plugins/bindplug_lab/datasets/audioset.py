"""AudioSet: segments of 10 s with any of 527 labels."""

from __future__ import annotations

from bindplug.errors import InputError
from bindplug.query import Query, audio
from bindplug_lab.datasets.annotations import read_csv
from bindplug_lab.datasets.folder import DataFolder
from bindplug_lab.datasets.labels import ClassList, Entry, check_choice, labeled_items
from bindplug_lab.datasets.suffixes import SOUND_SUFFIXES
from bindplug_lab.datasets.youtube import index_folder, segment_file
from bindplug_lab.tasks.items import LabeledItems

__all__ = ["read_audioset"]

SPLITS = ("eval", "balanced_train", "unbalanced_train")


def read_audioset(
    folder: DataFolder, *, split: str = "eval", cut: bool = False, classes: int | None = 527
) -> LabeledItems:
    """The segments of a split, each with all its labels.

    Layout: ``eval_segments.csv`` (lines of comments, then YTID, start, end and a quoted list of machine ids),
    ``class_labels_indices.csv`` (index, mid, display_name), and sounds by YTID in ``eval_segments/``, ``eval/`` or
    ``audio/``. Sounds are named as downloaders have it: see :func:`bindplug_lab.datasets.youtube.segment_file`.

    Args:
        folder: the data set.
        split: ``"eval"``, ``"balanced_train"`` or ``"unbalanced_train"``.
        cut: whether files hold whole videos, of which the segment is to be heard; else they hold the segment.
        classes: how many the list must have; None for any number.

    Raises:
        MissingData: tables or sounds are missing; videos vanish from YouTube, so most copies lack some.
        InputError: a table is damaged, or a label is none of the classes.
    """
    check_choice("split", split, SPLITS)
    check_choice("cut", cut, (False, True))
    segments = folder.find(
        f"{split}_segments.csv", f"metadata/{split}_segments.csv", f"csv/{split}_segments.csv"
    )
    listing = folder.find(*(f"{base}class_labels_indices.csv" for base in ("", "metadata/", "csv/")))
    class_rows = list(read_csv(listing, ("index", "mid", "display_name")))
    if [row.number("index") for row in class_rows] != list(range(len(class_rows))):
        raise InputError(str(listing), found="indices out of order", expected="0, 1, 2, ...")
    class_list = ClassList(
        [row.text("mid") for row in class_rows],
        [row.text("display_name") for row in class_rows],
        str(listing),
    ).expect(classes)
    index = index_folder(
        folder, f"{split}_segments", split, f"audio/{split}", "audio", suffixes=SOUND_SUFFIXES
    )
    entries = []
    for row in read_csv(
        segments, ("ytid", "start", "end", "labels"), header=False, comment="#", clock="start"
    ):
        start, end = row.seconds("start"), row.seconds("end")
        if end <= start:
            raise InputError(row.place, found=f"{start:g} to {end:g} s", expected="an end after the start")
        mids = dict.fromkeys(mid.strip() for mid in row.text("labels").split(",") if mid.strip())
        entries.append(
            Entry(
                f"{row.text('ytid')}_{start:g}",
                segment_file(index, row["ytid"], start, end),
                tuple(class_list.place(mid, row.place) for mid in mids),
                start=start if cut else None,
                end=end if cut else None,
            )
        )
    return labeled_items(folder, entries, class_list, sound_of, "sounds")


def sound_of(entry: Entry) -> Query:
    """The query of a sound, cut if the entry says where."""
    span = {} if entry.start is None else {"start": entry.start, "end": entry.end}
    return audio(entry.path, **span)
