"""`bindplug embed --windows`, and what readers remark on files: on stderr, in --json and in the output."""

from __future__ import annotations

import json
import wave

import numpy as np
import pyarrow.parquet as pq
import pytest

import bindplug as package


def write_wav(path, seconds, seed=0, scale=3000):
    noise = np.random.default_rng(seed).normal(0, scale, int(seconds * 16_000))
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", ""))
        file.writeframes(noise.astype("<i2").tobytes())
    return path


@pytest.fixture
def sounds(tmp_path):
    folder = tmp_path / "sounds"
    folder.mkdir()
    write_wav(folder / "a.wav", 4.5, 1)
    write_wav(folder / "b.wav", 1, 2)
    return folder


SPANS = [(0, 2), (1, 3), (2, 4), (2.5, 4.5), (0, 1)]


@pytest.mark.parametrize("suffix", [".npz", ".parquet"])
def test_a_row_for_each_window(bindplug, model_directory, sounds, files, tmp_path, suffix):
    output = tmp_path / f"out{suffix}"
    command = ["embed", sounds, "--modality", "audio", "--image", files["image"], "--windows", 2, "--hop", 1]
    command += ["-o", output, "--model", model_directory, "--save-every", 2]
    assert bindplug(*command).code == 0
    if suffix == ".npz":
        with np.load(output) as stored:
            table = {name: stored[name] for name in ("path", "start", "end", "embedding")}
            metadata = json.loads(str(stored["bindplug"]))
        nothing = np.isnan
    else:
        columns = pq.read_table(output)
        table = {name: columns[name].to_pylist() for name in ("path", "start", "end", "embedding")}
        metadata = json.loads(columns.schema.metadata[b"bindplug"])
        nothing = lambda value: value is None  # noqa: E731
    rows = list(zip(table["path"], table["start"], table["end"], table["embedding"], strict=True))
    assert len(rows) == metadata["items"] == 6
    assert metadata["windows"] == {"seconds": 2, "hop": 1}
    whole = [row for row in rows if row[0] == str(files["image"])]
    assert len(whole) == 1
    assert nothing(whole[0][1])
    assert nothing(whole[0][2])
    windows = [row for row in rows if row[0] != str(files["image"])]
    assert [(start, end) for _, start, end, _ in windows] == SPANS
    model = package.load(model_directory, modalities={"audio"})
    expected = model.embed([package.audio(path, start=start, end=end) for path, start, end, _ in windows])
    np.testing.assert_allclose([row for *_, row in windows], expected.numpy(), atol=1e-5)
    again = bindplug(*command)
    assert again.code == 0
    assert "already complete, 6 rows" in again.err
    other = bindplug(*[part if part != 1 else 2 for part in command])
    assert other.code == 1
    assert "--overwrite" in other.err


def test_rows_of_whole_files_have_no_times(bindplug, model_directory, sounds, tmp_path):
    output = tmp_path / "out.parquet"
    bindplug("embed", sounds, "--modality", "audio", "-o", output, "--model", model_directory)
    assert "start" not in pq.read_schema(output).names


def test_a_recording_without_a_length(bindplug, model_directory, sounds, tmp_path):
    (sounds / "c.wav").write_bytes(b"these are words, not sound")
    output = tmp_path / "out.npz"
    command = [
        "embed",
        sounds,
        "--modality",
        "audio",
        "--windows",
        2,
        "-o",
        output,
        "--model",
        model_directory,
    ]
    ran = bindplug(*command)
    assert ran.code == 1
    assert "c.wav: data that is not sound" in ran.err
    assert not output.exists()
    ran = bindplug(*command, "--on-error", "skip", "--json")
    assert ran.code == 3
    assert [item["source"] for item in ran.json["skipped"]] == [str(sounds / "c.wav")]
    assert ran.json["rows"] == 4


@pytest.mark.parametrize("arguments", [["--hop", 1], ["--windows", 0], ["--windows", 2, "--hop", -1]])
def test_lengths_that_are_none(bindplug, sounds, tmp_path, arguments):
    ran = bindplug("embed", sounds, "--modality", "audio", "-o", tmp_path / "out.npz", *arguments)
    assert ran.code == 2


@pytest.fixture
def silence(tmp_path):
    return write_wav(tmp_path / "silence.wav", 3, scale=0)


def test_notes_are_a_line_a_file_and_data(bindplug, model_directory, silence, sounds, tmp_path):
    output = tmp_path / "out.parquet"
    command = ["embed", "--audio", sounds / "a.wav", "--audio", silence, "--windows", 2, "--hop", 1]
    command += ["-o", output, "--model", model_directory]
    ran = bindplug(*command)
    lines = [line for line in ran.err.splitlines() if "note on" in line]
    assert lines == [f"bindplug: note on {silence}: silence: every sample is 0"]
    metadata = json.loads(pq.read_schema(output).metadata[b"bindplug"])
    remark = {"modality": "audio", "source": str(silence), "note": "silence: every sample is 0"}
    assert metadata["notes"] == [{"index": 4, **remark}, {"index": 5, **remark}]
    output.unlink()
    ran = bindplug(*command, "--json", "--quiet")
    assert ran.json["notes"] == metadata["notes"]
    assert "note on" not in ran.err
    assert bindplug(*command, "--json").json["notes"] == metadata["notes"], "of the output that stands there"


def test_notes_of_an_interrupted_job_are_kept(bindplug, model_directory, silence, sounds, tmp_path):
    output = tmp_path / "out.npz"
    bad = sounds / "z.wav"
    command = ["embed", "--audio", silence, "--audio", bad, "-o", output, "--model", model_directory]
    bad.write_bytes(b"these are words, not sound")
    assert bindplug(*command, "--save-every", 1).code == 1
    write_wav(bad, 2)
    ran = bindplug(*command, "--json")
    assert [item["source"] for item in ran.json["notes"]] == [str(silence)]


def test_classify_tells_notes(bindplug, model_directory, silence):
    command = ["classify", "--audio", silence, "--labels", "a dog,a car", "--model", model_directory]
    ran = bindplug(*command)
    assert f"note on {silence}: silence" in ran.err
    (item,) = bindplug(*command, "--json").json["notes"]
    assert item == {"source": str(silence), "note": "silence: every sample is 0"}
    assert "note on" not in bindplug(*command, "--quiet").err
