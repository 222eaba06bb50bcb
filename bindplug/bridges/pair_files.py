"""Paired items of two modalities: from a CSV file, or as queries."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bindplug.encoder import Encoder
from bindplug.errors import InputError, WeightsNotFound
from bindplug.modality import Modality
from bindplug.query import Query, audio, depth, image, imu, text, thermal, video

MAKERS: dict[str, Callable[..., Query]] = {
    "image": image,
    "video": video,
    "text": text,
    "audio": audio,
    "depth": depth,
    "thermal": thermal,
    "imu": imu,
}
EXPECTED = "a CSV file with two columns named by modality, as audio,image or audio,text"

Pairs = str | os.PathLike[str] | Sequence[tuple[Query, Query]]
"""Paired items: a CSV file, or for each pair a query of the source and one of the target."""


@dataclass(frozen=True)
class ItemPairs:
    """Items of two modalities, item i of one showing what item i of the other does.

    Attributes:
        source_modality, target_modality: which the source and the target embed.
        source, target: queries, as many of one as of the other.
        name: of the file; "pairs" without one.
    """

    source_modality: str
    target_modality: str
    source: tuple[Query, ...]
    target: tuple[Query, ...]
    name: str

    def keys(self) -> tuple[list[Hashable], list[Hashable]]:
        """What tells items of either side apart: equal keys are of one item."""
        sides = (self.source, self.target)
        first, second = ([tuple(leaf for _, leaf in query.terms) for query in side] for side in sides)
        return list(first), list(second)


def read_pairs(pairs: Pairs, source: Encoder, target: Encoder) -> ItemPairs:
    """Pairs for a source and a target.

    Of a CSV file the first column is the source's and the second the target's; if only the other way round fits
    their modalities, the other way round. Paths are relative to the file.

    Raises:
        InputError: the file cannot be read or has other columns, a cell is empty, there are no pairs, an item is no
            query, or a side does not embed its column.
        WeightsNotFound: there is no such file.
    """
    if isinstance(pairs, (str, os.PathLike)):
        file = Path(pairs).expanduser()
        names, rows = _read(file)
        if not _fits(names, source, target) and _fits(names[::-1], source, target):
            names, rows = names[::-1], [row[::-1] for row in rows]
        sides = [
            tuple(_query(name, row[place], file.parent) for row in rows) for place, name in enumerate(names)
        ]
        result = ItemPairs(names[0], names[1], sides[0], sides[1], file.name)
    else:
        result = _of_queries(pairs)
    for side, encoder, modality in (
        ("source", source, result.source_modality),
        ("target", target, result.target_modality),
    ):
        if modality not in encoder.modalities:
            raise InputError(
                result.name,
                found=f"{modality} for the {side}, which embeds {', '.join(encoder.modalities)}",
                expected="a modality of the source, then one of the target",
            )
    return result


def columns_of(pairs: str | os.PathLike[str]) -> list[str]:
    """The two modalities that a CSV file of pairs names.

    Raises:
        InputError, WeightsNotFound: as :func:`read_pairs`.
    """
    return _read(Path(pairs).expanduser())[0]


def _read(file: Path) -> tuple[list[str], list[list[str]]]:
    if not file.is_file():
        raise WeightsNotFound(f"there is no file of pairs {str(file)!r} (from {str(Path.cwd())!r})")
    try:
        with file.open(encoding="utf-8-sig", newline="") as stream:
            lines = [line for line in csv.reader(stream, strict=True) if any(cell.strip() for cell in line)]
    except (OSError, ValueError, csv.Error) as error:
        raise InputError(str(file), found=f"no CSV ({error})", expected=EXPECTED) from None
    if not lines:
        raise InputError(str(file), found="an empty file", expected=EXPECTED)
    header = [cell.strip().lower() for cell in lines[0]]
    modality_names = {modality.value for modality in Modality}
    if len(header) != 2 or not set(header) <= modality_names:
        raise InputError(str(file), found=f"the columns {','.join(header)[:80]}", expected=EXPECTED)
    for number, line in enumerate(lines[1:], start=2):
        if len(line) != 2 or not all(cell.strip() for cell in line):
            line_text = ",".join(line)[:60]
            raise InputError(
                str(file),
                found=f"{line_text!r} on line {number}",
                expected=f"two cells, {header[0]} and {header[1]}",
            )
    if len(lines) == 1:
        raise InputError(str(file), found="a header and no pairs", expected=EXPECTED)
    return header, [[cell.strip() for cell in line] for line in lines[1:]]


def _fits(names: Sequence[str], source: Encoder, target: Encoder) -> bool:
    return names[0] in source.modalities and names[1] in target.modalities


def _query(modality: str, cell: str, folder: Path) -> Query:
    return text(cell) if modality == "text" else MAKERS[modality](str(folder / Path(cell).expanduser()))


def _of_queries(pairs: Sequence[tuple[Query, Query]]) -> ItemPairs:
    expected = "for each pair a query of the source and one of the target"
    pair_list = list(pairs)
    if not pair_list:
        raise InputError("pairs", found="none", expected=expected)
    for index, pair in enumerate(pair_list):
        if (
            not isinstance(pair, (tuple, list))
            or len(pair) != 2
            or not all(isinstance(q, Query) for q in pair)
        ):
            raise InputError(f"pairs[{index}]", found=f"a {type(pair).__name__}", expected=expected)
    names = []
    for place, side in enumerate(("source", "target")):
        kinds = {pair[place].modality for pair in pair_list}
        modalities = {None if kind is None else kind.value for kind in kinds}
        if len(modalities) != 1 or None in modalities:
            several = ", ".join(sorted(str(name) for name in modalities))
            raise InputError(
                "pairs", found=f"{several} as {side}", expected="one modality a side, which is known"
            )
        names.append(str(modalities.pop()))
    source, target = zip(*pair_list, strict=True)
    return ItemPairs(names[0], names[1], tuple(source), tuple(target), "pairs")
