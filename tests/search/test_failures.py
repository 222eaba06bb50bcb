"""Damaged, foreign and full stores: clear errors, and nothing lost."""

import json
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from bindplug import image, text
from bindplug.errors import InputError, MissingDependency, PluginError
from bindplug.indexes import create_vector_index, open_vector_index
from bindplug.space import EmbeddingSpace
from bindplug_search import create_index, open_index
from tests.search.content import ContentEncoder, write_files

ROOT = Path(__file__).parents[2]
SPACE = EmbeddingSpace("test:space", 8)


def test_a_new_index_goes_where_nothing_is(tmp_path, encoder):
    create_index(tmp_path / "a.lance", model=encoder)
    with pytest.raises(InputError, match="a place where nothing is yet"):
        create_index(tmp_path / "a.lance", model=encoder)
    with pytest.raises(InputError, match=r"the suffix '.foo'; expected that of an index: .*\.lance"):
        create_index(tmp_path / "a.foo", model=encoder)
    with pytest.raises(InputError, match="no directory"):
        create_index(tmp_path / "no" / "a.lance", model=encoder)
    assert [path.name for path in tmp_path.iterdir()] == ["a.lance"]


def test_an_index_that_another_process_made_meanwhile_is_told(tmp_path, monkeypatch):
    def rename(temporary, place):
        monkeypatch.undo()
        shutil.copytree(temporary, place)
        return temporary.rename(place)

    monkeypatch.setattr(Path, "rename", rename)
    with pytest.raises(InputError, match=r"appeared there meanwhile.*give the same command again"):
        create_vector_index(tmp_path / "a.lance", model="this", space=SPACE)
    assert open_vector_index(tmp_path / "a.lance").model == "this"
    assert [path.name for path in tmp_path.iterdir()] == ["a.lance"]


def test_what_is_no_index_is_refused(tmp_path):
    with pytest.raises(InputError, match="bindplug index add"):
        open_index(tmp_path / "nothing.lance")
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError, match="bindplug index adopt"):
        open_index(tmp_path / "folder")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "damaged"),
        ("[]", "damaged"),
        ("{}", "damaged"),
        ('{"format_version": 99}', "Install a newer bindplug"),
        ('{"format_version": "1"}', "format_version '1'"),
        ('{"format_version": 1, "model": "m"}', "damaged"),
        ('{"format_version": 1, "model": 3, "space": {}, "folders": [], "approximation": null}', "damaged"),
    ],
)
def test_a_damaged_description_is_refused(index, content, message):
    (index.store.path / "bindplug.json").write_text(content)
    with pytest.raises(InputError, match=message):
        open_index(index.store.path)


def test_a_foreign_table_is_refused(tmp_path):
    import lancedb
    import pyarrow as pa

    index = create_vector_index(tmp_path / "a.lance", model="m", space=SPACE)
    database = lancedb.connect(str(index.path))
    foreign = pa.table({"key": ["a"], "vector": pa.array([[1.0, 2.0]], pa.list_(pa.float32(), 2))})
    database.create_table("rows", foreign, mode="overwrite")
    with pytest.raises(InputError, match="no such column"):
        open_vector_index(index.path)
    database.drop_table("rows")
    with pytest.raises(InputError, match="a table that cannot be read"):
        open_vector_index(index.path)


def test_a_damaged_table_is_told(index, tmp_path):
    index.add([text("a dog"), text("a cat")])
    files = list((index.store.path / "rows.lance" / "data").rglob("*.lance"))
    assert files
    for file in files:
        file.write_bytes(b"damage" + file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(InputError, match=r"a table that cannot be read: .*index add"):
        open_index(index.store.path, model=ContentEncoder()).search(text("a dog"))


def test_a_damaged_mean_is_made_again(index):
    index.add([text("a dog"), text("a cat")])
    mean = index.store.mean()
    (index.store.path / "means.npz").write_bytes(b"PK damage")
    np.testing.assert_array_equal(index.store.mean(), mean)


def test_a_full_disk_loses_nothing(index, tmp_path):
    """A limit on the size of files stands for a disk without space: each write fails in the middle."""
    write_files(tmp_path / "library", 40)
    index.add([text(f"sentence {number}") for number in range(3)])
    code = """
import resource, sys
from bindplug_search import open_index
from tests.search.content import ContentEncoder
index = open_index(sys.argv[1], model=ContentEncoder())
resource.setrlimit(resource.RLIMIT_FSIZE, (1500, resource.RLIM_INFINITY))
index.add_folder(sys.argv[2], {"image": "*.png"})
"""
    done = subprocess.run(
        [sys.executable, "-c", code, index.store.path, tmp_path / "library"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "InputError" in done.stderr
    assert "expected a place that can be written, with space left" in done.stderr
    assert len(index) == 3
    assert index.add_folder(tmp_path / "library", {"image": "*.png"}).added == 40
    assert len(index) == 43
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY


def test_without_lancedb_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "lancedb", None)
    with pytest.raises(MissingDependency, match=r'pip install "bindplug\[index\]"'):
        create_vector_index(tmp_path / "a.lance", model="m", space=SPACE)


@pytest.mark.parametrize(
    "arguments",
    [
        ["search", "a.lance", "--text", "a dog"],
        ["index", "add", "a.lance", "--text", "a dog"],
        ["index", "update", "a.lance"],
        ["index", "adopt", "rows.npy"],
    ],
)
def test_commands_without_pyarrow_name_the_extra(arguments, tmp_path):
    """In a process of its own, where nothing has imported pyarrow before."""
    code = "import sys; sys.modules['pyarrow'] = None; from bindplug.cli import main; main(sys.argv[1:])"
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert 'needs pyarrow: pip install "bindplug[index]"' in done.stderr
    assert "Traceback" not in done.stderr


def test_exporting_without_faiss_names_the_extra(index, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(MissingDependency, match=r'pip install "bindplug\[faiss\]"'):
        index.export(tmp_path / "rows.faiss")


def test_a_store_that_gives_no_index_is_named(tmp_path, monkeypatch):
    import bindplug_search.creation as creation

    create_vector_index(tmp_path / "a.lance", model="m", space=SPACE)
    monkeypatch.setattr(creation, "open_store", lambda path: object())
    with pytest.raises(PluginError, match="expected a VectorIndex"):
        open_vector_index(tmp_path / "a.lance")


def test_a_query_without_direction_is_refused(index):
    from bindplug.errors import NoDirection

    index.add([text("a dog")])
    with pytest.raises(NoDirection):
        index.search(0 * text("a dog"))
    with pytest.raises(InputError, match=r"text\('a dog'\)"):
        index.search("a dog")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("m.xlsx", "", "suffix"),
        ("m.csv", "name,place\na,b\n", "one named path"),
        ("m.csv", "path,place\na,b\na,c\n", "twice"),
        ("m.csv", "path,place\na,b,c\n", "another length"),
        ("m.csv", "path,place\n,b\n", "no path in row 1"),
        ("m.jsonl", '{"path": "a"\n', "expected a table"),
        ("m.jsonl", '["a"]\n', "row 1"),
        ("m.parquet", "PAR1", "a Parquet file"),
    ],
)
def test_bad_metadata_is_refused(tmp_path, name, content, message):
    from bindplug_search.metadata import MetadataFile

    (tmp_path / name).write_text(content)
    with pytest.raises(InputError, match=message):
        MetadataFile(tmp_path / name)


def test_metadata_of_other_tables(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    from bindplug_search.metadata import MetadataFile

    rows = [
        {"file": "a.png", "n": 2, "tags": ["x"], "ok": True},
        {"file": "b.png", "n": None, "tags": None, "ok": False},
    ]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "m.parquet")
    (tmp_path / "m.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    files = [str(tmp_path / "a.png"), str(tmp_path / "b.png")]
    for name in ("m.parquet", "m.jsonl"):
        joined, strangers = MetadataFile(tmp_path / name).join(files)
        assert joined == {
            files[0]: {"n": 2.0, "tags": '["x"]', "ok": True},
            files[1]: {"n": None, "tags": None, "ok": False},
        }
        assert strangers == []


@pytest.mark.parametrize("suffix", [".parquet", ".npz", ".faiss"])
def test_an_export_that_fails_leaves_nothing(index, tmp_path, suffix):
    index.add([text("a dog")])
    with pytest.raises(InputError, match="no directory"):
        index.export(tmp_path / "no" / f"rows{suffix}")
    (tmp_path / f"rows{suffix}").mkdir()
    with pytest.raises(InputError, match="a directory"):
        index.export(tmp_path / f"rows{suffix}")
    with pytest.raises(InputError, match="suffix"):
        index.export(tmp_path / "rows.txt")
    assert not list(tmp_path.glob(".*.tmp"))


def test_an_export_has_every_row(index, tmp_path):
    import faiss
    import pyarrow.parquet as pq

    paths = write_files(tmp_path / "library", 3)
    index.add_folder(tmp_path / "library", {"image": "*.png"}, metadata={"place": "garden", "path": 3.0})
    index.add([text("a dog")])
    expected = index._model.embed([*(image(str(path)) for path in paths), text("a dog")]).numpy()
    names = [*map(str, paths), "a dog"]
    counts = [index.export(tmp_path / f"rows{suffix}") for suffix in (".parquet", ".npz", ".faiss")]
    assert counts == [4, 4, 4]
    table = pq.read_table(tmp_path / "rows.parquet").to_pylist()
    assert [row["path"] for row in table] == names
    assert [row["place"] for row in table] == ["garden"] * 3 + [None]
    assert table[0]["metadata.path"] == 3.0
    np.testing.assert_allclose([row["embedding"] for row in table], expected, atol=1e-6)
    with np.load(tmp_path / "rows.npz") as stored:
        assert stored["path"].tolist() == names
        assert stored["modality"].tolist() == ["image"] * 3 + ["text"]
        np.testing.assert_allclose(stored["embedding"], expected, atol=1e-6)
    flat = faiss.read_index(str(tmp_path / "rows.faiss"))
    np.testing.assert_allclose(flat.reconstruct_n(0, 4), expected, atol=1e-6)
    lines = (tmp_path / "rows.faiss.jsonl").read_text().splitlines()
    assert [json.loads(line)["path"] for line in lines] == names
