"""Text logs of motion sensors: where the header is, how cells are separated, and the columns that matter.

Cells are split by :mod:`csv`; a log is read line by line and only columns with a role are kept.
"""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import BinaryIO, cast

import numpy as np

from bindplug.errors import InputError
from bindplug.inputs.imu.cells import EXPECTED, SPACES, Cells, is_number, rows_of
from bindplug.inputs.imu.columns import ACCELEROMETER, CHANNELS, Columns, Table, match_columns
from bindplug.inputs.imu.languages import encoding_of
from bindplug.inputs.imu.names import parse_name
from bindplug.inputs.imu.rows_by_sensor import SENSOR_COLUMNS, sensor_column
from bindplug.inputs.imu.units import parse_unit
from bindplug.inputs.limits import MOST_COLUMNS, MOST_ROWS, check_limit

SNIFFED_BYTES = 1 << 16
HEADER_WITHIN = 80
MOST_UNIT_ROWS = 4
MOST_NAMES = 1 << 15
"""Names that are looked at in search of a header."""
AXES = ("x", "y", "z", "w")
LONGEST_LINE = 1 << 20
CHUNK_ROWS = 1 << 16
LINES_PER_BROKEN = 100
"""Lines for each one that may be broken, as serial ports write them, in a log with a clock."""
SEPARATORS = ("\t", ";", ",", "|", SPACES)
_NUMBER_STARTS = frozenset("0123456789+-.")
_SEP_LINE = re.compile(r'^"?sep=(.|\\t)"?$', re.IGNORECASE)
_META_WORDS = frozenset({"cal", "raw", "calibrated", "uncal", "uncalibrated"})
_SCALED_HEADER = re.compile(r"^gyroflow imu log", re.IGNORECASE)


@dataclass
class _Header:
    """Where a header was found and how its line is split."""

    line: int
    separator: str
    names: list[str]
    matches: Columns
    sensor_column: str = ""


def read_text(
    file: BinaryIO,
    name: str,
    *,
    sensor: str | None = None,
    columns: Mapping[str, str] | Sequence[str] | None = None,
) -> Table:
    """Read a text log.

    Args:
        file: seekable, at its beginning.
        name: of the source, for errors.
        sensor: whose log it is, where it holds one sensor's.
        columns: names of the columns by channel, or all names in order for a log without a header.

    Raises:
        InputError: it is no text, has no header that names an axis, or rows that don't fit the header.
    """
    lines = _lines(file, name)
    head = list(islice(lines, HEADER_WITHIN))
    if head and _SCALED_HEADER.match(head[0]):
        remedy = "Convert it to physical units: counts times gscale and ascale, time times tscale."
        raise InputError(name, found="a Gyroflow log, whose counts need the scales in its first lines",
                         expected=EXPECTED, remedy=remedy)  # fmt: skip
    if columns is None or isinstance(columns, Mapping):
        place = _find_header(head, sensor, columns)
    else:
        place = _place_names(head, columns, sensor, name)
    if place is None:
        raise _headless(head, name)
    check_limit(name, len(place.names), MOST_COLUMNS, "columns")
    body = chain(head[place.line + 1 :], lines)
    preamble = tuple(line.lstrip("#%/ ").strip() for line in head[: place.line])
    return _read_body(body, place, preamble, name)


def _lines(file: BinaryIO, name: str) -> Iterator[str]:
    """The lines of a text without line ends, none longer than a megabyte; blank ones are left out."""
    start = file.tell()
    sample = file.read(SNIFFED_BYTES)
    file.seek(start)
    encoding = _encoding(sample, name)
    text = io.TextIOWrapper(cast(BinaryIO, _Unclosed(file)), encoding=encoding, errors="replace")
    rest = ""
    while block := text.read(LONGEST_LINE):
        lines = (rest + block).split("\n")
        rest = lines.pop()
        if len(rest) > LONGEST_LINE:
            problem = f"a line of more than {LONGEST_LINE:,} characters"
            raise InputError(name, found=problem, expected=EXPECTED)
        yield from (line for line in lines if line.strip())
    if rest.strip():
        yield rest


class _Unclosed(io.BufferedIOBase):
    """A reader over a file that belongs to somebody else, and that is not closed with it."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file

    def readable(self) -> bool:
        return True

    def read(self, size: int | None = -1, /) -> bytes:
        return self.file.read(-1 if size is None else size)

    def read1(self, size: int = -1, /) -> bytes:
        return self.file.read(SNIFFED_BYTES if size < 0 else size)


def _encoding(sample: bytes, name: str) -> str:
    if sample[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return "utf-16"
    try:
        codecs.getincrementaldecoder("utf-8")().decode(sample)
    except UnicodeDecodeError:
        encoding = encoding_of(sample) or "cp1252"
    else:
        encoding = "utf-8-sig"
    if b"\0" in sample:
        expected = "a motion recording: a text log, Parquet, JSON, .npy, .npz or a zip of logs"
        raise InputError(name, found="binary data of no kind that is read", expected=expected)
    return encoding


def _split(line: str, separator: str) -> list[str]:
    if separator == SPACES:
        return line.split()
    try:
        return next(csv.reader([line], delimiter=separator, skipinitialspace=True), [])
    except csv.Error:  # a cell beyond the field limit
        return []


def _find_header(head: list[str], sensor: str | None, choice: Mapping[str, str] | None) -> _Header | None:
    """The line that names most axes, and the separator by which it does."""
    best: _Header | None = None
    separators: tuple[str, ...] = SEPARATORS
    name_count = 0
    for at, line in enumerate(head):
        mark = _SEP_LINE.match(line.strip())
        if mark:
            separators = ("\t" if mark.group(1) == r"\t" else mark.group(1),)
            continue
        if not _has_letters(line):
            continue
        for separator in separators:
            if separator == SPACES and best is not None:
                continue
            names = _names(line, separator)
            if len(names) < 2:
                continue
            name_count += len(names)
            if name_count > MOST_NAMES:
                return best
            groups = head[at - 1] if at else ""
            for titles in (names, _with_groups(names, _names(groups, separator)), _with_groups(names, names)):
                matches = match_columns(titles, sensor, choice)
                if matches.channel_count > (best.matches.channel_count if best else 0):
                    best = _Header(at, separator, titles, matches)
    if best is None and sensor is None and choice is None:
        best = _find_sensor_column(head, separators)
    if best is not None and best.line + 1 < len(head):
        best.separator = _separator_of_body(head[best.line + 1], best)
    return best


def _find_sensor_column(head: list[str], separators: tuple[str, ...]) -> _Header | None:
    """The header of a log whose rows name their sensor."""
    for at, line in enumerate(head):
        for separator in separators if _has_letters(line) else ():
            names = _names(line, separator)
            column = sensor_column(names) if 4 <= len(names) <= MOST_COLUMNS else None
            if column is not None:
                return _Header(at, separator, names, match_columns(names, ACCELEROMETER), column)
    return None


def _names(line: str, separator: str) -> list[str]:
    names = [cell.strip().strip("\ufeff").strip() for cell in _split(line.lstrip("\ufeff#% "), separator)]
    while names and not names[-1]:
        names.pop()
    return names


def _with_groups(names: list[str], groups: list[str]) -> list[str]:
    """Axes that occur several times, with the name of their group: in the line above them, or before them in theirs.

    pandas writes two lines of names for columns of two levels; rosbag_to_csv writes ``angular_velocity,x,y,z``.
    """
    if sum(name.lower() == AXES[0] for name in names) < 2:
        return names
    own, group = groups is names, ""
    titles = []
    for index, name in enumerate(names):
        label = groups[index] if index < len(groups) else ""
        is_axis = name.lower() in AXES
        if label and not (own and is_axis):
            group = label
        if is_axis and group:
            titles.append(f"{group}.{name}")
        else:
            titles.append(f"{label} {name}" if label and not own else name)
    return titles


def _separator_of_body(line: str, header: _Header) -> str:
    """The header's separator, unless only another splits the first row into as many cells."""
    width = len(header.names)
    if len(_split(line, header.separator)) >= min(width, 2):
        return header.separator
    others = [mark for mark in SEPARATORS if len(_split(line, mark)) == width]
    return others[0] if others else header.separator


def _place_names(head: list[str], names: Sequence[str], sensor: str | None, name: str) -> _Header:
    """A header given by the caller, before the first line of that many cells that are numbers."""
    for at, line in enumerate(head):
        for separator in SEPARATORS:
            cells = _split(line, separator)
            while cells and not cells[-1].strip():
                cells.pop()
            if len(cells) == len(names) and sum(map(is_number, cells)) >= len(cells) - 1:
                matches = match_columns(names, sensor)
                if not matches.channel_count:
                    problem = f"columns={list(names)!r}, none of which is an axis"
                    remedy = f"Call the axes {', '.join(CHANNELS)}."
                    raise InputError(
                        name, found=problem, expected="accelerometer and gyroscope", remedy=remedy
                    )
                return _Header(at - 1, separator, list(names), matches)
    problem = f"no line of {len(names)} numbers among the first {len(head)}"
    raise InputError(name, found=problem, expected=f"as many cells as columns={list(names)!r} has names")


def _has_letters(line: str) -> bool:
    """Whether a line may be a header: one of numbers alone is not, however long it is."""
    return any(map(str.isalpha, line))


def _headless(head: list[str], name: str) -> InputError:
    in_order = f"columns=['time', {', '.join(map(repr, CHANNELS))}]"
    expected = "accelerometer and gyroscope"
    headers = [_names(line, mark) for line in head if _has_letters(line) for mark in SEPARATORS[:-1]]
    headers = [names for names in headers if 2 <= len(names) <= MOST_COLUMNS]
    for names in headers:
        words = {"".join(parse_name(title).words) for title in names}
        if "value" in words and words & SENSOR_COLUMNS:
            remedy = (
                "Pivot it: frame.pivot(index='time', columns='sensor', values='value'), and pass the frame."
            )
            problem = f"one value a row (columns: {', '.join(names[:12])})"
            return InputError(name, found=problem, expected="a column for each axis", remedy=remedy)
        bare = match_columns(names, ACCELEROMETER).triples.get(ACCELEROMETER, [])
        if any(triple.duplicates for triple in bare):
            remedy = f"Name all columns in the file's order: {in_order}."
            problem = "columns called x, y and z more than once, without saying whose"
            return InputError(name, found=problem, expected=expected, remedy=remedy)
        if any(triple.is_complete for triple in bare):
            problem = "one sensor's axes x, y and z, without saying whose"
            remedy = 'Give both files: {"accelerometer": "a.csv", "gyroscope": "g.csv"}.'
            return InputError(name, found=problem, expected=expected, remedy=remedy)
    begins = head[0][:80] if head else ""
    problem = f"no line that names accelerometer or gyroscope columns (it begins: {begins!r})"
    remedy = f"Name the columns: columns={{'acc_x': 'its name', ...}}, or in the file's order {in_order}."
    return InputError(name, found=problem, expected=EXPECTED, remedy=remedy)


def _read_body(lines: Iterator[str], header: _Header, preamble: tuple[str, ...], name: str) -> Table:
    names, width = header.names, len(header.names)
    roles = header.matches
    axis_names = {
        axis.name for group in roles.triples.values() for triple in group for axis in triple.axes.values()
    }
    clock_names = {clock.name for clock in roles.clocks}
    axes = [index for index, title in enumerate(names) if title in axis_names]
    clocks = [index for index, title in enumerate(names) if title in clock_names]
    texts = [*clocks, names.index(header.sensor_column)] if header.sensor_column else clocks
    last = max([*axes, *texts])
    rows = rows_of(lines, header.separator, name)
    units, first = _units_rows(rows, names, axes, clocks)
    titles = [names[index] for index in axes]
    unit_texts = [units.get(title, "") for title in titles]
    cells = Cells(name, {index: [] for index in axes}, {index: [] for index in texts})
    total = ragged = repeats = 0
    short_end = False
    for row in chain(first, rows):
        if len(row) > last and row[axes[0]][:1] not in _NUMBER_STARTS:
            own = [row[index].strip() for index in axes]
            if own == titles or (repeats and own == unit_texts):  # of logs that were joined
                repeats += own == titles
                continue
        short_end = len(row) <= last
        # Cells beyond the header would shift columns, as a decimal comma between commas does.
        if short_end or (len(row) > width and any(cell.strip() for cell in row[width:])):
            ragged += 1
            continue
        cells.rows.append(row)
        total += 1
        if len(cells.rows) >= CHUNK_ROWS:
            check_limit(name, total, MOST_ROWS, "rows")
            cells.flush()
    cells.flush()
    ragged -= short_end  # a last line may be half written
    if ragged > (total // LINES_PER_BROKEN if clocks else 0):
        problem = f"{ragged} of {total + ragged} lines without the header's {width} cells"
        remedy = (
            "Take broken lines out (a few are left out only where there is a clock); "
            "a decimal comma needs another separator than the comma."
        )
        raise InputError(name, found=problem, expected=EXPECTED, remedy=remedy)
    columns = {names[index]: _joined(chunks, np.float64) for index, chunks in cells.numbers.items()}
    for index, chunks in cells.texts.items():
        column = _joined(chunks, np.str_)
        if not np.array_equal(columns.setdefault(names[index], column), column):
            problem = f"two clocks named {names[index]!r} that differ"
            remedy = "Rename them after their sensors, or give each sensor's columns as a file of its own."
            raise InputError(name, found=problem, expected="one clock, or one for each sensor", remedy=remedy)
    notes = (f"{repeats} lines that repeat the header left out",) if repeats else ()
    if ragged:
        notes = (*notes, f"{ragged} broken lines, without the header's {width} cells, left out")
    return Table(
        columns, roles, tuple(names), units, preamble, sensor_column=header.sensor_column, notes=notes
    )


def _joined(chunks: list[np.ndarray], dtype: type) -> np.ndarray:
    return np.concatenate(chunks) if chunks else np.zeros(0, dtype)


def _units_rows(
    rows: Iterator[list[str]], names: list[str], axes: list[int], clocks: list[int]
) -> tuple[dict[str, str], list[list[str]]]:
    """Units that stand in rows below the header, and the first row of numbers, if it was reached."""
    units: dict[str, str] = {}
    for row in islice(rows, MOST_UNIT_ROWS):
        own = [row[index].strip() for index in axes if index < len(row)]
        if not own or any(is_number(cell) for cell in own):
            return units, [row]
        for index in (*axes, *clocks):
            text = row[index].strip() if index < len(row) else ""
            text = text[1:-1].strip() if text[:1] + text[-1:] in ("[]", "{}") else text
            is_unit = text and text.lower() not in _META_WORDS - {"raw"}
            if is_unit and parse_unit(units.get(names[index], "")) is None:
                units[names[index]] = text
    return units, []
