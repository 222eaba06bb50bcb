"""Runs in processes: a command that is killed and goes on, failures, and what a run learns."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from bindplug.cli.building import OK, SKIPPED
from bindplug_lab.ablations import ResultStore, RunSettings, read_grid, run_grid
from bindplug_lab.ablations.command import ablate
from tests.lab.ablations.grids import TINY, write_grid

PAPER = Path(__file__).parents[3] / "recipes" / "ablations" / "paper.toml"


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


def invoke(*arguments):
    return CliRunner().invoke(ablate, [str(argument) for argument in arguments], standalone_mode=False)


def test_a_killed_command_goes_on_where_it_ended(grid_file, tmp_path, cache):
    output = tmp_path / "ablations"
    command = [
        sys.executable,
        "-m",
        "bindplug.cli",
        "ablate",
        str(grid_file),
        "-o",
        str(output),
        "--cache",
        str(cache),
    ]
    process = subprocess.Popen([*command, "--jobs", "1", "--quiet"])
    limit = time.monotonic() + 120
    while not list(output.glob("results/*.json")) and process.poll() is None and time.monotonic() < limit:
        os.sched_yield()
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    grid, store = read_grid(grid_file), ResultStore(output / "results")
    # the process that did the runs may write the one it was at; a damaged file counts for nothing
    kept = store.read_all(grid.runs())
    assert kept
    damaged = next(settings for settings in grid.runs() if settings.key in kept)
    (output / "results" / f"{damaged.key}.json").write_text('{"version":')
    new = []
    results = run_grid(grid, output, cache=cache, jobs=2, quiet=True, on_result=new.append)
    assert set(results) == {settings.key for settings in grid.runs()}
    assert damaged in [result.settings for result in new]
    assert len(new) <= len(grid.runs()) - len(kept) + 1
    # equal settings give equal numbers, in whichever process
    assert results[damaged.key].figures["accuracy"] == kept[damaged.key].figures["accuracy"]
    again = invoke(grid_file, "-o", output, "--cache", cache, "--json")
    assert again.return_value == OK
    assert json.loads(again.stdout)["outcomes"].keys() == {"temperature"}
    assert {path.name for path in output.glob("*.*")} >= {
        "README.md",
        "summary.json",
        "temperature.md",
        "temperature.png",
    }


def test_a_failed_run_is_kept_and_the_rest_goes_on(tmp_path, cache):
    text = TINY.replace("{ temperature = 1.0 }", "{ learning_rate = 1e30, epochs = 9 }").replace(
        "seeds = [0, 1]", "seeds = [0]"
    )
    path, output = write_grid(tmp_path, text), tmp_path / "ablations"
    outcome = invoke(path, "-o", output, "--cache", cache, "--jobs", "1", "--quiet")
    assert outcome.return_value == SKIPPED
    good, bad = (ResultStore(output / "results").read(settings) for settings in read_grid(path).runs())
    assert not good.failed
    assert "loss" in bad.error
    page = (output / "temperature.md").read_text()
    assert "failed: audio, 1.0" in page
    assert "| failed |" in page


def test_a_dry_run_counts_and_writes_nothing(grid_file, tmp_path):
    outcome = invoke(grid_file, "-o", tmp_path / "ablations", "--dry-run", "--json", "--seeds", "0,1,2")
    plan = json.loads(outcome.stdout)
    assert (plan["runs"], plan["pending"]) == (6, 6)
    assert not (tmp_path / "ablations").exists()
    assert "6 distinct runs" in invoke(grid_file, "--dry-run", "--seeds", "0,1,2").stdout


@pytest.mark.parametrize("seeds", ["", "0,x", "1,1", "-1"])
def test_seeds_that_are_none(grid_file, seeds):
    outcome = CliRunner().invoke(ablate, [str(grid_file), "--dry-run", f"--seeds={seeds}"])
    assert outcome.exit_code == 2


def test_an_output_is_needed(grid_file):
    assert "--output" in CliRunner().invoke(ablate, [str(grid_file)]).output


def test_a_process_that_dies_fails_its_run_alone(grid_file, tmp_path, monkeypatch):
    from bindplug_lab.ablations import runner

    stub = tmp_path / "dies.py"
    stub.write_text("import sys\nfor line in sys.stdin:\n    raise SystemExit(7)\n")
    popen = subprocess.Popen
    monkeypatch.setattr(
        runner.subprocess, "Popen", lambda arguments, **options: popen([sys.executable, str(stub)], **options)
    )
    results = run_grid(read_grid(grid_file), tmp_path / "ablations", jobs=1, quiet=True)
    assert [result.error for result in results.values()] == ["the process ended with exit status 7"] * 4


def test_a_tower_learns_to_tell_things_apart(cache):
    from bindplug_lab.ablations.training import run

    settings = RunSettings(
        sense="audio", scenes=120, views=1, epochs=40, batch_size=40, width=64, blocks=1, learning_rate=3e-3,
        evaluation_scenes=60, temperature=0.05,
    )  # fmt: skip
    figures = run(settings, cache)
    assert figures["accuracy"] > 0.15  # three times chance
    assert figures["final_loss"] < 3.2


@pytest.mark.slow
def test_the_papers_grid_runs_end_to_end(tmp_path):
    outcome = invoke(PAPER, "-o", tmp_path / "out", "--smoke", "--seeds", "0", "--quiet")
    assert outcome.return_value == OK
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert len(summary["experiments"]) == 10
    for experiment in summary["experiments"]:
        assert (tmp_path / "out" / f"{experiment['name']}.png").is_file()
        for variant in experiment["variants"]:
            assert all(figures["values"] for figures in variant["figures"].values())
