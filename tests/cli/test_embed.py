"""`bindplug embed`: rows that are right, and a job that survives being killed."""

from __future__ import annotations

import hashlib
import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

import bindplug as package
from bindplug.cli.journal import Journal, Part
from bindplug.cli.outputs import write_output
from bindplug.cli.sources import Source
from bindplug.errors import InputError


def read(path: Path) -> tuple[list[str], list[str], np.ndarray, dict]:
    """Paths, modalities, rows and metadata of either format."""
    if path.suffix == ".npz":
        with np.load(path, allow_pickle=False) as stored:
            about = json.loads(str(stored["bindplug"]))
            return stored["path"].tolist(), stored["modality"].tolist(), stored["embedding"], about
    table = pq.read_table(path)
    rows = np.array(table["embedding"].to_pylist(), dtype=np.float32)
    about = json.loads(table.schema.metadata[b"bindplug"])
    return table["path"].to_pylist(), table["modality"].to_pylist(), rows, about


def test_a_motion_log_of_two_files(bindplug, model_directory, files, tmp_path):
    header, *rows = files["imu"].read_text().splitlines()
    cells = [row.split(",") for row in (header, *rows)]
    for name, columns in (("acc", slice(1, 4)), ("gyro", slice(4, 7))):
        lines = [",".join([row[0], *row[columns]]) for row in cells]
        (tmp_path / f"{name}.csv").write_text("\n".join(lines))
    both = f"accelerometer={tmp_path / 'acc.csv'},gyroscope={tmp_path / 'gyro.csv'}"
    output = tmp_path / "out.npz"
    ran = bindplug("embed", "--imu", both, "--imu", files["imu"], "-o", output, "--model", model_directory)
    assert ran.code == 0
    rows = read(output)[2]
    np.testing.assert_allclose(rows[0], rows[1], atol=1e-5)


@pytest.mark.parametrize("suffix", [".npz", ".parquet"])
def test_rows_of_every_kind(bindplug, model_directory, files, tmp_path, suffix):
    output = tmp_path / f"out{suffix}"
    given = {"image": files["image"], "audio": files["audio"], "depth": files["depth"]}
    given |= {"thermal": files["thermal"], "imu": files["imu"], "text": "a dog"}
    options = [part for name, value in given.items() for part in (f"--{name}", value)]
    ran = bindplug("embed", *options, "-o", output, "--model", model_directory)
    assert ran.code == 0
    assert ran.out == ""
    paths, modalities, rows, about = read(output)
    assert dict(zip(modalities, paths, strict=True)) == {name: str(value) for name, value in given.items()}
    assert rows.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)
    assert about["space"] == "test:small"
    assert about["width"] == 16
    assert about["skipped"] == []
    model = package.load(model_directory)
    expected = model.embed([package.Query(q.terms) for q in _queries(modalities, paths)])
    np.testing.assert_allclose(rows, expected.numpy(), atol=1e-5)
    assert not list(tmp_path.glob("*.partial")), "the journal is gone once the output stands"
    assert [p.name for p in tmp_path.iterdir()] == [output.name]


def _queries(modalities: list[str], paths: list[str]) -> list[package.Query]:
    return [getattr(package, m)(p) for m, p in zip(modalities, paths, strict=True)]


def test_parquet_has_the_documented_columns(bindplug, model_directory, files, tmp_path):
    output = tmp_path / "out.parquet"
    assert (
        bindplug(
            "embed", files["image"], "--modality", "image", "-o", output, "--model", model_directory
        ).code
        == 0
    )
    schema = pq.read_schema(output)
    assert schema.names == ["path", "modality", "embedding", "model", "space"]
    assert str(schema.field("embedding").type).startswith("fixed_size_list")
    assert schema.field("embedding").type.list_size == 16


def test_lists_name_sources(bindplug, model_directory, files, tmp_path):
    listed = tmp_path / "list.txt"
    listed.write_text(f"{files['image']}\n\ntext\ta dog\naudio\t{files['audio']}\n")
    output = tmp_path / "out.npz"
    ran = bindplug(
        "embed", "--from-list", listed, "--modality", "image", "-o", output, "--model", model_directory
    )
    assert ran.code == 0
    assert read(output)[0] == [str(files["image"]), "a dog", str(files["audio"])]
    assert read(output)[1] == ["image", "text", "audio"]


def test_a_list_without_modalities_is_refused(bindplug, files, tmp_path):
    listed = tmp_path / "list.txt"
    listed.write_text(f"text\ta dog\n{files['image']}\n")
    ran = bindplug("embed", "--from-list", listed, "-o", tmp_path / "out.npz")
    assert ran.code == 1
    assert "line 2" in ran.err
    assert "modality<TAB>source" in ran.err


def test_skipping_is_reported_everywhere(bindplug, model_directory, files, tmp_path):
    output = tmp_path / "out.parquet"
    sources = [files["image"], files["broken"], tmp_path / "absent.png", files["other"]]
    arguments = ["embed", *sources, "--modality", "image", "-o", output, "--model", model_directory]
    ran = bindplug(*arguments, "--on-error", "skip", "--json")
    assert ran.code == 3
    assert read(output)[0] == [str(files["image"]), str(files["other"])]
    about = read(output)[3]
    assert [s["source"] for s in about["skipped"]] == [str(files["broken"]), str(tmp_path / "absent.png")]
    assert [s["index"] for s in about["skipped"]] == [1, 2]
    assert ran.json["rows"] == 2
    assert ran.json["skipped"] == about["skipped"]
    assert ran.err.count("bindplug: skipped ") == 2


def test_a_bad_file_stops_the_job_and_leaves_no_output(bindplug, model_directory, files, tmp_path):
    output = tmp_path / "out.npz"
    output.write_bytes(b"an earlier result")
    sources = [files["image"], files["broken"]]
    arguments = ["embed", *sources, "--modality", "image", "-o", output, "--model", model_directory]
    ran = bindplug(*arguments, "--overwrite")
    assert ran.code == 1
    assert str(files["broken"]) in ran.err
    assert output.read_bytes() == b"an earlier result"


def test_everything_skipped_still_gives_a_readable_file(bindplug, model_directory, files, tmp_path):
    for suffix in (".npz", ".parquet"):
        output = tmp_path / f"out{suffix}"
        ran = bindplug(
            "embed", files["broken"], "--modality", "image", "-o", output, "--model", model_directory,
            "--on-error", "skip",
        )  # fmt: skip
        assert ran.code == 3
        assert read(output)[0] == []


def test_reader_options_reach_the_reader(bindplug, model_directory, files, tmp_path):
    arguments = ["embed", "--depth", files["depth"], "--model", model_directory]
    for name, option in (("metric", "depth.preset=metric"), ("sun", "depth.preset=sun_png")):
        assert bindplug(*arguments, "-o", tmp_path / f"{name}.npz", "-O", option).code == 0
    metric, sun = (read(tmp_path / f"{name}.npz")[2] for name in ("metric", "sun"))
    assert not np.allclose(metric, sun, atol=1e-4)
    ran = bindplug(*arguments, "-o", tmp_path / "x.npz", "-O", "depth.color=red")
    assert ran.code == 2
    assert "preset" in ran.err


PICTURES = 24


@pytest.fixture
def pictures(tmp_path):
    rng = np.random.default_rng(1)
    directory = tmp_path / "pictures"
    directory.mkdir()
    for i in range(PICTURES):
        Image.fromarray(rng.integers(0, 255, (40, 40, 3), dtype=np.uint8)).save(directory / f"{i:02}.png")
    return sorted(directory.iterdir())


def test_a_killed_job_goes_on_without_loss_or_duplicates(bindplug, model_directory, pictures, tmp_path):
    """A real process is killed with SIGKILL once some parts are on disk; the same command then finishes."""
    output = tmp_path / "out.parquet"
    partial = tmp_path / "out.parquet.partial"
    sources = pictures * 20
    listed = tmp_path / "list.txt"
    listed.write_text("".join(f"{path}\n" for path in sources))
    arguments = ["--from-list", listed, "--modality", "image", "-o", output, "--model", model_directory]
    arguments += ["--save-every", 2, "--batch-size", 2]
    command = [sys.executable, "-m", "bindplug.cli", "embed", *map(str, arguments)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while process.poll() is None and len(list(partial.glob("*.npz"))) < 3:
        pass
    process.kill()
    assert process.wait() == -signal.SIGKILL, "it was killed, it did not end by itself"
    assert not output.exists()
    finished = {int(path.stem) for path in partial.glob("*.npz")}
    assert 3 <= len(finished) < len(sources) // 2
    read_again = []
    ran = _spied(bindplug, read_again, arguments)
    assert ran.code == 0
    unfinished = [start for start in range(0, len(sources), 2) if start not in finished]
    assert len(read_again) == len(unfinished) * 2, "what was finished is not read again"
    assert read(output)[0] == [str(path) for path in sources]
    assert not partial.exists()
    whole = tmp_path / "whole.npz"
    bindplug("embed", *pictures, "--modality", "image", "-o", whole, "--model", model_directory)
    np.testing.assert_allclose(read(output)[2], np.tile(read(whole)[2], (20, 1)), atol=1e-5)


@pytest.mark.parametrize("suffix", [".npz", ".parquet"])
def test_reading_ahead_changes_nothing_in_the_output(
    bindplug, model_directory, pictures, files, tmp_path, suffix
):
    """Parts are cut otherwise than batches, and two files are skipped on the way."""
    sources = [*pictures[:5], files["broken"], *pictures[5:11], tmp_path / "absent.png", *pictures[11:]]
    listed = tmp_path / "list.txt"
    listed.write_text("".join(f"image\t{path}\n" for path in sources) + f"audio\t{files['audio']}\n")
    found = {}
    for workers in (0, 1, 4, None):
        output = tmp_path / f"{workers}{suffix}"
        arguments = ["--from-list", listed, "-o", output, "--model", model_directory, "--on-error", "skip"]
        arguments += ["--save-every", 5, "--batch-size", 2]
        arguments += [] if workers is None else ["--workers", workers]
        assert bindplug("embed", *arguments, "--quiet").code == 3
        found[workers] = read(output)
    paths, modalities, rows, about = found[0]
    assert len(paths) == PICTURES + 1
    assert [skip["index"] for skip in about["skipped"]] == [5, 12]
    for others in found.values():
        assert others[:2] == (paths, modalities)
        assert np.array_equal(others[2], rows)
        assert others[3] == about


def test_parts_before_a_bad_file_are_kept(bindplug, model_directory, pictures, files, tmp_path):
    sources = [*pictures[:7], files["broken"], *pictures[7:]]
    arguments = ["embed", *sources, "--modality", "image", "-o", tmp_path / "out.npz"]
    arguments += ["--model", model_directory, "--save-every", 2, "--workers", 4]
    assert bindplug(*arguments).code == 1
    kept = sorted(path.name for path in (tmp_path / "out.npz.partial").glob("*.npz"))
    assert kept == ["000000000.npz", "000000002.npz", "000000004.npz"]


def test_a_job_is_recognised_by_the_digest_of_its_sources(tmp_path):
    items = [Source("text", 'a "dog"'), Source("image", "ü.png")]
    journal = Journal(tmp_path / "out.npz", {}, items, step=2)
    described = json.loads((journal.directory / "job.json").read_text())
    journal.close(finished=True)
    listed = json.dumps([[item.modality, item.value] for item in items]).encode()
    assert described["items_sha256"] == hashlib.sha256(listed).hexdigest()


def _spied(bindplug, seen, arguments):
    """Run `embed` and note which pictures its reader reads."""
    from bindplug.inputs.image import ImagePreprocess

    original = ImagePreprocess.read

    def spy(self, source, **options):
        seen.append(str(source))
        return original(self, source, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ImagePreprocess, "read", spy)
        return bindplug("embed", *arguments)


def test_a_file_that_changed_since_is_read_again(model_directory, pictures, tmp_path):
    items = [Source("image", str(path)) for path in pictures[:4]]
    journal = Journal(tmp_path / "out.npz", {"model": "m"}, items, step=2)
    part = Part(np.zeros((2, 3), np.float32), [0, 1], [], journal.state(0))
    journal.write(0, part)
    assert journal.read(0).kept == [0, 1]
    pictures[1].write_bytes(pictures[2].read_bytes() + b" ")
    assert journal.read(0) is None
    with pytest.raises(InputError, match="changed while"):
        write_output(tmp_path / "out.npz", journal, 3, {"model": "m", "space": "s"})
    assert not (tmp_path / "out.npz").exists()
    journal.close(finished=False)


def test_a_damaged_part_is_made_again(pictures, tmp_path):
    items = [Source("text", "a"), Source("text", "b")]
    journal = Journal(tmp_path / "out.npz", {}, items, step=2)
    journal.write(0, Part(np.ones((2, 3), np.float32), [0, 1], [], journal.state(0)))
    (part,) = journal.directory.glob("*.npz")
    part.write_bytes(part.read_bytes()[:-40])
    with pytest.warns(UserWarning, match="is damaged"):
        assert journal.read(0) is None
    journal.close(finished=False)


def test_parts_of_another_job_are_never_mixed_in(tmp_path):
    items = [Source("text", "a")]
    first = Journal(tmp_path / "out.npz", {"model": "one"}, items, step=2)
    first.write(0, Part(np.ones((1, 3), np.float32), [0], [], first.state(0)))
    with pytest.raises(InputError, match="another process"):
        Journal(tmp_path / "out.npz", {"model": "one"}, items, step=2)
    first.close(finished=False)
    with pytest.raises(InputError, match=r"differs in --model one.*--restart"):
        Journal(tmp_path / "out.npz", {"model": "two"}, items, step=2)
    with pytest.raises(InputError, match="differs in the files"):
        Journal(tmp_path / "out.npz", {"model": "one"}, [Source("text", "b")], step=2)
    second = Journal(tmp_path / "out.npz", {"model": "two"}, items, step=2, restart=True)
    assert second.read(0) is None
    second.close(finished=True)
    assert not second.directory.exists()


def test_a_failed_write_leaves_the_earlier_output(tmp_path, monkeypatch):
    output = tmp_path / "out.npz"
    output.write_bytes(b"earlier")
    journal = Journal(output, {}, [Source("text", "a")], step=1)
    journal.write(0, Part(np.ones((1, 3), np.float32), [0], [], journal.state(0)))

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np.lib.format, "write_array", full)
    with pytest.raises(InputError, match=r"out\.npz: No space"):
        write_output(output, journal, 3, {"model": "m", "space": "s"})
    journal.close(finished=False)
    assert output.read_bytes() == b"earlier"
    assert {path.name for path in tmp_path.iterdir()} == {"out.npz", "out.npz.partial"}
