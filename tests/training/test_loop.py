"""What the loop computes: the same numbers by every way, early stopping, trackers, adapters, initial weights."""

from __future__ import annotations

import runpy
import sys
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from torch.nn import functional as F

from bindplug.errors import CheckpointError, InputError
from bindplug.imagebind import ImageBind, ImageBindConfig, TowerConfig
from bindplug.training import (
    HeldOut,
    RunOptions,
    TensorPairs,
    Validation,
    bind,
    bind_tower,
    load_initial_weights,
    symmetric_info_nce,
    warmup_cosine,
)
from bindplug.training.batches import Order, generators, read_blocks
from bindplug.training.processes import Processes

PLAIN = TowerConfig(16, 1, 2)
SMALL = ImageBindConfig(
    vision=TowerConfig(16, 1, 2, kernel=(2, 112, 112)),
    text=PLAIN,
    audio=TowerConfig(16, 1, 2, kernel=(64, 64)),
    depth=TowerConfig(16, 1, 2, kernel=(112, 112)),
    thermal=TowerConfig(16, 1, 2, kernel=(112, 112)),
    imu=TowerConfig(16, 1, 2, kernel=(200,)),
    embed_dim=8,
)


def weights_after(tower, pairs, recipe, **arguments):
    result = bind_tower(tower, pairs, recipe, quiet=True, **arguments)
    return torch.cat([p.detach().flatten() for p in tower.parameters()]), result


def test_a_run_is_plain_adamw_on_the_loss_of_its_batches(small_tower, drawn_pairs, recipe):
    """The loop written out: order, draws, schedule, clipping."""
    weights, result = weights_after(small_tower(), drawn_pairs(), recipe)
    tower, pairs, order = small_tower(), drawn_pairs(), Order(24, 8, recipe.seed)
    matrices = [tower.hidden.weight, tower.head.weight]
    biases = [tower.hidden.bias, tower.head.bias]
    groups = [{"params": matrices, "weight_decay": 0.1}, {"params": biases, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=recipe.learning_rate, betas=recipe.betas)
    losses = []
    for step in range(6):
        for group in optimizer.param_groups:
            group["lr"] = recipe.learning_rate * warmup_cosine(step, total_steps=6, warmup_steps=3)
        batch = read_blocks(pairs, order.blocks(step), None, lambda n, s=step: generators(0, "step", s, n))
        loss = symmetric_info_nce(batch.anchors, tower(batch.inputs), 5.0)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(tower.parameters(), recipe.clip_grad_norm)
        optimizer.step()
        losses.append(loss.item())
    assert torch.allclose(weights, torch.cat([p.detach().flatten() for p in tower.parameters()]), atol=1e-6)
    assert result.losses == pytest.approx([sum(losses[:3]) / 3, sum(losses[3:]) / 3], rel=1e-6)
    assert result.steps == 6


@pytest.mark.parametrize(
    "options", [{"accumulation": 3}, {"accumulation": 8}, {"workers": 3}, {"workers": None}]
)
def test_parts_and_reader_threads_change_no_number(small_tower, drawn_pairs, recipe, options):
    recipe = recipe.but(learn_temperature=True)
    plain, one = weights_after(small_tower(), drawn_pairs(), recipe)
    other, result = weights_after(small_tower(), drawn_pairs(), recipe, options=RunOptions(**options))
    assert torch.allclose(plain, other, atol=1e-6)
    assert result.losses == pytest.approx(one.losses, rel=1e-5)
    assert result.scale == pytest.approx(one.scale, rel=1e-6)
    assert one.scale != pytest.approx(5.0, rel=1e-4)


def test_draws_of_pictures_and_samples_agree_and_change_with_step_and_seed(small_tower, drawn_pairs, recipe):
    pairs, other = drawn_pairs(64), drawn_pairs(64)
    bind_tower(small_tower(), pairs, recipe, quiet=True)
    bind_tower(small_tower(), other, recipe.but(seed=1), quiet=True)
    assert pairs.starts["anchors"][16:] == pairs.starts["samples"]  # sixteen are compared before the run
    assert len(pairs.starts["samples"]) == 2 * 64
    assert pairs.starts["samples"][:64] != pairs.starts["samples"][64:]
    assert pairs.starts != other.starts


def test_large_batches_are_read_in_64_blocks(drawn_pairs):
    for batch_size, block in ((64, 1), (65, 2), (512, 8), (2048, 32)):
        blocks = Order(4096, batch_size, seed=0).blocks(0)
        assert len(blocks[0][1]) == block
        assert len(blocks) <= 64
        assert torch.cat([indices for _, indices in blocks]).unique().numel() == batch_size


def test_the_callers_random_state_is_left_alone(small_tower, drawn_pairs, recipe):
    tower = small_tower()
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    bind_tower(tower, drawn_pairs(), recipe, quiet=True)
    assert torch.equal(torch.rand(3), expected)


def test_mixed_precision_computes_in_bfloat16(small_tower, drawn_pairs, recipe):
    dtypes = set()
    tower = small_tower()
    tower.hidden.register_forward_hook(lambda module, inputs, output: dtypes.add(output.dtype))
    weights, result = weights_after(tower, drawn_pairs(), recipe, options=RunOptions(precision="bf16"))
    plain, one = weights_after(small_tower(), drawn_pairs(), recipe)
    assert dtypes == {torch.bfloat16}
    assert weights.dtype == torch.float32
    assert not torch.equal(weights, plain)
    assert result.losses == pytest.approx(one.losses, rel=0.05)


def test_accelerates_configuration_gives_the_precision(small_tower, drawn_pairs, recipe, monkeypatch):
    from accelerate.state import AcceleratorState

    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "bf16")
    monkeypatch.setattr(AcceleratorState, "_shared_state", {})
    dtypes = set()
    tower = small_tower()
    tower.head.register_forward_hook(lambda module, inputs, output: dtypes.add(output.dtype))
    bind_tower(tower, drawn_pairs(), recipe.but(epochs=1), quiet=True)
    assert dtypes == {torch.bfloat16}


def test_the_tower_has_the_best_weights_and_patience_ends_the_run(small_tower, drawn_pairs, recipe):
    """At a learning rate that ruins the tower, the first validations are the best."""
    wild = recipe.but(learning_rate=3.0, epochs=30)
    validation = Validation(drawn_pairs(40, seed=2), metric="loss", patience=3)
    tower = small_tower()
    result = bind_tower(tower, drawn_pairs(), wild, validation=validation, quiet=True)
    losses = [figures["loss"] for figures in result.validations]
    best = losses.index(min(losses))
    assert result.is_stopped_early
    assert len(losses) == best + 1 + 3
    assert result.steps == 3 * len(losses) < 90
    assert result.best_step == 3 * (best + 1)
    again = small_tower()
    stopped = bind_tower(
        again, drawn_pairs(), wild, validation=Validation(drawn_pairs(40, seed=2)), quiet=True
    )
    assert not stopped.is_stopped_early
    assert stopped.steps == 90
    assert len(stopped.validations) == 30


def test_recall_is_the_share_of_own_pictures_found_first(small_tower, recipe):
    pictures = F.one_hot(torch.arange(8) % 4, 8).float()  # two of each
    validation = Validation(TensorPairs(pictures, torch.randn(8, 6)), metric="recall@1")
    tower = torch.nn.Linear(6, 8)
    torch.nn.init.zeros_(tower.weight)
    with torch.no_grad():
        tower.bias.copy_(F.one_hot(torch.tensor(1), 8).float())  # all samples lie at pictures 1 and 5
    tower.requires_grad_(False)
    tower.bias.requires_grad_(True)
    still = recipe.but(learning_rate=0.0, epochs=1)
    pairs = TensorPairs(torch.eye(8), torch.randn(8, 6))
    result = bind_tower(tower, pairs, still, validation=validation, quiet=True)
    assert result.validations[-1]["recall@1"] == pytest.approx((0.5 + 0.5) / 8)


def test_accuracy_is_measured_on_samples_with_candidates(small_tower, drawn_pairs, recipe):
    data = HeldOut(torch.randn(10, 6), torch.eye(8), torch.arange(10) % 8)
    tower = small_tower()
    result = bind_tower(tower, drawn_pairs(), recipe, validation=Validation(data), quiet=True)
    figures = [f for f in result.validations if f["step"] == result.best_step]
    answers = (F.normalize(tower(data.inputs), dim=1) @ torch.eye(8).T).argmax(1)
    assert figures[0]["accuracy"] == pytest.approx((answers == data.labels).double().mean().item())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"metric": "accuracy"}, "expected one of loss, recall@1"),
        ({"every_epochs": 0}, "more than 0"),
        ({"patience": 0}, "at least 1"),
    ],
)
def test_validations_that_cannot_be_are_refused(drawn_pairs, arguments, message):
    with pytest.raises(InputError, match=message):
        Validation(drawn_pairs(), **arguments)
    with pytest.raises(InputError, match="1 pairs; expected at least 2"):
        Validation(drawn_pairs(1))


def test_tensorboard_holds_each_steps_figures(small_tower, drawn_pairs, recipe, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    options = RunOptions(trackers=("tensorboard",), log_directory=tmp_path, project="sonar")
    validation = Validation(drawn_pairs(seed=2))
    result = bind_tower(
        small_tower(), drawn_pairs(), recipe, validation=validation, options=options, quiet=True
    )
    events = EventAccumulator(str(tmp_path / "sonar")).Reload()
    assert {"loss", "learning_rate", "gradient_norm", "scale", "validation/loss"} <= set(
        events.Tags()["scalars"]
    )
    losses = events.Scalars("loss")
    assert [event.step for event in losses] == [1, 2, 3, 4, 5, 6]
    assert sum(event.value for event in losses[3:]) / 3 == pytest.approx(result.losses[1], rel=1e-5)
    assert [event.step for event in events.Scalars("validation/loss")] == [3, 6]


def test_of_a_tower_with_adapters_only_they_are_trained(recipe):
    peft = pytest.importorskip("peft")
    torch.manual_seed(0)
    model = ImageBind(SMALL, {"imu"})
    config = peft.LoraConfig(r=2, target_modules=["q_proj", "v_proj"])
    peft.inject_adapter_in_model(config, model.towers["imu"])
    before = {name: value.clone() for name, value in model.state_dict().items()}
    pairs = TensorPairs(torch.eye(8)[torch.arange(8)], torch.randn(8, 6, 2000))
    bind(model, "imu", pairs, recipe, quiet=True)
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert changed
    assert all("lora_" in name for name in changed)


def test_initial_weights_come_from_another_tower(small_tower):
    tower, other = small_tower(), small_tower()
    with torch.no_grad():
        other.head.bias.fill_(3.0)
    load_initial_weights(tower, other)
    assert torch.equal(tower.head.bias, other.head.bias)
    before = tower.head.bias.clone()
    wrong = small_tower(9).state_dict() | {"tail": torch.ones(1)}
    del wrong["hidden.bias"]
    with pytest.raises(CheckpointError) as caught:
        load_initial_weights(tower, wrong)
    for part in ("hidden.bias is missing", "tail has no place", "head.weight is (9, 16), expected (8, 16)"):
        assert part in str(caught.value)
    assert torch.equal(tower.head.bias, before)


def test_half_precision_scales_gradients_and_skips_steps_that_overflow(
    small_tower, drawn_pairs, recipe, monkeypatch
):
    """On a CPU, where half precision is refused otherwise: what is computed is the same as on a GPU."""
    start = Processes.__init__

    def start_in_half(self, options, device):
        start(self, replace(options, precision="no"), device)
        self.precision = "fp16"

    recipe = recipe.but(learn_temperature=True, epochs=4)
    plain, _ = weights_after(small_tower(), drawn_pairs(), recipe)
    monkeypatch.setattr(Processes, "__init__", start_in_half)
    steps = []
    tower = small_tower()
    tower.head.register_forward_hook(lambda module, inputs, output: steps.append(module.weight.clone()))
    half, result = weights_after(tower, drawn_pairs(), recipe)
    skipped = [torch.equal(before, after) for before, after in pairwise(steps)]
    assert any(skipped)  # gradients times 65536 overflow
    assert sum(skipped) < len(skipped) / 2
    assert (half - plain).abs().max() < 0.1
    assert result.scale == pytest.approx(5.0, rel=0.3)
    parts, _ = weights_after(small_tower(), drawn_pairs(), recipe, options=RunOptions(accumulation=2))
    assert torch.allclose(half, parts, atol=1e-2)


def test_validation_data_that_is_not_finite_is_refused(small_tower, drawn_pairs, recipe):
    pairs = TensorPairs(torch.randn(9, 8), torch.randn(9, 6))
    pairs.inputs[7] = torch.nan
    with pytest.raises(InputError, match="rows of the tower that are not finite for pair 7; expected finite"):
        bind_tower(small_tower(), drawn_pairs(), recipe, validation=Validation(pairs), quiet=True)


def test_the_module_is_the_command(capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["bindplug.training", "--help"])
    with pytest.raises(SystemExit) as caught:
        runpy.run_module("bindplug.training", run_name="__main__")
    assert caught.value.code == 0
    assert "bindplug bind [OPTIONS] PAIRS" in capsys.readouterr().out
