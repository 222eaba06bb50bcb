"""Several processes with the same global batch equal one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file

from bindplug.training.batches import Order, share_of
from bindplug.training.processes import split_evenly

SCRIPT = Path(__file__).with_name("processes_script.py")


@pytest.fixture(scope="module")
def worlds(tmp_path_factory):
    directory = tmp_path_factory.mktemp("worlds")
    process = subprocess.run(
        [sys.executable, SCRIPT, "worlds", directory], capture_output=True, text=True, timeout=500
    )
    assert process.returncode == 0, process.stderr
    return directory


def assert_close(directory: Path, other: str, one: str = "1") -> None:
    first, second = (json.loads((directory / name / "result.json").read_text()) for name in (one, other))
    assert second["steps"] == first["steps"]
    assert second["losses"] == pytest.approx(first["losses"], abs=1e-5)
    assert second["scale"] == pytest.approx(first["scale"], abs=1e-5)
    for here, there in zip(first["validations"], second["validations"], strict=True):
        assert there == pytest.approx(here, abs=1e-5)
    tensors = [load_file(directory / name / "tower.safetensors") for name in (one, other)]
    for name, tensor in tensors[0].items():
        assert (tensor - tensors[1][name]).abs().max() < 1e-5, name


@pytest.mark.parametrize(
    "other",
    [
        "2",  # two processes
        "3x2",  # three, none with a third of 64 pairs or of a batch's 12 blocks alone, two parts each, reader threads
        "resumed",  # killed as one process, resumed as two
    ],
)
def test_processes_equal_one_with_the_same_batch(worlds, other):
    """Under aligned crops drawn anew in every step, a learned temperature, and a validation of 33 pairs."""
    assert_close(worlds, other)


def test_one_process_in_two_parts_drops_out_as_two_processes(worlds):
    assert_close(worlds, "dropout 2", "dropout 1x2")


def test_a_run_of_many_resumed_by_other_numbers_says_where_it_began(worlds):
    assert json.loads((worlds / "resumed" / "result.json").read_text())["resumed_step"] == 12


def test_every_process_refuses_the_checkpoint_of_another_seed(worlds):
    for rank in range(2):
        message = (worlds / "refused" / f"error{rank}.txt").read_text()
        assert "is a checkpoint of another run: recipe.seed is 0 there and 1 here" in message


@pytest.mark.parametrize(
    ("batch_size", "count", "accumulation"), [(12, 5, 2), (64, 7, 3), (100, 3, 4), (512, 6, 10)]
)
def test_shares_of_a_batch_are_its_pairs_once(batch_size, count, accumulation):
    blocks = Order(1000, batch_size, seed=0).blocks(3)
    position, pairs = 0, []
    for rank in range(count):
        share = share_of(blocks, rank, count, accumulation)
        assert len(share.parts) == accumulation
        assert share.sizes[rank] == sum(len(i) for _, part in share.parts for _, i in part)
        for start, part in share.parts:
            assert start == position
            position += sum(len(indices) for _, indices in part)
            pairs += [int(i) for _, indices in part for i in indices]
    assert pairs == Order(1000, batch_size, seed=0).indices(3).tolist()


def test_items_are_split_into_runs_of_almost_equal_length():
    assert split_evenly(range(7), 3) == [[0, 1, 2], [3, 4], [5, 6]]
    assert split_evenly([], 2) == [[], []]


@pytest.mark.slow
def test_accelerate_launch_starts_the_processes(worlds, tmp_path):
    """The launcher itself; all else of this file starts the processes as it does."""
    script = tmp_path / "script.py"
    script.write_text(
        f"import os, sys; sys.path.insert(0, {str(SCRIPT.parent)!r})\n"
        "from pathlib import Path\n"
        "from processes_script import RECIPE, Crops, Validation, train\n"
        "assert os.environ['WORLD_SIZE'] == '2'\n"
        f"train(Path({str(tmp_path / 'launched')!r}), Crops(64), recipe=RECIPE.but(learn_temperature=True),\n"
        "      validation=Validation(Crops(33), metric='recall@1'))\n"
    )
    command = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2"]
    command += ["--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no", str(script)]
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    process = subprocess.run(command, capture_output=True, text=True, timeout=500, env=environment)
    assert process.returncode == 0, process.stderr
    (worlds / "launched").symlink_to(tmp_path / "launched")
    assert_close(worlds, "launched")
    first, second = (load_file(worlds / name / "tower.safetensors") for name in ("1", "launched"))
    assert any(not tensor.equal(second[name]) for name, tensor in first.items())  # summed in another order
