"""Labeled items from a folder that has a folder of files for each class."""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from bindplug import Query
from bindplug.errors import InputError, InputNote
from bindplug.modality import Modality
from bindplug.query import Leaf
from bindplug_lab.tasks import FewShotItems, LabeledItems, Queries

__all__ = ["read_classes", "read_support_and_test"]

PIECE_BYTES = 1 << 20


def read_support_and_test(
    support: str | os.PathLike[str],
    test: str | os.PathLike[str],
    modality: str,
    options: Mapping[str, Any] | None = None,
) -> FewShotItems:
    """Items to learn from and items to test on, each from a folder of folders.

    Args:
        support, test: folders with a folder for each class, named alike.
        modality: of the files.
        options: of its reader.

    Raises:
        InputError: a folder is missing or has no classes, the classes differ, or a file is in both.

    Warns:
        InputNote: files of the same content are in both.
    """
    first, second = Path(support), Path(test)
    train, held_out = read_classes(first, modality, options), read_classes(second, modality, options)
    lacking = [name for name in held_out.class_names if name not in train.class_names]
    unused = [name for name in train.class_names if name not in held_out.class_names]
    for names, here, there in ((lacking, second, first), (unused, first, second)):
        if names:
            raise InputError(
                str(there),
                found=f"no folder for {', '.join(map(repr, names[:5]))}, which {here} has",
                expected="a folder of the same name for each class in both",
            )
    _ensure_disjoint(train, held_out, first, second)
    return FewShotItems(train, held_out)


def read_classes(
    folder: str | os.PathLike[str], modality: str, options: Mapping[str, Any] | None = None
) -> LabeledItems:
    """The files of a folder's folders, each of the class that its folder is named after.

    Files of deeper folders count too; hidden ones do not. Underscores of a folder's name become blanks.

    Raises:
        InputError: the folder is missing, or has no folder with a file in it.
    """
    root = Path(folder)
    if not root.is_dir():
        problem = "a file" if root.exists() else "no such folder"
        raise InputError(str(root), found=problem, expected="a folder with a folder of files for each class")
    classes: dict[str, list[Path]] = {}
    for directory in sorted(
        path for path in root.iterdir() if path.is_dir() and not path.name.startswith(".")
    ):
        name = " ".join(directory.name.replace("_", " ").split())
        if name in classes:
            raise InputError(str(directory), found=f"a second folder for {name!r}", expected="one a class")
        classes[name] = [
            path
            for path in sorted(directory.rglob("*"))
            if path.is_file() and not any(part.startswith(".") for part in path.relative_to(directory).parts)
        ]
    if not any(classes.values()):
        raise InputError(
            str(root),
            found="no folder with files in it",
            expected="a folder of files for each class, as dog/ and rain/",
        )
    empty = [name for name, paths in classes.items() if not paths]
    if empty:
        raise InputError(
            str(root), found=f"no file of class {empty[0]!r}", expected="at least one file of each class"
        )
    paths = [path for group in classes.values() for path in group]
    labels = [(place,) for place, group in enumerate(classes.values()) for _ in group]
    make: Callable[[Path], Query] = partial(_query, Modality.parse(modality), dict(options or {}))
    return LabeledItems(
        ids=tuple(path.relative_to(root).as_posix() for path in paths),
        queries=Queries(paths, make),
        labels=tuple(labels),
        class_names=tuple(classes),
    )


def _query(modality: Modality, options: Mapping[str, Any], path: Path) -> Query:
    return Query([(1.0, Leaf(modality, str(path), options))])


def _ensure_disjoint(support: LabeledItems, test: LabeledItems, first: Path, second: Path) -> None:
    """Refuse a test file that is learned from; warn of copies."""
    sides = [[root / name for name in items.ids] for root, items in ((first, support), (second, test))]
    support_paths = {os.path.realpath(path) for path in sides[0]}
    overlap = [path for path in sides[1] if os.path.realpath(path) in support_paths]
    if overlap:
        raise InputError(
            str(second),
            found=f"{len(overlap)} files that are in the support too, as {overlap[0].name!r}",
            expected="files of their own to test on",
        )
    sizes = {path.stat().st_size for path in sides[0]} & {path.stat().st_size for path in sides[1]}
    contents = {_digest(path) for path in sides[0] if path.stat().st_size in sizes}
    copies = [path for path in sides[1] if path.stat().st_size in sizes and _digest(path) in contents]
    if copies:
        warnings.warn(
            f"{len(copies)} test files are copies of support files, as {copies[0]}: accuracies will be too high",
            InputNote,
            stacklevel=3,
        )


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(PIECE_BYTES):
            digest.update(piece)
    return digest.hexdigest()
