"""Logs within one file: a zip of text logs, and JSON whose rows name their sensor."""

from __future__ import annotations

import csv
import io
import json
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import PurePosixPath
from typing import Any, BinaryIO

import numpy as np

from bindplug.errors import InputError
from bindplug.inputs.arrayfiles import read_arrays
from bindplug.inputs.imu.columns import ACCELEROMETER, GRAVITY, Table
from bindplug.inputs.imu.rows_by_sensor import KINDS, best_logs, sensor_of
from bindplug.inputs.imu.tables import ColumnChoice, as_array, table_of_arrays, table_of_columns
from bindplug.inputs.imu.text import read_text
from bindplug.inputs.limits import check_limit

EXPECTED = (
    "a motion recording: a text log, Parquet, JSON, .npy, .npz, a zip of logs, a mapping of columns or of "
    "two files, or an array (6, T) or (T, 6)"
)
MOST_UNPACKED_BYTES = 1 << 30
"""Bytes that one member of a zip may unpack to."""
MOST_JSON_BYTES = 1 << 28
MOST_MEMBERS = 10_000
LOG_SUFFIXES = (".csv", ".txt", ".tsv")
Tables = dict[str, Table]
"""One table under ``""``, or one for each sensor under its name."""


def read_json(file: BinaryIO, name: str, columns: ColumnChoice, sensor: str | None) -> Tables:
    """Tables from JSON: rows or lists of columns, rows that name their sensor, or one row a line.

    Raises:
        InputError: it is damaged, too large, or lacks a sensor.
    """
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
        return {"": table_of_columns(groups[""], name, columns, sensor)}
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
        return {"": {key: as_array(np.array(value)) for key, value in lists.items() if not _is_nested(value)}}
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
            return table_of_columns(self.columns, name, columns, sensor)
        assert self.file is not None
        self.file.seek(0)
        return read_text(self.file, name, sensor=sensor, columns=columns)


def read_zip(
    file: BinaryIO, source: object, name: str, layout: str | None, columns: ColumnChoice, sensor: str | None
) -> Tables:
    """Tables from a zip of text logs, or of numpy arrays.

    Raises:
        InputError: it is damaged, unpacks to too much, or lacks a sensor.
    """
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
            return {"": table_of_arrays(arrays, name, layout, columns, sensor)}
        logs = [info for info in infos if PurePosixPath(info.filename).suffix.lower() in LOG_SUFFIXES]
        if not logs:
            listed = ", ".join(info.filename for info in infos[:8]) or "nothing"
            remedy = "Save a workbook as CSV." if any("xl/" in info.filename for info in infos) else ""
            raise InputError(name, found=f"a zip of {listed}", expected="a zip of CSV logs", remedy=remedy)
        for info in logs:
            check_limit(f"{name}/{info.filename}", info.file_size, MOST_UNPACKED_BYTES, "bytes unpacked")
        raw_units = _has_raw_units(archive, logs, name)
        members: dict[str, _Log] = {}
        for info in logs:
            if len(logs) == 1 or sensor_of(PurePosixPath(info.filename).name):
                members[info.filename] = _Log(None, io.BytesIO(_unpacked(archive, info, name)))
        if len(logs) == 1:
            ((inner, log),) = members.items()
            return {"": log.table(f"{name}/{inner}", columns, sensor)}
        tables = _by_sensor(members, [info.filename for info in logs], name, columns)
        if raw_units:
            tables = {sensor: replace(table, raw_units=True) for sensor, table in tables.items()}
        return tables


def _unpacked(archive: zipfile.ZipFile, info: zipfile.ZipInfo, name: str) -> bytes:
    """The bytes of a member.

    Raises:
        InputError: they are damaged, encrypted or packed in an unknown way.
    """
    try:
        return archive.read(info)
    except (zipfile.BadZipFile, zlib.error, OSError, EOFError, RuntimeError, ValueError) as error:
        problem = f"a damaged or encrypted zip ({error})"
        raise InputError(f"{name}/{info.filename}", found=problem, expected=EXPECTED) from None


def _has_raw_units(archive: zipfile.ZipFile, logs: list[zipfile.ZipInfo], name: str) -> bool:
    """Whether Sensor Logger says in its metadata that units were left as the phone has them (g on iOS)."""
    for info in logs:
        if PurePosixPath(info.filename).stem.lower() == "metadata" and info.file_size < 1 << 20:
            rows = list(
                csv.DictReader(io.StringIO(_unpacked(archive, info, name).decode("utf-8-sig", "replace")))
            )
            return any((row.get("standardisation") or "").strip().lower() == "false" for row in rows)
    return False


def _is_log(info: zipfile.ZipInfo) -> bool:
    parts = PurePosixPath(info.filename).parts
    hidden = any(part.startswith(".") or part in ("__MACOSX", "meta") for part in parts)
    return not (info.is_dir() or hidden)


def _by_sensor(logs: Mapping[str, _Log], names: list[str], name: str, columns: ColumnChoice) -> Tables:
    """Of logs that are named after their sensors the best of each."""
    best = best_logs({key: PurePosixPath(key).name for key in logs}, names, name)
    # Total acceleration includes gravity, so gravity's own log is not added to it.
    tables = {
        sensor: logs[best[sensor][1]].table(f"{name}/{best[sensor][1]}", columns, sensor) for sensor in best
    }
    if best[ACCELEROMETER][0] == KINDS.index("total"):
        tables.pop(GRAVITY, None)
    return tables
