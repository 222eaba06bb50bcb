"""Few-shot learners, curves and the command on planted classes."""

import json
import re
import sys

import numpy as np
import pytest
import soundfile

from bindplug.bound import BoundEncoder
from bindplug.cli.app import run
from bindplug.errors import InputError, InputNote, MissingDependency
from bindplug.imagebind import ImageBind, save_directory
from bindplug_lab.evaluation.metrics import hits_at
from bindplug_lab.few_shot.curve import curve_of_rows, few_shot_hits
from bindplug_lab.few_shot.folders import read_classes, read_support_and_test
from bindplug_lab.few_shot.learners import (
    LEARNERS,
    _best_pair,
    cache_scores,
    logistic_scores,
    prototype_scores,
)
from bindplug_lab.few_shot.run import few_shot_curve
from bindplug_lab.few_shot.supports import ensure_shots, support_order
from bindplug_lab.tasks import load_task
from tests.lab.planted import SPACE, small_model
from tests.small import SMALL


def planted(each, noise, classes=5, seed=0, width=16):
    """Unit rows around a center for each class, and their labels; the centers are the same for every seed."""
    centers = np.random.default_rng(99).normal(size=(classes, width))
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(classes), each)
    rows = centers[labels] + noise * rng.normal(size=(len(labels), width))
    return rows / np.linalg.norm(rows, axis=1, keepdims=True), labels


def accuracy(learner, support, labels, rows, answers, zero_shot=None):
    scores = LEARNERS[learner](support, labels, rows, zero_shot, 20.0)
    return hits_at(scores, np.eye(scores.shape[1], dtype=bool)[answers], 1).mean()


@pytest.mark.parametrize("learner", list(LEARNERS))
@pytest.mark.parametrize("each", [1, 4])
def test_every_learner_separates_well_separated_classes(learner, each):
    (support, labels), (rows, answers) = planted(each, 0.1), planted(20, 0.1, seed=1)
    centers, _ = planted(1, 0.0)
    assert accuracy(learner, support, labels, rows, answers, centers) == 1.0


def test_two_classes_have_a_score_each():
    (support, labels), (rows, answers) = planted(3, 0.1, classes=2), planted(20, 0.1, classes=2, seed=1)
    scores = logistic_scores(support, labels, rows, None, 1.0)
    assert scores.shape == (40, 2)
    assert (scores.argmax(1) == answers).all()


def test_logistic_regression_is_scikit_learns():
    from sklearn.linear_model import LogisticRegression

    (support, labels), (rows, _) = planted(1, 0.5), planted(5, 0.5, seed=1)
    expected = LogisticRegression(C=10.0, max_iter=2000).fit(support, labels).decision_function(rows)
    assert logistic_scores(support, labels, rows, None, 1.0) == pytest.approx(expected)


def test_a_prototype_is_the_normalized_mean():
    support = np.array([[1.0, 0], [0, 1], [-1, 0]])
    scores = prototype_scores(support, np.array([0, 0, 1]), np.array([[1.0, 0]]), None, 1.0)
    assert scores == pytest.approx(np.array([[np.sqrt(0.5), -1.0]]))


def test_the_cache_is_tip_adapters_sum_for_one_example():
    (support, labels), (rows, _) = planted(1, 0.5), planted(4, 0.5, seed=1)
    names, _ = planted(1, 0.2, seed=5)
    expected = 20.0 * rows @ names.T + np.exp(-5.5 * (1 - rows @ support.T)) @ np.eye(5)[labels]
    assert cache_scores(support, labels, rows, names, 20.0) == pytest.approx(expected)


def test_the_cache_trusts_the_support_where_the_names_mislead():
    (support, labels), (rows, answers) = planted(8, 0.3), planted(20, 0.3, seed=1)
    wrong = planted(1, 0.0)[0][[1, 2, 3, 4, 0]]
    assert accuracy("cache", support, labels, rows, answers, wrong) > 0.95


def test_a_support_row_does_not_vote_for_itself():
    names = np.eye(9)[:4]
    labels = np.array([0, 1, 2, 3, 0, 1, 2, 3, 1, 2])
    twins = np.repeat(np.arange(5), 2)  # the nearest other row is always of another class
    support = 0.3 * names[labels] + np.sqrt(1 - 0.09) * np.eye(9)[4 + twins]
    blend, _ = _best_pair(support, labels, np.eye(4)[labels], 20.0 * support @ names.T)
    assert blend == 0.0


def test_random_rows_are_classified_at_chance():
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(440, 16))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    labels, answers = np.repeat(np.arange(4), 10), rng.integers(0, 4, 400)
    curve = curve_of_rows(
        rows[:40], labels, rows[40:], answers, list("abcd"), shots=(1, 8), repeats=3, draws=200
    )
    for points in curve.learners.values():
        for point in points:
            assert point.low <= 0.25 <= point.high
    assert set(curve.learners) == {"logistic", "prototypes"}  # without text neither a cache nor zero-shot
    assert curve.zero_shot is None


def test_larger_supports_hold_smaller_ones_and_draws_differ():
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(4), 6))
    first, again, other = (support_order(labels, 4, seed) for seed in (0, 0, 1))
    assert first.shape == (4, 6)
    assert (first == again).all()
    assert (first != other).any()
    assert (labels[first] == np.arange(4)[:, None]).all()


def test_curves_rise_with_examples_and_are_seeded():
    (support, labels), (rows, answers) = planted(16, 1.0), planted(40, 1.0, seed=1)
    names = planted(1, 1.5, seed=7)[0]
    arguments = (support, labels, rows, answers, list("abcde"))
    options = {"shots": (1, 4, 16), "repeats": 3, "draws": 100, "zero_shot": names, "scale": 20.0}
    curve = curve_of_rows(*arguments, **options)
    for points in (curve.learners["logistic"], curve.learners["prototypes"]):
        assert points[0].value < points[1].value < points[2].value
        assert all(point.low <= point.value <= point.high for point in points)
    assert curve.as_dict() == curve_of_rows(*arguments, **options).as_dict()
    for name, gains in curve.gains.items():
        for gain, point in zip(gains, curve.learners[name], strict=True):
            assert gain.value == pytest.approx(point.value - curve.zero_shot.value)
            alone = (point.high - point.low) ** 2 + (curve.zero_shot.high - curve.zero_shot.low) ** 2
            assert (gain.high - gain.low) ** 2 < 1.2 * alone  # at most as wide as if they were unpaired
    assert curve.gains["logistic"][2].low > 0
    assert curve.gains["cache"][2].high - curve.gains["cache"][2].low < 0.15
    hits = few_shot_hits(support, labels, rows, answers, shots=(1,), repeats=3)
    assert hits["prototypes", 1].shape == (3, 200)
    assert curve.learners["prototypes"][0].value == pytest.approx(hits["prototypes", 1].mean())


def test_classes_with_too_few_examples_are_named():
    with pytest.raises(InputError, match=r"train/: 'b' with 1; expected 2 readable.*--shots with 1 at most"):
        ensure_shots(np.array([0, 0, 1]), ["a", "b"], (1, 2), "train/")
    with pytest.raises(InputError, match="shots"):
        ensure_shots(np.array([0]), ["a"], (0,))


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


def test_logistic_regression_without_scikit_learn_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn", None)
    support, labels = planted(2, 0.1)
    with pytest.raises(MissingDependency, match=r"bindplug\[lab\]"):
        logistic_scores(support, labels, support, None, 1.0)


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
