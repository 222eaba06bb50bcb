"""Annotation files as data sets have them: CSV, JSON and lists, checked as they are read."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from bindplug.errors import InputError
from bindplug_lab.datasets.leftovers import is_lfs_pointer

__all__ = ["Row", "read_csv", "read_json", "read_lines", "read_text", "seconds"]

MOST_BYTES = 1 << 31
"""Annotations beyond 2 GiB are no annotations of any data set known here."""
LONGEST_DAMAGE_MESSAGE = 200


class Row(Mapping[str, str]):
    """A row of a table: cells by the name of their column, in any case, and the place for errors.

    Attributes:
        place: the file and line, as ``"meta/esc50.csv, line 3"``.
    """

    __slots__ = ("_cells", "place")

    def __init__(self, cells: dict[str, str], place: str) -> None:
        self._cells, self.place = cells, place

    def __getitem__(self, column: str) -> str:
        return self._cells[column.casefold()]

    def __iter__(self) -> Iterator[str]:
        return iter(self._cells)

    def __len__(self) -> int:
        return len(self._cells)

    def text(self, column: str) -> str:
        """A cell that must not be blank.

        Raises:
            InputError: it is.
        """
        if not self[column]:
            raise InputError(self.place, found=f"a blank {column!r}", expected="a value")
        return self[column]

    def refuse(self, column: str, expected: str) -> NoReturn:
        """Raise an error about a cell.

        Raises:
            InputError: always.
        """
        raise InputError(self.place, found=f"{column} = {self[column]!r}", expected=expected)

    def number(self, column: str) -> int:
        """A cell that is a whole number.

        Raises:
            InputError: it is none.
        """
        try:
            return int(self[column])
        except ValueError:
            self.refuse(column, "a whole number")

    def seconds(self, column: str) -> float:
        """A cell that is a time in seconds.

        Raises:
            InputError: it is none.
        """
        return seconds(self[column], column, self.place)


def seconds(value: object, what: str, place: str) -> float:
    """A time in seconds, at least 0.

    Raises:
        InputError: the value is none.
    """
    try:
        number = float(str(value))
    except ValueError:
        number = -1.0
    if not 0 <= number < float("inf"):
        raise InputError(place, found=f"{what} = {value!r}", expected="a number of seconds, at least 0")
    return number


def read_text(path: Path, what: str = "annotations") -> str:
    """The text of a file in UTF-8 or UTF-16, with or without a byte order mark, line ends as ``\\n``.

    Args:
        path: the file.
        what: it should hold, for errors.

    Raises:
        InputError: the file is missing, empty, too large, or neither.
    """
    try:
        if path.stat().st_size > MOST_BYTES:
            raise InputError(str(path), found="more than 2 GiB", expected=f"a file of {what}")
        data = path.read_bytes()
    except OSError as error:
        found = f"a file that cannot be read ({error.strerror})"
        raise InputError(str(path), found=found, expected="a readable file") from None
    if not data.strip():
        raise InputError(
            str(path),
            found="an empty file",
            expected=what,
            remedy="Download it again." if what == "annotations" else "",
        )
    is_utf16 = data.startswith((b"\xff\xfe", b"\xfe\xff"))
    try:
        text = data.decode("utf-16" if is_utf16 else "utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        found = f"bytes that are not UTF-8, in line {line}"
        raise InputError(
            str(path), found=found, expected="text in UTF-8", remedy="Save it as UTF-8."
        ) from None
    if "\0" in text:
        found, remedy = "bytes of zero", "It is damaged or no text; download it again."
        raise InputError(str(path), found=found, expected="text", remedy=remedy)
    if is_lfs_pointer(path):
        remedy = "Fetch the file with git lfs pull."
        raise InputError(str(path), found="a pointer of Git LFS", expected=what, remedy=remedy)
    head = text.lstrip()[:200].casefold()
    if head.startswith(("<!doctype html", "<html")):
        remedy = "A login or error page was saved in its place; download it again."
        raise InputError(str(path), found="a web page", expected=what, remedy=remedy)
    return text.replace("\r\n", "\n").replace("\r", "\n")


def read_lines(path: Path, what: str = "annotations") -> list[tuple[str, str]]:
    """The lines of a file that are not blank, each with its place for errors.

    Raises:
        InputError: see :func:`read_text`.
    """
    lines = enumerate(read_text(path, what).split("\n"), start=1)
    return [(line.strip(), f"{path}, line {number}") for number, line in lines if line.strip()]


def read_csv(
    path: Path,
    columns: Sequence[str],
    *,
    header: bool = True,
    delimiter: str = ",",
    comment: str = "",
    clock: str = "",
    rename: Mapping[str, str] | None = None,
) -> Iterator[Row]:
    """Rows of a CSV file, one at a time.

    Quoted cells may hold commas and line ends, blanks around cells are left out, and blank lines are skipped.

    Args:
        path: the file.
        columns: names that must be among its columns; without a header, all its columns in their order.
        header: whether its first line names the columns.
        delimiter: between cells.
        comment: lines that start with it are skipped.
        clock: without a header, a column of times. Some copies name the columns in a first line, which has a name
            that begins with this one there, and is skipped.
        rename: other names under which a column is met, in lower case, and the name to read it by.

    Raises:
        InputError: see :func:`read_text`; or a column is missing, or a row has more or fewer cells than there are
            columns.
    """
    text = read_text(path)
    stream = io.StringIO(text, newline="")
    reader = csv.reader(stream, delimiter=delimiter, skipinitialspace=True, strict=True)
    names = [name.casefold() for name in columns]
    is_named = not header
    count = 0
    try:
        for cells in reader:
            place = f"{path}, line {reader.line_num}"
            if not any(cell.strip() for cell in cells) or (comment and cells[0].lstrip().startswith(comment)):
                continue
            if not is_named:
                is_named, names = True, _header(cells, columns, rename or {}, path, delimiter)
                continue
            if len(cells) != len(names):
                expected = f"{len(names)} cells ({', '.join(names[:6])})"
                remedy = "Cells that hold commas must be in quotes." if len(cells) > len(names) else ""
                raise InputError(place, found=f"{len(cells)} cells", expected=expected, remedy=remedy)
            row = Row(dict(zip(names, map(str.strip, cells), strict=True)), place)
            if count == 0 and clock and row[clock].casefold().startswith(clock):
                clock = ""
                continue
            count += 1
            yield row
    except csv.Error as error:
        place = f"{path}, line {reader.line_num}"
        remedy = "The file may have been cut off; download it again."
        raise InputError(place, found=f"damaged CSV ({error})", expected="CSV", remedy=remedy) from None
    if count == 0:
        raise InputError(str(path), found="no rows", expected="at least one row of annotations")


def _header(
    cells: Sequence[str], columns: Sequence[str], rename: Mapping[str, str], path: Path, delimiter: str
) -> list[str]:
    names = [cell.strip().casefold() for cell in cells]
    names = [
        rename[name].casefold() if name in rename and rename[name].casefold() not in names else name
        for name in names
    ]
    missing = [column for column in columns if column.casefold() not in names]
    if missing:
        found = f"no column {missing[0]!r} among {', '.join(cells[:12])}"
        other = next((mark for mark in ",;\t|" if mark in "".join(cells) and len(cells) <= 2), "")
        remedy = f"Its cells seem to be parted by {other!r}: save it with {delimiter!r}." if other else ""
        expected = f"the columns {', '.join(columns)}"
        raise InputError(f"{path}, line 1", found=found, expected=expected, remedy=remedy)
    repeated = [name for name in names if name and names.count(name) > 1]
    if repeated:
        raise InputError(f"{path}, line 1", found=f"two columns {repeated[0]!r}", expected="each column once")
    return names


def read_json(path: Path) -> Any:
    """The content of a JSON file.

    Raises:
        InputError: see :func:`read_text`; or it is damaged.
    """
    try:
        return json.loads(read_text(path))
    except (ValueError, RecursionError) as error:
        message = str(error)[:LONGEST_DAMAGE_MESSAGE]
        remedy = "It may have been cut off; download it again."
        raise InputError(
            str(path), found=f"damaged JSON ({message})", expected="JSON", remedy=remedy
        ) from None
