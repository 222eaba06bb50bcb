"""Outputs and leftovers of `bindplug embed`: nothing is lost, mixed or replaced without a word."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from bindplug.cli.journal import Journal, Part
from bindplug.cli.sources import Source
from bindplug.errors import InputError
from tests.cli.test_embed import read


@pytest.fixture
def picture(tmp_path):
    path = tmp_path / "picture.png"
    Image.new("RGB", (32, 32), "red").save(path)
    return path


@pytest.fixture
def arguments(picture, model_directory, tmp_path):
    return ["embed", picture, "--modality", "image", "--model", model_directory, "-o", tmp_path / "out.npz"]


def test_the_same_job_again_is_already_complete(bindplug, arguments, tmp_path):
    assert bindplug(*arguments).code == 0
    before = (tmp_path / "out.npz").stat().st_mtime_ns
    ran = bindplug(*arguments)
    assert ran.code == 0
    assert "already complete, 1 rows" in ran.err
    assert bindplug(*arguments, "--json").json["complete"] is True
    assert (tmp_path / "out.npz").stat().st_mtime_ns == before


def test_another_job_does_not_replace_an_output(bindplug, arguments, picture, tmp_path):
    output = tmp_path / "out.npz"
    assert bindplug(*arguments).code == 0
    content = output.read_bytes()
    for other in ([*arguments, "--text", "a"], [*arguments, "--dtype", "bf16"]):
        ran = bindplug(*other)
        assert ran.code == 1
        assert "--overwrite" in ran.err
    Image.new("RGB", (32, 32), "blue").save(picture)
    os.utime(picture, ns=(1, 1))
    assert bindplug(*arguments).code == 1, "the file changed since"
    assert output.read_bytes() == content
    assert bindplug(*arguments, "--overwrite").code == 0
    assert output.read_bytes() != content


def test_a_foreign_file_is_not_replaced(bindplug, arguments, tmp_path):
    (tmp_path / "out.npz").write_bytes(b"")
    assert bindplug(*arguments).code == 1
    assert (tmp_path / "out.npz").read_bytes() == b""


def test_an_empty_partial_does_not_stand_in_the_way(bindplug, arguments, files, tmp_path):
    wrong = [files["broken"] if argument == arguments[1] else argument for argument in arguments]
    assert bindplug(*wrong).code == 1
    assert not (tmp_path / "out.npz.partial").exists()
    assert bindplug(*arguments).code == 0


def test_the_step_may_change_when_a_job_goes_on(tmp_path):
    items = [Source("text", word) for word in "abcdef"]
    first = Journal(tmp_path / "out.npz", {"model": "m"}, items, step=2)
    first.write(0, Part(np.ones((2, 3), np.float32), [0, 1], [], first.state(0)))
    first.close(finished=False)
    second = Journal(tmp_path / "out.npz", {"model": "m"}, items, step=5)
    assert list(second.starts) == [0, 2, 4]
    assert second.read(0) is not None
    second.close(finished=True)


@pytest.mark.parametrize(
    ("earlier", "later", "words"),
    [
        ({"model": "one", "space": "x"}, {"model": "two", "space": "y"}, "differs in --model one"),
        ({"dtype": "float16"}, {"dtype": None}, "--dtype float16"),
        ({"reader_options": {"depth": {}}}, {"reader_options": {}}, "-O"),
    ],
)
def test_a_difference_is_named_as_typed(tmp_path, earlier, later, words):
    items = [Source("text", "a")]
    first = Journal(tmp_path / "out.npz", earlier, items, step=2)
    first.write(0, Part(np.ones((1, 3), np.float32), [0], [], first.state(0)))
    first.close(finished=False)
    with pytest.raises(InputError, match=words) as caught:
        Journal(tmp_path / "out.npz", later, items, step=2)
    assert "space" not in str(caught.value).partition("expected")[0]


def test_a_part_with_skipped_items_is_read_again_where_errors_stop(tmp_path):
    items = [Source("text", "a")]
    skipped = [{"index": 0, "modality": "text", "source": "a", "reason": "r"}]
    journal = Journal(tmp_path / "out.npz", {}, items, step=2)
    journal.write(0, Part(np.ones((0, 3), np.float32), [], skipped, journal.state(0)))
    assert journal.read(0) is not None
    journal.keep_skipped = False
    assert journal.read(0) is None
    journal.close(finished=True)


@pytest.mark.parametrize("content", [b"", b"[]", b'"x"', b"{", b'{"step": 0}'])
def test_a_damaged_job_description_is_reported_as_that(tmp_path, content):
    items = [Source("text", "a")]
    first = Journal(tmp_path / "out.npz", {}, items, step=2)
    first.write(0, Part(np.ones((1, 3), np.float32), [0], [], first.state(0)))
    first.close(finished=False)
    (first.directory / "job.json").write_bytes(content)
    with pytest.raises(InputError, match=r"job\.json is damaged.*--restart"):
        Journal(tmp_path / "out.npz", {}, items, step=2)
    Journal(tmp_path / "out.npz", {}, items, step=2, restart=True).close(finished=True)


@pytest.mark.parametrize("content", [b"", b"PK", b"no archive"])
def test_a_damaged_part_is_no_interruption(bindplug, arguments, model_directory, picture, tmp_path, content):
    items = [Source("image", str(picture))]
    job = {"model": str(model_directory), "dtype": None, "reader_options": {}, "space": "test:small"}
    from bindplug import load

    job["fingerprint"] = load(model_directory, modalities={"image"}).embedding_space.fingerprint
    journal = Journal(tmp_path / "out.npz", job, items, step=256)
    journal.write(0, Part(np.ones((1, 16), np.float32), [0], [], journal.state(0)))
    journal.close(finished=False)
    (journal.directory / "000000000.npz").write_bytes(content)
    ran = bindplug(*arguments)
    assert ran.code == 0
    assert "000000000.npz is damaged" in ran.err
    assert np.linalg.norm(read(tmp_path / "out.npz")[2][0]) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("kind", ["directory", "file", "link"])
def test_a_place_that_is_not_a_journal_is_left_untouched(bindplug, arguments, tmp_path, kind):
    place = tmp_path / "out.npz.partial"
    if kind == "directory":
        place.mkdir()
        (place / "thesis.txt").write_text("precious")
    elif kind == "file":
        place.write_text("precious")
    else:
        place.symlink_to(tmp_path / "nowhere")
    before = sorted(str(path) for path in tmp_path.rglob("*"))
    ran = bindplug(*arguments, "--restart")
    assert ran.code == 1
    assert "out.npz.partial" in ran.err
    assert sorted(str(path) for path in tmp_path.rglob("*")) == before


def test_leftovers_of_a_kill_during_the_merge_are_removed(bindplug, arguments, tmp_path):
    leftover = tmp_path / ".out.npz.12345.tmp"
    leftover.write_bytes(b"half an output")
    assert bindplug(*arguments).code == 0
    assert not leftover.exists()


def test_a_link_is_followed(bindplug, arguments, tmp_path):
    (tmp_path / "far").mkdir()
    (tmp_path / "out.npz").symlink_to(tmp_path / "far" / "real.npz")
    assert bindplug(*arguments).code == 0
    assert (tmp_path / "out.npz").is_symlink()
    assert len(read(tmp_path / "far" / "real.npz")[0]) == 1


@pytest.mark.parametrize(("link", "problem"), [("out.npz", "circle"), ("nowhere/x.npz", "no directory")])
def test_a_link_to_no_place_is_refused_before_the_work_starts(bindplug, arguments, tmp_path, link, problem):
    (tmp_path / "out.npz").symlink_to(tmp_path / link)
    ran = bindplug(*arguments)
    assert ran.code == 1
    assert problem in ran.err
    assert not (tmp_path / "out.npz.partial").exists()


@pytest.mark.parametrize("suffix", [".parquet", ".npz"])
def test_names_that_are_not_utf8_survive(bindplug, picture, model_directory, tmp_path, suffix):
    name = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.png")
    try:
        picture.rename(name)
    except OSError:
        pytest.skip("this file system takes names in UTF-8 alone")
    output = tmp_path / f"out{suffix}"
    ran = bindplug("embed", name, "--modality", "image", "--model", model_directory, "-o", output, "--json")
    assert ran.code == 0
    if suffix == ".parquet":
        table = pq.read_table(output)
        assert table["path_bytes"].to_pylist() == [os.fsencode(name)]
        assert table["path"].to_pylist() == [f"{tmp_path}/caf\\xe9.png"]
    else:
        assert read(output)[0] == [name]
    skipped = bindplug(
        "embed", name + "x", "--modality", "image", "--model", model_directory, "-o", tmp_path / "y.npz",
        "--on-error", "skip", "--json",
    )  # fmt: skip
    assert os.fsencode(json.loads(skipped.out)["skipped"][0]["source"]) == os.fsencode(name + "x")


def test_a_full_disk_names_the_path(tmp_path, monkeypatch):
    journal = Journal(tmp_path / "out.npz", {}, [Source("text", "a")], step=1)

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(InputError, match=r"000000000\.npz: No space left on device"):
        journal.write(0, Part(np.ones((1, 3), np.float32), [0], [], [[]]))
    assert {path.name for path in journal.directory.iterdir()} == {"lock", "job.json"}
    journal.close(finished=False)
    assert not Path(journal.directory).exists()
