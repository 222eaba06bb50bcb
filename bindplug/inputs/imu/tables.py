"""Tables from columns in memory: mappings, data frames, arrays, and what files of columns hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np

from bindplug.errors import InputError
from bindplug.inputs.imu.cells import number, texts_of
from bindplug.inputs.imu.columns import ACCELEROMETER, CHANNELS, Table, match_columns
from bindplug.inputs.imu.rows_by_sensor import sensor_column
from bindplug.inputs.imu.written_times import dates_of
from bindplug.inputs.limits import MOST_COLUMNS, MOST_ROWS, check_limit

LAYOUTS = ("channels_first", "time_first")
ColumnChoice = Mapping[str, str] | Sequence[str] | None
"""Columns by channel, or all names in order."""


def frame_columns(table: Any) -> dict[str, np.ndarray]:
    """The columns of a mapping or a data frame (pandas, polars, pyarrow); an index of dates is one of them."""
    names = getattr(table, "column_names", None)
    if names is None:
        names = list(table.keys()) if isinstance(table, Mapping) else list(table.columns)
    columns = {str(name): as_array(table[name]) for name in names}
    index = getattr(table, "index", None)
    if index is not None and not callable(index) and getattr(index, "dtype", np.dtype("O")).kind in "mM":
        columns["datetime index"] = as_array(index)
    return columns


def as_array(values: Any) -> np.ndarray:
    array = values.to_numpy() if hasattr(values, "to_numpy") else np.asarray(values)
    if array.dtype.kind == "O" and array.ndim == 1 and array.size:
        if all(hasattr(value, "timestamp") for value in array):
            return dates_of(array)
        if any(isinstance(value, str) for value in array):
            return array.astype(object)
        if type(array[0]).__name__ == "time":
            return np.array([str(value) for value in array], dtype=object)
    return cast("np.ndarray[Any, Any]", array)


def table_of_arrays(
    arrays: dict[str, np.ndarray],
    name: str,
    layout: str | None,
    columns: ColumnChoice = None,
    sensor: str | None = None,
) -> Table:
    if len(arrays) == 1:
        ((key, array),) = arrays.items()
        if array.dtype.names:
            return table_of_columns(
                {field: array[field] for field in array.dtype.names}, name, columns, sensor
            )
        if sensor is not None and array.ndim == 2 and 3 in array.shape:
            arrays = {sensor: array}
        elif key == "" or array.ndim == 2:
            if columns is not None and not isinstance(columns, Mapping) and array.ndim == 2:
                return table_of_columns(_named_rows(array, columns, name), name, None, sensor)
            rows = channels_first(array, name, layout)
            bare = dict(zip(CHANNELS, rows, strict=True))
            return Table(bare, match_columns(bare), tuple(bare), units_are_given=True)
    flat: dict[str, np.ndarray] = {}
    for key, array in arrays.items():
        if array.ndim == 2 and 3 in array.shape:
            axes = array if array.shape[0] == 3 and array.shape[1] != 3 else array.T  # (T, 3) -> (3, T)
            flat |= {f"{key}_{axis}": row for axis, row in zip("xyz", axes, strict=True)}
        elif array.ndim == 1:
            flat[key] = array
    units_are_given = any(array.ndim == 2 for array in arrays.values())
    return table_of_columns(flat, name, columns, sensor, units_are_given=units_are_given)


def _named_rows(array: np.ndarray, names: Sequence[str], name: str) -> dict[str, np.ndarray]:
    """The rows or columns of a two-dimensional array by the names the caller gave."""
    if len(names) not in array.shape:
        problem = f"an array of shape {array.shape} for {len(names)} names"
        raise InputError(name, found=problem, expected="one name for each column")
    rows = array.T if array.shape[1] == len(names) else array
    return dict(zip(names, rows, strict=True))


def table_of_columns(
    columns: dict[str, np.ndarray],
    name: str,
    choice: ColumnChoice,
    sensor: str | None,
    *,
    units_are_given: bool = False,
) -> Table:
    """A table of the columns that have a role, the axes as float64."""
    if choice is not None and not isinstance(choice, Mapping):
        remedy = "Give columns={'acc_x': 'its name', ...} for data that has names."
        raise InputError(name, found=f"columns={list(choice)!r}", expected="names by channel", remedy=remedy)
    check_limit(name, len(columns), MOST_COLUMNS, "columns")
    by_rows = sensor_column(columns) if sensor is None and choice is None else None
    matches = match_columns(columns, ACCELEROMETER if by_rows else sensor, choice)
    clocks = {clock.name for clock in matches.clocks}
    roles = {
        key: _times(columns[key], name) if key in clocks else _floats(columns[key], name, key)
        for key in dict.fromkeys(matches.names)
    }
    if by_rows:
        roles[by_rows] = _times(columns[by_rows], name)
    lengths = {array.shape for array in roles.values()}
    if len(lengths) > 1:
        counts = sorted({shape[0] if shape else 0 for shape in lengths})
        remedy = "Sensors of different lengths each need a clock: give them as two tables."
        raise InputError(
            name, found=f"columns of {counts} samples", expected="as many samples in each", remedy=remedy
        )
    check_limit(name, max((len(array) for array in roles.values()), default=0), MOST_ROWS, "rows")
    return Table(roles, matches, tuple(columns), units_are_given=units_are_given, sensor_column=by_rows or "")


def _times(values: np.ndarray, name: str) -> np.ndarray:
    """A clock's column; objects become texts."""
    if values.dtype.kind != "O":
        return values
    return texts_of(["" if value is None else str(value).strip() for value in values], name)


def _floats(values: np.ndarray, name: str, key: str) -> np.ndarray:
    if values.dtype.kind not in "fiubUSO" or values.ndim != 1:
        problem = f"a column {key!r} of type {values.dtype}"
        raise InputError(name, found=problem, expected="a column of numbers")
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
