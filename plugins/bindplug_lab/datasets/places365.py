"""Places365-Standard: 36,500 validation pictures in 365 scenes."""

from __future__ import annotations

from pathlib import Path

from bindplug.errors import InputError
from bindplug.query import Query, image
from bindplug_lab.datasets.annotations import read_lines
from bindplug_lab.datasets.folder import DataFolder, FileIndex, is_file
from bindplug_lab.datasets.labels import ClassList, Entry, labeled_items
from bindplug_lab.datasets.suffixes import IMAGE_SUFFIXES
from bindplug_lab.tasks.items import LabeledItems

__all__ = ["read_places365"]

FOLDERS = ("val_256/", "val_large/", "val/", "data_256/val/")
LISTS = ("", "filelist_places365-standard/")


def read_places365(folder: DataFolder, *, classes: int | None = 365) -> LabeledItems:
    """The validation pictures.

    Layout: ``categories_places365.txt`` (``/a/airfield 0``) and ``places365_val.txt`` (``Places365_val_00000001.jpg
    165``), in the folder or in ``filelist_places365-standard/``, beside ``val_256/`` or ``val_large/``, with a folder
    for each class or without. A class is named by its words: ``/a/apartment_building/outdoor`` is "apartment building
    outdoor".

    Args:
        folder: the data set.
        classes: how many the list must have; None for any number.

    Raises:
        MissingData: lists or pictures are missing.
        InputError: a list is damaged or a label is none of the classes.
    """
    categories = folder.find(
        *(f"{base}categories_places365.txt" for base in LISTS), what="the list of classes"
    )
    listing = folder.find(
        *(f"{base}places365_val.txt" for base in LISTS), what="the list of validation pictures"
    )
    pictures = folder.find(*FOLDERS, what="the folder of validation pictures")
    names: dict[int, str] = {}
    for line, place in read_lines(categories):
        name, label = _pair(line, place)
        if label in names:
            raise InputError(place, found=f"label {label} twice", expected="each label once")
        names[label] = name
    keys = [names[label] for label in sorted(names)]
    words = [
        " ".join(key.lstrip("/").partition("/")[2].replace("/", " ").replace("_", " ").split())
        for key in keys
    ]
    class_list = ClassList(
        keys, [w or key for w, key in zip(words, keys, strict=True)], str(categories)
    ).expect(classes)
    index = FileIndex(pictures, IMAGE_SUFFIXES)
    entries = []
    for line, place in read_lines(listing):
        name, label = _pair(line, place)
        if label not in names:
            expected = f"one of the {len(names)} labels of {categories.name}"
            raise InputError(place, found=f"label {label}", expected=expected)
        path = index.get(Path(name).stem)
        present = path is not None and is_file(path)
        entries.append(Entry(name, path if present else None, (class_list.place(names[label], place),)))
    return labeled_items(folder, entries, class_list, _picture, "pictures")


def _pair(line: str, place: str) -> tuple[str, int]:
    name, _, label = line.rpartition(" ")
    if not name.strip() or not label.isdecimal():
        raise InputError(place, found=repr(line[:80]), expected="a name, a blank and a number")
    return name.strip(), int(label)


def _picture(entry: Entry) -> Query:
    return image(entry.path)
