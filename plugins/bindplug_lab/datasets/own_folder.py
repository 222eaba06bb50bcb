"""One's own data: a folder for each class."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from functools import partial
from typing import Any

from bindplug.errors import InputError, InputNote, OptionError
from bindplug.query import Query, audio, depth, image, imu, thermal, video
from bindplug_lab.datasets.folder import DataFolder, MissingData, is_file, walk
from bindplug_lab.datasets.labels import ClassList, Entry, check_choice, labeled_items, spaced
from bindplug_lab.datasets.suffixes import SUFFIXES
from bindplug_lab.tasks.items import LabeledItems

__all__ = ["MAKERS", "query_of_entry", "read_folder"]

MAKERS = {"image": image, "video": video, "audio": audio, "depth": depth, "thermal": thermal, "imu": imu}


def read_folder(
    folder: DataFolder,
    *,
    modality: str,
    split: str = "",
    count: int | None = None,
    classes: list[str] | None = None,
    reader_options: Mapping[str, Any] | None = None,
) -> LabeledItems:
    """The files of each class's folder, at any depth; the class is named by the folder, underscores as blanks.

    Args:
        folder: the data.
        modality: of the files.
        split: a subfolder that holds the classes' folders, as ``"test"``.
        count: how many files a complete set has; any number by default.
        classes: names of the classes' folders in their order; all folders in alphabetical order by default.
        reader_options: of the modality's reader, as ``{unit = "mm"}``.

    Raises:
        MissingData: there is no such folder, fewer files than ``count``, or a class has none.
        InputError: a listed class has no folder.
        OptionError: the modality is none of files.

    Warns:
        InputNote: files of another type lie among them.
    """
    check_choice("modality", modality, tuple(SUFFIXES))
    top = folder.base / split
    if not top.is_dir():
        raise MissingData(
            str(top), found="no such folder", expected="a folder of each class", remedy=folder.remedy
        )
    names = sorted(path.name for path in top.iterdir() if path.is_dir() and not path.name.startswith("."))
    if classes is not None:
        if not isinstance(classes, list) or not all(isinstance(name, str) for name in classes):
            raise OptionError(f"classes = {classes!r}; expected a list of names of folders")
        absent = [name for name in classes if name not in names]
        if absent and not folder.allow_missing:
            raise MissingData(
                str(top), found=f"no folder {absent[0]!r}", expected=f"the folders {', '.join(classes)}"
            )
        extra = [name for name in names if name not in classes]
        if extra:
            remedy = "List it under classes, or move it away."
            raise InputError(
                str(top), found=f"a folder {extra[0]!r}", expected="listed classes only", remedy=remedy
            )
        names = classes
    class_list = ClassList(names, [spaced(name) for name in names], str(top))
    entries: list[Entry] = []
    others: list[str] = []
    for place, name in enumerate(names):
        before = len(entries)
        for path in walk(top / name):
            relative = path.relative_to(top).as_posix()
            if path.suffix.lower() in SUFFIXES[modality]:
                entries.append(Entry(relative, path if is_file(path) else None, (place,)))
            else:
                others.append(relative)
        if len(entries) == before and not folder.allow_missing:
            found, expected = f"no {modality} files", f"files as {', '.join(SUFFIXES[modality][:4])}"
            raise MissingData(str(top / name), found=found, expected=expected)
    if others:
        message = f"{top}: {len(others)} files that are no {modality} left out, as {others[0]!r}"
        warnings.warn(InputNote(message), stacklevel=2)
    if count is not None:
        folder.require(len(entries), count, "files")
    make = partial(query_of_entry, modality, dict(reader_options or {}))
    return labeled_items(folder, entries, class_list, make, "files", expected=count)


def query_of_entry(modality: str, options: Mapping[str, Any], entry: Entry) -> Query:
    """The query of an entry, with options of its modality's reader."""
    span = {} if entry.start is None else {"start": entry.start, "end": entry.end}
    return MAKERS[modality](entry.path, **options, **span)
