"""A run that is killed at any moment and resumed equals one that is not, bit for bit."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file

SCRIPT = Path(__file__).with_name("processes_script.py")


def run_script(scenario: str, directory: Path, *numbers: int) -> None:
    command = [sys.executable, SCRIPT, scenario, directory, *map(str, numbers)]
    process = subprocess.run(command, capture_output=True, text=True, timeout=500)
    assert process.returncode == 0, process.stderr


def result_of(directory: Path) -> dict[str, object]:
    return json.loads((directory / "result.json").read_text())


def assert_bitwise_equal(directory: Path, kills: int) -> None:
    lines = (directory / "kills.txt").read_text().splitlines()
    assert sum(line.endswith(" -9") for line in lines) >= kills, lines
    whole, killed = result_of(directory / "whole"), result_of(directory / "killed")
    for name in ("steps", "scale", "losses", "validations", "best_step"):
        assert killed[name] == whole[name], name
    assert whole["steps"] == 15
    assert len(whole["validations"]) == 8
    tensors = {name: load_file(directory / name / "tower.safetensors") for name in ("whole", "killed")}
    assert len(tensors["whole"]) == 6
    for name, tensor in tensors["whole"].items():
        assert tensor.equal(tensors["killed"][name]), name


def test_killed_and_resumed_equals_uninterrupted(tmp_path):
    """Drop-out, learned temperature, validation, noise from global generators: all of it goes on as it was."""
    run_script("kills", tmp_path, 3, 3)
    assert_bitwise_equal(tmp_path, kills=2)
    steps = [path.name for path in (tmp_path / "run").iterdir()]
    assert sorted(steps) == [".lock", "step-00000014", "step-00000015"]  # two stay, and no half-written one


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 120))
def test_killed_many_times_and_resumed_equals_uninterrupted(tmp_path, seed):
    run_script("kills", tmp_path, seed, 10)
    assert_bitwise_equal(tmp_path, kills=1)
