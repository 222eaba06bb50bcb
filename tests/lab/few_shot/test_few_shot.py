"""Few-shot folders, tasks and the command on tones of planted classes."""

import json
import re
import sys

import numpy as np
import pytest
import soundfile

from bindplug.bound import BoundEncoder
from bindplug.cli.app import run
from bindplug.errors import InputError, InputNote
from bindplug.imagebind import ImageBind, save_directory
from bindplug_lab.few_shot.folders import read_classes, read_support_and_test
from bindplug_lab.few_shot.run import few_shot_curve
from bindplug_lab.tasks import load_task
from tests.lab.planted import SPACE, small_model
from tests.small import SMALL


@pytest.fixture
def folders(tmp_path):
    """Three classes of tones, five to learn from and four to test on."""
    for part, count in (("train", 5), ("test", 4)):
        for place, name in enumerate(("low_tone", "tone", "high_tone")):
            for i in range(count):
                rng = np.random.default_rng([place, i, count])
                times = np.arange(4000) / 16000
                path = tmp_path / part / name / f"{i}.wav"
                path.parent.mkdir(parents=True, exist_ok=True)
                tone = np.sin(2 * np.pi * (200 * 4**place + rng.normal(0, 5)) * times)
                soundfile.write(path, 0.5 * tone + rng.normal(0, 0.01, 4000), 16000)
    return tmp_path


def test_folders_become_items(folders):
    items = read_support_and_test(folders / "train", folders / "test", "audio", {"channel": "mix"})
    assert items.class_names == ("high tone", "low tone", "tone")
    assert (len(items.support), len(items.test)) == (15, 12)
    assert items.support.ids[0] == "high_tone/0.wav"
    assert items.support.queries[0].terms[0][1].options == {"channel": "mix"}


def test_a_file_in_both_folders_is_refused_and_a_copy_warned_of(folders):
    train, test = folders / "train", folders / "test"
    with pytest.raises(InputError, match="in the support too"):
        read_support_and_test(train, train, "audio")
    (test / "tone" / "x.wav").write_bytes((train / "tone" / "0.wav").read_bytes())
    with pytest.warns(InputNote, match="1 test files are copies"):
        read_support_and_test(train, test, "audio")
    (test / "tone" / "x.wav").unlink()
    (test / "tone" / "x.wav").symlink_to(train / "tone" / "0.wav")
    with pytest.raises(InputError, match=r"1 files that are in the support too, as 'x\.wav'"):
        read_support_and_test(train, test, "audio")


def test_folders_that_are_wrong_say_how(folders, tmp_path):
    train, test = folders / "train", folders / "test"
    (test / "tone").rename(test / "noise")
    with pytest.raises(InputError, match="no folder for 'noise'"):
        read_support_and_test(train, test, "audio")
    for place, message in [
        (tmp_path / "none", "no such folder"),
        (train / "tone" / "0.wav", "a file"),
        (train / "tone", "no folder with files"),
    ]:
        with pytest.raises(InputError, match=message):
            read_classes(place, "audio")
    (train / "empty").mkdir()
    with pytest.raises(InputError, match="no file of class 'empty'"):
        read_classes(train, "audio")


def test_the_command_draws_and_writes_a_curve(folders, tmp_path, capsys):
    model = save_directory(small_model(), tmp_path / "small", license="Apache-2.0")
    plain = ["few-shot", model, "--support", folders / "train", "--test", folders / "test", "--no-cache"]
    command = [
        *map(str, plain),
        "--modality",
        "audio",
        "--shots",
        "1,2,4",
        "--repeats",
        "3",
        "--device",
        "cpu",
    ]
    out, plot = tmp_path / "out", tmp_path / "curve.svg"
    assert run([*command, "-o", str(out), "--plot", str(plot)]) == 0
    printed = capsys.readouterr().out
    assert "prototypes" in printed
    assert "zero-shot, from the classes' names" in printed
    assert re.search(r"prototypes, 4 a class: -?[\d.]+ \(.*\) points above zero-shot", printed)
    content = json.loads((out / "few_shot.json").read_text())
    assert content["shots"] == [1, 2, 4]
    assert set(content["learners"]) == {"logistic", "prototypes", "cache"}
    assert content["learners"]["prototypes"][2]["value"] > 0.8  # even a random network keeps tones apart
    assert content["chance"] == pytest.approx(1 / 3)
    report = (out / "few_shot.md").read_text()
    assert report.count("| examples a class | 1 | 2 | 4 |") == 2  # accuracies, and points above zero-shot
    assert set(content["gains"]) == set(content["learners"])
    assert "![Accuracy over examples a class](curve.png)" in report
    assert (out / "curve.png").read_bytes().startswith(b"\x89PNG")
    assert "<svg" in plot.read_text()
    assert run([*command, "-o", str(out)]) == 1
    assert "--overwrite" in capsys.readouterr().err


def test_the_command_refuses(folders, tmp_path, capsys):
    plain = [
        "few-shot",
        "imagebind_tiny",
        "--support",
        str(folders / "train"),
        "--test",
        str(folders / "test"),
    ]
    plain += ["--no-cache"]
    for arguments, code, message in [
        ([*plain, "--modality", "audio"], 1, "with 5"),  # sixteen shots by default
        (plain, 1, "never guessed"),
        ([*plain, "--modality", "audio", "--plot", "curve.gif"], 2, ".png, .svg or .pdf"),
        ([*plain, "--modality", "audio", "--shots", "1,0"], 2, "whole numbers"),
        ([*plain, "--task", "x"], 2, "--task NAME"),
        ([*plain, "--modality", "audio", "--data", "x"], 2, "--task's data"),
        (["few-shot", "imagebind_tiny", "--task", "x", "--modality", "audio"], 2, "says what its files are"),
        (
            ["few-shot", "imagebind_tiny", "--task", "x", "--reader-option", "audio.clips=1"],
            2,
            "says what its files are",
        ),
        (["few-shot", "imagebind_tiny", "--task", "esc50"], 1, "the protocol 'zero_shot'"),
        (["few-shot", "toy_foreign_clip", *plain[2:], "--modality", "audio"], 1, "audio"),
    ]:
        assert run(arguments) == code, arguments
        assert message in capsys.readouterr().err


def tone_task(folders, support="train"):
    """A few-shot task of the tones by a table, two windows of each test file."""
    lines = ["path,label,part,begin,end"]
    for path in sorted(folders.glob("*/*/*.wav")):
        part, label = path.relative_to(folders).parts[:2]
        for begin in (0.0,) if part == "train" else (0.0, 0.12):
            lines.append(f"{path.relative_to(folders)},{label},{part},{begin},{begin + 0.12}")
    (folders / "tones.csv").write_text("\n".join(lines) + "\n")
    task = folders / "tones.toml"
    task.write_text(
        'name = "tones"\ntitle = "Tones"\nprotocol = "few_shot"\nmodalities = ["audio"]\nmetrics = ["accuracy"]\n'
        'shots = [1, 2]\n[data]\nreader = "table"\nfile = "tones.csv"\nmodality = "audio"\nstart = "begin"\n'
        f'end = "end"\nwhere = {{ part = "test" }}\n[support]\nwhere = {{ part = "{support}" }}\n'
    )
    return task


def test_an_incomplete_task_is_refused_or_says_what_is_missing(folders, tmp_path, capsys):
    model = save_directory(small_model(), tmp_path / "small", license="Apache-2.0")
    task, out = tone_task(folders), tmp_path / "out"
    (folders / "train" / "tone" / "0.wav").unlink()
    command = ["few-shot", str(model), "--task", str(task), "--data", str(folders), "--no-cache", "--json"]
    command += ["--device", "cpu", "--repeats", "2", "--learner", "prototypes"]
    assert run(command) == 1
    assert "1 of 15 files missing or empty" in (error := capsys.readouterr().err)
    assert "--allow-missing" in error
    assert run([*command, "--allow-missing", "-o", str(out)]) == 0
    assert json.loads(capsys.readouterr().out)["missing_count"] == 1
    assert "**Files of the data set that are missing here: 1.**" in (out / "few_shot.md").read_text()
    folders_alone = [
        "--support",
        str(folders / "train"),
        "--test",
        str(folders / "test"),
        "--modality",
        "audio",
    ]
    assert run(["few-shot", str(model), *folders_alone, "--allow-missing"]) == 2
    assert "folders hold what they hold" in capsys.readouterr().err


def test_windows_of_one_test_file_are_no_independent_observations(folders):
    items = load_task(tone_task(folders)).items(folders)
    result = few_shot_curve(
        small_model(), items, shots=[1], repeats=2, learners=["prototypes"], draws=20, quiet=True
    )
    assert result.test_count == 24
    assert result.curve.learners["prototypes"][0].count == 12
    assert result.curve.zero_shot.count == 12


def test_a_task_whose_test_files_are_learned_from_is_refused(folders):
    items = load_task(tone_task(folders, support="test")).items(folders)
    with pytest.raises(InputError, match="24 files in the support and in the test"):
        few_shot_curve(small_model(), items, shots=[1], repeats=1, quiet=True)


def test_one_class_is_refused(folders, tmp_path, capsys):
    for part in ("train", "test"):
        (tmp_path / "one" / part).mkdir(parents=True)
        (folders / part / "tone").rename(tmp_path / "one" / part / "tone")
    places = ["--support", str(tmp_path / "one" / "train"), "--test", str(tmp_path / "one" / "test")]
    assert run(["few-shot", "imagebind_tiny", *places, "--modality", "audio", "--no-cache"]) == 1
    assert "one class, 'tone'; expected at least two classes" in capsys.readouterr().err


def test_without_matplotlib_a_figure_is_refused_before_anything_is_measured(
    folders, tmp_path, capsys, monkeypatch
):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    places = ["--support", str(folders / "train"), "--test", str(folders / "test"), "--shots", "1"]
    command = ["few-shot", "imagebind_tiny", *places, "--modality", "audio", "--no-cache"]
    for option, place in (("-o", tmp_path / "out"), ("--plot", tmp_path / "curve.png")):
        assert run([*command, option, str(place)]) == 1
        printed = capsys.readouterr()
        assert 'pip install "bindplug[lab]"' in printed.err
        assert "device" not in printed.err  # no model was loaded
        assert not place.exists()


def test_unreadable_files_count_neither_as_support_nor_as_test(folders):
    (folders / "train" / "tone" / "0.wav").write_bytes(b"no sound")
    (folders / "test" / "tone" / "1.wav").write_bytes(b"no sound either")
    arguments = (small_model(), folders / "train", folders / "test")
    options = {"modality": "audio", "repeats": 2, "draws": 20, "quiet": True}
    result = few_shot_curve(*arguments, shots=(4,), **options)
    assert (result.support_count, result.test_count) == (14, 11)
    assert [item["item"] for item in result.skipped] == ["tone/0.wav", "tone/1.wav"]
    with pytest.raises(InputError, match=r"'tone' with 4.*expected 5 readable"):
        few_shot_curve(*arguments, shots=(5,), **options)
    with pytest.raises(InputError, match=r"tone/0\.wav"):
        few_shot_curve(*arguments, shots=(4,), strict=True, **options)


def test_a_model_without_text_has_a_curve_without_zero_shot(folders):
    model = ImageBind(SMALL, modalities={"audio"}).eval()
    result = few_shot_curve(
        model,
        folders / "train",
        folders / "test",
        modality="audio",
        shots=(2,),
        repeats=2,
        draws=20,
        quiet=True,
    )
    assert set(result.curve.learners) == {"logistic", "prototypes"}
    assert result.curve.zero_shot is None


def test_the_sense_of_a_bound_model_is_what_the_files_are(folders):
    anchor = small_model(0)
    bound = BoundEncoder(
        "audio",
        small_model(1),
        SPACE,
        modalities=("audio", "text"),
        load_anchor=lambda: anchor,
        scale=10.0,
    )
    arguments = (folders / "train", folders / "test")
    options = {"shots": (1, 2), "repeats": 2, "draws": 20, "quiet": True}
    result = few_shot_curve(bound, *arguments, **options)
    named = few_shot_curve(small_model(1), *arguments, modality="audio", **options)
    assert result.curve.learners["prototypes"] == named.curve.learners["prototypes"]
    assert result.curve.zero_shot is not None
    with pytest.raises(InputError, match="never guessed"):
        few_shot_curve(anchor, *arguments, **options)
    with pytest.raises(InputError, match="a model without depth"):
        few_shot_curve(bound, *arguments, modality="depth", **options)
