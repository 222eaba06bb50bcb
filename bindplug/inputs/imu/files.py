"""Motion recordings as tables: text logs, Parquet, JSON, numpy files, zips, one file a sensor, arrays, data frames."""

from __future__ import annotations

import csv
import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import PurePosixPath
from typing import Any, BinaryIO, cast

import numpy as np
import torch

from bindplug.errors import InputError
from bindplug.inputs.arrayfiles import NPY_MAGIC, ZIP_MAGIC, read_arrays
from bindplug.inputs.imu.clocks import dates_of
from bindplug.inputs.imu.columns import (
    ACCELEROMETER,
    CHANNELS,
    GRAVITY,
    GYROSCOPE,
    SENSORS,
    Table,
    match_columns,
    parse_name,
)
from bindplug.inputs.imu.text import number, read_text, texts_of
from bindplug.inputs.limits import MOST_COLUMNS, MOST_ROWS, check_limit
from bindplug.inputs.optional import import_optional
from bindplug.inputs.source import describe_source, is_file_like, open_source, peek, suffix_of, to_numpy

EXPECTED = (
    "a motion recording: a text log, Parquet, JSON, .npy, .npz, a zip of logs, a mapping of columns or of "
    "two files, or an array (6, T) or (T, 6)"
)
PARQUET_MAGIC = b"PAR1"
LAYOUTS = ("channels_first", "time_first")
MOST_UNPACKED_BYTES = 1 << 30
"""Bytes that one member of a zip may unpack to."""
MOST_JSON_BYTES = 1 << 28
MOST_MEMBERS = 10_000
LOG_SUFFIXES = (".csv", ".txt", ".tsv")
_SENSOR_KEYS = {
    "acc": ACCELEROMETER, "accel": ACCELEROMETER, "accelerometer": ACCELEROMETER, "acceleration": ACCELEROMETER,
    "gyro": GYROSCOPE, "gyr": GYROSCOPE, "gyroscope": GYROSCOPE, "gravity": GRAVITY,
}  # fmt: skip
Tables = dict[str, Table]
"""One table under ``""``, or one for each sensor under its name."""
ColumnChoice = Mapping[str, str] | Sequence[str] | None


def describe_recording(source: object) -> str:
    """What a recording is called in errors; one of several files by all their names."""
    files = _sensor_files(source)
    return (
        " + ".join(describe_source(value) for value in files.values()) if files else describe_source(source)
    )


def read_tables(source: object, layout: str | None = None, columns: ColumnChoice = None) -> Tables:
    """Read a motion recording.

    Args:
        source: see :class:`bindplug.inputs.ImuPreprocess`.
        layout: of a bare array, ``"channels_first"`` or ``"time_first"``; needed for (6, 6) alone.
        columns: names by channel, or all names in order.

    Raises:
        InputError: the source is missing, empty, damaged, too large, or of no kind that is read.
        MissingDependency: pyarrow is absent and the file is Parquet.
    """
    files = _sensor_files(source)
    if files is None:
        return _read_source(source, describe_source(source), layout, columns, None)
    tables: Tables = {}
    for sensor, file in files.items():
        name = describe_source(file)
        inner = _read_source(file, name, layout, columns, sensor)
        if list(inner) != [""]:
            raise InputError(name, found="a file of several sensors", expected=f"the {sensor}'s log alone")
        tables[sensor] = inner[""]
    return tables


def _sensor_files(source: object) -> dict[str, object] | None:
    """Sources by sensor, if ``source`` is a mapping of files or tables and not of columns."""
    if not isinstance(source, Mapping) or not source:
        return None
    files = {_SENSOR_KEYS.get(str(key).strip().lower(), ""): value for key, value in source.items()}
    if "" in files or len(files) != len(source):
        return None
    tables = [is_file_like(value) or _is_table(value) for value in files.values()]
    return files if all(tables) else None


def _is_table(value: object) -> bool:
    return isinstance(value, Mapping) or hasattr(value, "columns")


def _read_source(
    source: object, name: str, layout: str | None, columns: ColumnChoice, sensor: str | None
) -> Tables:
    if isinstance(source, (np.ndarray, torch.Tensor)):
        return {"": _from_arrays({"": to_numpy(source)}, name, layout, columns, sensor)}
    if _is_table(source):
        return {"": _from_arrays(_columns_of(source), name, layout, columns, sensor)}
    if not is_file_like(source):
        raise InputError(name, found=f"an object of type {type(source).__name__}", expected=EXPECTED)
    suffix, head = suffix_of(source), peek(source, len(NPY_MAGIC))
    if suffix == ".npy" or head.startswith(NPY_MAGIC):
        return {"": _from_arrays(read_arrays(source, EXPECTED), name, layout, columns, sensor)}
    with open_source(source, EXPECTED) as file:
        head = _peek_open(file, len(NPY_MAGIC))
        if head.startswith(ZIP_MAGIC):
            return _read_zip(file, source, name, layout, columns, sensor)
        if suffix == ".npz":
            return {"": _from_arrays(read_arrays(source, EXPECTED), name, layout, columns, sensor)}
        if head.startswith(PARQUET_MAGIC) or suffix in (".parquet", ".pq"):
            return {"": _from_arrays(_read_parquet(file, name, columns), name, layout, columns, sensor)}
        if head.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] in (b"{", b"[") or suffix in (".json", ".jsonl"):
            return _read_json(file, name, columns, sensor)
        return {"": read_text(file, name, sensor=sensor, columns=columns)}


def _peek_open(file: BinaryIO, count: int) -> bytes:
    start = file.tell()
    head = file.read(count)
    file.seek(start)
    return head


def _columns_of(table: Any) -> dict[str, np.ndarray]:
    """The columns of a mapping or a data frame (pandas, polars, pyarrow); an index of dates is one of them."""
    names = getattr(table, "column_names", None)
    if names is None:
        names = list(table.keys()) if isinstance(table, Mapping) else list(table.columns)
    columns = {str(name): _as_array(table[name]) for name in names}
    index = getattr(table, "index", None)
    if index is not None and not callable(index) and getattr(index, "dtype", np.dtype("O")).kind in "mM":
        columns["datetime index"] = _as_array(index)
    return columns


def _as_array(values: Any) -> np.ndarray:
    array = values.to_numpy() if hasattr(values, "to_numpy") else np.asarray(values)
    if array.dtype.kind == "O" and array.ndim == 1 and array.size:
        if all(hasattr(value, "timestamp") for value in array):
            return dates_of(array)
        if any(isinstance(value, str) for value in array):
            return array.astype(object)
        if type(array[0]).__name__ == "time":
            return np.array([str(value) for value in array], dtype=object)
    return cast("np.ndarray[Any, Any]", array)


def _from_arrays(
    arrays: dict[str, np.ndarray],
    name: str,
    layout: str | None,
    columns: ColumnChoice = None,
    sensor: str | None = None,
) -> Table:
    if len(arrays) == 1:
        ((key, array),) = arrays.items()
        if array.dtype.names:
            return _table({field: array[field] for field in array.dtype.names}, name, columns, sensor)
        if sensor is not None and array.ndim == 2 and 3 in array.shape:
            arrays = {sensor: array}
        elif key == "" or array.ndim == 2:
            if columns is not None and not isinstance(columns, Mapping) and array.ndim == 2:
                return _table(_named_rows(array, columns, name), name, None, sensor)
            rows = channels_first(array, name, layout)
            bare = dict(zip(CHANNELS, rows, strict=True))
            return Table(bare, match_columns(bare), tuple(bare), stated=True)
    flat: dict[str, np.ndarray] = {}
    for key, array in arrays.items():
        if array.ndim == 2 and 3 in array.shape:
            axes = array if array.shape[0] == 3 and array.shape[1] != 3 else array.T  # (T, 3) -> (3, T)
            flat |= {f"{key}_{axis}": row for axis, row in zip("xyz", axes, strict=True)}
        elif array.ndim == 1:
            flat[key] = array
    stated = any(array.ndim == 2 for array in arrays.values())
    return _table(flat, name, columns, sensor, stated=stated)


def _named_rows(array: np.ndarray, names: Sequence[str], name: str) -> dict[str, np.ndarray]:
    """The rows or columns of a two-dimensional array by the names the caller gave."""
    if len(names) not in array.shape:
        found = f"an array of shape {array.shape} for {len(names)} names"
        raise InputError(name, found=found, expected="one name for each column")
    rows = array.T if array.shape[1] == len(names) else array
    return dict(zip(names, rows, strict=True))


def _table(
    columns: dict[str, np.ndarray],
    name: str,
    chosen: ColumnChoice,
    sensor: str | None,
    *,
    stated: bool = False,
) -> Table:
    """A table of the columns that have a role, the axes as float64."""
    if chosen is not None and not isinstance(chosen, Mapping):
        remedy = "Give columns={'acc_x': 'its name', ...} for data that has names."
        raise InputError(name, found=f"columns={list(chosen)!r}", expected="names by channel", remedy=remedy)
    check_limit(name, len(columns), MOST_COLUMNS, "columns")
    matches = match_columns(columns, sensor, chosen)
    clocks = {clock.name for clock in matches.clocks}
    kept = {
        key: _times(columns[key], name) if key in clocks else _floats(columns[key], name, key)
        for key in dict.fromkeys(matches.names)
    }
    lengths = {array.shape for array in kept.values()}
    if len(lengths) > 1:
        counts = sorted({shape[0] if shape else 0 for shape in lengths})
        remedy = "Sensors of different lengths each need a clock: give them as two tables."
        raise InputError(
            name, found=f"columns of {counts} samples", expected="as many samples in each", remedy=remedy
        )
    check_limit(name, max((len(array) for array in kept.values()), default=0), MOST_ROWS, "rows")
    return Table(kept, matches, tuple(columns), stated=stated)


def _times(values: np.ndarray, name: str) -> np.ndarray:
    """A clock's column; objects become texts."""
    if values.dtype.kind != "O":
        return values
    return texts_of(["" if value is None else str(value).strip() for value in values], name)


def _floats(values: np.ndarray, name: str, key: str) -> np.ndarray:
    if values.dtype.kind not in "fiubUSO" or values.ndim != 1:
        found = f"a column {key!r} of type {values.dtype}"
        raise InputError(name, found=found, expected="a column of numbers")
    try:
        return values.astype(np.float64)
    except (TypeError, ValueError):
        return np.array(
            [number("nan" if value is None else str(value)) for value in values], dtype=np.float64
        )


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
    check_limit(name, rows.shape[1], MOST_ROWS, "rows")
    return rows.astype(np.float64)


def _read_parquet(file: BinaryIO, name: str, columns: ColumnChoice) -> dict[str, np.ndarray]:
    parquet = import_optional("pyarrow.parquet", "bindplug.inputs.imu", "imu")
    errors = import_optional("pyarrow.lib", "bindplug.inputs.imu", "imu")
    try:
        opened = parquet.ParquetFile(file)
        check_limit(name, opened.metadata.num_rows, MOST_ROWS, "rows")
        names = opened.schema_arrow.names
        check_limit(name, len(names), MOST_COLUMNS, "columns")
        if columns is not None and not isinstance(columns, Mapping):
            return {
                key: _as_array(values) for key, values in zip(columns, opened.read().columns, strict=True)
            }
        roles = set(match_columns(names, "accelerometer", columns).names)
        table = opened.read(columns=[key for key in names if key in roles])
    except (errors.ArrowException, OSError) as error:
        raise InputError(name, found=f"a damaged Parquet file ({error})", expected=EXPECTED) from None
    unread = {key: np.zeros(table.num_rows) for key in names if key not in roles}
    return {key: _as_array(table[key]) if key in roles else unread[key] for key in names}


def _read_json(file: BinaryIO, name: str, columns: ColumnChoice, sensor: str | None) -> Tables:
    data = file.read(MOST_JSON_BYTES + 1)
    check_limit(name, len(data), MOST_JSON_BYTES, "bytes or more of JSON", "Export it as CSV.")
    try:
        text = data.decode("utf-8-sig")
        try:
            loaded = json.loads(text)
        except json.JSONDecodeError:
            lines = text.splitlines()
            if len(lines) < 2:
                raise
            loaded = [json.loads(line) for line in lines if line.strip()]
    except (ValueError, RecursionError) as error:
        raise InputError(name, found=f"damaged JSON ({str(error)[:200]})", expected=EXPECTED) from None
    groups = _json_groups(loaded)
    if list(groups) == [""]:
        return {"": _table(groups[""], name, columns, sensor)}
    return _by_sensor({key: _Log(group, None) for key, group in groups.items()}, list(groups), name, columns)


def _json_groups(loaded: Any) -> dict[str, dict[str, np.ndarray]]:
    """Columns by the name of the sensor, or under ``""`` where rows name none."""
    if isinstance(loaded, dict) and isinstance(
        loaded.get("payload"), list
    ):  # Sensor Logger's pushed messages
        loaded = loaded["payload"]
    if isinstance(loaded, dict):
        lists = {key: value for key, value in loaded.items() if isinstance(value, list) and value}
        if lists and all(isinstance(value[0], dict) for value in lists.values()):
            return {key: _columns_of_rows(value) for key, value in lists.items()}
        return {
            "": {key: _as_array(np.array(value)) for key, value in lists.items() if not _is_nested(value)}
        }
    rows: dict[str, list[dict[str, Any]]] = {}
    for row in loaded if isinstance(loaded, list) else []:
        if isinstance(row, dict) and isinstance(row.get("payload"), list):
            for inner in row["payload"]:
                if isinstance(inner, dict):
                    rows.setdefault(str(inner.get("name", "")), []).append(inner)
        elif isinstance(row, dict):
            key = row.get("sensor", row.get("name") if isinstance(row.get("values"), dict) else "")
            rows.setdefault(str(key), []).append(row)
    return {key: _columns_of_rows(group) for key, group in rows.items()} or {"": {}}


def _is_nested(value: list[Any]) -> bool:
    return isinstance(value[0], (dict, list))


def _columns_of_rows(rows: list[Any]) -> dict[str, np.ndarray]:
    flat = [_flatten(row) for row in rows if isinstance(row, dict)]
    names = dict.fromkeys(key for row in flat for key in row)
    return {key: _cells([row.get(key) for row in flat]) for key in names}


def _flatten(row: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in row.items():
        if isinstance(value, dict):
            flat |= _flatten(value, "" if key == "values" else f"{prefix}{key}.")
        elif not isinstance(value, list):
            flat[f"{prefix}{key}"] = value
    return flat


def _cells(values: list[Any]) -> np.ndarray:
    if all(isinstance(value, int) and not isinstance(value, bool) for value in values):
        try:
            return np.array(values, dtype=np.int64)
        except OverflowError:
            return np.array(values, dtype=np.float64)
    if any(isinstance(value, str) for value in values):
        return np.array(values, dtype=object)
    numbers = [float("nan") if value is None else float(value) for value in values]
    return np.array(numbers, dtype=np.float64)


class _Log:
    """One sensor's log within a zip or a JSON file: its columns, or a text to read them from."""

    def __init__(self, columns: dict[str, np.ndarray] | None, file: BinaryIO | None) -> None:
        self.columns, self.file = columns, file

    def table(self, name: str, columns: ColumnChoice, sensor: str | None) -> Table:
        """The log's table."""
        if self.columns is not None:
            return _table(self.columns, name, columns, sensor)
        assert self.file is not None
        self.file.seek(0)
        return read_text(self.file, name, sensor=sensor, columns=columns)


def _read_zip(
    file: BinaryIO, source: object, name: str, layout: str | None, columns: ColumnChoice, sensor: str | None
) -> Tables:
    try:
        archive = zipfile.ZipFile(file)
    except (zipfile.BadZipFile, ValueError, OSError) as error:
        raise InputError(name, found=f"a damaged zip ({error})", expected=EXPECTED) from None
    with archive:
        infos = [info for info in archive.infolist() if _is_log(info)]
        check_limit(name, len(archive.infolist()), MOST_MEMBERS, "files in a zip")
        if any(info.filename.endswith(".npy") for info in infos):
            for info in infos:
                check_limit(f"{name}/{info.filename}", info.file_size, MOST_UNPACKED_BYTES, "bytes unpacked")
            arrays = read_arrays(source, EXPECTED)
            return {"": _from_arrays(arrays, name, layout, columns, sensor)}
        logs = [info for info in infos if PurePosixPath(info.filename).suffix.lower() in LOG_SUFFIXES]
        if not logs:
            listed = ", ".join(info.filename for info in infos[:8]) or "nothing"
            remedy = "Save a workbook as CSV." if any("xl/" in info.filename for info in infos) else ""
            raise InputError(name, found=f"a zip of {listed}", expected="a zip of CSV logs", remedy=remedy)
        for info in logs:
            check_limit(f"{name}/{info.filename}", info.file_size, MOST_UNPACKED_BYTES, "bytes unpacked")
        raw_units = _has_raw_units(archive, logs)
        members: dict[str, _Log] = {}
        for info in logs:
            if len(logs) == 1 or _sensor_of_member(PurePosixPath(info.filename).stem):
                members[info.filename] = _Log(None, io.BytesIO(archive.read(info)))
        if len(logs) == 1:
            ((inner, log),) = members.items()
            return {"": log.table(f"{name}/{inner}", columns, sensor)}
        tables = _by_sensor(members, [info.filename for info in logs], name, columns)
        if raw_units:
            tables = {sensor: replace(table, raw_units=True) for sensor, table in tables.items()}
        return tables


def _has_raw_units(archive: zipfile.ZipFile, logs: list[zipfile.ZipInfo]) -> bool:
    """Whether Sensor Logger says in its metadata that units were left as the phone has them (g on iOS)."""
    for info in logs:
        if PurePosixPath(info.filename).stem.lower() == "metadata" and info.file_size < 1 << 20:
            rows = list(csv.DictReader(io.StringIO(archive.read(info).decode("utf-8-sig", "replace"))))
            return any((row.get("standardisation") or "").strip().lower() == "false" for row in rows)
    return False


def _is_log(info: zipfile.ZipInfo) -> bool:
    parts = PurePosixPath(info.filename).parts
    hidden = any(part.startswith(".") or part in ("__MACOSX", "meta") for part in parts)
    return not (info.is_dir() or hidden)


def _sensor_of_member(stem: str) -> tuple[str, str] | None:
    """Sensor and kind (``total``, ``plain``, ``uncalibrated``, ``linear``) of a log by its name."""
    parsed = parse_name(stem)
    joined = "".join(parsed.words)
    kind = "uncalibrated" if "uncalibrated" in parsed.qualifiers else "plain"
    if "watch" in joined or "magnet" in joined:
        return None
    if joined in ("gravity",):
        return GRAVITY, kind
    if joined in ("totalacceleration", "totalaccelerometer"):
        return ACCELEROMETER, "total"
    if joined in ("linearacceleration", "linearaccelerometer", "useracceleration"):
        return ACCELEROMETER, "linear"
    if any(word in ("accelerometer", "acceleration", "acc", "accel", "accl") for word in parsed.words):
        return ACCELEROMETER, kind
    if any(word in ("gyroscope", "gyro", "gyr") for word in parsed.words):
        return GYROSCOPE, kind
    return None


def _by_sensor(logs: Mapping[str, _Log], names: list[str], name: str, columns: ColumnChoice) -> Tables:
    """Of logs that are named after their sensors the best of each: with gravity before without, calibrated first."""
    order = ("total", "plain", "uncalibrated", "linear")
    chosen: dict[str, tuple[int, str]] = {}
    for key in logs:
        role = _sensor_of_member(PurePosixPath(key).stem)
        if role is None:
            continue
        rank = order.index(role[1])
        if role[0] in chosen and chosen[role[0]][0] == rank:
            found = f"two logs of the {role[0]} ({chosen[role[0]][1]}, {key})"
            remedy = 'Choose: {"accelerometer": "a.csv", "gyroscope": "g.csv"}.'
            raise InputError(name, found=found, expected="one log of each sensor", remedy=remedy)
        if role[0] not in chosen or rank < chosen[role[0]][0]:
            chosen[role[0]] = (rank, key)
    missing = [sensor for sensor in (ACCELEROMETER, GYROSCOPE) if sensor not in chosen]
    if missing:
        found = f"no log of the {' and the '.join(missing)} (logs: {', '.join(names[:12]) or 'none'})"
        remedy = 'Give files: {"accelerometer": "a.csv", "gyroscope": "g.csv"}, or one log.'
        expected = "the logs of accelerometer and gyroscope"
        raise InputError(name, found=found, expected=expected, remedy=remedy)
    tables = {
        sensor: logs[chosen[sensor][1]].table(f"{name}/{chosen[sensor][1]}", columns, sensor)
        for sensor in SENSORS
        if sensor in chosen
    }
    if chosen[ACCELEROMETER][0] == order.index("total"):
        tables.pop(GRAVITY, None)
    return tables
