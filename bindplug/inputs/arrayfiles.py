"""Reads arrays from ``.npy``, ``.npz``, MATLAB and text files, without ever running code from them."""

from __future__ import annotations

import csv
import re
import zipfile
from collections.abc import Callable

import numpy as np

from bindplug.errors import InputError
from bindplug.inputs.gzipped import is_gzip, unzipped
from bindplug.inputs.limits import MOST_BYTES, MOST_PIXELS, check_limit
from bindplug.inputs.matlab import read_variables
from bindplug.inputs.notes import note
from bindplug.inputs.source import describe_source, open_source, peek, read_whole, suffix_of

NPY_MAGIC = b"\x93NUMPY"
ZIP_MAGIC = b"PK\x03\x04"
MATLAB_MAGIC = b"MATLAB 5.0 MAT-file"
MATLAB_HDF5_MAGIC = b"MATLAB 7.3 MAT-file"
TEXT_SUFFIXES = (".csv", ".txt", ".tsv", ".asc", ".dat")
NUMBER_BYTES = frozenset(b"0123456789+-.,;eE \t\r\nNnAaIiFf")
OTHER_TEXTS = (
    b"P1",
    b"P2",
    b"P3",
    b"P4",
    b"P5",
    b"P6",
    b"P7",
    b"Pf",
    b"PF",
    b"#?",
    b"#define",
    b"/*",
    b"<",
    b"%",
    b"{",
)
"""How pictures and documents begin that are text too."""
CONTROLS = frozenset(range(32)) - frozenset(b"\t\r\n")
MISSING = frozenset(("", "nan", "na", "n/a", "null", "none", "-", "--"))
NARROWEST_TEXT = 8
"""Fewest rows and columns of a text file that is a map and not a table of points."""
MOST_TEXT_SIDE, LONGEST_TEXT_LINE = 1 << 16, 1 << 21
"""Most rows and columns of a text file, and characters of one of its lines."""
POINTS_REMEDY = "Points in a row each have to be projected to a map first."
_QUOTED = re.compile(r'"[^"\n]*"')
MASK_NAMES = ("mask", "valid", "valid_mask", "depth_mask")


def is_array_file(source: object) -> bool:
    """Whether ``source`` is numpy's: by the file extension, else by its first bytes."""
    if suffix_of(source) in (".npy", ".npz"):
        return True
    return peek(source, len(NPY_MAGIC)).startswith((NPY_MAGIC, ZIP_MAGIC))


def read_arrays(source: object, expected: str) -> dict[str, np.ndarray]:
    """Every array of an ``.npy`` (under the name ``""``) or ``.npz`` file.

    Raises:
        InputError: it is missing, empty, damaged, or holds pickled objects.
    """
    name = describe_source(source)
    with open_source(source, expected) as file:
        try:
            start = file.tell()
            if peek(file, len(ZIP_MAGIC)) == ZIP_MAGIC:
                with zipfile.ZipFile(file) as archive:
                    size = sum(member.file_size for member in archive.infolist())
                check_limit(name, size, MOST_BYTES, "bytes in an .npz once unpacked")
                file.seek(start)
            content = np.load(file, allow_pickle=False)
            if isinstance(content, np.ndarray):
                return {"": content}
            with content:
                return {key: content[key] for key in content.files}
        except InputError:
            raise
        except Exception as error:  # numpy parses headers as Python text: damage raises almost anything
            # numpy's advice on pickles is to load them unsafely
            reason = "pickled objects, which are never loaded" if "pickle" in str(error) else str(error)
            detail = f"no readable numpy file ({reason})"
            raise InputError(name, found=detail, expected=expected) from None


def read_map(
    source: object, expected: str, *, names: tuple[str, ...], array: str | None = None
) -> tuple[np.ndarray, str] | None:
    """The map of a numpy, MATLAB or text file, or None if ``source`` is none of these.

    Args:
        source: a path, bytes or file object.
        expected: what ought to be in it, for errors.
        names: in lower case, what the map is called where a file holds several arrays.
        array: name of the array, for any other.

    Returns:
        The array as stored, and its name in the file (for text, the lines before the numbers).

    Raises:
        InputError: the file is damaged, or which of its arrays is meant is not clear.
    """
    if is_gzip(source):
        inner = read_map(unzipped(source, expected), expected, names=names, array=array)
        if inner is None:
            problem = "a gzip file of no array and no numbers"
            raise InputError(
                describe_source(source), found=problem, expected=expected, remedy="Unpack it first."
            )
        return inner
    if is_array_file(source):
        arrays = read_arrays(source, expected)
        key = choose_array(list(arrays), describe_source(source), names, array)
        return arrays[key], key
    head = peek(source, 512)
    if suffix_of(source) == ".mat" or head.startswith((MATLAB_MAGIC, MATLAB_HDF5_MAGIC)):
        return _read_matlab(source, expected, names, array)
    if suffix_of(source) in TEXT_SUFFIXES or _is_table(head):
        return read_text_matrix(source, expected)
    return None


def _is_table(head: bytes) -> bool:
    """Whether a file that begins with ``head`` is text with rows of numbers, perhaps below lines of words."""
    if len(head) < 3:
        return False
    if NUMBER_BYTES.issuperset(head):
        return True
    if head.startswith(OTHER_TEXTS) or CONTROLS.intersection(head):
        return False
    text = head.decode("utf-8", "ignore")
    return (
        re.search(rf"^[^A-Za-z]*\d(?:[\d\s.,;+\"-]*[,;\t ]){{{NARROWEST_TEXT - 1}}}", text, re.MULTILINE)
        is not None
    )


def choose_array(arrays: list[str], name: str, names: tuple[str, ...], array: str | None) -> str:
    """The name of the array that is meant.

    Raises:
        InputError: there is none of that name, or several may be meant.
    """
    if array is not None and array not in arrays and arrays != [""]:
        raise InputError(
            name, found=f"no array {array!r} ({', '.join(arrays)})", expected="one of its arrays"
        )
    if array is not None and arrays != [""]:
        return array
    if len(arrays) == 1:
        return arrays[0]
    matches = [key for key in arrays if key.lower() in names]
    if len(matches) != 1:
        detail = f"{len(arrays)} arrays ({', '.join(arrays)})"
        remedy = "Say which with channel=." if arrays else ""
        raise InputError(name, found=detail, expected=f"one array, or one called {names[0]!r}", remedy=remedy)
    masks = [key for key in arrays if key.lower() in MASK_NAMES]
    if masks:
        note(f"the array {masks[0]!r} is not applied; pass it as mask=")
    return matches[0]


def _read_matlab(
    source: object, expected: str, names: tuple[str, ...], array: str | None
) -> tuple[np.ndarray, str]:
    name = describe_source(source)
    with open_source(source, expected) as file:
        start = file.tell()
        if file.read(len(MATLAB_HDF5_MAGIC)) == MATLAB_HDF5_MAGIC:
            remedy = "Open it with h5py and pass one map, e.g. h5py.File(path)['depths'][0].T."
            raise InputError(name, found="a MATLAB 7.3 file, which is HDF5", expected=expected, remedy=remedy)
        file.seek(start)
        data = read_whole(file, name)
    variables = {variable.name: variable for variable in read_variables(data, name)}
    key = choose_array(list(variables), name, names, array)
    return variables[key].array(name), key


def read_text_matrix(source: object, expected: str) -> tuple[np.ndarray, str]:
    """The numbers of a text file (H, W), and the lines before them.

    Columns are separated by commas, semicolons, tabs or spaces; a decimal comma is understood where the comma
    does not separate, or stands within quotes. Empty fields become NaN. Rows and columns that only number the others
    are dropped, and so are blank columns at the end. Of several maps that blank lines divide the first is read.

    Returns:
        int64 where all fields are whole numbers, else float64; and the lines before the first full row.

    Raises:
        InputError: rows differ in length, words stand among the numbers, or there are fewer than 8 rows or columns
            or more than 65,536.
    """
    name = describe_source(source)
    with open_source(source, expected) as file:
        data = read_whole(file, name)
    # before anything is split: a row of text takes many times its bytes in memory
    check_limit(
        name, max(data.count(b"\n"), data.count(b"\r")), MOST_TEXT_SIDE, "lines of text", POINTS_REMEDY
    )
    lines = [(number, line) for number, line in enumerate(_decoded(data).splitlines(), 1) if line.strip()]
    longest = max((len(line) for _, line in lines), default=0)
    check_limit(
        name, longest, LONGEST_TEXT_LINE, "characters in a line", "Write a line for each row of the map."
    )
    if len(lines) < NARROWEST_TEXT:
        raise _no_map(f"{len(lines)} lines", name)
    split = _splitter([line for _, line in lines[max(len(lines) // 2, len(lines) - 50) :]])
    sizes = [len(split(line)) for _, line in lines[len(lines) // 2 :: max(1, len(lines) // 64)]]
    width = max(set(sizes), key=sizes.count)
    if width < NARROWEST_TEXT:
        raise _no_map(f"{len(lines)} lines of {width} columns", name)
    check_limit(name, width, MOST_TEXT_SIDE, "columns of text", POINTS_REMEDY)
    check_limit(name, width * len(lines), MOST_PIXELS, "fields of text", "Scale the map down.")
    rows: list[np.ndarray] = []
    places: list[int] = []
    first = 0
    for place, (number, line) in enumerate(lines):
        row = _numbers(split(line))
        if row is not None and len(row) == width:
            first = first if rows else place
            rows.append(np.array(row))
            places.append(number)
        elif rows:
            detail = "words among the numbers" if row is None else f"{len(row)} columns, before {width}"
            raise InputError(name, found=f"line {number}: {detail}", expected=f"rows of {width} numbers")
        elif row is not None and len(row) >= NARROWEST_TEXT and not np.isnan(row).all():
            detail = f"{len(row)} columns, later {width}"
            raise InputError(name, found=f"line {number}: {detail}", expected=f"rows of {width} numbers")
    if len(rows) < NARROWEST_TEXT:
        example = next((field for field in split(lines[len(lines) // 2][1]) if _numbers([field]) is None), "")
        words = f", whose fields are as {example[:20]!r}" if example else ""
        raise _no_map(f"{len(rows)} rows of {width} numbers{words}", name)
    matrix = np.array(rows[: _first_frame(places)])
    if first:  # below lines of words, blank rows and a blank column are of the layout
        blank = np.isnan(matrix)
        top, left = int(np.argmin(blank.all(axis=1))), int(blank[:, 0].all() and not blank.all())
        matrix = matrix[top:, left:]
    matrix = _without_labels(matrix)
    fractional = any(
        "." in field for _, line in lines[first :: max(1, len(rows) // 16)] for field in split(line)
    )
    if not fractional and np.isfinite(matrix).all() and np.abs(matrix).max() < 2**53:
        whole = matrix.astype(np.int64)
        matrix = whole if np.array_equal(whole, matrix) else matrix
    return matrix, "\n".join(line for _, line in lines[:first])


def _first_frame(places: list[int]) -> int:
    """Rows of the first of several frames, which blank lines divide; else all rows.

    Args:
        places: number of each row's line.
    """
    starts = [0, *(np.flatnonzero(np.diff(places) > 1) + 1).tolist(), len(places)]
    sizes = set(np.diff(starts).tolist())
    if len(starts) < 3 or len(sizes) > 1 or min(sizes) < NARROWEST_TEXT:
        return len(places)
    note(
        f"the first of {len(starts) - 1} maps was read, which blank lines divide; pass the others by themselves"
    )
    return int(starts[1])


def _no_map(content: str, name: str) -> InputError:
    expected = f"a map, at least {NARROWEST_TEXT} rows and columns of numbers"
    return InputError(name, found=f"a text file with {content}", expected=expected, remedy=POINTS_REMEDY)


def _decoded(data: bytes) -> str:
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16", errors="replace")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def _splitter(lines: list[str]) -> Callable[[str], list[str]]:
    """How the lines are split into fields, decimal commas made points."""
    text = "\n".join(lines)
    bare = _QUOTED.sub("0", text)  # a comma within quotes separates nothing
    mark = ";" if ";" in bare else "\t" if "\t" in bare else None
    spaced_decimal_commas = re.search(r"\d,\d+ +[-+]?\d+,\d", bare) is not None
    if mark is None and "," in bare and not spaced_decimal_commas:
        mark = ","
    comma = re.search(r"\d,\d", text if mark != "," else "".join(_QUOTED.findall(text))) is not None
    quoted = mark is not None and bare != text

    def fields_of(line: str) -> list[str]:
        fields = next(csv.reader([line], delimiter=mark), []) if quoted and mark else line.split(mark)
        return [field.strip().strip('"') for field in fields]

    # separators that end every line, as spreadsheets write blank columns
    blanks = min((_blank_end(fields_of(line)) for line in lines[:-1]), default=0) if mark is not None else 0

    def split(line: str) -> list[str]:
        fields = fields_of(line)
        end = len(fields) - min(blanks, _blank_end(fields))
        return [field.replace(",", ".") for field in fields[:end]] if comma else fields[:end]

    return split


def _blank_end(fields: list[str]) -> int:
    """How many blank fields a line ends with."""
    return next((count for count, field in enumerate(reversed(fields)) if field), len(fields))


def _numbers(fields: list[str]) -> list[float] | None:
    """Fields as numbers, missing ones NaN; None where one is neither."""
    try:
        return [float(field) for field in fields]
    except ValueError:
        pass
    try:
        return [float("nan") if field.lower() in MISSING else float(field) for field in fields]
    except ValueError:
        return None


def _without_labels(matrix: np.ndarray) -> np.ndarray:
    """``matrix`` without a first row or column that counts 0, 1, 2, ... or 1, 2, 3, ..."""

    def counts(labels: np.ndarray) -> bool:
        tail = labels[1:]
        steps = np.array_equal(np.diff(tail), np.ones(max(tail.size - 1, 0))) and tail.size > 2
        return bool(steps and tail[0] in (0, 1, 2) and (np.isnan(labels[0]) or labels[0] == tail[0] - 1))

    labels = []
    if counts(matrix[0]):
        matrix = matrix[1:]
        labels.append("row")
    first = matrix[:, 0]
    if first.size > 2 and first[0] in (0, 1) and np.array_equal(first, np.arange(first.size) + first[0]):
        matrix = matrix[:, 1:]
        labels.append("column")
    if labels:
        note(f"a first {' and '.join(labels)} that numbers the others was left out")
    return matrix
