"""Logs of one sensor each within one file, and which of them are read."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import BinaryIO

import numpy as np

from bindplug.inputs.imu.columns import ACCELEROMETER, GRAVITY, Table
from bindplug.inputs.imu.rows_by_sensor import KINDS, best_logs
from bindplug.inputs.imu.tables import ColumnChoice, table_of_columns
from bindplug.inputs.imu.text import read_text

EXPECTED = (
    "a motion recording: a text log, Parquet, JSON, .npy, .npz, a zip of logs, a mapping of columns or of "
    "two files, or an array (6, T) or (T, 6)"
)
Tables = dict[str, Table]
"""One table under ``""``, or one for each sensor under its name."""


class SensorLog:
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


def tables_of_logs(
    logs: Mapping[str, SensorLog], names: list[str], name: str, columns: ColumnChoice
) -> Tables:
    """Of logs that are named after their sensors the best of each.

    Args:
        logs: by name.
        names: of all logs, for errors.
        name: of the source.
        columns: see :meth:`bindplug.inputs.ImuPreprocess.read`.

    Raises:
        InputError: accelerometer or gyroscope are missing, or one has two logs of a kind.
    """
    best = best_logs({key: PurePosixPath(key).name for key in logs}, names, name)
    # Total acceleration includes gravity, so gravity's own log is not added to it.
    tables = {
        sensor: logs[best[sensor][1]].table(f"{name}/{best[sensor][1]}", columns, sensor) for sensor in best
    }
    if best[ACCELEROMETER][0] == KINDS.index("total"):
        tables.pop(GRAVITY, None)
    return tables
