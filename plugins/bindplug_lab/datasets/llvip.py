"""LLVIP: infrared and visible pictures of streets at night; crops of persons and of background."""

from __future__ import annotations

import random
import warnings
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from bindplug.errors import InputError, InputNote
from bindplug.query import Query, image, thermal
from bindplug_lab.datasets.annotations import read_text
from bindplug_lab.datasets.folder import DataFolder, FileIndex, is_file
from bindplug_lab.datasets.labels import check_choice
from bindplug_lab.tasks.items import LabeledItems, Queries

__all__ = ["read_llvip"]

Box = tuple[int, int, int, int]
PERSON, BACKGROUND = 0, 1
CLASSES = ("person", "background")
TRIES = 50
FOLDERS = {"thermal": "infrared", "image": "visible"}
LEAST_SIDE = 2
"""Boxes narrower than this, in pixels, hold nothing to be seen."""


@dataclass(frozen=True, slots=True)
class Crop:
    """A part of a picture.

    Attributes:
        path: the picture.
        box: left, top, right, bottom in pixels.
    """

    path: Path
    box: Box


def read_llvip(
    folder: DataFolder, *, split: str = "test", modality: str = "thermal", seed: int = 0
) -> LabeledItems:
    """A crop for each box of a person, and one of the same size from where no person is.

    Layout: ``infrared/test/190001.jpg``, ``visible/test/190001.jpg`` and ``Annotations/190001.xml`` (Pascal VOC). The
    paper made 15,809 crops, 7,931 of them persons, and did not publish where its background was: places are drawn here
    at random, the same in every run. A picture too full of persons gives fewer.

    Args:
        folder: the data set.
        split: ``"test"`` or ``"train"``.
        modality: ``"thermal"`` or ``"image"`` (the visible picture).
        seed: of the places of background.

    Raises:
        MissingData: pictures or annotations are missing.
        InputError: an annotation is damaged, or names something that is no person.

    Warns:
        InputNote: a box holds no pixels, and is left out.
    """
    check_choice("split", split, ("test", "train"))
    check_choice("modality", modality, tuple(FOLDERS))
    kind = FOLDERS[modality]
    pictures = folder.find(f"{kind}/{split}/", what=f"the folder of {kind} pictures")
    annotations = folder.find("Annotations/", what="the folder of annotations")
    other = folder.find_optional(f"{'visible' if kind == 'infrared' else 'infrared'}/{split}/")
    index = FileIndex(pictures, (".jpg", ".jpeg", ".png"))
    others = FileIndex(other, (".jpg", ".jpeg", ".png")) if other is not None else None
    names = sorted({*index.stems, *(others.stems if others is not None else ())})
    paths = [path if (path := index.get(name)) and is_file(path) else None for name in names]
    files = [path if is_file(path := annotations / f"{name}.xml") else None for name in names]
    folder.select(paths, names, f"{kind} pictures")
    folder.select(files, names, "annotations")
    ids: list[str] = []
    crops: list[Crop] = []
    labels: list[tuple[int, ...]] = []
    clusters: list[str] = []
    expected = 0
    for name, path, file in zip(names, paths, files, strict=True):
        if file is None:
            continue
        size, boxes = _boxes(file)
        for number, box in enumerate(boxes):
            background = _background(box, boxes, size, random.Random(f"{seed} {name} {number}"))
            for label, part in ((PERSON, box), (BACKGROUND, background)):
                if part is not None:
                    expected += 1
                if part is not None and path is not None:
                    ids.append(f"{name}_{CLASSES[label]}_{number}")
                    crops.append(Crop(path, part))
                    labels.append((label,))
                    clusters.append(name)
    if not ids:
        raise InputError(str(annotations), found="no box of a person", expected="at least one")
    return LabeledItems(
        ids=tuple(ids),
        queries=Queries(crops, partial(_crop, modality)),
        labels=tuple(labels),
        class_names=CLASSES,
        clusters=tuple(clusters),
        expected=expected,
        missing=tuple(name for name, path in zip(names, paths, strict=True) if path is None)[:10],
    )


def _boxes(path: Path) -> tuple[tuple[int, int], list[Box]]:
    """Width and height of a picture, and the boxes of persons clipped to it."""
    text = read_text(path)
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise InputError(str(path), found="an XML document type", expected="a plain Pascal VOC annotation")
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        remedy = "It may have been cut off; download it again."
        raise InputError(str(path), found=f"damaged XML ({error})", expected="XML", remedy=remedy) from None
    width, height = (_number(root, f"size/{side}", path) for side in ("width", "height"))
    boxes = []
    for thing in root.findall("object"):
        name = (thing.findtext("name") or "").strip()
        if name.casefold() != "person":
            raise InputError(str(path), found=f"an object {name!r}", expected="persons only")
        left, top, right, bottom = (
            _number(thing, f"bndbox/{k}", path) for k in ("xmin", "ymin", "xmax", "ymax")
        )
        box = (max(0, left), max(0, top), min(width, right), min(height, bottom))
        if box[2] - box[0] < LEAST_SIDE or box[3] - box[1] < LEAST_SIDE:
            description = f"{(left, top, right, bottom)} in {width} x {height} pixels"
            warnings.warn(InputNote(f"{path}: a box without pixels left out, {description}"), stacklevel=4)
            continue
        boxes.append(box)
    return (width, height), boxes


def _number(element: ElementTree.Element, tag: str, path: Path) -> int:
    value = element.findtext(tag)
    try:
        return round(float(value or ""))
    except (ValueError, OverflowError):
        raise InputError(str(path), found=f"{tag} = {value!r}", expected="a number of pixels") from None


def _background(box: Box, boxes: Sequence[Box], size: tuple[int, int], draw: random.Random) -> Box | None:
    """A box of the same size that touches no person; None if none was met."""
    width, height = box[2] - box[0], box[3] - box[1]
    for _ in range(TRIES):
        left, top = draw.randint(0, size[0] - width), draw.randint(0, size[1] - height)
        right, bottom = left + width, top + height
        if not any(left < b[2] and b[0] < right and top < b[3] and b[1] < bottom for b in boxes):
            return (left, top, right, bottom)
    return None


def _crop(modality: str, crop: Crop) -> Query:
    try:
        with Image.open(crop.path) as picture:
            if crop.box[2] > picture.width or crop.box[3] > picture.height:
                found = f"a picture of {picture.width} x {picture.height} pixels"
                expected = f"one that holds the box {crop.box}, as its annotation says"
                raise InputError(str(crop.path), found=found, expected=expected)
            part = picture.crop(crop.box)
            part.load()
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError, SyntaxError) as error:
        found, remedy = f"a picture that cannot be read ({error})", "Download it again."
        raise InputError(str(crop.path), found=found, expected="a whole picture", remedy=remedy) from None
    return thermal(part.convert("L")) if modality == "thermal" else image(part.convert("RGB"))
