"""The classes of a detector: names, and their vectors in the detector's space."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bindplug.errors import InputError

Names = Sequence[str] | str | PathLike[str]
"""A list of names, or a file with them."""

BUILTIN_FILES = {
    "lvis": "lvis_v1_clip_a+cname.npy",
    "coco": "coco_clip_a+cname.npy",
    "objects365": "o365_clip_a+cnamefix.npy",
    "openimages": "oid_clip_a+cname.npy",
}
"""Files that Detic has in ``datasets/metadata``. Source: its README and demo."""

LONGEST_LISTING = 5

_COCO = """
    person, bicycle, car, motorcycle, airplane, bus, train, truck, boat, traffic light, fire hydrant, stop sign,
    parking meter, bench, bird, cat, dog, horse, sheep, cow, elephant, bear, zebra, giraffe, backpack, umbrella,
    handbag, tie, suitcase, frisbee, skis, snowboard, sports ball, kite, baseball bat, baseball glove, skateboard,
    surfboard, tennis racket, bottle, wine glass, cup, fork, knife, spoon, bowl, banana, apple, sandwich, orange,
    broccoli, carrot, hot dog, pizza, donut, cake, chair, couch, potted plant, bed, dining table, toilet, tv, laptop,
    mouse, remote, keyboard, cell phone, microwave, oven, toaster, sink, refrigerator, book, clock, vase, scissors,
    teddy bear, hair drier, toothbrush
"""

COCO_NAMES = tuple(" ".join(name.split()) for name in _COCO.split(","))
"""The 80 things of COCO, in the order of their category numbers. Source: arXiv 1405.0312 and its 2017 annotations."""


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """C names and the vector of each.

    Args:
        names: labels of detections.
        embeddings: (C, D), rows of any length but zero; kept as float32 on the CPU.

    Raises:
        InputError: no rows, another shape, another number of names than of rows, or rows that are zero or not
            finite.
    """

    names: tuple[str, ...]
    embeddings: Tensor

    def __post_init__(self) -> None:
        object.__setattr__(self, "names", checked_names(self.names))
        object.__setattr__(self, "embeddings", checked_rows(self.embeddings))
        if len(self.names) != len(self.embeddings):
            problem = f"{len(self.names)} names for {len(self.embeddings)} rows"
            raise InputError("vocabulary", found=problem, expected="a name for each row")

    @classmethod
    def from_npy(cls, path: str | PathLike[str], names: Names) -> Vocabulary:
        """From a file of vectors such as Detic's.

        Args:
            path: a ``.npy`` of shape (C, D).
            names: in the order of the rows: a list, or a file: JSON (a list of names, categories with
                ``"id"`` and ``"name"``, or annotations of COCO or LVIS that have ``"categories"``), else text
                with one name a line.

        Raises:
            InputError: a file is missing, damaged, or holds something else.
        """
        rows = _read_npy(Path(path))
        try:
            return cls(tuple(read_names(names)), torch.from_numpy(rows))
        except InputError as error:
            source = str(path) if error.source == "vocabulary" else error.source
            raise InputError(
                source, found=error.found, expected=error.expected, remedy=error.remedy
            ) from None

    @classmethod
    def builtin(cls, name: str, directory: str | PathLike[str], names: Names | None = None) -> Vocabulary:
        """One of Detic's own vocabularies, from its files on this machine.

        Args:
            name: ``"lvis"``, ``"coco"``, ``"objects365"`` or ``"openimages"``.
            directory: where Detic's ``.npy`` files are, in its repository ``datasets/metadata``.
            names: as :meth:`from_npy`; not needed for COCO, whose names are built in.

        Raises:
            InputError: another name, no such file, or no names where they are needed.
        """
        if name not in BUILTIN_FILES:
            expected = f"one of {', '.join(BUILTIN_FILES)}"
            raise InputError("Vocabulary.builtin()", found=f"the name {name!r}", expected=expected)
        if names is None and name != "coco":
            remedy = (
                "Detic's .npy files hold no names; the data set's annotation file has them as categories."
            )
            raise InputError(
                "Vocabulary.builtin()", found=f"no names for {name!r}", expected="names=...", remedy=remedy
            )
        path = Path(directory) / BUILTIN_FILES[name]
        if not path.is_file():
            remedy = "The file is in the folder datasets/metadata of Detic's repository."
            raise InputError(str(path), found="no such file", expected="Detic's class vectors", remedy=remedy)
        return cls.from_npy(path, COCO_NAMES if names is None else names)

    @property
    def width(self) -> int:
        """Length of a vector."""
        return self.embeddings.shape[1]

    def subset(self, names: Sequence[str] | str) -> Vocabulary:
        """The classes of some names, in their order; case is ignored and ``_`` equals a space.

        Raises:
            InputError: a name is not in the vocabulary; the message has the nearest ones.
        """
        selection = checked_names(names)
        rows = {_key(name): row for row, name in reversed(list(enumerate(self.names)))}
        unknown = [name for name in selection if _key(name) not in rows]
        if unknown:
            near = get_close_matches(_key(unknown[0]), list(rows), n=LONGEST_LISTING)
            names_near = ", ".join(self.names[rows[key]] for key in near)
            suggestion = f" Similar to {unknown[0]!r}: {names_near}." if near else ""
            raise InputError(
                "vocabulary",
                found=f"no entry for {', '.join(map(repr, unknown[:LONGEST_LISTING]))}",
                expected=f"some of its {len(self)} names",
                remedy=f"Other names need embeddings=, or a detector with a text encoder.{suggestion}",
            )
        return Vocabulary(selection, self.embeddings[[rows[_key(name)] for name in selection]])

    def __len__(self) -> int:
        return len(self.names)

    def __repr__(self) -> str:
        more = ", …" if len(self) > LONGEST_LISTING else ""
        return f"Vocabulary({len(self)} x {self.width}: {', '.join(self.names[:LONGEST_LISTING])}{more})"


def checked_names(names: Sequence[str] | str) -> tuple[str, ...]:
    """``names`` as a tuple; a single string is one name.

    Raises:
        InputError: there is none, or one is empty or no string.
    """
    entries = (names,) if isinstance(names, str) else tuple(names)
    wrong = next((name for name in entries if not isinstance(name, str) or not name.strip()), None)
    if wrong is not None:
        raise InputError(
            "vocabulary", found=f"the name {wrong!r}", expected="names that are not empty strings"
        )
    if not entries:
        raise InputError("vocabulary", found="no names", expected="at least one")
    return entries


def checked_rows(rows: Tensor | np.ndarray | Sequence[Any]) -> Tensor:
    """``rows`` as (C, D) float32 on the CPU; one vector (D,) is one row.

    Raises:
        InputError: another shape, nothing in it, or rows that are zero or not finite.
    """
    try:
        tensor = torch.as_tensor(rows).detach().float().cpu()
    except (TypeError, ValueError, RuntimeError) as error:
        problem = f"embeddings that are no table of numbers ({error})"
        raise InputError("vocabulary", found=problem, expected="a tensor or array (C, D)") from None
    tensor = tensor[None] if tensor.ndim == 1 else tensor
    if tensor.ndim != 2 or tensor.numel() == 0:
        problem = f"embeddings of shape {tuple(tensor.shape)}"
        raise InputError("vocabulary", found=problem, expected="(C, D), a row for each name, at least one")
    problems = {
        "NaN or infinite values": ~tensor.isfinite().all(1),
        "only zeros, which have no direction,": ~tensor.ne(0).any(1),
    }
    for problem, is_bad in problems.items():
        if is_bad.any():
            row = int(is_bad.nonzero()[0])
            raise InputError("vocabulary", found=f"{problem} in row {row}", expected="rows with a direction")
    return tensor


def read_names(names: Names) -> list[str]:
    """A list of names as it is, or the names of a file; see :meth:`Vocabulary.from_npy`.

    Raises:
        InputError: the file is missing or holds no names.
    """
    if not isinstance(names, (str, PathLike)):
        return list(names)
    path = Path(names)
    expected = "a file of names: a JSON list, annotations with categories, or text with one name a line"
    try:
        content = path.read_text("utf-8")
        parsed = json.loads(content) if path.suffix.lower() == ".json" else content.splitlines()
    except FileNotFoundError:
        raise InputError(str(path), found="no such file", expected=expected) from None
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(
            str(path), found=f"a file that cannot be read ({error})", expected=expected
        ) from None
    entries = _names_within(parsed)
    if not entries:
        raise InputError(str(path), found="no names", expected=expected)
    return entries


def _names_within(parsed: Any) -> list[str]:
    if isinstance(parsed, Mapping):
        parsed = parsed.get("categories")
    if not isinstance(parsed, list) or not parsed:
        return []
    if all(isinstance(entry, str) for entry in parsed):
        return [entry.strip() for entry in parsed if entry.strip()]
    if all(isinstance(entry, Mapping) and {"id", "name"} <= entry.keys() for entry in parsed):
        return [str(entry["name"]) for entry in sorted(parsed, key=lambda entry: entry["id"])]
    return []


def _read_npy(path: Path) -> np.ndarray:
    expected = "a .npy file of class vectors, (C, D)"
    try:
        loaded = np.load(path, allow_pickle=False)
    except FileNotFoundError:
        raise InputError(str(path), found="no such file", expected=expected) from None
    except (OSError, ValueError, EOFError) as error:
        raise InputError(
            str(path), found=f"a file that cannot be read ({error})", expected=expected
        ) from None
    if not isinstance(loaded, np.ndarray) or loaded.dtype.kind not in "fiu":
        kind = loaded.dtype if isinstance(loaded, np.ndarray) else "several arrays"
        raise InputError(str(path), found=f"data of type {kind}", expected=expected)
    return loaded


def _key(name: str) -> str:
    return name.replace("_", " ").strip().casefold()
