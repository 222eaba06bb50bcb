"""Metadata that a person keeps beside rows: a file joined by path, and values for all files."""

from __future__ import annotations

import csv
import json
import math
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from bindplug.errors import InputError
from bindplug.indexes import OPERATORS, Condition, MetadataValue
from bindplug.lazy import require

PATH_COLUMNS = ("path", "file", "filename")
"""Columns that name the file of a row, the first that is there."""

NUMBER = re.compile(r"-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?")
"""A number as JSON has it; a code such as 00123 is none."""

LARGEST = 2.0**53
"""Whole numbers beyond it are not all floats."""

Metadata = dict[str, MetadataValue]

Changes = dict[str, MetadataValue | None]
"""Metadata to keep beside a row, and None for what it has no longer."""


class MetadataFile:
    """A table with one row a file, from CSV, JSON Lines or Parquet.

    A column is of numbers or truth values if all its values are, else of text; an empty value is None.

    Args:
        path: ends in ``.csv``, ``.tsv``, ``.jsonl`` or ``.parquet``.

    Raises:
        InputError: it cannot be read, has no column of paths, or names a path twice.
        MissingDependency: pyarrow is absent, for Parquet.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        rows = _read(self.path)
        names = list(dict.fromkeys(name for row in rows for name in row))
        self.column = next((name for name in PATH_COLUMNS if name in names), "")
        if not self.column:
            raise InputError(
                str(path),
                found=f"the columns {', '.join(map(str, names)) or 'none'}",
                expected=f"one named {' or '.join(PATH_COLUMNS)}, with the path of a file in each row",
            )
        typed = {name: _typed([row.get(name) for row in rows]) for name in names if name != self.column}
        self._rows: dict[str, Changes] = {}
        for place, row in enumerate(rows):
            name = str(row.get(self.column) or "")
            if not name or name in self._rows:
                problem = f"the path {name!r} twice" if name else f"no path in row {place + 1}"
                raise InputError(str(path), found=problem, expected="one row for each file")
            self._rows[name] = {key: column[place] for key, column in typed.items()}

    def join(
        self, files: Iterable[str], folders: Sequence[str] = (), *, directory: str | Path | None = None
    ) -> tuple[dict[str, Changes], list[str]]:
        """The metadata of files, and paths of the table that are none of them.

        A path that is not absolute is looked for beside the table, in the working directory and in the folders.

        Args:
            files: absolute paths, and sentences.
            folders: that the files were listed in.
            directory: in place of the working directory.

        Raises:
            InputError: two rows of the table name one file.
        """
        file_set = set(files)
        joined: dict[str, Changes] = {}
        strangers = []
        working = Path.cwd() if directory is None else Path(directory)
        roots = [self.path.absolute().parent, working, *(Path(folder).absolute() for folder in folders)]
        for name, values in self._rows.items():
            places = dict.fromkeys([name, *(os.path.normpath(root / name) for root in roots)])
            matches = [place for place in places if place in file_set]
            if len(matches) > 1:
                raise InputError(
                    f"{self.path}: {name!r}",
                    found=f"the files {' and '.join(matches)}",
                    expected="a path that names one file",
                )
            if not matches:
                strangers.append(name)
            elif matches[0] in joined:
                raise InputError(
                    str(self.path), found=f"two rows for {matches[0]}", expected="one for each file"
                )
            else:
                joined[matches[0]] = values
        return joined, strangers


def with_values(values: Mapping[str, MetadataValue], row: Mapping[str, MetadataValue | None]) -> Changes:
    """Values for all files, and over them those that a table has for one."""
    return {**row, **values, **present(row)}


def present(metadata: Mapping[str, MetadataValue | None]) -> Metadata:
    """Metadata without what is None."""
    return {key: value for key, value in metadata.items() if value is not None}


def parse_values(assignments: Sequence[str]) -> Metadata:
    """Values from ``key=value``; what JSON takes for a number or a truth value is one.

    Raises:
        InputError: an item has another form.
    """
    values: Metadata = {}
    for assignment in assignments:
        key, equals, value = assignment.partition("=")
        if not equals or not key.strip():
            raise InputError("--set", found=repr(assignment), expected="key=value, as place=garden")
        (values[key.strip()],) = _typed([value])  # type: ignore[assignment]
    return {key: value for key, value in values.items() if value is not None}


def parse_condition(text: str) -> Condition:
    """A condition from ``key=value``, ``key>=value``, ...; ``==`` is ``=``.

    Raises:
        InputError: it has another form.
    """
    match = re.fullmatch(r"\s*([^=!<>]+?)\s*(==?|!=|<=|>=|<|>)\s*(?![=!<>\s])(.*?)\s*", text, re.DOTALL)
    if match is None:
        raise InputError(
            "--where",
            found=repr(text),
            expected=f"key, one of {' '.join(OPERATORS)}, and a value, as place=garden",
        )
    return Condition(match[1], "=" if match[2] == "==" else match[2], match[3])


def _read(path: Path) -> list[dict[str, Any]]:
    expected = "a table that ends in .csv, .tsv, .jsonl or .parquet"
    suffix = path.suffix.lower()
    if suffix not in (".csv", ".tsv", ".jsonl", ".parquet"):
        raise InputError(str(path), found=f"the suffix {path.suffix!r}", expected=expected)
    try:
        if suffix == ".parquet":
            return _read_parquet(path)
        with path.open(encoding="utf-8-sig", newline="") as file:
            if suffix == ".jsonl":
                rows = [json.loads(line) for line in file if line.strip()]
            else:
                rows = list(csv.DictReader(file, dialect="excel-tab" if suffix == ".tsv" else "excel"))
    except (OSError, ValueError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(str(path), found=reason, expected=expected) from None
    for place, row in enumerate(rows, start=1):
        if not isinstance(row, dict) or None in row or any(not isinstance(key, str) for key in row):
            raise InputError(str(path), found=f"row {place} of another length or form", expected=expected)
    return rows


def _read_parquet(path: Path) -> list[dict[str, Any]]:
    pq = require("pyarrow.parquet", owner="reading metadata from Parquet", extra="index")
    try:
        rows: list[dict[str, Any]] = pq.read_table(path).to_pylist()
    except Exception as error:  # whatever a foreign or damaged file makes pyarrow raise
        raise InputError(str(path), found=str(error).splitlines()[0], expected="a Parquet file") from None
    return rows


def _typed(column: Sequence[Any]) -> list[MetadataValue | None]:
    """The values of a column, all of one type."""
    values = [None if _is_empty(value) else value for value in column]
    present = [value for value in values if value is not None]
    if all(isinstance(value, bool) or value in ("true", "false") for value in present):
        return [None if value is None else str(value).lower() == "true" for value in values]
    numbers = [_number(value) for value in present]
    if all(number is not None for number in numbers):
        return [None if value is None else _number(value) for value in values]
    return [None if value is None else _as_text(value) for value in values]


def _is_empty(value: Any) -> bool:
    return value is None or value == "" or (isinstance(value, float) and math.isnan(value))


def _number(value: Any) -> float | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, str):
        if not NUMBER.fullmatch(value):
            return None
        exact = int(value) if re.fullmatch(r"-?\d+", value) else float(value)
    elif isinstance(value, (int, float)):
        exact = value
    else:
        return None
    return (
        float(exact) if abs(exact) <= LARGEST or (isinstance(exact, float) and math.isfinite(exact)) else None
    )


def _as_text(value: Any) -> str:
    if isinstance(value, str):
        return value
    isoformat = getattr(value, "isoformat", None)
    if isoformat is not None:  # a date or a time, which as text keeps its order
        return str(isoformat())
    if isinstance(value, (Mapping, list, tuple)):
        return json.dumps(value, ensure_ascii=False, default=str)
    return str(value)
