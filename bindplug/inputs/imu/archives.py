"""A zip of logs: of one sensor each, of numpy arrays, or of one file of any layout."""

from __future__ import annotations

import csv
import io
import zipfile
import zlib
from dataclasses import replace
from pathlib import PurePosixPath
from typing import BinaryIO

from bindplug.errors import InputError
from bindplug.inputs.arrayfiles import read_arrays
from bindplug.inputs.imu.json_logs import read_json
from bindplug.inputs.imu.rows_by_sensor import sensor_of
from bindplug.inputs.imu.sensor_logs import EXPECTED, SensorLog, Tables, tables_of_logs
from bindplug.inputs.imu.tables import ColumnChoice, table_of_arrays
from bindplug.inputs.limits import check_limit

MOST_UNPACKED_BYTES = 1 << 30
"""Bytes that one member of a zip may unpack to."""
MOST_MEMBERS = 10_000
LOG_SUFFIXES = (".csv", ".txt", ".tsv")


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
        texts = [info for info in infos if PurePosixPath(info.filename).suffix.lower() == ".json"]
        if not logs and len(texts) == 1:
            check_limit(
                f"{name}/{texts[0].filename}", texts[0].file_size, MOST_UNPACKED_BYTES, "bytes unpacked"
            )
            text = io.BytesIO(_unpacked(archive, texts[0], name))
            return read_json(text, f"{name}/{texts[0].filename}", layout, columns, sensor)
        if not logs:
            contents = ", ".join(info.filename for info in infos[:8]) or "nothing"
            remedy = "Save a workbook as CSV." if any("xl/" in info.filename for info in infos) else ""
            raise InputError(name, found=f"a zip of {contents}", expected="a zip of CSV logs", remedy=remedy)
        for info in logs:
            check_limit(f"{name}/{info.filename}", info.file_size, MOST_UNPACKED_BYTES, "bytes unpacked")
        raw_units = _has_raw_units(archive, logs, name)
        members: dict[str, SensorLog] = {}
        for info in logs:
            if len(logs) == 1 or sensor_of(PurePosixPath(info.filename).name):
                members[info.filename] = SensorLog(None, io.BytesIO(_unpacked(archive, info, name)))
        if len(logs) == 1:
            ((inner, log),) = members.items()
            return {"": log.table(f"{name}/{inner}", columns, sensor)}
        tables = tables_of_logs(members, [info.filename for info in logs], name, columns)
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
