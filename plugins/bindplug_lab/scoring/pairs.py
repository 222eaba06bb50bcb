"""Pairs of files of two modalities, by name."""

from __future__ import annotations

import os
import unicodedata
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bindplug import Query, text
from bindplug.errors import InputError, InputNote
from bindplug.modality import Modality
from bindplug.query import Leaf
from bindplug_lab.datasets.annotations import read_lines, read_text
from bindplug_lab.datasets.suffixes import SUFFIXES

__all__ = ["Pairs", "find_pairs"]

EXAMPLES = 5
"""Names that an error lists."""


@dataclass(frozen=True)
class Pairs:
    """N pairs.

    Attributes:
        names: of the pairs.
        first, second: queries of both sides.
        first_sources, second_sources: their files, or sentences.
        unpaired: names that one side alone has.
    """

    names: tuple[str, ...]
    first: tuple[Query, ...]
    second: tuple[Query, ...]
    first_sources: tuple[str, ...]
    second_sources: tuple[str, ...]
    unpaired: tuple[str, ...] = ()


def find_pairs(
    first: tuple[str, str | os.PathLike[str]],
    second: tuple[str, str | os.PathLike[str]],
    options: Mapping[str, Mapping[str, Any]] | None = None,
    *,
    allow_unpaired: bool = False,
) -> Pairs:
    """Pair the files of two folders by their names without suffix, or two single files.

    Both sides may be one folder, as of ``001.wav`` beside ``001.png``: a side has the files of its kind. Text is a
    folder of ``.txt`` files, or one file with ``name<TAB>sentence`` on each line.

    Args:
        first, second: modality and place of each side.
        options: of readers, by modality.
        allow_unpaired: leave out names that one side alone has.

    Raises:
        InputError: a place is missing or has no files of its side, a name stands twice on a side, or has no partner,
            or a file would be both sides of a pair.

    Warns:
        InputNote: files of other kinds are left out.
    """
    modalities, places = (first[0], second[0]), (Path(first[1]), Path(second[1]))
    sides = [
        _side(modality, place, other)
        for modality, place, other in zip(modalities, places, reversed(modalities), strict=True)
    ]
    if all(
        place.is_file() and modality != "text" for modality, place in zip(modalities, places, strict=True)
    ):
        (name, one), other = next(iter(sides[0].items())), next(iter(sides[1].values()))
        sides = [{name: one}, {name: other}]
    names = [name for name in sides[0] if name in sides[1]]
    titles = [f"{modality} {place}" for modality, place in zip(modalities, places, strict=True)]
    unpaired = [
        f"{name} ({title} alone)"
        for own, other, title in ((sides[0], sides[1], titles[0]), (sides[1], sides[0], titles[1]))
        for name in own
        if name not in other
    ]
    if not names or (unpaired and not allow_unpaired):
        more = f" and {len(unpaired) - EXAMPLES} more" if len(unpaired) > EXAMPLES else ""
        raise InputError(
            f"{titles[0]} and {titles[1]}",
            found=f"names without a partner: {', '.join(unpaired[:EXAMPLES])}{more}",
            expected="the same names, without suffix, on both sides",
            remedy="Say --allow-unpaired to score the others" if names else "",
        )
    _ensure_two_files(sides, names, modalities)
    queries = [
        tuple(_query(modality, side[name], (options or {}).get(modality, {})) for name in names)
        for modality, side in zip(modalities, sides, strict=True)
    ]
    return Pairs(
        tuple(names),
        queries[0],
        queries[1],
        tuple(sides[0][name] for name in names),
        tuple(sides[1][name] for name in names),
        tuple(unpaired),
    )


def _ensure_two_files(
    sides: Sequence[Mapping[str, str]], names: Sequence[str], modalities: tuple[str, str]
) -> None:
    """Refuse a file as both sides of a pair; only a video has a picture and a sound."""
    if set(modalities) == {"audio", "video"} or "text" in modalities:
        return
    for name in names:
        if os.path.realpath(sides[0][name]) == os.path.realpath(sides[1][name]):
            raise InputError(
                sides[0][name],
                found=f"the same file as {modalities[0]} and as {modalities[1]}",
                expected="a file for each side",
                remedy="Put the files of each side into a folder of their own",
            )


def _query(modality: str, source: str, options: Mapping[str, Any]) -> Query:
    if modality == "text":
        return text(source)
    return Query([(1.0, Leaf(Modality.parse(modality), source, options))])


def _side(modality: str, place: Path, partner: str) -> dict[str, str]:
    """Source by name: a path, or for text the sentence.

    Args:
        modality: of the side.
        place: a folder or a file.
        partner: the modality of the other side, whose files may lie in the same folder.
    """
    if not place.exists():
        raise InputError(str(place), found="no such file or folder", expected=f"a folder of {modality}")
    if place.is_file():
        return _sentences(place) if modality == "text" else {_composed(place.stem): str(place)}
    candidates: dict[str, list[Path]] = {}
    others: list[Path] = []
    for path in sorted(place.rglob("*")):
        relative = path.relative_to(place)
        if not path.is_file() or any(part.startswith(".") for part in relative.parts):
            continue
        if _fits(modality, path):
            candidates.setdefault(_composed(relative.with_suffix("").as_posix()), []).append(path)
        elif not _fits(partner, path):
            others.append(relative)
    left_out = f"{len(others)} files that are neither {modality} nor {partner}" if others else ""
    if not candidates:
        raise InputError(
            str(place),
            found=f"no {modality} in the folder" + (f", only {left_out}, as {others[0]}" if others else ""),
            expected=f"files as {', '.join(_suffixes(modality)[:4])}",
        )
    sources: dict[str, str] = {}
    for name, paths in candidates.items():
        # where both sides share a folder, 001.png is the picture and 001.npy the depth map
        own = [path for path in paths if not _fits(partner, path)] if len(paths) > 1 else paths
        if len(own) != 1:
            listing = ", ".join(path.name for path in paths[:EXAMPLES])
            raise InputError(
                str(place),
                found=f"{len(paths)} files named {name!r} that may be {modality}: {listing}",
                expected="each name once",
                remedy="Put the files of each side into a folder of their own"
                if any(_fits(partner, path) for path in paths)
                else "",
            )
        sources[name] = read_text(own[0], "a sentence").strip() if modality == "text" else str(own[0])
    if others and modality != "text":  # pictures often lie beside their prompts
        warnings.warn(InputNote(f"{place}: {left_out} left out, as {others[0]}"), stacklevel=3)
    return sources


def _suffixes(modality: str) -> tuple[str, ...]:
    return (".txt",) if modality == "text" else SUFFIXES[modality]


def _fits(modality: str, path: Path) -> bool:
    """Whether a file may be of a modality by its suffix."""
    return path.suffix.lower() in _suffixes(modality)


def _sentences(path: Path) -> dict[str, str]:
    sentences: dict[str, str] = {}
    for line, where in read_lines(path, "name<TAB>sentence on each line"):
        name, tab, sentence = line.partition("\t")
        name = _composed(name.strip())
        if not tab or not sentence.strip():
            raise InputError(where, found=repr(line[:60]), expected="name<TAB>sentence")
        if name in sentences:
            raise InputError(where, found=f"{name!r} a second time", expected="each name once")
        sentences[name] = sentence.strip()
    return sentences


def _composed(name: str) -> str:
    """The name with accents composed: macOS writes them apart, other systems do not."""
    return unicodedata.normalize("NFC", name)
