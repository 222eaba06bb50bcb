"""``bindplug eval`` end to end: tables, files, several models, limits, resuming, kills, and what it refuses."""

import copy
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from bindplug.errors import InputError
from tests.lab.miniature import write_sound

ROOT = Path(__file__).parents[3]


def args(*rest):
    return ("eval", *rest, "--draws", 50, "--device", "cpu")


def figures(directory):
    """All figures of a directory's report, without times."""
    content = json.loads((directory / "results.json").read_text())
    return [(r["task"], r["model"], r["count"], r["metrics"], r["data_digest"]) for r in content["results"]]


def test_the_list_has_every_task(bindplug, monkeypatch):
    from bindplug_lab.tasks import list_tasks

    monkeypatch.setenv("COLUMNS", "80")
    ran = bindplug("eval", "--list")
    assert ran.code == 0
    assert all(task.name in ran.out for task in list_tasks())
    entry = next(task for task in bindplug("eval", "--list", "--json").json if task["name"] == "esc50")
    assert entry["modalities"] == ["audio", "text"]
    assert entry["size"] == 2000


def test_two_models_side_by_side_with_report_and_picture(bindplug, small, other, esc50, quick, tmp_path):
    out = tmp_path / "results"
    ran = bindplug(
        *args(small, other, "--tasks", quick, "--data", esc50, "-o", out, "--no-cache", "--batch-size", 7)
    )
    assert ran.code == 0, ran.err
    assert "66.9" in ran.out
    assert "imagebind_huge" in ran.out
    report = (out / "results.md").read_text()
    assert "| figure | small | other | published | chance |" in report
    assert "![Main figures with intervals](results.png)" in report
    assert "other minus small" in report.partition("## Differences")[2]
    assert "ImageBind, arXiv 2305.05665v2" in report
    assert "published test set has 2000 items, this one 100" in report
    assert (out / "results.png").read_bytes().startswith(b"\x89PNG")
    content = json.loads((out / "results.json").read_text())
    first = content["results"][0]
    accuracy = first["metrics"]["accuracy"]
    assert first["count"] == 100
    assert accuracy["count"] == 50  # recordings, of which the miniature has two sounds each
    assert 0 <= accuracy["low"] <= accuracy["value"] <= accuracy["high"] <= 1
    assert first["chance"]["accuracy"] == pytest.approx(0.02)
    second = content["results"][1]["metrics"]["accuracy"]["value"]
    assert content["differences"][0]["interval"]["value"] == pytest.approx(second - accuracy["value"])


def test_results_are_taken_over_and_others_are_added(bindplug, small, other, esc50, quick, tmp_path):
    out, cache = tmp_path / "results", tmp_path / "cache"
    command = args(small, "--tasks", quick, "--data", esc50, "-o", out, "--cache", cache)
    assert "taken over" not in bindplug(*command).err
    before = figures(out)
    assert "taken over" in bindplug(*command).err
    assert figures(out) == before
    ran = bindplug(*args(other, "--tasks", quick, "--data", esc50, "-o", out, "--cache", cache))
    assert ran.code == 0
    assert [entry[1] for entry in figures(out)] == [str(other), str(small)]  # this run's model comes first
    assert "| figure | other | small |" in (out / "results.md").read_text()


def test_results_of_other_settings_files_or_weights_are_refused(
    bindplug, small, other, esc50, quick, tmp_path
):
    out, data, model = tmp_path / "results", tmp_path / "data", tmp_path / "model"
    shutil.copytree(esc50, data)
    shutil.copytree(small, model)
    command = args(model, "--tasks", quick, "--data", data, "-o", out, "--no-cache")
    assert bindplug(*command).code == 0
    ran = bindplug(*command, "--limit", 60)
    assert ran.code == 1
    assert "limit None and not 60" in ran.err
    assert "--overwrite" in ran.err
    sound = next((data / "ESC-50-master" / "audio").glob("*.wav"))
    shutil.copy(sorted((data / "ESC-50-master" / "audio").glob("*.wav"))[-1], sound)
    ran = bindplug(*command)
    assert ran.code == 1
    assert "with other files" in ran.err
    assert bindplug(*command, "--overwrite").code == 0
    reworded = tmp_path / "reworded.toml"
    reworded.write_text(quick.read_text().replace('templates = ["{}"]', 'templates = ["the sound of {}"]'))
    ran = bindplug(*(reworded if argument == quick else argument for argument in command))
    assert ran.code == 1
    assert "with other files, labels or prompts" in ran.err
    shutil.rmtree(model)
    shutil.copytree(other, model)
    ran = bindplug(*command)
    assert ran.code == 1
    assert "with other weights" in ran.err
    assert bindplug(*command, "--overwrite", "--limit", 60).code == 0
    assert "At most 60 items" in (out / "results.md").read_text()
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "thesis.txt").write_text("do not touch")
    ran = bindplug(*args(model, "--tasks", quick, "--data", data, "-o", tmp_path / "foreign", "--overwrite"))
    assert ran.code == 1
    assert [path.name for path in (tmp_path / "foreign").iterdir()] == ["thesis.txt"]


def test_a_limit_is_balanced_by_class_and_said(bindplug, small, esc50, quick):
    ran = bindplug(*args(small, "--tasks", quick, "--data", esc50, "--no-cache", "--limit", 50, "--json"))
    (result,) = ran.json["results"]
    assert (result["count"], result["limit"], result["data_size"]) == (50, 50, 100)
    assert "50 of 100 items, drawn with seed 0" in result["remarks"]


def test_bad_items_are_left_out_counted_and_with_strict_an_error(bindplug, small, esc50, quick, tmp_path):
    data = tmp_path / "data"
    shutil.copytree(esc50, data)
    bad = sorted((data / "ESC-50-master" / "audio").glob("*.wav"))[3]
    bad.write_bytes(b"RIFF but not really")
    command = args(small, "--tasks", quick, "--data", data, "--no-cache", "-o", tmp_path / "results")
    ran = bindplug(*command)
    assert ran.code == 3
    assert f"skipped esc50, {bad.name}" in ran.err
    assert "**1 skipped**" in (tmp_path / "results" / "results.md").read_text()
    assert bindplug(*command).code == 3  # taken over, and still said
    ran = bindplug(*command, "--strict")
    assert ran.code == 1
    assert bad.name in ran.err
    bad.unlink()
    ran = bindplug(*args(small, "--tasks", quick, "--data", data, "--no-cache"))
    assert ran.code == 1
    assert "1 of 100 sounds missing or empty" in ran.err
    assert "github.com/karolpiczak" in ran.err
    ran = bindplug(*args(small, "--tasks", quick, "--data", data, "--no-cache", "--allow-missing", "--json"))
    assert "1 items of the data set are missing here" in ran.json["results"][0]["remarks"]


def test_what_is_refused_before_anything_is_measured(bindplug, small, esc50, quick, tmp_path):
    out = tmp_path / "results"
    for arguments, message in [
        (("imagebind_tiny", "--tasks", "esc5"), "Did you mean 'esc50'?"),
        (("no_such_model", "--tasks", quick, "--data", esc50), "no model is named 'no_such_model'"),
        (("toy_foreign_clip", "--tasks", quick, "--data", esc50), "model 'toy_foreign_clip': no audio"),
        ((small, "--tasks", "esc50"), "no folder of data"),
        ((small, small, "--tasks", quick, "--data", esc50), "twice"),
    ]:
        ran = bindplug("eval", *arguments, "-o", out, "--no-cache")
        assert ran.code == 1, arguments
        assert message in ran.err
        assert not out.exists()
    assert "esc50" in bindplug("eval", "toy_foreign_clip", "--tasks", quick, "--data", esc50).err
    assert bindplug("eval", "imagebind_tiny").code == 2
    assert bindplug("eval", "--tasks", "esc50").code == 2
    assert bindplug("eval", small, "--tasks", "esc50", "--cache", "x", "--no-cache").code == 2


def test_a_damaged_result_is_measured_again(bindplug, small, esc50, quick, tmp_path):
    out = tmp_path / "results"
    command = args(small, "--tasks", quick, "--data", esc50, "-o", out, "--cache", tmp_path / "cache")
    bindplug(*command)
    before = figures(out)
    draws = next((out / "esc50").glob("*.npz"))
    draws.write_bytes(draws.read_bytes()[:-20])
    ran = bindplug(*command)
    assert ran.code == 0
    assert "damaged and is measured again" in ran.err
    assert figures(out) == before


def test_a_home_that_cannot_be_written_costs_the_cache_alone(
    bindplug, small, esc50, quick, tmp_path, monkeypatch
):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("BINDPLUG_HOME", str(tmp_path / "file"))
    command = args(small, "--tasks", quick, "--data", esc50, "--limit", 50)
    ran = bindplug(*command)
    assert ran.code == 0
    assert "embeddings are not kept" in ran.err
    assert bindplug(*command, "--cache", tmp_path / "file" / "x").code == 1


KILLED = """
import os, signal, sys
from bindplug.cli.app import run
from bindplug_lab.evaluation import cache, embedding, results

embedding.Embedder.__init__.__kwdefaults__["step"] = 16
put = {target}
calls = []

def put_and_die(self, entry):
    put(self, entry)
    calls.append(entry)
    if len(calls) == {calls}:
        os.kill(os.getpid(), signal.SIGKILL)

{target} = put_and_die
sys.exit(run(sys.argv[1:]))
"""


def killed(target, calls, *arguments):
    """The command in a process of its own that is killed after so many calls."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "plugins")])}
    code = KILLED.format(target=target, calls=calls)
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)], capture_output=True, text=True, env=environment
    )
    assert done.returncode == -signal.SIGKILL, done.stderr


def test_a_run_killed_between_batches_goes_on_and_ends_with_the_same_figures(
    bindplug, small, esc50, quick, tmp_path, monkeypatch
):
    from bindplug_lab.evaluation.cache import RowCache

    command = (*args(small, "--tasks", quick, "--data", esc50, "--batch-size", 16), "-o")
    resumed, cache = tmp_path / "resumed", tmp_path / "cache"
    killed("cache.RowCache.put", 6, *command, resumed, "--cache", cache)
    with RowCache(cache) as rows:
        kept = len(rows)
    assert kept == 50 + 2 * 16  # four parts of class names, and two of sounds
    made = []
    put = RowCache.put
    monkeypatch.setattr(RowCache, "put", lambda self, rows: (made.append(len(rows)), put(self, rows))[1])
    assert bindplug(*command, resumed, "--cache", cache).code == 0
    assert sum(made) == 150 - kept
    assert bindplug(*command, tmp_path / "whole", "--no-cache").code == 0
    for mine, whole in zip(figures(resumed), figures(tmp_path / "whole"), strict=True):
        assert mine[:3] == whole[:3]
        assert mine[3].keys() == whole[3].keys()
        for name in mine[3]:
            assert mine[3][name] == pytest.approx(whole[3][name], abs=1e-9)


def test_a_run_killed_after_a_task_keeps_its_result(bindplug, small, esc50, quick, tmp_path):
    copy = tmp_path / "again.toml"
    copy.write_text(quick.read_text().replace('name = "esc50"', 'name = "again"'))
    out = tmp_path / "results"
    command = args(small, "--tasks", f"{quick},{copy}", "--data", esc50, "-o", out, "--no-cache")
    killed("results.ResultStore.put", 1, *command)
    assert len(list(out.glob("*/*.json"))) == 1
    ran = bindplug(*command)
    assert ran.code == 0
    assert ran.err.count("taken over") == 1
    assert [entry[0] for entry in figures(out)] == ["again", "esc50"]
    assert figures(out)[0][3] == figures(out)[1][3]


def test_the_api_takes_models_and_tasks_as_objects(esc50, quick):
    import bindplug_lab
    from tests.lab.planted import small_model

    evaluation = bindplug_lab.evaluate(
        {"a": small_model(), "b": small_model(1)},
        [bindplug_lab.load_task(quick)],
        data=esc50,
        settings=bindplug_lab.Settings(draws=20),
        quiet=True,
    )
    assert [result.model for result in evaluation.results] == ["a", "b"]
    result = evaluation.result("esc50", "b")
    assert isinstance(result.metrics["accuracy"], bindplug_lab.Interval)
    assert np.shape(result.draws["accuracy"]) == (20,)


def own_task(path, protocol="zero_shot", modality="audio", support=""):
    metrics = "accuracy"
    path.write_text(
        f'name = "own"\ntitle = "Own"\nprotocol = "{protocol}"\nmodalities = ["{modality}"]\n'
        f'metrics = ["{metrics}"]\n[data]\nreader = "folder"\nmodality = "audio"\nsplit = "test"\n{support}'
    )
    return path


def class_folders(root):
    for seed, name in enumerate(("train/dog", "train/rain", "test/dog", "test/rain")):
        for place in range(2):
            write_sound(root / name / f"{place}.wav", tone_hz=200.0 * (1 + 2 * seed + place))
    return root


def test_a_few_shot_result_is_not_taken_over_for_another_text_tower(tmp_path):
    import bindplug_lab
    from tests.lab.planted import small_model

    support = '[support]\nsplit = "train"\n'
    task = own_task(tmp_path / "own.toml", "few_shot", support=support)
    task.write_text("shots = [1]\n" + task.read_text())
    options = {"data": class_folders(tmp_path / "data"), "output": tmp_path / "out", "quiet": True}
    options["settings"] = bindplug_lab.Settings(draws=20)
    model, other = small_model(), copy.deepcopy(small_model())
    bindplug_lab.evaluate({"m": model}, [task], **options)
    with torch.no_grad():
        next(iter(other.towers["text"].parameters())).view(-1)[0] += 1.0
    with pytest.raises(InputError, match="other weights"):
        bindplug_lab.evaluate({"m": other}, [task], **options)


def test_a_task_whose_data_are_of_another_modality_than_it_says_is_refused(bindplug, small, tmp_path):
    data = class_folders(tmp_path / "data")
    ran = bindplug(
        "eval",
        small,
        "--tasks",
        own_task(tmp_path / "own.toml", modality="depth"),
        "--data",
        data,
        "--no-cache",
    )
    assert ran.code == 1
    assert "modalities depth, with data of audio; expected the modalities of the data" in ran.err
