"""What the engine reads: tables, archives, folders and files; with an actor in this process."""

from __future__ import annotations

import io
import shutil
import tarfile
import wave

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from bindplug.errors import InputError
from bindplug_search import embed_with_ray
from tests.search.engine.rows import assert_same_rows, rows_of

pytestmark = pytest.mark.usefixtures("in_process")


def test_tables_of_paths_and_of_bytes(small_model, pictures, local_rows, tmp_path):
    paths = [str(path) for path in pictures]
    table = pa.table({"file": paths, "data": [path.read_bytes() for path in pictures], "n": list(range(40))})
    pq.write_table(table, tmp_path / "table.parquet", row_group_size=9)
    options = {"modality": "image", "model": small_model, "save_every": 7}
    by_path = embed_with_ray([str(tmp_path / "table.parquet")], tmp_path / "a", column="file", **options)
    assert (by_path.rows, by_path.details["partitions"]) == (39, 6)
    assert_same_rows(rows_of(tmp_path / "a"), local_rows)
    by_bytes = {"column": "data", "id_column": "file", **options}
    embed_with_ray([str(tmp_path / "table.parquet")], tmp_path / "b", **by_bytes)
    assert_same_rows(rows_of(tmp_path / "b"), local_rows)
    (error,) = pq.read_table(tmp_path / "b" / "_errors").to_pylist()
    assert error["path"] == paths[10]
    assert "/tmp" not in error["reason"].replace(paths[10], ""), "the temporary copy is not named"
    with pytest.raises(InputError, match="a column of int64"):
        embed_with_ray([str(tmp_path / "table.parquet")], tmp_path / "c", column="n", **options)
    with pytest.raises(InputError, match="a column 'pixels'"):
        embed_with_ray([str(tmp_path / "table.parquet")], tmp_path / "c", column="pixels", **options)
    (tmp_path / "broken.parquet").write_bytes(b"no table")
    with pytest.raises(InputError, match="not readable"):
        embed_with_ray([str(tmp_path / "broken.parquet")], tmp_path / "c", column="file", **options)


def test_sentences_of_a_column_and_empty_cells(small_model, tmp_path):
    pq.write_table(pa.table({"caption": ["a dog", None, "a cat"]}), tmp_path / "table.parquet")
    summary = embed_with_ray(
        [str(tmp_path / "table.parquet")],
        tmp_path / "rows",
        modality="text",
        model=small_model,
        column="caption",
    )
    assert rows_of(tmp_path / "rows")["path"] == ["a dog", "a cat"]
    assert summary.skipped[0]["reason"] == "no value in column 'caption'"


def test_lance_tables_in_and_out(small_model, pictures, local_rows, tmp_path):
    lance = pytest.importorskip("lance")
    lance.write_dataset(pa.table({"file": [str(path) for path in pictures]}), tmp_path / "in.lance")
    options = {"modality": "image", "model": small_model, "save_every": 7, "column": "file"}
    output = tmp_path / "out.lance"
    summary = embed_with_ray([str(tmp_path / "in.lance")], output, **options)
    assert (summary.rows, summary.skipped_count) == (39, 1)
    table = lance.dataset(output).to_table()
    assert table["path"].to_pylist() == local_rows["path"]
    rows = np.array(table["embedding"].to_pylist(), dtype=np.float32)
    np.testing.assert_allclose(rows, local_rows["embedding"], atol=1e-6)
    (error,) = pq.read_table(tmp_path / "out.lance.parts" / "_errors").to_pylist()
    assert error["path"] == str(pictures[10])
    assert embed_with_ray([str(tmp_path / "in.lance")], output, **options).complete
    with pytest.raises(InputError, match=r"p00010.png: data in no picture format"):
        embed_with_ray([str(tmp_path / "in.lance")], output, on_error="raise", **options)
    shutil.rmtree(output)
    assert embed_with_ray([str(tmp_path / "in.lance")], output, **options).rows == 39
    assert lance.dataset(output).count_rows() == 39
    with pytest.raises(InputError, match="did not make"):
        embed_with_ray([str(pictures[0])], tmp_path / "in.lance", modality="image", model=small_model)


def test_webdataset_shards(small_model, pictures, local_rows, tmp_path):
    for shard, start in enumerate((0, 20)):
        with tarfile.open(tmp_path / f"shard-{shard}.tar", "w") as archive:
            for index in range(start, start + 20):
                archive.add(pictures[index], f"{index:06d}.png")
                label = tarfile.TarInfo(f"{index:06d}.cls")
                label.size = 1
                archive.addfile(label, io.BytesIO(b"7"))
    options = {"modality": "image", "model": small_model, "column": "png"}
    summary = embed_with_ray([str(tmp_path / "shard-*.tar")], tmp_path / "rows", **options)
    assert (summary.rows, summary.details["partitions"]) == (39, 2)
    rows = rows_of(tmp_path / "rows")
    assert rows["path"][0] == str(tmp_path / "shard-0.tar/000000.png")
    np.testing.assert_allclose(rows["embedding"], local_rows["embedding"], atol=1e-6)
    with pytest.raises(InputError, match=r"no member that ends in \.jpg"):
        embed_with_ray([str(tmp_path / "shard-0.tar")], tmp_path / "b", **options | {"column": "jpg"})
    whole = (tmp_path / "shard-0.tar").read_bytes()
    (tmp_path / "cut.tar").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match="damaged archive"):
        embed_with_ray([str(tmp_path / "cut.tar")], tmp_path / "c", **options)


@pytest.fixture
def mixed(tmp_path):
    """A folder of two JPEGs, a sound and a folder below."""
    folder = tmp_path / "prefix"
    folder.mkdir()
    for name in ("a.jpg", "b.JPEG"):
        Image.new("RGB", (24, 24), "red").save(folder / name, "JPEG")
    with wave.open(str(folder / "c.wav"), "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", ""))
        file.writeframes(np.arange(32_000, dtype="<i2").tobytes())
    return folder


@pytest.mark.parametrize("place", ["{}", "file://{}"])
def test_files_whose_names_tell_what_they_are(small_model, mixed, tmp_path, command, place):
    prefix, output = place.format(mixed), place.format(tmp_path / "rows")
    line = ("embed", "--engine", "ray", "--address", "auto", prefix, "-o", output, "--model", small_model)
    code, _, err = command(*line)
    assert (code, "2 image (.jpeg, .jpg), 1 audio (.wav)" in " ".join(err.split())) == (0, True), err
    rows = rows_of(tmp_path / "rows")
    assert rows["modality"] == ["image", "image", "audio"]
    assert command(*line)[0] == 0  # the same job again
    summary = embed_with_ray(
        [("image", str(mixed / "a.jpg")), ("image", str(mixed / "b.JPEG")), ("audio", str(mixed / "c.wav"))],
        tmp_path / "stated",
        model=small_model,
    )
    assert summary.rows == 3
    np.testing.assert_array_equal(rows["embedding"], rows_of(tmp_path / "stated")["embedding"])


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("d.png", "the suffix '.png', which pictures, depth maps and thermal pictures have"),
        ("d.unknown", "the suffix '.unknown'; expected files whose names tell"),
        ("d", "a name without a suffix"),
    ],
)
def test_a_name_that_does_not_tell_is_refused(small_model, mixed, tmp_path, command, name, words):
    (mixed / name).write_bytes(b"?")
    line = ("embed", "--engine", "ray", mixed, "-o", tmp_path / "rows", "--model", small_model)
    code, _, err = command(*line)
    text = " ".join(err.split())
    assert (code, words in text, "--modality image|" in text) == (1, True, True), err
    assert not (tmp_path / "rows").exists()
    assert command(*line, "--include", "*.jpg", "--quiet")[0] == 0
    assert rows_of(tmp_path / "rows")["modality"] == ["image"]


@pytest.mark.parametrize(
    "arguments", [["never.jpg"], ["never"], ["never", "--modality", "image"], ["--audio", "never.wav"]]
)
def test_a_path_that_is_not_there_is_an_error(small_model, mixed, tmp_path, command, monkeypatch, arguments):
    monkeypatch.chdir(tmp_path)
    line = ("embed", "--engine", "ray", *arguments, "-o", tmp_path / "rows", "--model", small_model)
    for more in ([], ["--audio", mixed / "c.wav"]):
        code, _, err = command(*line, *more)
        assert (code, "no such file" in err) == (1, True), err
    assert not (tmp_path / "rows").exists()
    with pytest.raises(InputError, match=r"never\.jpg: no such file"):
        embed_with_ray([str(mixed / "a.jpg"), "never.jpg"], tmp_path / "rows", model=small_model)
    code, _, _ = command(*line, "--on-error", "skip", "--audio", mixed / "c.wav")
    assert code == (
        3 if {"--modality", "--audio"} & set(arguments) else 1
    )  # an error of no modality is no bad item
