"""VGGSound: segments of 10 s in 309 classes."""

from __future__ import annotations

from bindplug_lab.datasets.annotations import read_csv
from bindplug_lab.datasets.audioset import sound_of
from bindplug_lab.datasets.folder import DataFolder
from bindplug_lab.datasets.labels import ClassList, Entry, check_choice, labeled_items
from bindplug_lab.datasets.suffixes import SOUND_SUFFIXES
from bindplug_lab.datasets.youtube import index_folder, segment_file
from bindplug_lab.tasks.items import LabeledItems

__all__ = ["read_vggsound"]

SEGMENT_SECONDS = 10.0


def read_vggsound(
    folder: DataFolder, *, split: str = "test", cut: bool = False, classes: int | None = 309
) -> LabeledItems:
    """The sounds of a split, from sound files or the sound tracks of videos.

    Layout: ``vggsound.csv`` without a header (YTID, start in seconds, label, split; labels with commas in quotes) and
    ``<ytid>_<6 digits of the start>`` as ``.mp4``, ``.wav`` or ``.flac`` anywhere in ``video/``, ``videos/``,
    ``audio/`` or the folder itself. The classes are the labels of the table, in alphabetical order.

    Args:
        folder: the data set.
        split: ``"test"`` or ``"train"``.
        cut: whether files hold whole videos, of which the segment is to be heard; else they hold the segment.
        classes: how many labels the table must have; None for any number.

    Raises:
        MissingData: the table or sounds are missing; videos vanish from YouTube, so most copies lack some.
        InputError: the table is damaged.
    """
    check_choice("split", split, ("test", "train"))
    check_choice("cut", cut, (False, True))
    table = folder.find("vggsound.csv", "data/vggsound.csv")
    index = index_folder(folder, "audio", "video", "videos", suffixes=SOUND_SUFFIXES)
    rows = list(read_csv(table, ("ytid", "start", "label", "split"), header=False, clock="start"))
    for row in rows:
        if row["split"] not in ("train", "test"):
            row.refuse("split", "train or test")
    labels = sorted({row.text("label") for row in rows})
    class_list = ClassList(labels, source=str(table)).expect(classes)
    entries = []
    for row in rows:
        if row["split"] != split:
            continue
        start = row.seconds("start")
        end = start + SEGMENT_SECONDS
        entries.append(
            Entry(
                f"{row.text('ytid')}_{int(start):06d}",
                segment_file(index, row["ytid"], start, end),
                (class_list.place(row["label"], row.place),),
                start=start if cut else None,
                end=end if cut else None,
            )
        )
    return labeled_items(folder, entries, class_list, sound_of, "sounds")
