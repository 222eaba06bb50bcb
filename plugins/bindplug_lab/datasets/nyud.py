"""NYU Depth V2: 1,449 pairs of picture and depth in 27 kinds of rooms, of which 10 classes are made."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from bindplug.errors import InputError
from bindplug.lazy import require
from bindplug.query import Query, depth, image
from bindplug_lab.datasets.folder import DataFolder
from bindplug_lab.datasets.labels import ClassList, check_choice, spaced
from bindplug_lab.datasets.matlab import read_mat
from bindplug_lab.tasks.items import LabeledItems, Queries

__all__ = ["CLASSES", "OTHER_ROOMS", "read_nyud"]

CLASSES = (
    "bathroom", "bedroom", "bookstore", "classroom", "dining_room", "home_office", "kitchen", "living_room", "office",
    "other",
)  # fmt: skip
OTHER_ROOMS = (
    "basement", "cafe", "computer_lab", "conference_room", "dinette", "exercise_room", "foyer", "furniture_store",
    "home_storage", "indoor_balcony", "laundry_room", "office_kitchen", "playroom", "printer_room", "reception_room",
    "student_lounge", "study", "study_room",
)  # fmt: skip
"""The 18 rooms whose best score is that of "other"."""
FILE = "nyu_depth_v2_labeled.mat"
EXPECTED = f"{FILE}, an HDF5 file (MATLAB 7.3) with images, depths and sceneTypes"


def read_nyud(folder: DataFolder, *, split: str = "test", modality: str = "depth") -> LabeledItems:
    """The depth maps, or pictures, of a split.

    Layout: ``nyu_depth_v2_labeled.mat`` (2.8 GB) beside ``splits.mat`` (trainNdxs and testNdxs, counted from 1). Maps
    are the filled ones in metres (``depths``); one is read at a time, when a model embeds it.

    Args:
        folder: the data set.
        split: ``"test"`` or ``"train"``.
        modality: ``"depth"`` or ``"image"``.

    Raises:
        MissingData: a file is missing.
        InputError: a file is damaged or cut off, a room is of no known type, or a split names a map beyond the last.
        MissingDependency: h5py is absent; ``pip install "bindplug[nyu]"``.
    """
    check_choice("split", split, ("test", "train"))
    check_choice("modality", modality, ("depth", "image"))
    path = folder.find(FILE, what="the labeled data set")
    splits = folder.find("splits.mat", what="the split into train and test")
    rooms = _rooms(path, {"depth": "depths", "image": "images"}[modality])
    places = np.asarray(read_mat(splits, (f"{split}Ndxs",))[f"{split}Ndxs"]).ravel()
    if places.size == 0 or places.dtype.kind not in "iuf" or not (places == np.floor(places)).all():
        raise InputError(str(splits), found=f"{split}Ndxs without whole numbers", expected="indices from 1")
    if places.min() < 1 or places.max() > len(rooms):
        found = f"indices from {int(places.min())} to {int(places.max())}"
        raise InputError(str(splits), found=found, expected=f"1 to {len(rooms)}, as {path.name} has")
    indices = [int(place) - 1 for place in places]
    class_list = ClassList(CLASSES, [spaced(name) for name in CLASSES], "NYU Depth V2")
    labels = []
    for index in indices:
        room = rooms[index]
        if room not in CLASSES and room not in OTHER_ROOMS:
            expected = "one of NYU Depth V2's 27 types"
            raise InputError(f"{path}, sceneTypes {index + 1}", found=f"{room!r}", expected=expected)
        labels.append((class_list.place("other" if room in OTHER_ROOMS else room, str(path)),))
    return LabeledItems(
        ids=tuple(f"{index + 1:04d}" for index in indices),
        queries=Queries(indices, partial(_MAKE[modality], path)),
        labels=tuple(labels),
        class_names=class_list.names,
        synonyms=tuple(
            tuple(map(spaced, OTHER_ROOMS)) if name == "other" else (name,) for name in class_list.names
        ),
    )


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    h5py = require("h5py", owner="bindplug_lab.datasets.nyud", extra="nyu")
    try:
        with h5py.File(path, "r") as file:
            yield file
    except InputError:
        raise
    except (OSError, KeyError, ValueError, TypeError, AttributeError, RuntimeError, IndexError) as error:
        found, remedy = (
            f"a file that cannot be read ({str(error)[:200]})",
            "Download it again if it is cut off.",
        )
        raise InputError(str(path), found=found, expected=EXPECTED, remedy=remedy) from None


def _rooms(path: Path, array: str) -> list[str]:
    """The type of each room. MATLAB's cells are references to arrays of UTF-16 units."""
    with _opened(path) as file:
        cells = file["sceneTypes"][()].ravel()
        rooms = ["".join(map(chr, np.asarray(file[cell]).ravel())) for cell in cells]
        shape = file[array].shape
        if len(shape) != (3 if array == "depths" else 4) or shape[0] != len(rooms):
            found = f"{array} of shape {shape} for {len(rooms)} rooms"
            raise InputError(str(path), found=found, expected=EXPECTED)
    return rooms


def _depth(path: Path, index: int) -> Query:
    with _opened(path) as file:
        metres = np.asarray(file["depths"][index], dtype=np.float32).T  # (W, H) as MATLAB stores it -> (H, W)
    return depth(metres, unit="m")


def _picture(path: Path, index: int) -> Query:
    with _opened(path) as file:
        pixels = np.asarray(file["images"][index], dtype=np.uint8).transpose(
            2, 1, 0
        )  # (3, W, H) -> (H, W, 3)
    return image(np.ascontiguousarray(pixels))


_MAKE = {"depth": _depth, "image": _picture}
