"""Cells of text logs: numbers with either decimal mark, grouped digits, blanks, and quotes that are never closed."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np

from bindplug.errors import InputError

LONGEST_TIME = 80
MOST_LINES_OF_A_ROW = 20
"""Lines that quoted cells of one row may span; a quote that is never closed runs on."""
SPACES = " "
COMMENTS = ("#", "//", "%")
BLANK_CELLS = frozenset({"", "-", "na", "n/a", "null", "none", "nan", "<null>", "#n/a"})
EXPECTED = "a text log with a header that names its columns"
_END = "\x1e"
"""A last line of its own; a quote that is still open takes it in."""
_SPACED_DIGITS = re.compile(r"(?<=\d)[\u00a0\u202f\u2009'’](?=\d{3})")
_GROUPED = {
    ",": re.compile(r"\s*[-+]?\d{1,3}(,\d{3})+(\.\d*)?(e[-+]?\d+)?\s*$", re.IGNORECASE),
    ".": re.compile(r"\s*[-+]?\d{1,3}(\.\d{3})+(,\d*)?(e[-+]?\d+)?\s*$", re.IGNORECASE),
}


@dataclass
class Cells:
    """The chosen columns while rows are read: arrays by chunk.

    Attributes:
        name: of the source, for errors.
        numbers: chunks of float64 by the column's place.
        texts: chunks of texts by the column's place.
        marks: decimal marks that were met.
        rows: rows that wait to be converted.
    """

    name: str
    numbers: dict[int, list[np.ndarray]]
    texts: dict[int, list[np.ndarray]]
    marks: set[str] = field(default_factory=set)
    rows: list[list[str]] = field(default_factory=list)

    def flush(self) -> None:
        """Convert the rows that wait.

        Raises:
            InputError: decimal points and decimal commas in one log, or a time that is too long.
        """
        if not self.rows:
            return
        columns = {index: [row[index] for row in self.rows] for index in self.numbers}
        text = "".join("".join(cells) for cells in columns.values())
        if "\u2212" in text or _SPACED_DIGITS.search(text):  # a typographic minus, 1'234.5
            columns = {index: [plain(cell) for cell in cells] for index, cells in columns.items()}
        if "," in text or "." in text:
            self._take_marks(columns, text)
        for index, cells in columns.items():
            self.numbers[index].append(_floats(cells))
        for index, chunks in self.texts.items():
            chunks.append(texts_of([row[index].strip() for row in self.rows], self.name))
        self.rows = []

    def _take_marks(self, columns: dict[int, list[str]], text: str) -> None:
        """Make decimal marks points, and leave out marks between groups of digits."""
        if "," not in text and text.count(".") <= sum(map(len, columns.values())):
            self.marks.add(".")
        else:
            cells = [cell for column in columns.values() for cell in column]
            marks = number_marks(cells)
            self.marks |= {".", ","} if marks is None else {marks[0]}
            if marks is not None:
                for index, column in columns.items():
                    columns[index] = with_point(column, *marks)
        if len(self.marks) > 1:
            remedy = "Write numbers with decimal points and without marks between thousands."
            problem = "decimal points and decimal commas in one log"
            raise InputError(self.name, found=problem, expected="one of them", remedy=remedy)


def number_marks(cells: Iterable[str]) -> tuple[str, str] | None:
    """The decimal mark of numbers, and the mark between groups of three digits (``""`` without one).

    A mark groups digits only where a number shows it: it has both marks, or one twice. ``None`` where the numbers
    contradict each other, or point and comma occur apart.
    """
    cells = [cell for cell in cells if "," in cell or "." in cell]
    both = next((cell for cell in cells if "," in cell and "." in cell), None)
    group = ""
    if both is not None:
        group = min(",.", key=both.rfind)
    else:
        group = next((mark for mark in ",." if any(cell.count(mark) > 1 for cell in cells)), "")
    if group:
        is_plain = (group not in cell or _GROUPED[group].match(cell) for cell in cells)
        return ("." if group == "," else ",", group) if all(is_plain) else None
    commas = any("," in cell for cell in cells)
    if commas and any("." in cell for cell in cells):
        return None
    return ("," if commas else ".", "")


def with_point(cells: list[str], mark: str, group: str) -> list[str]:
    """Numbers with a decimal point and without marks between groups of digits."""
    if group:
        cells = [cell.replace(group, "") for cell in cells]
    return [cell.replace(",", ".") for cell in cells] if mark == "," else cells


def rows_of(lines: Iterator[str], separator: str, name: str) -> Iterator[list[str]]:
    """The cells of each line; comments are left out.

    Raises:
        InputError: a quote is never closed, or runs over many lines.
    """
    data = (line for line in lines if not line.lstrip().startswith(COMMENTS))
    if separator == SPACES:
        yield from (line.split() for line in data)
        return
    reader = csv.reader(_with_end(data), delimiter=separator, skipinitialspace=True)
    count = 0
    try:
        for row in reader:
            spanned, count = reader.line_num - count, reader.line_num
            if spanned > MOST_LINES_OF_A_ROW:
                raise _unclosed(count - spanned + 1, name)
            if row == [_END]:
                return
            if spanned > 1 and _END in row[-1]:
                raise _unclosed(count - spanned + 1, name)
            yield row
    except csv.Error as error:
        if "field larger" in str(error):
            problem = f"a cell of more than {csv.field_size_limit():,} characters after row {count}"
            remedy = "Is a quote not closed? Then remove it."
            raise InputError(name, found=problem, expected=EXPECTED, remedy=remedy) from None
        raise InputError(name, found=f"a line that cannot be split ({error})", expected=EXPECTED) from None


def _with_end(lines: Iterator[str]) -> Iterator[str]:
    yield from lines
    yield _END


def _unclosed(row: int, name: str) -> InputError:
    problem = f"a quote in row {row} that is not closed within {MOST_LINES_OF_A_ROW} lines"
    return InputError(name, found=problem, expected=EXPECTED, remedy="Remove the quote.")


def texts_of(cells: list[str], name: str) -> np.ndarray:
    """Cells of a clock as an array of texts, each short: an array holds all in the length of the longest."""
    longest = max(map(len, cells), default=0)
    if longest > LONGEST_TIME:
        problem = f"a time of {longest} characters"
        raise InputError(name, found=problem, expected=f"times of at most {LONGEST_TIME} characters")
    return np.array(cells, dtype=np.str_)


def number(cell: str) -> float:
    """The number in a cell; NaN if it holds none."""
    try:
        return float(cell)
    except ValueError:
        return float("nan")


def is_number(cell: str) -> bool:
    """Whether a cell holds a number, a decimal comma and grouped digits included, or is blank."""
    text = cell.strip().lower()
    if text in BLANK_CELLS:
        return True
    try:
        float(text.replace(",", "."))
    except ValueError:
        return any(pattern.match(text) for pattern in _GROUPED.values())
    return True


def plain(cell: str) -> str:
    """A number without typographic minus, and without spaces or apostrophes between groups of digits."""
    return _SPACED_DIGITS.sub("", cell.replace("\u2212", "-"))


def _floats(cells: list[str]) -> np.ndarray:
    try:
        return np.array(cells, dtype=np.float64)
    except ValueError:
        return np.array([number(cell) for cell in cells], dtype=np.float64)
