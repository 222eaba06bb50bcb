"""Motion logs as JSON: rows, columns, rows that name their sensor, and the formats of Edge Impulse and GoPro."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO

import numpy as np

from bindplug.errors import InputError
from bindplug.inputs.imu.columns import match_columns
from bindplug.inputs.imu.rows_by_sensor import sensor_column, sensor_of
from bindplug.inputs.imu.sensor_logs import EXPECTED, SensorLog, Tables, tables_of_logs
from bindplug.inputs.imu.tables import ColumnChoice, as_array, table_of_arrays, table_of_columns
from bindplug.inputs.limits import check_limit

MOST_JSON_BYTES = 1 << 28
AXES = "xyz"
GOPRO_STREAMS = {"ACCL": "accelerometer", "GYRO": "gyroscope"}
"""Keys of GoPro's telemetry. Source: GPMF's documentation."""
_AXIS_ORDER = re.compile(r"\(([xyz]), ?([xyz]), ?([xyz])\)")
Columns = dict[str, np.ndarray]


def read_json(
    file: BinaryIO, name: str, layout: str | None, columns: ColumnChoice, sensor: str | None
) -> Tables:
    """Tables from JSON: rows or columns at any depth, rows that name their sensor, or one row a line.

    Lists of three numbers are a sensor's axes.

    Raises:
        InputError: it is damaged, too large, or lacks a sensor.
    """
    loaded = _loaded(file, name)
    if isinstance(loaded, list) and loaded and isinstance(loaded[0], list):
        array = _numbers(loaded)
        if array is not None:
            return {"": table_of_arrays({"": array}, name, layout, columns, sensor)}
    groups = _edge_impulse(loaded) or _gopro(loaded, name) or _groups(loaded)
    if list(groups) == [""]:
        return {"": table_of_columns(groups[""], name, columns, sensor)}
    return tables_of_logs(
        {key: SensorLog(group, None) for key, group in groups.items()}, list(groups), name, columns
    )


def _loaded(file: BinaryIO, name: str) -> Any:
    data = file.read(MOST_JSON_BYTES + 1)
    check_limit(name, len(data), MOST_JSON_BYTES, "bytes or more of JSON", "Export it as CSV.")
    try:
        text = data.decode("utf-8-sig")
        try:
            return json.loads(text)
        except json.JSONDecodeError:
            lines = text.splitlines()
            if len(lines) < 2:
                raise
            return [json.loads(line) for line in lines if line.strip()]
    except (ValueError, RecursionError) as error:
        raise InputError(name, found=f"damaged JSON ({str(error)[:200]})", expected=EXPECTED) from None


def _edge_impulse(loaded: Any) -> dict[str, Columns]:
    """Edge Impulse's data acquisition format: named sensors with units, and their values at an interval."""
    payload = loaded.get("payload") if isinstance(loaded, dict) else None
    if not isinstance(payload, dict) or not {"interval_ms", "sensors", "values"} <= set(payload):
        return {}
    titles = [
        f"{item.get('name')} ({item.get('units')})" for item in payload["sensors"] if isinstance(item, dict)
    ]
    values = _numbers(payload["values"])
    if values is None or values.ndim != 2 or values.shape[1] != len(titles):
        return {}
    columns = dict(zip(titles, values.T, strict=True))  # (T, sensors) -> a column each
    return {"": {"time (ms)": np.arange(len(values)) * float(payload["interval_ms"]), **columns}}


def _gopro(loaded: Any, name: str) -> dict[str, Columns]:
    """GoPro's telemetry: streams of samples whose values are lists in an order that the stream's name states.

    Raises:
        InputError: a stream does not state the order of its axes.
    """
    devices = loaded.values() if isinstance(loaded, dict) else []
    streams: dict[str, Any] = next(
        (
            device["streams"]
            for device in devices
            if isinstance(device, dict) and isinstance(device.get("streams"), dict)
        ),
        {},
    )
    groups: dict[str, Columns] = {}
    for key in GOPRO_STREAMS.keys() & streams.keys():
        stream = streams[key]
        samples = [sample for sample in stream.get("samples", []) if isinstance(sample, dict)]
        order = _AXIS_ORDER.search(str(stream.get("name", "")).lower())
        if order is None or len(set(order.groups())) < 3:
            problem = (
                f"a stream {key} that does not state the order of its axes (its name: {stream.get('name')!r})"
            )
            remedy = "Export it as CSV with named axes, or pass the arrays."
            raise InputError(
                name, found=problem, expected="a name such as 'Accelerometer (z,x,y)'", remedy=remedy
            )
        values = _numbers([sample.get("value") for sample in samples])
        if values is not None and values.ndim == 2 and values.shape[1] == 3:
            unit = stream.get("units", "")
            columns = {f"{axis} ({unit})": row for axis, row in zip(order.groups(), values.T, strict=True)}
            times = _cells([sample.get("cts") for sample in samples])
            groups[GOPRO_STREAMS[key]] = {"cts": times, **columns}
    return groups


def _groups(loaded: Any) -> dict[str, Columns]:
    """Columns by the name of the sensor, or under ``""`` where rows name none."""
    if isinstance(loaded, list):
        return _groups_of_rows(loaded) or {"": {}}
    if not isinstance(loaded, dict):
        return {"": {}}
    titles, rows = loaded.get("columns"), _numbers(loaded.get("data"))
    if isinstance(titles, list) and rows is not None and rows.ndim == 2 and rows.shape[1] == len(titles):
        return {"": dict(zip(map(str, titles), rows.T, strict=True))}  # pandas: orient="split"
    columns: Columns = {}
    records: dict[str, list[Any]] = {}
    for key, value in _lists(loaded):
        if any(isinstance(item, dict) for item in value[:1]):
            records[key] = value
        else:
            columns |= _columns_of_list(key, value)
    if not records or (match_columns(columns).channel_count and not any(map(sensor_of, records))):
        return {"": columns}
    if not any(map(sensor_of, records)):
        fitting = [rows for rows in records.values() if _holds_axes(rows)]
        if len(fitting) == 1:
            return _groups_of_rows(fitting[0])
    return {key: _columns_of_rows(rows) for key, rows in records.items()}


def _lists(node: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, list[Any]]]:
    """Every list within mappings, under its keys joined by dots."""
    for key, value in node.items():
        if (
            isinstance(value, dict) and value and all(map(str.isdigit, value))
        ):  # pandas: cells by the row's number
            yield f"{prefix}{key}", list(value.values())
        elif isinstance(value, dict):
            yield from _lists(value, f"{prefix}{key}.")
        elif isinstance(value, list) and value:
            yield f"{prefix}{key}", value


def _holds_axes(rows: list[Any]) -> bool:
    """Whether rows hold a sensor's axes, or lists of such rows, as messages that were pushed do."""
    first = rows[0]
    if any(isinstance(value, list) and value and isinstance(value[0], dict) for value in first.values()):
        return "payload" in first
    names = _flatten(first)
    return bool(match_columns(names).channel_count or sensor_column(names) or _sensor_name(first))


def _groups_of_rows(rows: list[Any]) -> dict[str, Columns]:
    groups: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        if isinstance(row, dict) and isinstance(row.get("payload"), list):  # Sensor Logger's pushed messages
            for inner in row["payload"]:
                if isinstance(inner, dict):
                    groups.setdefault(str(inner.get("name", "")), []).append(inner)
        elif isinstance(row, dict):
            groups.setdefault(_sensor_name(row), []).append(row)
    return {key: _columns_of_rows(group) for key, group in groups.items()}


def _sensor_name(row: Mapping[str, Any]) -> str:
    """The sensor that a row names; empty if it names none."""
    return str(row.get("sensor", row.get("name") if isinstance(row.get("values"), (dict, list)) else ""))


def _columns_of_list(key: str, values: list[Any]) -> Columns:
    """A column, or three of a list of triples."""
    if not isinstance(values[0], list):
        return {key: as_array(np.array(values))}
    array = _numbers(values)
    if array is None or array.ndim != 2 or 3 not in array.shape:
        return {}
    axes = array if array.shape[0] == 3 and array.shape[1] != 3 else array.T  # (T, 3) -> (3, T)
    return {f"{key}.{axis}": row for axis, row in zip(AXES, axes, strict=True)}


def _columns_of_rows(rows: list[Any]) -> Columns:
    flat = [_flatten(row) for row in rows if isinstance(row, dict)]
    names = dict.fromkeys(key for row in flat for key in row)
    return {key: _cells([row.get(key) for row in flat]) for key in names}


def _flatten(row: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Cells by their keys joined by dots; lists of three numbers as x, y and z."""
    flat: dict[str, Any] = {}
    for key, value in row.items():
        inner = "" if key in ("values", "value") else f"{prefix}{key}."
        if isinstance(value, dict):
            flat |= _flatten(value, inner)
        elif not isinstance(value, list):
            flat[f"{prefix}{key}"] = value
        elif len(value) == 3 and all(isinstance(number, (int, float)) for number in value):
            flat |= {f"{inner}{axis}": number for axis, number in zip(AXES, value, strict=True)}
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


def _numbers(values: Any) -> np.ndarray | None:
    """Nested lists as float64; ``None`` where they are ragged or hold other things."""
    try:
        return np.array(values, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        return None
