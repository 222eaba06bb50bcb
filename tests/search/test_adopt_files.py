"""Directories of rows that other tools write, and files that are refused with a reason."""

import warnings

import numpy as np
import pytest

from bindplug.errors import InputError
from bindplug_search.adopt import open_rows
from bindplug_search.adopt.adopted_index import kind_names
from tests.search.row_files import PATHS, ROWS, assert_holds_rows, fixed, write_parquet


@pytest.mark.parametrize("name", ["a.parquet", "a.npy", "a.npz", "a.faiss"])
def test_damaged_files_are_named(tmp_path, name, paths_file):
    (tmp_path / name).write_bytes(b"this is none of it" * 20)
    with pytest.raises(InputError, match=rf"{name}.*(damage|pickled)"):
        open_rows(tmp_path / name, paths=paths_file)


def test_other_files_are_refused(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        open_rows(tmp_path / "nothing.parquet")
    (tmp_path / "a.csv").write_text("a")
    with pytest.raises(InputError, match=r"the suffix '\.csv'.*numpy\.save"):
        open_rows(tmp_path / "a.csv")
    (tmp_path / "chroma").mkdir()
    (tmp_path / "chroma" / "chroma.sqlite3").touch()
    with pytest.raises(InputError, match=r"a Chroma database.*numpy\.save"):
        open_rows(tmp_path / "chroma")
    (tmp_path / "d.parquet").mkdir()
    with (
        warnings.catch_warnings(),
        pytest.raises(InputError, match="without a Lance table, Parquet files or"),
    ):
        open_rows(tmp_path / "d.parquet")


def write_clip_retrieval(directory, parts=12):
    """Vectors and tables as clip-retrieval writes them, five rows in each part."""
    for name in ("img_emb", "metadata"):
        (directory / name).mkdir(parents=True)
    for part in range(parts):
        rows = slice(5 * part, 5 * part + 5)
        np.save(directory / "img_emb" / f"img_emb_{part}.npy", ROWS[rows])
        columns = {"image_path": PATHS[rows], "caption": ["c"] * 5, "url": ["http://x"] * 5}
        write_parquet(directory / "metadata" / f"metadata_{part}.parquet", columns)
    return directory


def test_the_output_of_clip_retrieval(tmp_path, paths_file):
    directory = write_clip_retrieval(tmp_path / "out")
    assert_holds_rows(open_rows(directory))  # part 10 comes after part 9
    assert_holds_rows(open_rows(directory / "img_emb"))
    assert_holds_rows(open_rows(directory / "img_emb", paths=paths_file))
    assert_holds_rows(open_rows(directory, rows="img_emb", paths=str(directory / "metadata")))
    with pytest.raises(InputError, match="no directory 'text_emb'"):
        open_rows(directory, rows="text_emb")
    np.save(directory / "img_emb" / "img_emb_12.npy", ROWS[:2])
    with pytest.raises(InputError, match="12 tables for 13 files"):
        open_rows(directory)
    write_parquet(directory / "metadata" / "metadata_12.parquet", {"image_path": PATHS[:3]})
    with pytest.raises(InputError, match=r"3 paths for 2 rows of img_emb_12\.npy"):
        open_rows(directory)
    np.save(directory / "img_emb" / "img_emb_12.npy", ROWS[:3, :4])
    with pytest.raises(InputError, match="of width 8, as in img_emb_0"):
        open_rows(directory)
    (directory / "text_emb").mkdir()
    np.save(directory / "text_emb" / "text_emb_0.npy", ROWS)
    with pytest.raises(InputError, match="--rows img_emb"):
        open_rows(directory)


def test_a_directory_of_parquet_files(tmp_path):
    directory = tmp_path / "rows.parquet"
    directory.mkdir()
    for part in range(12):
        rows = slice(5 * part, 5 * part + 5)
        columns = {
            "path": PATHS[rows],
            "clip": fixed(ROWS[rows]),
            "modality": ["image"] * 5,
            "year": [part] * 5,
        }
        write_parquet(directory / f"part-{part}.parquet", columns)
    (directory / "_errors").mkdir()
    write_parquet(directory / "_metadata.parquet", {"path": ["x"]})
    file = open_rows(directory)
    assert_holds_rows(file)
    assert kind_names(file, "audio") == ["image"] * 60
    assert list(file.metadata("year"))[:6] == [0, 0, 0, 0, 0, 1]
    with pytest.raises(KeyError):
        file.metadata("clip")
    write_parquet(directory / "part-12.parquet", {"path": ["a"], "other": fixed(ROWS[:1])})
    with pytest.raises(InputError, match=r"part-12\.parquet"):
        open_rows(directory)
