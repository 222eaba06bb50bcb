"""Files that claim or hold too much, and files of other kinds: refused at once, with the file's name."""

from __future__ import annotations

import io
import json
import zipfile

import numpy as np
import pytest

import bindplug.inputs.imu.files as files
import bindplug.inputs.imu.tables as tables
import bindplug.inputs.imu.text as text
from bindplug.errors import InputError
from bindplug.inputs import ImuPreprocess
from bindplug.inputs.imu import archives, json_logs
from tests.inputs.imu_layouts import plain
from tests.inputs.imu_logs import log, motion, times, zip_of

preprocess = ImuPreprocess()
HEADER = "time_s,acc_x,acc_y,acc_z,gyro_x,gyro_y,gyro_z"
T = times(100)


def gyroflow():
    return b"GYROFLOW IMU LOG\nversion,1.1\ntscale,0.001\ngscale,0.0001\nt,gx,gy,gz,ax,ay,az\n1,2,3,4,5,6,7\n"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"time,acc_x," + b"x" * 3_000_000, "a line of more than"),
        (b'["' + b"x" * 3_000_000 + b'"]', "no column for"),
        (HEADER.encode() + b"\n" + b"9" * 100_000 + b",1,1,1,1,1,1\n" + b"1,1,1,1,1,1,1\n" * 5, "a time of 100000"),
        (HEADER.encode() + b"\n1,2,3\n4,5,6\n", "lines without the header.s 7 cells"),
        (HEADER.encode() + b"\n0," + b"9" * 200_000 + b",1,1,1,1,1\n", "131,072 characters after row 0.*quote"),
        (b"[" * 100_000 + b"]" * 100_000, "damaged JSON"),
        (b'[{"a": 1},', "damaged JSON"),
        (b"{}", "no column for"),
        (b"[1, 2, 3]", "no column for"),
        (b'{"acc_x": [[1], 2]}', "no column for"),
        (b"a\0b", "binary data"),
        (b"\x89PNG\r\n\x1a\n" + b"\0" * 100, "binary data"),
        (zip_of({"a.png": b"x"}), "a zip of a.png"),
        (zip_of({"xl/workbook.xml": b"x"}), "Save a workbook as CSV"),
        (zip_of({"a.csv": plain(), "b.csv": plain()}), r"logs: a.csv, b.csv"),
        (zip_of({"a.csv": plain()})[:60], "a damaged zip"),
        (zip_of({"a.csv": b"0" * (4 << 20)}), "a.csv: a line of more than"),
        (zip_of({"a.npy": b"\x93NUMPY\x01\x00"}), "numpy"),
        (gyroflow(), "Gyroflow"),
        (log(HEADER, [T, *motion(T)]).replace(b"\n", b",0,1\n", 20).replace(b"z,0,1", b"z"), "19 of 800 lines"),
    ],
    ids=range(20),
)  # fmt: skip
def test_what_is_no_log_is_refused(data, message, tmp_path):
    path = tmp_path / "walk.dat"
    path.write_bytes(data)
    with pytest.raises(InputError, match=message) as error:
        preprocess(path)
    assert "walk.dat" in str(error.value)


@pytest.mark.parametrize("after", [1, 300, 790])
@pytest.mark.parametrize("column", [0, 3, 7])
def test_a_quote_that_is_never_closed_loses_no_rows(after, column):
    """Without the refusal the rows after it would pass for one last line that is half written."""
    lines = log(HEADER + ",remark", [T, *motion(T), ["ok"] * T.size]).decode().splitlines()
    cells = lines[after].split(",")
    cells[column] = f'"{cells[column]}'
    lines[after] = ",".join(cells)
    with pytest.raises(
        InputError, match=f"a quote in row {after} that is not closed within 20 lines.*Remove"
    ):
        preprocess.read("\n".join(lines).encode())


def test_a_matrix_of_numbers_is_refused_without_a_look_at_each_cell(monkeypatch):
    def parse(name):
        raise AssertionError(name)

    monkeypatch.setattr("bindplug.inputs.imu.columns.parse_name", parse)
    monkeypatch.setattr("bindplug.inputs.imu.text.parse_name", parse)
    with pytest.raises(InputError, match="no line that names"):
        preprocess.read("\n".join([",".join(["7"] * 3000)] * 100).encode())


def test_zip_bombs_are_refused_before_they_are_unpacked():
    buffer = io.BytesIO()
    with (
        zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("Gyroscope.csv", "w") as member,
    ):
        for _ in range(1100):
            member.write(bytes(1 << 20))
    with pytest.raises(InputError, match="1,153,433,600 bytes unpacked; expected at most"):
        preprocess(buffer.getvalue())


def test_a_damaged_member_of_a_zip_is_named():
    data = bytearray(zip_of({"a.csv": plain()}))
    data[2000:2020] = bytes(20)
    with pytest.raises(InputError, match=r"a\.csv: a damaged or encrypted zip"):
        preprocess(bytes(data))


def test_a_zip_of_many_files_is_refused(monkeypatch):
    monkeypatch.setattr(archives, "MOST_MEMBERS", 3)
    with pytest.raises(InputError, match="4 files in a zip"):
        preprocess(zip_of({f"{i}.csv": b"x" for i in range(4)}))


def test_rows_are_limited(monkeypatch, tmp_path):
    monkeypatch.setattr(text, "MOST_ROWS", 500)
    monkeypatch.setattr(text, "CHUNK_ROWS", 100)
    with pytest.raises(InputError, match="600 rows; expected at most 500"):
        preprocess(log(HEADER, [T, *motion(T)]))
    monkeypatch.setattr(files, "MOST_ROWS", 500)
    monkeypatch.setattr(tables, "MOST_ROWS", 500)
    parquet = pytest.importorskip("pyarrow.parquet")
    import pyarrow

    columns = dict(zip(HEADER.split(","), [T, *motion(T)], strict=True))
    parquet.write_table(pyarrow.table(columns), tmp_path / "walk.parquet")
    for source in (tmp_path / "walk.parquet", columns, motion(T)):
        with pytest.raises(InputError, match="800 rows; expected at most 500"):
            preprocess(source, sample_rate=100)


def test_json_is_limited(monkeypatch):
    monkeypatch.setattr(json_logs, "MOST_JSON_BYTES", 1000)
    rows = [{"time_s": t, "acc_x": 1.0} for t in T.tolist()]
    with pytest.raises(InputError, match="bytes or more of JSON"):
        preprocess(json.dumps(rows).encode())


def test_only_columns_with_a_role_are_read_from_parquet(tmp_path, monkeypatch):
    parquet = pytest.importorskip("pyarrow.parquet")
    import pyarrow

    columns = dict(zip(HEADER.split(","), [T, *motion(T)], strict=True)) | {"note": ["x" * 1000] * T.size}
    parquet.write_table(pyarrow.table(columns), tmp_path / "walk.parquet")
    read = parquet.ParquetFile.read
    reads = []

    def recording(self, columns=None, **options):
        reads.append(columns)
        return read(self, columns=columns, **options)

    monkeypatch.setattr(parquet.ParquetFile, "read", recording)
    np.testing.assert_allclose(
        preprocess(tmp_path / "walk.parquet"), preprocess(motion(T), sample_rate=100), atol=1e-3
    )
    assert reads == [HEADER.split(",")]


def test_batches_skip_whatever_a_log_holds():
    sources = [log(HEADER, [T, *motion(T)]), zip_of({"a.png": b"x"}), b"[" * 100_000, b"a\0b", 42]
    batch = preprocess.batch(sources, on_error="skip")
    assert batch.kept == [0]
    assert [skip.index for skip in batch.skipped] == [1, 2, 3, 4]


OTHERS = [
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file.*h5py"),
    (b"MATLAB 5.0 MAT-file", "a MATLAB file.*loadmat"),
    (b"ARROW1\0\0", "a Feather file.*read_feather"),
    (b"#ROSBAG V2.0", "a ROS bag.*rostopic echo"),
    (b"\x89MCAP0\r\n", "an MCAP recording"),
    (b"ULog\x01\x12\x35", "a PX4 log.*ulog2csv"),
    (b"SQLite format 3\0", "an SQLite database"),
    (b"BZh91AY&SY", "a bzip2 file.*Unpack it"),
    (b"\xfd7zXZ\0", "an xz file.*Unpack it"),
    (b"\x80\x05\x95\x10", "a pickle, which is never loaded"),
    (b"\x0e\x10\x90\x08\x00\x01\x00\x00.FIT", "a Garmin FIT file.*as CSV"),
    (b"\0\0\0\x18ftypmp41", "a video.*gopro-telemetry"),
    (b"\x01\x02\x03\0", "binary data of no kind that is read"),
]


@pytest.mark.parametrize(("head", "message"), OTHERS)
def test_files_of_other_kinds_are_called_by_their_name(head, message):
    with pytest.raises(InputError, match=message):
        preprocess(head + bytes(200))
