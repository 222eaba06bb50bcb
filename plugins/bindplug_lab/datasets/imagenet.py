"""ImageNet-1k: the 50,000 validation pictures of ILSVRC 2012."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from bindplug.errors import InputError
from bindplug.lazy import require
from bindplug.query import Query, image
from bindplug_lab.datasets.annotations import read_csv, read_lines
from bindplug_lab.datasets.folder import DataFolder, FileIndex, is_file, walk
from bindplug_lab.datasets.labels import ClassList, Entry, labeled_items
from bindplug_lab.datasets.matlab import read_mat
from bindplug_lab.datasets.suffixes import IMAGE_SUFFIXES
from bindplug_lab.tasks.items import LabeledItems

__all__ = ["read_imagenet"]

SYNSET = re.compile(r"n\d{8}")
FOLDERS = ("val/", "validation/", "ILSVRC2012_img_val/", "ILSVRC/Data/CLS-LOC/val/", "Data/CLS-LOC/val/")
TRUTH = "ILSVRC2012_validation_ground_truth.txt"
DEVKITS = ("ILSVRC2012_devkit_t12/data/", "devkit/data/", "data/", "")


def read_imagenet(folder: DataFolder, *, count: int | None = 50000) -> LabeledItems:
    """The validation pictures with CLIP's 1,000 class names.

    Four layouts: ``val/`` with a folder for each synset; pictures directly in ``val/`` whose names end in the synset
    (``ILSVRC2012_val_00000293_n01440764.JPEG``), as on Hugging Face; with Kaggle's ``LOC_val_solution.csv``; with the
    development kit's ground truth, whose ids ``meta.mat`` explains.
    Synsets are those of timm in their order, and names those of open_clip.

    Args:
        folder: the data set.
        count: how many pictures a complete set has; None for any number.

    Raises:
        MissingData: pictures or labels are missing.
        InputError: annotations are damaged or name a synset that is not one of the 1,000.
        MissingDependency: open_clip or timm is absent.
    """
    pictures = folder.find(*FOLDERS, what="the folder of validation pictures")
    classes = _classes()
    synsets = sorted(
        entry.name for entry in pictures.iterdir() if entry.is_dir() and SYNSET.fullmatch(entry.name)
    )
    if synsets:
        entries = [
            Entry(
                path.name, path if is_file(path) else None, (classes.place(synset, str(pictures / synset)),)
            )
            for synset in synsets
            for path in walk(pictures / synset)
            if path.suffix.lower() in IMAGE_SUFFIXES
        ]
    else:
        index = FileIndex(pictures, IMAGE_SUFFIXES)
        labels = _labels_of_names(index, str(pictures)) or _listed_labels(folder)
        entries = [
            Entry(
                name,
                path if (path := index.get(name)) and is_file(path) else None,
                (classes.place(key, place),),
            )
            for name, key, place in labels
        ]
    if count is not None:
        if len(entries) > count:
            raise InputError(str(pictures), found=f"{len(entries):,} pictures", expected=f"{count:,}")
        folder.require(len(entries), count, "pictures")
    return labeled_items(folder, entries, classes, _picture, "pictures", expected=count)


def _classes() -> ClassList:
    names: Sequence[str] = require(
        "open_clip.zero_shot_metadata", owner="bindplug_lab.datasets.imagenet", extra="open-clip"
    ).IMAGENET_CLASSNAMES
    synsets: Sequence[str] = (
        require("timm.data", owner="bindplug_lab.datasets.imagenet", extra="open-clip")
        .ImageNetInfo()
        .label_names()
    )
    # CLIP has two pairs of classes of one name; results tell them apart by their synset
    titles = [
        name if names.count(name) == 1 else f"{name} ({key})"
        for key, name in zip(synsets, names, strict=True)
    ]
    return ClassList(synsets, titles, "ImageNet-1k", synonyms=[(name,) for name in names])


def _labels_of_names(index: FileIndex, source: str) -> list[tuple[str, str, str]]:
    """As :func:`_listed_labels`, of pictures whose names end in their synset; none if one's does not."""
    ends = [stem.rpartition("_")[2] for stem in index.stems]
    if not all(SYNSET.fullmatch(end) for end in ends):
        return []
    return [(stem, end, source) for stem, end in zip(index.stems, ends, strict=True)]


def _listed_labels(folder: DataFolder) -> list[tuple[str, str, str]]:
    """(stem of the picture, synset, place for errors) of each picture that Kaggle's table or the kit lists."""
    table = folder.find_optional("LOC_val_solution.csv")
    if table is not None:
        rows = read_csv(table, ("ImageId", "PredictionString"))
        return [(row.text("ImageId"), row.text("PredictionString").split()[0], row.place) for row in rows]
    truth = folder.find(
        "LOC_val_solution.csv", *(f"{kit}{TRUTH}" for kit in DEVKITS), what="the labels of the pictures"
    )
    meta = _meta(truth.parent)
    labels = []
    for number, (line, place) in enumerate(read_lines(truth), start=1):
        if line not in meta:
            raise InputError(place, found=f"an id {line!r}", expected="an ILSVRC2012_ID of meta.mat")
        labels.append((f"ILSVRC2012_val_{number:08d}", meta[line], place))
    return labels


def _meta(kit: Path) -> dict[str, str]:
    """Synsets by ILSVRC2012_ID; those ids are not in the order of the classes."""
    path = kit / "meta.mat"
    if not path.is_file():
        raise InputError(str(path), found="no such file", expected="meta.mat beside the ground truth")
    synsets = read_mat(path, ("synsets",))["synsets"]
    try:
        return {str(int(entry["ILSVRC2012_ID"].item())): str(entry["WNID"]) for entry in synsets}
    except (TypeError, KeyError, ValueError, AttributeError):
        raise InputError(
            str(path), found="other fields", expected="synsets with ILSVRC2012_ID and WNID"
        ) from None


def _picture(entry: Entry) -> Query:
    return image(entry.path)
