"""Motion recordings as tables: text logs, Parquet, JSON, numpy files, zips, one file a sensor, arrays, data frames."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import BinaryIO

import numpy as np
import torch

from bindplug.errors import InputError
from bindplug.inputs.arrayfiles import NPY_MAGIC, ZIP_MAGIC, read_arrays
from bindplug.inputs.gzipped import is_gzip, unzipped
from bindplug.inputs.imu.archives import read_zip
from bindplug.inputs.imu.columns import ACCELEROMETER, GRAVITY, GYROSCOPE, match_columns
from bindplug.inputs.imu.json_logs import read_json
from bindplug.inputs.imu.rows_by_sensor import sensor_column
from bindplug.inputs.imu.sensor_logs import EXPECTED, Tables
from bindplug.inputs.imu.tables import ColumnChoice, as_array, frame_columns, table_of_arrays
from bindplug.inputs.imu.text import read_text
from bindplug.inputs.limits import MOST_COLUMNS, MOST_ROWS, check_limit
from bindplug.inputs.optional import import_optional
from bindplug.inputs.source import describe_source, is_file_like, open_source, peek, suffix_of, to_numpy

PARQUET_MAGIC = b"PAR1"
AS_CSV = "Export it as CSV."
_OTHERS = (
    (
        b"\x89HDF\r\n\x1a\n",
        "an HDF5 file",
        "Open it with h5py and pass its arrays by name: {'acc': ..., 'gyro': ..., 'time': ...}.",
    ),
    (
        b"MATLAB 5.0",
        "a MATLAB file",
        "Open it with scipy.io.loadmat and pass its arrays by name, or save it as CSV.",
    ),
    (b"ARROW1", "a Feather file", "Pass the frame: pandas.read_feather(path); or save it as Parquet."),
    (b"#ROSBAG", "a ROS bag", "Export the IMU's topic: rostopic echo -b FILE -p /imu > imu.csv."),
    (b"\x89MCAP", "an MCAP recording", "Export the IMU's topic as CSV, e.g. with PlotJuggler."),
    (b"ULog", "a PX4 log", "Export sensor_combined as CSV: ulog2csv."),
    (
        b"SQLite format 3",
        "an SQLite database (a ROS 2 bag?)",
        "Export the IMU's topic as CSV, e.g. with PlotJuggler.",
    ),
    (b"BZh", "a bzip2 file", "Unpack it first, or pack it by gzip."),
    (b"\xfd7zXZ", "an xz file", "Unpack it first, or pack it by gzip."),
    (b"\x28\xb5\x2f\xfd", "a Zstandard file", "Unpack it first, or pack it by gzip."),
    (b"\x80\x04\x95", "a pickle, which is never loaded", AS_CSV),
    (b"\x80\x05\x95", "a pickle, which is never loaded", AS_CSV),
)
"""First bytes of files that are not read, what they are, and the remedy."""
_SENSOR_KEYS = {
    "acc": ACCELEROMETER, "accel": ACCELEROMETER, "accelerometer": ACCELEROMETER, "acceleration": ACCELEROMETER,
    "gyro": GYROSCOPE, "gyr": GYROSCOPE, "gyroscope": GYROSCOPE, "gravity": GRAVITY,
}  # fmt: skip


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
        tables[sensor] = replace(inner[""], source=name)
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
        return {"": table_of_arrays({"": to_numpy(source)}, name, layout, columns, sensor)}
    if _is_table(source):
        return {"": table_of_arrays(frame_columns(source), name, layout, columns, sensor)}
    if not is_file_like(source):
        raise InputError(name, found=f"an object of type {type(source).__name__}", expected=EXPECTED)
    if is_gzip(source):
        return _read_source(unzipped(source, EXPECTED), name, layout, columns, sensor)
    suffix, head = suffix_of(source), peek(source, len(NPY_MAGIC))
    if suffix == ".npy" or head.startswith(NPY_MAGIC):
        return {"": table_of_arrays(read_arrays(source, EXPECTED), name, layout, columns, sensor)}
    with open_source(source, EXPECTED) as file:
        _refuse_others(_peek_open(file, 16), name)
        head = _peek_open(file, len(NPY_MAGIC))
        if head.startswith(ZIP_MAGIC):
            return read_zip(file, source, name, layout, columns, sensor)
        if suffix == ".npz":
            return {"": table_of_arrays(read_arrays(source, EXPECTED), name, layout, columns, sensor)}
        if head.startswith(PARQUET_MAGIC) or suffix in (".parquet", ".pq"):
            return {"": table_of_arrays(_read_parquet(file, name, columns), name, layout, columns, sensor)}
        if head.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] in (b"{", b"[") or suffix in (".json", ".jsonl"):
            return read_json(file, name, layout, columns, sensor)
        return {"": read_text(file, name, sensor=sensor, columns=columns)}


def _refuse_others(head: bytes, name: str) -> None:
    """Refuse files of kinds that hold motion elsewhere.

    Raises:
        InputError: the file is one of them.
    """
    kinds = [(kind, remedy) for magic, kind, remedy in _OTHERS if head.startswith(magic)]
    if head[4:8] == b"ftyp":
        kinds = [("a video", "Extract its motion track as CSV or JSON, of GoPros with gopro-telemetry.")]
    elif head[8:12] == b".FIT":
        kinds = [("a Garmin FIT file", AS_CSV)]
    for kind, remedy in kinds:
        raise InputError(name, found=kind, expected=EXPECTED, remedy=remedy)


def _peek_open(file: BinaryIO, count: int) -> bytes:
    start = file.tell()
    head = file.read(count)
    file.seek(start)
    return head


def _read_parquet(file: BinaryIO, name: str, columns: ColumnChoice) -> dict[str, np.ndarray]:
    parquet = import_optional("pyarrow.parquet", "bindplug.inputs.imu", "imu")
    errors = import_optional("pyarrow.lib", "bindplug.inputs.imu", "imu")
    try:
        opened = parquet.ParquetFile(file)
        check_limit(name, opened.metadata.num_rows, MOST_ROWS, "rows")
        names = opened.schema_arrow.names
        check_limit(name, len(names), MOST_COLUMNS, "columns")
        if columns is not None and not isinstance(columns, Mapping):
            return {key: as_array(values) for key, values in zip(columns, opened.read().columns, strict=True)}
        roles = {*match_columns(names, ACCELEROMETER, columns).names, sensor_column(names)}
        table = opened.read(columns=[key for key in names if key in roles])
    except (errors.ArrowException, OSError) as error:
        raise InputError(name, found=f"a damaged Parquet file ({error})", expected=EXPECTED) from None
    unread = {key: np.zeros(table.num_rows) for key in names if key not in roles}
    return {key: as_array(table[key]) if key in roles else unread[key] for key in names}
