"""Lists of paths that lie beside rows: one a line, a JSON list, an array of text, or a column of a table."""

from __future__ import annotations

import csv
import io
import json
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bindplug.errors import InputError
from bindplug.lazy import require
from bindplug_search.adopt.row_file import PATH_NAMES

EXPECTED = (
    "one path for each row, in the order of the rows: a UTF-8 file with one path a line, a JSON list, an array of text "
    "(.npy, .npz), or a table with a column of paths (.csv, .tsv, .jsonl, .parquet)"
)


def read_paths(file: str | Path) -> Sequence[str | None]:
    """Paths from a file; an empty line or a null stands for a row without one.

    Raises:
        InputError: the file cannot be read or holds something else, or several of its columns may hold the paths.
        MissingDependency: pyarrow is absent, for Parquet.
    """
    file = Path(file).expanduser()
    suffix = file.suffix.lower()
    try:
        if suffix in (".npy", ".npz"):
            return _from_arrays(file, suffix)
        if suffix == ".parquet":
            return _from_parquet(file)
        text = file.read_text(encoding="utf-8-sig")
        if suffix in (".json", ".jsonl"):
            return _from_json(file, _json_values(text, suffix))
        if suffix in (".csv", ".tsv"):
            return _from_csv(file, text, "\t" if suffix == ".tsv" else ",")
    except InputError:
        raise
    except (OSError, ValueError, RecursionError, EOFError, csv.Error, zipfile.BadZipFile) as error:
        problem = getattr(error, "strerror", None) or str(error).splitlines()[0]
        raise InputError(str(file), found=problem, expected=EXPECTED) from None
    return _lines(text)


def _lines(text: str) -> list[str]:
    """Lines, ended by a line feed alone: other separators of Unicode may be part of a name."""
    return [line.removesuffix("\r") for line in text.removesuffix("\n").split("\n")] if text else []


def _from_arrays(file: Path, suffix: str) -> Sequence[str | None]:
    loaded: Any = np.load(file, mmap_mode="r", allow_pickle=False)
    if suffix == ".npz":
        with loaded:
            texts = {name: loaded[name] for name in loaded.files if _is_text_array(loaded[name])}
            loaded = texts[_column(file, list(texts), others=True)]
    if not _is_text_array(loaded):
        raise InputError(str(file), found=f"{loaded.dtype} {loaded.shape}", expected=EXPECTED)
    values: Sequence[str | None] = loaded.astype(str) if loaded.dtype.kind == "S" else loaded
    return values


def _is_text_array(array: np.ndarray) -> bool:
    return array.ndim == 1 and array.dtype.kind in "US"


def _from_parquet(file: Path) -> Sequence[str | None]:
    parquet = require("pyarrow.parquet", owner="bindplug index adopt", extra="index")
    try:
        opened = parquet.ParquetFile(file)
        names = [field.name for field in opened.schema_arrow if "string" in str(field.type)]
        column = _column(file, names, others=True)
        values: list[str | None] = opened.read(columns=[column]).column(0).to_pylist()
    except InputError:
        raise
    except Exception as error:  # whatever a foreign or damaged file makes pyarrow raise
        raise InputError(str(file), found=str(error).splitlines()[0], expected=EXPECTED) from None
    return values


def _json_values(text: str, suffix: str) -> Any:
    return (
        json.loads(text)
        if suffix == ".json"
        else [json.loads(line) for line in text.split("\n") if line.strip()]
    )


def _from_json(file: Path, values: Any) -> Sequence[str | None]:
    if isinstance(values, list) and values and all(isinstance(value, dict) for value in values):
        names = list(dict.fromkeys(name for value in values for name in value))
        column = _column(file, names, others=False)
        values = [value.get(column) for value in values]
    if not isinstance(values, list) or not all(isinstance(value, (str, type(None))) for value in values):
        raise InputError(str(file), found="JSON of another form", expected=EXPECTED)
    return values


def _from_csv(file: Path, text: str, delimiter: str) -> Sequence[str | None]:
    """The column of paths; of a file that has one column and no header, every line."""
    rows = [row for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter) if row]
    if not rows:
        return []
    header = [name.strip() for name in rows[0]]
    wrong = next((number for number, row in enumerate(rows, start=1) if len(row) != len(header)), None)
    if wrong is not None:
        raise InputError(f"{file}, row {wrong}", found="another number of columns", expected=f"{len(header)}")
    if len(header) == 1 and header[0].lower() not in PATH_NAMES:
        return [row[0] for row in rows]
    place = header.index(_column(file, header, others=False))
    return [row[place] for row in rows[1:]]


def _column(file: Path, names: Sequence[str], *, others: bool) -> str:
    """The name of what holds the paths: a usual one, or the only one where ``others`` may hold them too.

    Raises:
        InputError: there is none, or several may.
    """
    usual = [name for name in names if name.lower() in PATH_NAMES]
    local = [
        name for name in usual if name.lower() not in ("url", "uri")
    ]  # files, before where they came from
    candidates = local or usual or (list(names) if others else [])
    if len(candidates) == 1:
        return candidates[0]
    if candidates:
        raise InputError(
            str(file),
            found=f"several columns that may hold paths: {', '.join(candidates[:8])}",
            expected="one",
            remedy="Write that column to a file with one path a line",
        )
    columns = ", ".join(names[:8]) or "none"
    raise InputError(str(file), found=f"the columns {columns}", expected=f"one named {', '.join(PATH_NAMES)}")


def as_file(paths: str | None) -> Path | None:
    """The file that a person named, if they did."""
    return None if paths is None else Path(paths).expanduser()


def required_paths(owner: Path, paths: str | None) -> Sequence[str | None]:
    """Paths for a file that holds vectors and nothing else.

    Raises:
        InputError: ``paths`` is None, or as :func:`read_paths`.
    """
    if paths is None:
        raise InputError(
            str(owner), found="vectors without paths", expected="to know which file each row was made from",
            remedy="Give a list of them, a line or row for each: --paths FILE",
        )  # fmt: skip
    return read_paths(paths)
