"""Addresses, copies of remote files, and outputs at addresses; `file://` stands for the stores."""

from __future__ import annotations

import numpy as np
import pyarrow.parquet as pq
import pytest

from bindplug.errors import InputError
from bindplug_search import embed_with_ray
from bindplug_search.engine import copies
from bindplug_search.engine.addresses import lance_uri, list_files, local_path, open_place, whole_file


@pytest.fixture
def folder(tmp_path):
    """Files at two levels, one of them hidden."""
    for name in ("b.png", "a.png", "c.txt", ".hidden.png", "deep/d.png"):
        path = tmp_path / "folder" / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(name.encode())
    return tmp_path / "folder"


def names(entries):
    return [entry.name.rpartition("folder/")[2] for entry in entries]


def test_a_prefix_is_listed_as_a_directory_is(folder):
    address = f"file://{folder}"
    assert names(list_files(address)) == names(list_files(str(folder))) == ["a.png", "b.png", "c.txt"]
    assert names(list_files(address, include=["*.png"])) == [".hidden.png", "a.png", "b.png"]
    assert names(list_files(address, recursive=True)) == ["a.png", "b.png", "c.txt", "deep/d.png"]
    assert names(list_files(f"{address}/*.txt")) == ["c.txt"]
    (entry,) = list_files(f"{address}/a.png")
    assert entry.name == f"{address}/a.png"
    assert entry.state == ((folder / "a.png").stat().st_size, (folder / "a.png").stat().st_mtime_ns)


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("file://{}/absent", "no files there"),
        ("file://{}/*/a.png", "a pattern of directories"),
        ("file://{}/*.wav", "no files there"),
        ("http://example.invalid/a.png", "a store that Arrow reads"),
    ],
)
def test_addresses_that_stand_for_nothing(folder, address, words):
    with pytest.raises(InputError, match=words):
        list_files(address.format(folder))


def test_paths_in_stores():
    filesystem, path = open_place("s3://user:key@bucket/a b/c#1.png?region=us-east-1")
    assert (filesystem.type_name, path) == ("s3", "bucket/a b/c#1.png")
    with pytest.raises(InputError, match=r"^s3://bucket: ") as refused:
        open_place("s3://user:key@bucket/a.png?colour=red")
    assert "key@" not in str(refused.value), "no secret is printed"
    assert local_path("s3://bucket/a.png") is None
    assert local_path("file:///a b.png") == "/a b.png"
    assert lance_uri("s3://bucket/rows.lance?region=x") == "s3://bucket/rows.lance"


def test_a_file_appears_whole_or_not_at_all(tmp_path):
    filesystem, path = open_place(str(tmp_path / "out"))

    def interrupted():
        with whole_file(filesystem, path, str(tmp_path / "_tmp")) as file:
            file.write(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert [item.name for item in tmp_path.iterdir()] == ["_tmp"]
    assert not list((tmp_path / "_tmp").iterdir())
    with whole_file(filesystem, path, str(tmp_path / "_tmp")) as file:
        file.write(b"whole")
    assert (tmp_path / "out").read_bytes() == b"whole"


@pytest.mark.usefixtures("in_process")
def test_remote_files_are_copied_and_named_by_their_address(small_model, pictures, tmp_path, monkeypatch):
    monkeypatch.setattr(copies, "local_path", lambda value: None if value.startswith("file://") else value)
    monkeypatch.setattr(copies, "FETCH_THREADS", 2)
    directories: list[str] = []
    fetch = copies.copy_file

    def copy_file(value, directory, number):
        directories.append(directory)
        return fetch(value, directory, number)

    monkeypatch.setattr(copies, "copy_file", copy_file)
    sources = [f"file://{path}" for path in (*pictures[8:12], tmp_path / "absent.png")]
    listed = tmp_path / "list.parquet"
    import pyarrow as pa

    pq.write_table(pa.table({"path": sources}), listed)
    rows = f"file://{tmp_path}/rows"
    summary = embed_with_ray([str(listed)], rows, modality="image", model=small_model, column="path")
    assert (summary.rows, summary.skipped_count) == (3, 2)
    assert len(directories) == 5
    assert not any(map(_exists, directories)), "the copies are gone"
    table = pq.read_table(tmp_path / "rows")
    assert table["path"].to_pylist() == [sources[0], sources[1], sources[3]]
    reasons = {row["path"]: row["reason"] for row in pq.read_table(tmp_path / "rows" / "_errors").to_pylist()}
    assert reasons.keys() == {sources[2], sources[4]}
    assert reasons[sources[4]] == f"{sources[4]}: no such file; expected a file that exists"
    assert directories[0] not in reasons[sources[2]]
    local = embed_with_ray(
        [str(pictures[8]), str(pictures[9]), str(pictures[11])],
        tmp_path / "local",
        modality="image",
        model=small_model,
    )
    assert local.rows == 3
    np.testing.assert_allclose(
        np.array(table["embedding"].to_pylist()),
        np.array(pq.read_table(tmp_path / "local")["embedding"].to_pylist()),
        atol=1e-6,
    )
    monkeypatch.setattr(copies, "copy_file", _unavailable)
    with pytest.raises(InputError, match=r"p00008\.png: slow down; expected"):
        embed_with_ray(
            [str(listed)],
            tmp_path / "c",
            modality="image",
            model=small_model,
            column="path",
            on_error="raise",
        )


def _exists(directory):
    from pathlib import Path

    return Path(directory).exists()


def _unavailable(value, directory, number):
    raise InputError(value, found="slow down", expected="a store that answers")
