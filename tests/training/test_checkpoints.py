"""Checkpoints: whole or not at all, of this run or refused, and nothing lost when something goes wrong."""

from __future__ import annotations

import errno
import json
import os
import signal
import warnings

import pytest
import torch
from safetensors.torch import load_file

from bindplug.errors import CheckpointError, CheckpointNote, InputError, TrainingInterrupted
from bindplug.training import (
    Checkpoints,
    LoraRecipe,
    RunOptions,
    TensorPairs,
    Validation,
    add_adapters,
    bind_tower,
    checkpoints,
)


def run(tower, pairs, recipe, directory, *, validation=None, name="sonar", precision=None, **arguments):
    options = RunOptions(checkpoints=Checkpoints(directory, **arguments), precision=precision)
    return bind_tower(tower, pairs, recipe, validation=validation, options=options, name=name, quiet=True)


def names_in(directory):
    return sorted(path.name for path in directory.iterdir())


@pytest.fixture
def finished(small_tower, drawn_pairs, recipe, tmp_path):
    tower = small_tower()
    run(tower, drawn_pairs(), recipe, tmp_path / "run", every_steps=1, keep=3)
    return tmp_path / "run", tower


def test_the_last_checkpoints_stay_and_run_no_code(finished):
    directory, tower = finished
    assert names_in(directory) == [".lock", "step-00000004", "step-00000005", "step-00000006"]
    files = names_in(directory / "step-00000006")
    assert files == ["checkpoint.json", "optimizer.safetensors", "tower.safetensors"]
    content = json.loads((directory / "step-00000006" / "checkpoint.json").read_text())
    assert content["progress"]["run"]["step"] == 6
    weights = load_file(directory / "step-00000006" / "tower.safetensors")
    assert torch.equal(weights["tower.head.bias"], tower.head.bias)


def test_a_checkpoint_at_each_epochs_end_is_the_default(small_tower, drawn_pairs, recipe, tmp_path):
    run(small_tower(), drawn_pairs(), recipe, tmp_path, keep=9)
    assert names_in(tmp_path) == [".lock", "step-00000003", "step-00000006"]


def test_a_finished_run_resumes_to_its_result(finished, small_tower, drawn_pairs, recipe):
    directory, tower = finished
    again = small_tower()
    result = run(again, drawn_pairs(), recipe, directory, resume=True)
    assert (result.steps, result.resumed_step) == (6, 6)
    assert torch.equal(again.head.weight, tower.head.weight)


def test_resume_begins_where_there_is_no_checkpoint(small_tower, drawn_pairs, recipe, tmp_path):
    assert run(small_tower(), drawn_pairs(), recipe, tmp_path / "new", resume=True).resumed_step == 0


def test_checkpoints_of_an_earlier_run_are_not_written_over(finished, small_tower, drawn_pairs, recipe):
    directory, _ = finished
    with pytest.raises(
        CheckpointError, match=r"up to step 6: resume from them with resume=True \(--resume\)"
    ):
        run(small_tower(), drawn_pairs(), recipe, directory)
    assert len(names_in(directory)) == 4


def damage_half(file):
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def damage_byte(file):
    content = file.read_bytes()
    if file.suffix == ".json":
        file.write_bytes(content.replace(b'"step": 6', b'"step": 2'))
    else:
        file.write_bytes(content[:-5] + bytes([content[-5] ^ 1]) + content[-4:])
    assert file.read_bytes() != content


@pytest.mark.parametrize("damage", [damage_half, damage_byte, lambda file: file.unlink()])
@pytest.mark.parametrize("name", ["checkpoint.json", "optimizer.safetensors", "tower.safetensors"])
def test_of_a_damaged_checkpoint_the_one_before_is_read(
    finished, small_tower, drawn_pairs, recipe, damage, name
):
    directory, tower = finished
    damage(directory / "step-00000006" / name)
    again = small_tower()
    with pytest.warns(CheckpointNote, match=r"it is now step-00000006\.damaged, and the checkpoint before"):
        result = run(again, drawn_pairs(), recipe, directory, resume=True, keep=1)
    assert (result.steps, result.resumed_step) == (6, 5)
    assert torch.equal(again.head.weight, tower.head.weight)
    assert names_in(directory) == [".lock", "step-00000006", "step-00000006.damaged"]


def test_where_all_checkpoints_are_damaged_nothing_begins(finished, small_tower, drawn_pairs, recipe):
    directory, _ = finished
    for path in directory.glob("step-*"):
        (path / "tower.safetensors").write_bytes(b"nothing")
    with (
        pytest.warns(CheckpointNote),
        pytest.raises(CheckpointError, match=r"no checkpoint in .* is whole"),
    ):
        run(small_tower(), drawn_pairs(), recipe, directory, resume=True)


def frozen_head(tower):
    tower.head.requires_grad_(False)
    return tower


def with_heads(tower, heads):
    class Attention(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.heads = heads

    tower.attention = Attention()
    return tower


def test_heads_and_the_scale_of_adapters_are_part_of_the_run(small_tower, drawn_pairs, recipe, tmp_path):
    def adapted(alpha):
        tower = small_tower()
        add_adapters(tower, "sonar", LoraRecipe(rank=2, alpha=alpha, targets=("all-linear",)))
        return tower

    run(with_heads(adapted(2), 4), drawn_pairs(), recipe, tmp_path)
    for other, message in (
        (with_heads(adapted(8), 4), "layers.Linear.scaling is .*1.0.* there and .*4.0.* here"),
        (with_heads(adapted(2), 2), "layers.Attention.heads is 4 there and 2 here"),
    ):
        with pytest.raises(CheckpointError, match=message):
            run(other, drawn_pairs(), recipe, tmp_path, resume=True)
    assert run(with_heads(adapted(2), 4), drawn_pairs(), recipe, tmp_path, resume=True).resumed_step


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: a | {"recipe": a["recipe"].but(seed=1)}, "recipe.seed is 0 there and 1 here"),
        (lambda a: a | {"recipe": a["recipe"].but(epochs=3)}, "recipe.epochs is 2 there and 3 here"),
        (lambda a: a | {"pairs": type(a["pairs"])(25)}, "pairs.count is 24 there and 25 here"),
        (lambda a: a | {"pairs": type(a["pairs"])(24, seed=7)}, r"pairs.figures\[0\]\[0\] is .* there"),
        (lambda a: a | {"tower": type(a["tower"])(16)}, r"tower.head.bias is \(8,\) torch.float32 there"),
        (lambda a: a | {"tower": frozen_head(a["tower"])}, "tower.head.bias is .* there and missing here"),
        (lambda a: a | {"name": "imu"}, "name is sonar there and imu here"),
        (lambda a: a | {"precision": "bf16"}, "precision is no there and bf16 here"),
    ],
)
def test_a_checkpoint_of_another_run_is_refused_with_the_difference(
    finished, small_tower, drawn_pairs, recipe, change, message
):
    directory, _ = finished
    arguments = change({"tower": small_tower(), "pairs": drawn_pairs(), "recipe": recipe})
    with pytest.raises(CheckpointError, match=f"is a checkpoint of another run: .*{message}"):
        run(**arguments, directory=directory, resume=True)
    assert len(names_in(directory)) == 4


def test_frozen_weights_and_validation_are_part_of_the_run(small_tower, drawn_pairs, recipe, tmp_path):
    run(frozen_head(small_tower()), drawn_pairs(), recipe, tmp_path)
    other = frozen_head(small_tower())
    with torch.no_grad():
        other.head.weight[0, 0] += 1
    with pytest.raises(CheckpointError, match=r"frozen is [0-9a-f]+ there and"):
        run(other, drawn_pairs(), recipe, tmp_path, resume=True)
    validation = Validation(drawn_pairs(seed=2))
    with pytest.raises(CheckpointError, match="validation is missing there and"):
        run(frozen_head(small_tower()), drawn_pairs(), recipe, tmp_path, resume=True, validation=validation)


def test_pairs_may_name_their_content(small_tower, recipe, tmp_path):
    class Named(TensorPairs):
        identity = "files-a"

    def pairs():
        generator = torch.Generator().manual_seed(0)
        return Named(torch.randn(24, 8, generator=generator), torch.randn(24, 6, generator=generator))

    run(small_tower(), pairs(), recipe, tmp_path)
    other = pairs()
    other.identity = "files-b"
    with pytest.raises(CheckpointError, match=r"pairs\.identity is files-a there and files-b here"):
        run(small_tower(), other, recipe, tmp_path, resume=True)


def test_without_room_the_run_goes_on_and_the_last_checkpoint_stays(
    small_tower, drawn_pairs, recipe, tmp_path, monkeypatch
):
    """The disk is full from the second checkpoint on, in the middle of a file."""
    write, calls = checkpoints.write_tensors, []

    def full(tensors, file):
        calls.append(file)
        if len(calls) > 2:
            file.write_bytes(b"half of it")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(tensors, file)

    monkeypatch.setattr(checkpoints, "write_tensors", full)
    tower, plain = small_tower(), small_tower()
    with pytest.warns(
        CheckpointNote, match=r"step 6 could not be written .*No space left.*the last one is .*03"
    ):
        result = run(tower, drawn_pairs(), recipe, tmp_path)
    assert names_in(tmp_path) == [".lock", "step-00000003"]
    bind_tower(plain, drawn_pairs(), recipe, quiet=True)
    assert result.steps == 6
    assert torch.equal(tower.head.weight, plain.head.weight)
    monkeypatch.undo()
    assert run(small_tower(), drawn_pairs(), recipe, tmp_path, resume=True).resumed_step == 3


def test_files_larger_than_the_system_allows_are_a_warning(small_tower, drawn_pairs, recipe, tmp_path):
    """The system's own refusal, in the middle of a file."""
    resource = pytest.importorskip("resource")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, limits[1]))
    try:
        with warnings.catch_warnings(record=True) as notes:
            warnings.simplefilter("always")
            result = run(small_tower(), drawn_pairs(), recipe, tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert result.steps == 6
    assert [note.category for note in notes] == [CheckpointNote, CheckpointNote]
    assert "there is none yet" in str(notes[0].message)
    assert names_in(tmp_path) == [".lock"]


def test_a_directory_that_cannot_be_written_is_refused_before_training(
    small_tower, drawn_pairs, recipe, tmp_path
):
    (tmp_path / "file").write_text("in the way")
    tower = small_tower()
    before = tower.head.weight.clone()
    with pytest.raises(InputError, match=r"checkpoints cannot be written there .*expected a directory"):
        run(tower, drawn_pairs(), recipe, tmp_path / "file" / "run")
    assert torch.equal(tower.head.weight, before)


def test_two_runs_do_not_write_to_one_directory(small_tower, drawn_pairs, recipe, tmp_path):
    problems = []

    def run_another():
        if not problems:
            problems.append(None)
            with pytest.raises(CheckpointError, match="another run writes its checkpoints to") as caught:
                run(small_tower(), drawn_pairs(), recipe, tmp_path, resume=True)
            problems.append(caught.value)

    tower = small_tower(before=lambda x: run_another())
    assert run(tower, drawn_pairs(), recipe, tmp_path).steps == 6
    assert len(problems) == 2


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_run_with_a_checkpoint(small_tower, drawn_pairs, recipe, tmp_path, number):
    whole = small_tower()
    bind_tower(whole, drawn_pairs(), recipe, quiet=True)
    reads = []

    def interrupt():
        reads.append(None)
        if len(reads) == 13:
            os.kill(os.getpid(), number)

    before = signal.signal(number, signal.default_int_handler)
    handler = signal.getsignal(number)
    try:
        with pytest.raises(TrainingInterrupted, match=r"after step 2 of 6; a checkpoint is in .* --resume"):
            run(small_tower(), drawn_pairs(on_read=interrupt), recipe, tmp_path)
        assert signal.getsignal(number) is handler
    finally:
        signal.signal(number, before)
    assert names_in(tmp_path) == [".lock", "step-00000002"]
    tower = small_tower()
    assert run(tower, drawn_pairs(), recipe, tmp_path, resume=True).resumed_step == 2
    assert torch.equal(tower.head.weight, whole.head.weight)


def test_without_checkpoints_an_interrupt_acts_at_once(small_tower, drawn_pairs, recipe):
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        pairs = drawn_pairs(on_read=lambda: os.kill(os.getpid(), signal.SIGINT))
        with pytest.raises(KeyboardInterrupt) as caught:
            bind_tower(small_tower(), pairs, recipe, quiet=True)
    finally:
        signal.signal(signal.SIGINT, before)
    assert caught.type is KeyboardInterrupt


@pytest.mark.parametrize("arguments", [{"every_steps": 0}, {"keep": 0}, {"keep": 1.5}])
def test_impossible_plans_are_refused(tmp_path, arguments):
    with pytest.raises(InputError, match="a whole number of at least 1"):
        Checkpoints(tmp_path, **arguments)


def test_a_checkpoint_with_foreign_tensors_is_refused(finished, small_tower, drawn_pairs, recipe):
    """With checksums that hold, as somebody might have written it."""
    directory, _ = finished
    path = directory / "step-00000006"
    content = json.loads((path / "checkpoint.json").read_text())
    entry = checkpoints.write_tensors({"tower.other": torch.ones(2)}, path / "tower.safetensors")
    fields = {name: content[name] for name in ("identity", "progress", "random", "files")}
    fields["files"]["tower"] = entry
    checkpoints.MANIFEST.write(path, fields | {"sha256": checkpoints._checksum(fields)})
    with pytest.raises(CheckpointError, match=r"is damaged: KeyError: 'other'"):
        run(small_tower(), drawn_pairs(), recipe, directory, resume=True)
