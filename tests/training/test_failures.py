"""What goes wrong in a run is said with its remedy, before it spoils the tower."""

from __future__ import annotations

import math
import sys

import pytest
import torch

from bindplug.errors import InputError, MissingDependency, OutOfMemory
from bindplug.training import Checkpoints, RunOptions, TensorPairs, bind_tower, join_processes
from bindplug.training.data import PairDataset


def run(tower, pairs, recipe, **options):
    return bind_tower(tower, pairs, recipe, options=RunOptions(**options), name="sonar", quiet=True)


def test_a_loss_that_is_not_finite_names_step_pairs_and_checkpoint(small_tower, recipe, tmp_path):
    batches = []

    def spoil(x):
        batches.append(x)
        if len(batches) == 5:
            x[2] = math.inf

    pairs = TensorPairs(torch.randn(24, 8), torch.randn(24, 6))
    with pytest.raises(InputError) as caught:
        run(small_tower(before=spoil), pairs, recipe, checkpoints=Checkpoints(tmp_path, every_steps=2))
    message = str(caught.value)
    assert "binding sonar: the loss is nan at step 5: the tower's rows are not finite for pair " in message
    assert message.endswith(f"The last good checkpoint is {tmp_path / 'step-00000004'}")


def test_a_gradient_that_is_not_finite_ends_the_run_before_the_step(small_tower, drawn_pairs, recipe):
    tower = small_tower()
    tower.hidden.weight.register_hook(lambda gradient: gradient * math.nan)
    before = tower.head.weight.clone()
    with pytest.raises(InputError, match=r"the gradient's norm is nan at step 1.*Lower the learning rate"):
        run(tower, drawn_pairs(), recipe)
    assert torch.equal(tower.head.weight, before)


@pytest.mark.parametrize(
    ("anchors", "message"),
    [
        (torch.ones(24, 8), "one and the same row for all 24 pairs"),
        (torch.eye(24, 8), "zeros only at pair"),
        (torch.diag(torch.full((24,), math.nan))[:, :8] + 1, "NaN or infinity at pair"),
        (torch.ones(24), r"a tensor of shape \(1,\) for 1 indices; expected \(1, D\)"),
        (torch.randn(24, 7), r"rows of shape \(8, 8\) for anchors of \(8, 7\)"),
    ],
)
def test_anchors_that_cannot_be_bound_to_are_refused(small_tower, recipe, anchors, message):
    with pytest.raises(InputError, match=message):
        run(small_tower(), TensorPairs(anchors, torch.randn(24, 6)), recipe)


def test_a_data_set_that_loses_rows_is_refused(small_tower, drawn_pairs, recipe):
    pairs = drawn_pairs()
    pairs.samples = lambda indices, generator: torch.randn(0, 6)
    assert isinstance(pairs, PairDataset)
    with pytest.raises(InputError, match="0 rows for 1 indices; expected one row for each index"):
        run(small_tower(), pairs, recipe)


def test_an_error_of_a_reader_thread_is_raised(small_tower, drawn_pairs, recipe):
    def fail():
        raise InputError("ping-7.wav", found="no sound", expected="a sound")

    with pytest.raises(InputError, match=r"ping-7\.wav"):
        run(small_tower(), drawn_pairs(on_read=fail), recipe, workers=2)


@pytest.mark.parametrize(
    "raise_it",
    [
        lambda: torch.empty(1 << 60, dtype=torch.uint8),
        lambda: (_ for _ in ()).throw(
            torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB")
        ),
        lambda: bytearray(1 << 60),
    ],
    ids=["torch's allocator", "a GPU", "Python"],
)
def test_out_of_memory_says_what_needs_less(small_tower, drawn_pairs, recipe, raise_it):
    def fail(x):
        result = raise_it()
        next(result)

    with pytest.raises(OutOfMemory) as caught:
        run(small_tower(before=fail), drawn_pairs(), recipe)
    for knob in ("accumulation", "precision='bf16'", "LoRA", "workers", "batch_size"):
        assert knob in str(caught.value)
    assert isinstance(caught.value, MemoryError)


def test_other_errors_of_a_tower_pass_as_they_are(small_tower, drawn_pairs, recipe):
    def fail(x):
        raise RuntimeError("no such kernel")

    with pytest.raises(RuntimeError, match=r"^no such kernel$"):
        run(small_tower(before=fail), drawn_pairs(), recipe)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"precision": "fp16"}, "'fp16' on a CPU; expected 'bf16' or 'no' there, or a GPU"),
        ({"precision": "int8"}, "expected one of no, bf16, fp16"),
        ({"device": "cuda:7"}, "device: 'cuda:7' .*expected a device of this machine"),
        ({"accumulation": 0}, "expected a whole number of at least 1"),
        ({"accumulation": 9}, "8 pairs, 8 blocks, for 1 processes of 9 parts.*larger batch_size"),
        ({"workers": -1}, "expected a whole number of at least 0"),
        ({"trackers": "tensorboard"}, "tensorboard without log_directory"),
        ({"trackers": ("notebook",)}, "'notebook'; expected one of tensorboard, wandb, trackio"),
    ],
)
def test_options_that_cannot_be_are_refused(small_tower, drawn_pairs, recipe, options, message):
    with pytest.raises(InputError, match=message):
        run(small_tower(), drawn_pairs(), recipe, **options)


def test_a_tracker_that_is_not_installed_names_its_package(small_tower, drawn_pairs, recipe, monkeypatch):
    import accelerate.tracking

    monkeypatch.setattr(accelerate.tracking, "get_available_trackers", list)
    with pytest.raises(MissingDependency, match="the tracker wandb needs wandb: pip install wandb"):
        run(small_tower(), drawn_pairs(), recipe, trackers=("wandb",))


def test_without_accelerate_the_extra_is_named(small_tower, drawn_pairs, recipe, monkeypatch):
    monkeypatch.setitem(sys.modules, "accelerate", None)
    with pytest.raises(MissingDependency, match=r'needs accelerate.*pip install "bindplug\[train\]"'):
        run(small_tower(), drawn_pairs(), recipe)


def test_more_processes_than_gpus_are_refused(small_tower, drawn_pairs, recipe, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setenv("LOCAL_RANK", "1")
    with pytest.raises(InputError, match="a process for GPU 1 on a machine with 1; expected --num_processes"):
        run(small_tower(), drawn_pairs(), recipe)


def test_processes_that_do_not_know_each_other_are_refused(small_tower, drawn_pairs, recipe, monkeypatch):
    join_processes()
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(InputError, match="2 that were started, of which each knows 1; expected processes"):
        run(small_tower(), drawn_pairs(), recipe)


def test_a_batch_of_one_is_refused(small_tower, drawn_pairs, recipe):
    with pytest.raises(InputError, match="batch_size=1; expected at least 2"):
        run(small_tower(), drawn_pairs(), recipe.but(batch_size=1))


def test_few_pairs_that_differ_are_enough(small_tower, recipe):
    anchors = torch.ones(24, 8)
    anchors[5, 0] = -1
    assert run(small_tower(), TensorPairs(anchors, torch.randn(24, 6)), recipe).steps == 6
