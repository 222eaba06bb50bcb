"""Parquet and Lance tables of rows that other tools write."""

import numpy as np
import pyarrow as pa
import pytest

from bindplug.errors import InputError
from bindplug_search.adopt import open_rows
from bindplug_search.adopt.adopted_index import kind_names
from bindplug_search.adopt.survey import survey_rows
from tests.search.row_files import PATHS, ROWS, assert_holds_rows, fixed, write_parquet


@pytest.mark.parametrize("kind", ["fixed", "list", "large list", "float64", "float16", "int8", "uint8"])
def test_parquet_columns_of_every_kind(tmp_path, kind):
    rows = {"float64": ROWS.astype(np.float64), "float16": ROWS.astype(np.float16)}.get(kind, ROWS)
    if "int" in kind:
        rows = (ROWS * 20 + 60).clip(0, 120).astype(kind)
    column = {
        "list": lambda: pa.array(rows.tolist(), pa.list_(pa.float32())),
        "large list": lambda: pa.array(rows.tolist(), pa.large_list(pa.float32())),
    }.get(kind, lambda: fixed(rows))()
    path = write_parquet(tmp_path / "a.parquet", {"path": PATHS, "vector": column}, row_group_size=17)
    file = open_rows(path)
    assert_holds_rows(file, rows)
    assert (file.column, file.path_column, file.dtype) == ("vector", "path", rows.dtype)


def test_parquet_takes_kinds_spans_and_metadata(tmp_path):
    columns = {
        "path": PATHS, "modality": ["image", "text"] * 30, "embedding": fixed(ROWS), "start": [None, 1.0] * 30,
        "end": [None, 3.0] * 30, "year": list(range(60)), "tags": [["a"]] * 60,
    }  # fmt: skip
    file = open_rows(write_parquet(tmp_path / "a.parquet", columns))
    assert kind_names(file, "image")[:2] == ["image", "text"]
    assert np.isnan(file.spans[0]).all()
    assert file.spans[1].tolist() == [1.0, 3.0]
    assert file.metadata_columns == ["year"]
    assert file.metadata("year")[7] == 7


def test_columns_that_are_ambiguous_are_asked_for(tmp_path):
    path = write_parquet(
        tmp_path / "a.parquet", {"path": PATHS, "clip": fixed(ROWS), "text": fixed(ROWS * 2)}
    )
    with pytest.raises(InputError, match="several columns that may hold vectors: clip, text") as error:
        open_rows(path)
    assert error.value.remedy == "Name it: --rows clip"
    assert_holds_rows(open_rows(path, rows="text"), ROWS * 2)
    with pytest.raises(InputError, match=r"no column 'nothing'.*clip, text"):
        open_rows(path, rows="nothing")
    path = write_parquet(tmp_path / "b.parquet", {"left": PATHS, "right": PATHS, "clip": fixed(ROWS)})
    with pytest.raises(InputError, match="several columns that may hold paths: left, right"):
        open_rows(path)
    assert_holds_rows(open_rows(path, paths="right"))


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ({"path": PATHS}, "no column of vectors"),
        ({"path": pa.array([], pa.string()), "v": pa.array([], pa.list_(pa.float32()))}, "no rows"),
        ({"path": PATHS, "v": [[1.0, 2.0]] * 59 + [[1.0]]}, r"row 59 of 'v': 1 numbers; expected 2"),
        ({"path": PATHS, "v": pa.array([None] * 60, pa.list_(pa.float32()))}, "nothing but nulls"),
    ],
)
def test_tables_without_rows_are_refused(tmp_path, content, problem):
    path = write_parquet(tmp_path / "a.parquet", content)
    with pytest.raises(InputError, match=problem):
        survey_rows(open_rows(path))


def test_nulls_and_numbers_that_are_none_are_counted(tmp_path):
    rows = [None, [float("nan")] * 8, [0.0] * 8, [1.0] * 7 + [None], *ROWS[4:].tolist()]
    file = open_rows(
        write_parquet(tmp_path / "a.parquet", {"path": PATHS, "v": pa.array(rows, pa.list_(pa.float32()))})
    )
    survey = survey_rows(file)
    assert (survey.missing, survey.not_finite, survey.zero, int(survey.usable.sum())) == (1, 2, 1, 56)


def test_a_truncated_parquet_file_is_named(tmp_path):
    path = write_parquet(tmp_path / "a.parquet", {"path": PATHS, "v": fixed(ROWS)})
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InputError, match="damage or another format"):
        open_rows(path)


def test_lance_tables(tmp_path):
    lancedb = pytest.importorskip("lancedb")
    database = lancedb.connect(str(tmp_path))
    table = database.create_table("photos", pa.table({"path": PATHS[:20], "v": fixed(ROWS[:20])}))
    table.add(pa.table({"path": PATHS[20:], "v": fixed(ROWS[20:])}))
    before = sorted((path.name, path.stat().st_mtime_ns) for path in tmp_path.rglob("*"))
    assert_holds_rows(open_rows(tmp_path / "photos.lance"))
    assert_holds_rows(open_rows(tmp_path))
    assert sorted((path.name, path.stat().st_mtime_ns) for path in tmp_path.rglob("*")) == before
    database.create_table("others", pa.table({"path": PATHS, "v": fixed(ROWS)}))
    with pytest.raises(InputError, match="several tables: others, photos"):
        open_rows(tmp_path)
    assert_holds_rows(open_rows(tmp_path, table="others"))
    (tmp_path / "empty.lance").mkdir()
    with pytest.raises(InputError, match="without a Lance table"):
        open_rows(tmp_path / "empty.lance")
