"""Logs whose rows name their sensor: one column says whose the bare columns x, y and z are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import PurePosixPath

import numpy as np

from bindplug.errors import InputError
from bindplug.inputs.imu.columns import ACCELEROMETER, GRAVITY, GYROSCOPE, SENSORS, Table, match_columns
from bindplug.inputs.imu.names import parse_name

KINDS = ("total", "plain", "uncalibrated", "linear")
"""Kinds of one sensor's logs, the preferred one first: with gravity before without, calibrated before not."""
MOST_SENSORS = 64
"""Different names in a column of sensors; more are notes or labels."""
SENSOR_COLUMNS = frozenset(
    (
        "sensor",
        "sensors",
        "sensorname",
        "sensortype",
        "type",
        "name",
        "source",
        "stream",
        "sensorid",
        "topic",
        "data",
    )
)


def sensor_column(names: Iterable[str]) -> str | None:
    """The column that names each row's sensor, where the columns beside it are bare x, y and z; else ``None``."""
    names = list(names)
    if match_columns(names).channel_count:
        return None
    triple, _ = match_columns(names, ACCELEROMETER).best(ACCELEROMETER)
    if triple is None:
        return None
    columns = [name for name in names if "".join(parse_name(name).words) in SENSOR_COLUMNS]
    return columns[0] if columns else None


def tables_by_sensor(table: Table, name: str) -> dict[str, Table]:
    """A table whose rows name their sensor, as one table for each sensor.

    Raises:
        InputError: a sensor is missing, or two names stand for one.
    """
    column = table.columns[table.sensor_column].astype(np.str_)
    values = [str(value) for value in np.unique(column)]
    if len(values) > MOST_SENSORS:
        problem = f"{len(values)} different texts in the column {table.sensor_column!r}"
        raise InputError(name, found=problem, expected="the names of sensors")
    # "android.sensor.gyroscope" and "/imu/gyro" are named by their last part
    keys = {value: value.replace("/", ".").rsplit(".", 1)[-1] for value in values}
    best = best_logs(keys, values, name)
    tables = {}
    for sensor, (_, value) in best.items():
        rows = column == value
        tables[sensor] = replace(
            table,
            columns={key: cells[rows] for key, cells in table.columns.items() if key != table.sensor_column},
            matches=match_columns(table.names, sensor),
            sensor_column="",
        )
    if best[ACCELEROMETER][0] == KINDS.index("total"):
        tables.pop(GRAVITY, None)
    return tables


def best_logs(keys: Mapping[str, str], names: list[str], name: str) -> dict[str, tuple[int, str]]:
    """By sensor the best log, as its place in :data:`KINDS` and its key.

    Args:
        keys: logs, and what tells whose they are.
        names: of all logs, for errors.
        name: of the source.

    Raises:
        InputError: accelerometer or gyroscope are missing, or one has two logs of a kind.
    """
    best: dict[str, tuple[int, str]] = {}
    for key, label in keys.items():
        role = sensor_of(label)
        if role is None:
            continue
        rank = KINDS.index(role[1])
        if role[0] in best and best[role[0]][0] == rank:
            problem = f"two logs of the {role[0]} ({best[role[0]][1]}, {key})"
            remedy = 'Choose: {"accelerometer": "a.csv", "gyroscope": "g.csv"}.'
            raise InputError(name, found=problem, expected="one log of each sensor", remedy=remedy)
        if role[0] not in best or rank < best[role[0]][0]:
            best[role[0]] = (rank, key)
    missing = [sensor for sensor in (ACCELEROMETER, GYROSCOPE) if sensor not in best]
    if missing:
        problem = f"no log of the {' and the '.join(missing)} (logs: {', '.join(names[:12]) or 'none'})"
        remedy = 'Give files: {"accelerometer": "a.csv", "gyroscope": "g.csv"}, or one log.'
        expected = "the logs of accelerometer and gyroscope"
        raise InputError(name, found=problem, expected=expected, remedy=remedy)
    return {sensor: best[sensor] for sensor in SENSORS if sensor in best}


def sensor_of(label: str) -> tuple[str, str] | None:
    """Sensor and kind (one of :data:`KINDS`) of a log by its name."""
    parsed = parse_name(PurePosixPath(label).stem)
    text = "".join(parsed.words)
    kind = "uncalibrated" if "uncalibrated" in parsed.qualifiers else "plain"
    if "watch" in text or "magnet" in text:
        return None
    if text in ("gravity",):
        return GRAVITY, kind
    if text in ("totalacceleration", "totalaccelerometer"):
        return ACCELEROMETER, "total"
    if text in ("linearacceleration", "linearaccelerometer", "useracceleration"):
        return ACCELEROMETER, "linear"
    if any(word in ("accelerometer", "acceleration", "acc", "accel", "accl") for word in parsed.words):
        return ACCELEROMETER, kind
    if any(word in ("gyroscope", "gyro", "gyr") for word in parsed.words) or text == "angularvelocity":
        return GYROSCOPE, kind
    return None
