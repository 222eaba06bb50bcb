"""The engine's rows, tables and resumption, with an actor in this process."""

from __future__ import annotations

import io
import json
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
from tests.search.engine.conftest import write_pictures

pytestmark = pytest.mark.usefixtures("in_process")


def rows_of(path):
    """Columns of a table of rows, embeddings as an array."""
    table = pq.read_table(path)
    columns = {name: table[name].to_pylist() for name in table.column_names}
    return {**columns, "embedding": np.array(columns["embedding"], dtype=np.float32)}


@pytest.fixture(scope="module")
def local_rows(small_model, pictures, tmp_path_factory):
    """Rows of the pictures, made by the local path."""
    from bindplug.cli.app import run

    output = tmp_path_factory.mktemp("local") / "rows.parquet"
    arguments = [
        "embed",
        *map(str, pictures),
        "--modality",
        "image",
        "-o",
        str(output),
        "--model",
        small_model,
    ]
    assert run([*arguments, "--on-error", "skip", "--quiet"]) == 3
    return rows_of(output)


def assert_same_rows(rows, expected):
    assert rows.keys() == expected.keys()
    for name in rows.keys() - {"embedding"}:
        assert rows[name] == expected[name], name
    np.testing.assert_allclose(rows["embedding"], expected["embedding"], atol=1e-6)


def test_rows_are_those_of_the_local_path(small_model, pictures, local_rows, tmp_path):
    summary = embed_with_ray(
        [str(pictures[0].parent)], tmp_path / "rows", modality="image", model=small_model, save_every=7
    )
    assert (summary.rows, summary.skipped_count) == (39, 1)
    assert summary.details["partitions"] == 6
    assert_same_rows(rows_of(tmp_path / "rows"), local_rows)
    (first, *_) = sorted((tmp_path / "rows").glob("*.parquet"))
    about = json.loads(pq.read_schema(first).metadata[b"bindplug"])
    assert (about["space"], about["width"], about["count"]) == ("test:small", 16, 40)


def test_bad_items_are_in_the_table_of_errors(small_model, pictures, tmp_path):
    absent = tmp_path / "absent.png"
    sources = [*map(str, pictures[8:12]), str(absent)]
    summary = embed_with_ray(
        sources, tmp_path / "rows", modality="image", model=small_model, save_every=2, on_error="skip"
    )
    errors = pq.read_table(tmp_path / "rows" / "_errors").to_pylist()
    assert [row["path"] for row in errors] == [str(pictures[10]), str(absent)]
    assert [row["modality"] for row in errors] == ["image", "image"]
    assert "no picture format" in errors[0]["reason"]
    assert summary.details["errors"] == str(tmp_path / "rows" / "_errors")
    assert [item["source"] for item in summary.skipped] == [row["path"] for row in errors]
    again = embed_with_ray(
        [str(tmp_path / "rows" / "_errors")],
        tmp_path / "again",
        modality="image",
        model=small_model,
        column="path",
    )
    assert again.skipped_count == 2, "the table of errors is itself a table of sources"


def test_on_error_raise_stops_at_the_first(small_model, pictures, tmp_path):
    options = {"modality": "image", "model": small_model, "save_every": 4}
    with pytest.raises(InputError, match=r"p00010.png: data in no picture format"):
        embed_with_ray(map(str, pictures), tmp_path / "rows", on_error="raise", **options)
    with pytest.raises(InputError, match=r"absent.png: no such file"):
        embed_with_ray([str(tmp_path / "absent.png")], tmp_path / "b", on_error="raise", **options)


def test_what_is_done_is_not_done_again(small_model, pictures, local_rows, tmp_path, in_process, monkeypatch):
    options = {"modality": "image", "model": small_model, "save_every": 7}
    sources = [str(path) for path in pictures]
    from bindplug_search.engine import run as engine

    def interrupted(items, **_):
        yield next(iter(items))
        yield next(iter(items))
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(engine, "iterate_with_progress", interrupted)
        with pytest.raises(KeyboardInterrupt):
            embed_with_ray(sources, tmp_path / "rows", **options)
    done = list(in_process)
    assert 2 <= len(done) < 6
    summary = embed_with_ray(sources, tmp_path / "rows", **options | {"save_every": 3})
    assert summary.details["partitions_done_earlier"] == len(done)
    assert sorted(in_process) == sorted(set(in_process)), "no partition is embedded twice"
    assert len(in_process) == 6
    assert_same_rows(rows_of(tmp_path / "rows"), local_rows)
    assert not (tmp_path / "rows" / "_tmp").exists()
    assert not (tmp_path / "rows" / "_begun").exists()
    in_process.clear()
    assert embed_with_ray(sources, tmp_path / "rows", **options).complete
    assert in_process == []


def test_a_changed_file_is_read_again(small_model, tmp_path, in_process):
    paths = write_pictures(tmp_path / "pictures", 6)
    options = {"modality": "image", "model": small_model, "save_every": 2, "quiet": True}
    embed_with_ray([str(tmp_path / "pictures")], tmp_path / "rows", **options)
    before = rows_of(tmp_path / "rows")
    Image.new("RGB", (40, 30), "red").save(paths[3])
    in_process.clear()
    embed_with_ray([str(tmp_path / "pictures")], tmp_path / "rows", **options)
    assert [name[:14] for name in in_process] == ["part-000000001"]
    after = rows_of(tmp_path / "rows")
    assert after["path"] == before["path"]
    changed = np.abs(after["embedding"] - before["embedding"]).max(axis=1) > 1e-3
    assert changed.tolist() == [False, False, False, True, False, False]


def test_another_job_is_refused(small_model, pictures, tmp_path, in_process, command):
    sources = [str(path) for path in pictures[:4]]
    rows = tmp_path / "rows"
    embed_with_ray(sources, rows, modality="image", model=small_model, save_every=2)

    def refused(words, **changes):
        options = {"modality": "image", "model": small_model} | changes
        with pytest.raises(InputError, match=words):
            embed_with_ray(options.pop("sources", sources), rows, **options)

    in_process.clear()
    refused("differs in --model .*--overwrite", model="imagebind_tiny")
    refused("differs in --dtype", dtype="bfloat16")
    refused("differs in the files", sources=sources[:3])
    refused("differs in -O", reader_options={"image": {"crop": "center"}})
    refused("differs in --windows", windows=2.0)
    assert in_process == []
    job = json.loads((rows / "_job.json").read_text())
    job["identity"]["fingerprint"] = "0" * 64
    job["complete"] = False
    (rows / "_job.json").write_text(json.dumps(job))
    refused("differs in the model's weights.*--restart")
    (rows / "_job.json").write_text("{")
    refused("damaged; expected the description of a job")
    (rows / "_job.json").unlink()
    refused("partitions without _job.json")
    summary = embed_with_ray(sources, rows, modality="image", model=small_model, overwrite=True)
    assert summary.rows == 4
    assert len(list(rows.glob("part-*"))) == 1, "the partitions of the earlier job are gone"


def test_foreign_places_are_left_alone(small_model, pictures, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    for output, words in (
        (tmp_path, "'notes.txt' in it"),
        (tmp_path / "notes.txt", "a file"),
        (tmp_path / "rows.parquet", "the name of a file"),
    ):
        with pytest.raises(InputError, match=words):
            embed_with_ray([str(pictures[0])], output, modality="image", model=small_model, overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]
    with pytest.raises(InputError, match="which is read"):
        embed_with_ray(
            [str(tmp_path)], tmp_path / "rows", modality="image", recursive=True, model=small_model
        )


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


def test_windows_and_notes_are_those_of_the_local_path(small_model, tmp_path, command):
    rng = np.random.default_rng(0)
    for index, seconds in enumerate((5, 1, 0.01)):
        with wave.open(str(tmp_path / f"s{index}.wav"), "wb") as file:
            file.setparams((1, 2, 16000, 0, "NONE", ""))
            file.writeframes(rng.normal(0, 3000, int(seconds * 16000)).astype("<i2").tobytes())
    sounds = [str(tmp_path / f"s{index}.wav") for index in range(3)]
    arguments = ["embed", *sounds, "--modality", "audio", "--model", small_model, "--windows", 2, "--hop", 1]
    code, *_ = command(*arguments, "-o", tmp_path / "local.parquet")
    assert code == 0
    expected = rows_of(tmp_path / "local.parquet")
    code, out, err = command(*arguments, "--engine", "ray", "-o", tmp_path / "rows", "--json")
    assert code == 0, err
    summary = json.loads(out)
    assert_same_rows(rows_of(tmp_path / "rows"), expected)
    assert len(expected["path"]) == 4 + 1 + 1
    local_notes = json.loads(pq.read_schema(tmp_path / "local.parquet").metadata[b"bindplug"])["notes"]
    assert local_notes, "a sound of 10 ms is remarked on"
    assert [n["note"] for n in summary["notes"]] == [n["note"] for n in local_notes]
    notes = pq.read_table(tmp_path / "rows" / "_notes").to_pylist()
    assert [n["path"] for n in notes] == [n["source"] for n in local_notes]


def test_names_that_are_not_utf8(small_model, pictures, tmp_path):
    odd = tmp_path.joinpath(b"p\xe9.png".decode("utf-8", "surrogateescape"))
    odd.write_bytes(pictures[0].read_bytes())
    broken = tmp_path.joinpath(b"q\xe9.png".decode("utf-8", "surrogateescape"))
    broken.write_bytes(b"no picture")
    sources = [str(odd), str(broken), str(pictures[1])]
    embed_with_ray(sources, tmp_path / "rows", modality="image", model=small_model)
    rows = rows_of(tmp_path / "rows")
    assert rows["path"] == [str(tmp_path / "p\\xe9.png"), str(pictures[1])]
    assert rows["path_bytes"][0].endswith(b"p\xe9.png")
    (error,) = pq.read_table(tmp_path / "rows" / "_errors").to_pylist()
    assert error["path"].endswith("q\\xe9.png")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["-E", "actors=0"], "-E actors: 0; expected a whole number"),
        (["-E", "gpus=many"], "-E gpus: 'many'; expected a number"),
        (["-E", "id=name"], "-E column=NAME"),
        (["-E", "column=jpg"], "the suffix '.png'"),
        (["-O", "image.cropp=1"], "no option 'cropp'"),
    ],
)
def test_options_that_are_refused(small_model, pictures, tmp_path, command, arguments, words):
    code, _, err = command(
        "embed", pictures[0], "--modality", "image", "--model", small_model, "--engine", "ray",
        "-o", tmp_path / "rows", *arguments,
    )  # fmt: skip
    assert code in (1, 2)
    assert words in " ".join(err.split())


def test_items_that_kill_their_workers_end_the_job(small_model, pictures, tmp_path, monkeypatch):
    from bindplug_search.engine import cluster

    def crash(*arguments):
        raise MemoryError  # as far as an actor in this process can die

    monkeypatch.setattr(cluster, "embed_items", crash)
    monkeypatch.setattr(
        cluster.EmbedPartitions, "__call__", again_and_again(cluster.EmbedPartitions.__call__)
    )
    with pytest.raises(InputError, match=r"p00000.png \.\.\. .*p00001.png: workers died 4 times"):
        embed_with_ray([str(p) for p in pictures[:2]], tmp_path / "rows", modality="image", model=small_model)


def again_and_again(call):
    """What Ray does with the task of an actor that died."""

    def retried(actor, batch):
        while True:
            try:
                return call(actor, batch)
            except MemoryError:
                continue

    return retried


def test_workers_that_write_elsewhere_are_noticed(small_model, pictures, tmp_path, monkeypatch):
    from bindplug_search.engine import run as engine
    from bindplug_search.engine.partition import PartitionReport

    def elsewhere(ray, partitions, work, output, space, resources):
        yield from ((partition.name, PartitionReport(1)) for partition in partitions)

    monkeypatch.setattr(engine, "embed_partitions", elsewhere)
    with pytest.raises(InputError, match=r"2 of 2 partitions .* s3://bucket/rows"):
        embed_with_ray([str(p) for p in pictures[:2]], tmp_path / "rows", modality="image", save_every=1)
    assert not json.loads((tmp_path / "rows" / "_job.json").read_text())["complete"]


def test_the_pip_line_where_ray_is_absent(small_model, pictures, tmp_path, command, monkeypatch):
    from bindplug import cards

    monkeypatch.setattr(cards, "_installed", lambda module: module != "ray")
    arguments = ("embed", pictures[0], "--modality", "image", "--engine", "ray", "-o", tmp_path / "rows")
    code, _, err = command(*arguments)
    assert code == 1
    assert 'pip install "bindplug[ray]"' in err


def test_a_partition_that_stands_is_not_embedded_again(small_model, pictures, tmp_path, monkeypatch):
    """As where a worker dies between writing a partition and reporting it: Ray gives it to another."""
    from bindplug_search.engine import cluster

    calls = []
    embed_items = cluster.embed_items
    monkeypatch.setattr(cluster, "embed_items", lambda *a: calls.append(a[2]) or embed_items(*a))
    monkeypatch.setattr(cluster.EmbedPartitions, "__call__", twice(cluster.EmbedPartitions.__call__))
    summary = embed_with_ray(
        [str(p) for p in pictures[:3]], tmp_path / "rows", modality="image", model=small_model
    )
    assert summary.rows == 3
    assert len(calls) == 1


def twice(call):
    """A task that Ray repeats."""

    def repeated(actor, batch):
        call(actor, batch)
        return call(actor, batch)

    return repeated


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
