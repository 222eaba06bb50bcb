"""What ``bindplug bind`` leaves out, refuses and leaves alone."""

from __future__ import annotations

import json
import os

import pytest

from bindplug.files import lock_file
from tests.lab.binding.toy_pairs import TINY, bind


def test_left_out_items_are_listed_and_the_exit_code_says_so(scenes, tmp_path, capsys):
    import shutil

    folder = tmp_path / "pairs"
    shutil.copytree(scenes, folder)
    wavs = sorted(folder.glob("*.wav"))
    wavs[0].write_bytes(b"no sound")
    wavs[1].unlink()
    output = tmp_path / "ear"
    common = (folder, "--sense", "audio", "--anchor", "imagebind_tiny", "-o", output, *TINY)
    assert bind(*common) == 3
    error = capsys.readouterr().err
    assert "2 items left out, 1 of them unpaired" in error
    listed = (output / "skipped.csv").read_text(encoding="utf-8")
    assert wavs[0].name in listed
    assert wavs[1].stem in listed
    assert len(json.loads((output / "skipped.json").read_text(encoding="utf-8"))) == 2
    assert bind(*common, "--overwrite", "--strict") == 1
    assert "for --strict" in capsys.readouterr().err
    assert (output / "config.json").is_file()  # the earlier model is untouched


def test_a_dry_run_reads_everything_and_writes_nothing(scenes, tmp_path, capsys):
    output = tmp_path / "ear"
    assert (
        bind(
            scenes,
            "--sense",
            "audio",
            "--anchor",
            "imagebind_tiny",
            "-o",
            output,
            *TINY,
            "--dry-run",
            "--json",
        )
        == 0
    )
    summary = json.loads(capsys.readouterr().out)
    assert (summary["listed"], summary["trained"], summary["held_out"]) == (24, 22, 2)
    assert summary["steps"] == 4
    assert summary["seconds"] > 0
    assert summary["memory_bytes"] > 1e6
    assert list(tmp_path.iterdir()) == []


def test_outputs_that_are_taken_are_left_alone(scenes, tmp_path, capsys):
    (tmp_path / "ear.run" / "checkpoints").mkdir(parents=True)
    (tmp_path / "ear.run" / "checkpoints" / ".lock").touch()  # of a run that never wrote one
    output = tmp_path / "ear"
    output.mkdir()
    (output / "mine.txt").write_text("-", encoding="utf-8")
    common = (scenes, "--sense", "audio", "--anchor", "imagebind_tiny", "-o", output)
    assert bind(*common) == 1
    assert "--overwrite" in capsys.readouterr().err
    assert (output / "mine.txt").is_file()
    assert bind(*common[:-1], tmp_path / "ear" / "mine.txt" / "x") == 1
    assert "cannot be written" in capsys.readouterr().err


@pytest.mark.skipif(os.name == "nt", reason="no flock")
@pytest.mark.parametrize("option", ["--resume", "--overwrite", "--dry-run"])
def test_a_directory_in_which_a_run_is_at_work_is_left_alone(scenes, tmp_path, capsys, option):
    directory = tmp_path / "ear.run"
    (directory / "checkpoints" / "step-00000003").mkdir(parents=True)
    (directory / "samples.f32").write_bytes(b"of the other run")
    with (directory / ".lock").open("ab") as lock:
        assert lock_file(lock)
        assert (
            bind(scenes, "--sense", "audio", "--anchor", "imagebind_tiny", "-o", tmp_path / "ear", option)
            == 1
        )
    assert "a run at work there" in capsys.readouterr().err
    assert (directory / "checkpoints" / "step-00000003").is_dir()
    assert (directory / "samples.f32").read_bytes() == b"of the other run"


def test_what_fails_before_its_first_sample_leaves_nothing(tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    assert (
        bind(tmp_path / "empty", "--sense", "audio", "--anchor", "imagebind_tiny", "-o", tmp_path / "ear")
        == 1
    )
    assert [path.name for path in tmp_path.iterdir()] == ["empty"]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("--sense", "audio"), "say what to bind to"),
        (("--sense", "audio", "--init", "imagebind_tiny", "--tower", "small"), "brings the tower's shape"),
        (("--sense", "sonar", "--init", "imagebind_tiny"), "no tower for sonar"),
        (("--sense", "audio", "--anchor", "x", "--hop", "1"), "--hop needs --windows"),
        (("--sense", "audio", "--anchor", "x", "-O", "depth.unit=mm"), "while the sense is audio"),
        (("--sense", "audio", "--anchor", "x", "--column", "image"), "not ROLE=NAME"),
        (("--sense", "sonar", "--anchor", "x", "--head", "mlp"), "build them into your own"),
        (("--sense", "sonar", "--anchor", "x", "--lr", "nan"), "--lr: nan is no number"),
        (("--sense", "audio", "--anchor", "x", "--windows", "inf"), "--windows: inf is no number"),
    ],
)
def test_options_that_contradict_each_other(scenes, tmp_path, capsys, arguments, text):
    assert bind(scenes, *arguments, "-o", tmp_path / "out") == 2
    assert text in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("--sense", "audio", "--anchor", "toy_clap"), "embeds pictures"),
        (("--sense", "depth", "--anchor", "imagebind_tiny"), "24 pairs with --sense audio"),
        (
            ("--sense", "audio", "--anchor", "imagebind_tiny", "--width", "30", "--heads", "4"),
            "not divisible",
        ),
        (
            ("--sense", "audio", "--anchor", "toy_foreign_clip", "--init", "toy_foreign_clip"),
            "an ImageBind with",
        ),
        (("--sense", "depth", "--anchor", "imagebind_tiny", "--windows", "2"), "no pair"),
    ],
)
def test_what_cannot_be_bound_is_said_before_training(scenes, tmp_path, capsys, arguments, text):
    assert bind(scenes, *arguments, "-o", tmp_path / "out") == 1
    assert text in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
