"""Motion recordings from CSV, Parquet, ``.npy``, ``.npz`` and arrays to columns of numbers."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from bindplug.errors import InputError
from bindplug.inputs.arrayfiles import is_array_file, read_arrays
from bindplug.inputs.imucolumns import CHANNELS, match_columns
from bindplug.inputs.optional import import_optional
from bindplug.inputs.source import describe_source, is_file_like, open_source, suffix_of, to_numpy

EXPECTED = "a motion recording: CSV, Parquet, .npy, .npz, a mapping of columns, or an array (6, T) or (T, 6)"
PARQUET_MAGIC = b"PAR1"
LAYOUTS = ("channels_first", "time_first")
SNIFFED = 4096
DELIMITERS = (",", ";", "\t")
HEADER_WITHIN = 50


def read_columns(source: object, layout: str | None = None) -> dict[str, np.ndarray]:
    """Columns by name, each (T,) float64; a bare array's get the names of :data:`CHANNELS`.

    Args:
        source: see :class:`bindplug.inputs.imu.ImuPreprocess`.
        layout: of a bare array, ``"channels_first"`` or ``"time_first"``; needed for (6, 6) alone.

    Raises:
        InputError: the source is missing, empty, damaged, not such a file, or an array of another shape.
        MissingDependency: pyarrow is absent and the file is Parquet.
    """
    name = describe_source(source)
    if isinstance(source, (np.ndarray, torch.Tensor)):
        array = to_numpy(source)
        return _from_arrays({"": array}, name, layout)
    if isinstance(source, Mapping) or hasattr(source, "columns"):
        table: Any = source
        return _from_arrays({str(key): np.asarray(table[key]) for key in table}, name, layout)
    if not is_file_like(source):
        raise InputError(name, found=f"an object of type {type(source).__name__}", expected=EXPECTED)
    if is_array_file(source):
        return _from_arrays(read_arrays(source, EXPECTED), name, layout)
    with open_source(source, EXPECTED) as file:
        data = file.read()
    if data.startswith(PARQUET_MAGIC) or suffix_of(source) in (".parquet", ".pq"):
        return _from_arrays(_read_parquet(data, name), name, layout)
    return _read_csv(data, name)


def _from_arrays(arrays: dict[str, np.ndarray], name: str, layout: str | None) -> dict[str, np.ndarray]:
    if len(arrays) == 1:
        ((key, array),) = arrays.items()
        if array.dtype.names:
            return {field: _column(array[field], name, field) for field in array.dtype.names}
        if key == "" or array.ndim == 2:
            return dict(zip(CHANNELS, channels_first(array, name, layout), strict=True))
    columns: dict[str, np.ndarray] = {}
    for key, array in arrays.items():
        if array.ndim == 2 and 3 in array.shape:
            axes = array if array.shape[0] == 3 and array.shape[1] != 3 else array.T
            columns |= {
                f"{key}_{axis}": _column(row, name, key) for axis, row in zip("xyz", axes, strict=True)
            }
        elif array.ndim == 1:
            columns[key] = _column(array, name, key)
    return columns


def channels_first(array: np.ndarray, name: str, layout: str | None) -> np.ndarray:
    """A bare array as (6, T) float64: (T, 6) is *transposed*; its six rows stand in :data:`CHANNELS`' order.

    Raises:
        InputError: neither axis has six entries, or both have and ``layout`` does not say which is time.
    """
    expected = "an array (6, T) or (T, 6): accelerometer xyz, then gyroscope xyz"
    if array.dtype.kind not in "fiu":
        raise InputError(name, found=f"an array of type {array.dtype}", expected=expected)
    if array.ndim != 2 or 6 not in array.shape:
        raise InputError(name, found=f"an array of shape {array.shape}", expected=expected)
    if layout is None and array.shape == (6, 6):
        remedy = "Say layout='channels_first' or layout='time_first'."
        raise InputError(
            name, found="shape (6, 6), where time could be either axis", expected=expected, remedy=remedy
        )
    if layout is None:
        layout = "channels_first" if array.shape[0] == 6 else "time_first"
    rows = array if layout == "channels_first" else array.T
    if rows.shape[0] != 6:
        raise InputError(name, found=f"shape {array.shape} with layout={layout!r}", expected=expected)
    return rows.astype(np.float64)


def _column(values: np.ndarray, name: str, key: str) -> np.ndarray:
    """One column as float64; dates become seconds, texts that are no numbers become NaN."""
    if values.dtype.kind == "M":
        return values.astype("datetime64[ns]").astype(np.int64) / 1e9
    try:
        return np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        return np.array([_number(str(value)) for value in values], dtype=np.float64)


def _read_parquet(data: bytes, name: str) -> dict[str, np.ndarray]:
    parquet = import_optional("pyarrow.parquet", "bindplug.inputs.imu", "cli")
    errors = import_optional("pyarrow.lib", "bindplug.inputs.imu", "cli")
    try:
        table = parquet.read_table(io.BytesIO(data))
    except (errors.ArrowException, OSError) as error:
        raise InputError(name, found=f"a damaged Parquet file ({error})", expected=EXPECTED) from None
    return {key: table[key].to_numpy() for key in table.column_names}


def _read_csv(data: bytes, name: str) -> dict[str, np.ndarray]:
    lines = [line for line in _decode(data, name).splitlines() if line.strip() and line.lstrip()[0] != "#"]
    headers = {mark: _find_header(lines, mark) for mark in DELIMITERS}
    delimiter = max(headers, key=lambda mark: headers[mark][1])
    head, channels = headers[delimiter]
    if not channels:
        raise _headless(lines, name)
    rows = list(csv.reader(lines[head:], delimiter=delimiter))
    header, body = [title.strip() for title in rows[0]], rows[1:]
    comma = delimiter == ";" and any("," in cell for row in body[:3] for cell in row)
    ragged = sum(len(row) != len(header) for row in body)
    if ragged > (1 if body and len(body[-1]) < len(header) else 0):
        found = f"{ragged} of {len(body)} lines without the header's {len(header)} fields"
        raise InputError(name, found=found, expected=EXPECTED)
    body = [row for row in body if len(row) == len(header)]
    cells = [[cell.replace(",", ".") for cell in row] for row in body] if comma else body
    return {title: np.array([_number(row[i]) for row in cells]) for i, title in enumerate(header) if title}


def _find_header(lines: list[str], delimiter: str) -> tuple[int, int]:
    """The line that names most channels if split at ``delimiter``, and how many it names."""
    rows = csv.reader(lines[:HEADER_WITHIN], delimiter=delimiter)
    named = [len(match_columns(row).channels) for row in rows]
    most = max(named, default=0)
    return (named.index(most) if named else 0), most


def _headless(lines: list[str], name: str) -> InputError:
    remedy = f"Name the columns {', '.join(CHANNELS)}, and a clock such as timestamp_ms."
    begins = lines[0][:80] if lines else ""
    found = f"no line that names accelerometer or gyroscope columns (it begins: {begins!r})"
    return InputError(name, found=found, expected="a CSV with a header", remedy=remedy)


def _decode(data: bytes, name: str) -> str:
    encoding = "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError:
        text = "" if b"\0" in data[:SNIFFED] else data.decode("latin-1")
    if not text or "\0" in text[:SNIFFED]:
        raise InputError(name, found="binary data that is neither Parquet nor numpy", expected=EXPECTED)
    return text


def _number(cell: str) -> float:
    try:
        return float(cell)
    except ValueError:
        return float("nan")
