"""Pairs from a CSV, JSON Lines or Parquet table of paths."""

from __future__ import annotations

import csv
import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bindplug.errors import InputError, WeightsNotFound
from bindplug.lazy import require
from bindplug.training.pair_items import VIDEOS, PairItem, PairList, PairProblem
from bindplug.training.pair_sources import FileSource

TABLES = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet")
"""Endings of tables."""

LONGEST_LINE = 1 << 20
"""Characters of a line of JSON; a row of paths has a few hundred."""

PARQUET_ROWS = 4096
"""Rows of a Parquet file that are read at once."""

ROLES = ("image", "video", "start", "end", "label", "caption", "group")
"""Columns beside the sense's own."""


@dataclass(frozen=True)
class Columns:
    """Names of a table's columns.

    Args:
        anchor: that of the picture or video.
        sample: that of the other sense; equal to ``anchor`` where a video gives both.
        others: those of ``start``, ``end``, ``label``, ``caption`` and ``group`` that are there.
    """

    anchor: str
    sample: str
    others: Mapping[str, str]

    def cell(self, row: Mapping[str, Any], role: str) -> Any:
        """The cell of one of the other columns; None where there is no such column."""
        return row.get(self.others[role]) if role in self.others else None


def read_table(file: Path, sense: str, columns: Mapping[str, str] | None = None) -> PairList:
    """Pairs of a table with a row for each: a path of a picture or video, and one of a sample.

    Args:
        file: CSV, TSV, JSON Lines or Parquet. Paths are relative to it.
        sense: of the samples, and the name of their column. The pictures' is ``image`` or ``video``; for sounds a
            column ``video`` alone gives both sides. ``start`` and ``end`` in seconds, ``label``, ``caption`` and
            ``group`` (of recordings that belong together) may be there too.
        columns: names of columns that are called otherwise, as ``{"image": "photo", "audio": "clip"}``.

    Raises:
        InputError: the file is damaged, empty, or lacks a column.
        WeightsNotFound: there is no such file.
        MissingDependency: pyarrow, for Parquet, is absent.
    """
    if not file.is_file():
        raise WeightsNotFound(f"there is no table of pairs {str(file)!r} (from {str(Path.cwd())!r})")
    pairs = PairList([], format="table", source=str(file))
    by_names: dict[tuple[str, ...], Columns] = {}  # rows of JSON may each have fields of their own
    for number, row in _rows(file):
        place = f"{file}, row {number}"
        if isinstance(row, str):
            pairs.problems.append(PairProblem(place, row))
            continue
        names = tuple(row)
        try:
            if names not in by_names:
                optional = set(ROLES[2:]) if by_names else set()
                named = {
                    role: name
                    for role, name in (columns or {}).items()
                    if role not in optional or name in names
                }
                by_names[names] = resolve_columns(names, sense, named, str(file))
        except InputError as error:
            if not by_names:
                raise
            pairs.problems.append(PairProblem(place, f"{error.found}; expected {error.expected}", "unpaired"))
            continue
        result = _pair(place, row, by_names[names], file.parent)
        (pairs.items if isinstance(result, PairItem) else pairs.problems).append(result)  # type: ignore[arg-type]
    if not by_names and not pairs.problems:
        raise InputError(str(file), found="no rows", expected=f"a header and rows of an image and {sense}")
    return pairs


def resolve_columns(
    names: Sequence[str], sense: str, columns: Mapping[str, str] | None, source: str
) -> Columns:
    """Which column holds what.

    Raises:
        InputError: a column is missing, there are two, or a name in ``columns`` is none.
    """
    by_role = {str(role): str(name) for role, name in (columns or {}).items()}
    unknown = sorted(set(by_role) - {*ROLES, sense})
    if unknown:
        raise InputError(
            "columns", found=f"{', '.join(unknown)}", expected=f"some of {', '.join((sense, *ROLES))}"
        )
    absent = [name for name in by_role.values() if name not in names]
    if absent:
        raise InputError(
            source, found=f"no column {absent[0]!r}", expected=f"one of {', '.join(names)[:200]}"
        )

    def column(role: str) -> str | None:
        if role in by_role or role in names:
            return by_role.get(role, role)
        alike = [name for name in names if name.strip().lower() == role]
        if len(alike) > 1:
            raise InputError(
                source,
                found=f"the columns {' and '.join(alike)}",
                expected=f"one column {role}",
                remedy=f"Say which with --column {role}=NAME",
            )
        return alike[0] if alike else None

    anchor = by_role.get("image") or by_role.get("video") or column("image") or column("video")
    sample = column(sense)
    if sample is None and sense == "audio" and anchor is not None and anchor == column("video"):
        sample = anchor
    if anchor is None or sample is None:
        missing = "image or video" if anchor is None else sense
        raise InputError(
            source,
            found=f"the columns {', '.join(names)[:200] or 'none'}",
            expected=f"a column {missing}",
            remedy=f"Name it with --column {'image' if anchor is None else sense}=NAME",
        )
    others = {role: name for role in ROLES[2:] if (name := column(role)) is not None}
    return Columns(anchor, sample, others)


def _rows(file: Path) -> Iterator[tuple[int, dict[str, Any] | str]]:
    """Row number from 1, and its cells by column or what is wrong with the row."""
    suffix = file.suffix.lower()
    if suffix == ".parquet":
        yield from enumerate(_parquet_rows(file), start=1)
    elif suffix in (".jsonl", ".ndjson"):
        yield from _json_rows(file)
    else:
        yield from _csv_rows(file, "\t" if suffix == ".tsv" else None)


def _csv_rows(file: Path, delimiter: str | None) -> Iterator[tuple[int, dict[str, Any] | str]]:
    try:
        with file.open(encoding="utf-8-sig", newline="") as stream:
            if delimiter is None:
                delimiter = _delimiter(stream.readline(LONGEST_LINE))
                stream.seek(0)
            reader = csv.reader(stream, delimiter=delimiter, strict=True)
            header = [cell.strip() for cell in next(reader, [])]
            if len(set(header)) < len(header):
                raise InputError(str(file), found="two columns of one name", expected="names of their own")
            number = 0
            for line in reader:
                if not any(cell.strip() for cell in line):
                    continue
                number += 1
                if len(line) != len(header):
                    yield number, f"{len(line)} cells under a header of {len(header)}"
                else:
                    yield number, dict(zip(header, (cell.strip() for cell in line), strict=True))
    except (OSError, UnicodeError, csv.Error) as error:
        raise InputError(
            str(file),
            found=f"no readable CSV ({error})",
            expected="UTF-8 text with a header",
            remedy="Save the table as UTF-8" if isinstance(error, UnicodeError) else "",
        ) from None


def _delimiter(header: str) -> str:
    """What separates the columns: a comma, or what spreadsheets write instead where there is none in the header."""
    return next((mark for mark in (",", ";", "\t") if mark in header), ",")


def _json_rows(file: Path) -> Iterator[tuple[int, dict[str, Any] | str]]:
    with file.open(encoding="utf-8-sig", errors="replace") as stream:
        number = 0
        while line := stream.readline(LONGEST_LINE):
            if not line.strip():
                continue
            number += 1
            try:
                row = json.loads(line)
            except (ValueError, RecursionError) as error:
                yield number, f"no JSON object on the line ({str(error)[:80]})"
                continue
            yield number, row if isinstance(row, dict) else f"a {type(row).__name__} in place of an object"


def _parquet_rows(file: Path) -> Iterator[dict[str, Any]]:
    parquet = require("pyarrow.parquet", owner=f"reading {file.name}", extra="cli")
    try:
        with parquet.ParquetFile(file) as opened:
            for batch in opened.iter_batches(PARQUET_ROWS):
                yield from batch.to_pylist()
    except InputError:
        raise
    except Exception as error:  # pyarrow has errors of many kinds for damage
        problem = f"no readable Parquet ({type(error).__name__}: {str(error)[:120]})"
        raise InputError(str(file), found=problem, expected="a whole Parquet file") from error


def _pair(place: str, row: Mapping[str, Any], columns: Columns, folder: Path) -> PairItem | PairProblem:
    paths = []
    for column in (columns.anchor, columns.sample):
        cell = row.get(column)
        if cell is None or cell == "":
            return PairProblem(place, f"nothing in the column {column}", "unpaired")
        if not isinstance(cell, str) or "\0" in cell:
            return PairProblem(place, f"a {type(cell).__name__} in the column {column}; expected a path")
        if "://" in cell:
            return PairProblem(
                place, f"the address {cell[:120]}; expected a file of this machine: download it first"
            )
        try:
            path = folder / Path(cell).expanduser()
            if "\\" in cell and not path.is_file():  # written on Windows
                path = folder / cell.replace("\\", "/")
            paths.append(os.path.normpath(path))
            is_there = Path(paths[-1]).is_file()
        except (OSError, RuntimeError) as error:  # a name that is too long, a home that nobody has
            return PairProblem(place, f"no path in the column {column} ({str(error)[:80]})")
        if not is_there:
            return PairProblem(paths[-1], f"no such file ({place})")
    try:
        start, end = stretch_of(row, columns)
    except ValueError as error:
        return PairProblem(place, str(error))
    text = {role: _text(columns.cell(row, role)) for role in ("label", "caption", "group")}
    is_video = Path(paths[0]).suffix.lower() in VIDEOS
    middle = None if not is_video or start is None or end is None else (start + end) / 2
    return PairItem(
        FileSource(paths[0]),
        FileSource(paths[1]),
        name=place,
        group=text["group"] or paths[1],
        moment_s=middle,
        start_s=start,
        end_s=end,
        is_video=is_video,
        label=text["label"],
        caption=text["caption"],
    )


def stretch_of(row: Mapping[str, Any], columns: Columns) -> tuple[float | None, float | None]:
    """Start and end in seconds of a row's stretch of its recording; None where it says none.

    Raises:
        ValueError: they are no numbers, or the end is not after the start.
    """
    times: list[float | None] = []
    for role in ("start", "end"):
        cell = columns.cell(row, role)
        try:
            value = None if cell is None or cell == "" else float(cell)
        except (TypeError, ValueError, OverflowError):
            value = math.nan
        if isinstance(cell, bool) or (value is not None and not math.isfinite(value)):
            raise ValueError(f"{str(cell)[:40]!r} is no {role} in seconds")
        times.append(value)
    start, end = times
    if (start or 0) < 0 or (end is not None and end <= (start or 0)):
        raise ValueError(f"from {start} to {end} s is no stretch of time")
    return start, end


def _text(cell: Any) -> str:
    return "" if cell is None else str(cell)
