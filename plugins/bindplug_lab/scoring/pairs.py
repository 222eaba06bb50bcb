"""Pairs of files of two modalities, by name."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bindplug import Query, text
from bindplug.errors import InputError
from bindplug.modality import Modality
from bindplug.query import Leaf

__all__ = ["Pairs", "find_pairs"]

SHOWN = 5
"""Names without a partner that an error lists."""


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

    Text is a folder of ``.txt`` files, or one file with ``name<TAB>sentence`` on each line.

    Args:
        first, second: modality and place of each side.
        options: of readers, by modality.
        allow_unpaired: leave out names that one side alone has.

    Raises:
        InputError: a place is missing or empty, a name stands twice on a side, or has no partner.
    """
    sides = []
    for modality, place in (first, second):
        sides.append(_side(modality, Path(place)))
    lone = all(Path(place).is_file() and modality != "text" for modality, place in (first, second))
    if lone:
        (name, one), other = next(iter(sides[0].items())), next(iter(sides[1].values()))
        sides = [{name: one}, {name: other}]
    names = [name for name in sides[0] if name in sides[1]]
    places = [f"{modality} {place}" for modality, place in (first, second)]
    unpaired = [
        f"{name} ({where} alone)"
        for own, other, where in ((sides[0], sides[1], places[0]), (sides[1], sides[0], places[1]))
        for name in own
        if name not in other
    ]
    if not names or (unpaired and not allow_unpaired):
        more = f" and {len(unpaired) - SHOWN} more" if len(unpaired) > SHOWN else ""
        raise InputError(
            f"{places[0]} and {places[1]}",
            found=f"names without a partner: {', '.join(unpaired[:SHOWN])}{more}",
            expected="the same names, without suffix, on both sides",
            remedy="Say --allow-unpaired to score the others" if names else "",
        )
    queries = [
        tuple(_query(modality, side[name], (options or {}).get(modality, {})) for name in names)
        for (modality, _), side in zip((first, second), sides, strict=True)
    ]
    return Pairs(
        tuple(names),
        queries[0],
        queries[1],
        tuple(sides[0][name] for name in names),
        tuple(sides[1][name] for name in names),
        tuple(unpaired),
    )


def _query(modality: str, source: str, options: Mapping[str, Any]) -> Query:
    if modality == "text":
        return text(source)
    return Query([(1.0, Leaf(Modality.parse(modality), source, options))])


def _side(modality: str, place: Path) -> dict[str, str]:
    """Source by name: a path, or for text the sentence."""
    if not place.exists():
        raise InputError(str(place), found="no such file or folder", expected=f"a folder of {modality}")
    if place.is_file():
        return _sentences(place) if modality == "text" else {_composed(place.stem): str(place)}
    sources: dict[str, str] = {}
    for path in sorted(place.rglob("*")):
        relative = path.relative_to(place)
        if not path.is_file() or any(part.startswith(".") for part in relative.parts):
            continue
        if modality == "text" and path.suffix.lower() != ".txt":  # pictures often lie beside their prompts
            continue
        name = _composed(relative.with_suffix("").as_posix())
        if name in sources:
            raise InputError(
                str(place), found=f"two files named {name!r}, as {relative}", expected="each name once"
            )
        sources[name] = _read(path) if modality == "text" else str(path)
    if not sources:
        raise InputError(str(place), found="no such files in the folder", expected=f"files of {modality}")
    return sources


def _sentences(path: Path) -> dict[str, str]:
    sentences: dict[str, str] = {}
    for number, line in enumerate(_read(path).splitlines(), start=1):
        if not line.strip():
            continue
        name, tab, sentence = line.partition("\t")
        name = _composed(name.strip())
        where = f"{path}, line {number}"
        if not tab or not sentence.strip():
            raise InputError(where, found=repr(line[:60]), expected="name<TAB>sentence")
        if name in sentences:
            raise InputError(where, found=f"{name!r} a second time", expected="each name once")
        sentences[name] = sentence.strip()
    if not sentences:
        raise InputError(str(path), found="no sentence", expected="name<TAB>sentence on each line")
    return sentences


def _composed(name: str) -> str:
    """The name with accents composed: macOS writes them apart, other systems do not."""
    return unicodedata.normalize("NFC", name)


def _read(path: Path) -> str:
    try:
        content = path.read_text(encoding="utf-8-sig").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(str(path), found=reason, expected="a UTF-8 text file") from None
    if not content:
        raise InputError(str(path), found="nothing in it", expected="a sentence")
    return content
