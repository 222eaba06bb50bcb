"""Jobs that go on after an interruption, and those that are refused; with an actor in this process."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from bindplug.errors import InputError
from bindplug_search import embed_with_ray
from tests.search.engine.conftest import write_pictures
from tests.search.engine.rows import assert_same_rows, rows_of

pytestmark = pytest.mark.usefixtures("in_process")


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
