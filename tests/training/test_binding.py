"""Binding learns: a small tower finds the frozen anchors it was paired with, and nothing else changes."""

from __future__ import annotations

import math

import pytest
import torch

from bindplug.imagebind import ImageBind, ImageBindConfig
from bindplug.imagebind.config import TowerConfig
from bindplug.training import PUBLISHED, BindingRecipe, TensorPairs, bind


def small_config(**imu: object) -> ImageBindConfig:
    tower = TowerConfig(16, 1, 2)
    return ImageBindConfig(
        vision=TowerConfig(16, 1, 2, kernel=(2, 112, 112)),
        text=tower,
        audio=TowerConfig(16, 1, 2, kernel=(64, 64)),
        depth=TowerConfig(16, 1, 2, kernel=(112, 112)),
        thermal=TowerConfig(16, 1, 2, kernel=(112, 112)),
        imu=TowerConfig(32, 2, 4, kernel=(200,), **imu),
        embed_dim=8,
    )


RECIPE = BindingRecipe(
    epochs=30, batch_size=16, learning_rate=3e-3, weight_decay=0.01, temperature=0.2, warmup_epochs=1
)


def planted_pairs(count: int = 64) -> TensorPairs:
    """Four kinds of motion, each one sine on its own channel, paired with one of four directions."""
    generator = torch.Generator().manual_seed(3)
    kinds = torch.arange(count) % 4
    time = torch.linspace(0, 60, 2000)
    inputs = 0.3 * torch.randn(count, 6, 2000, generator=generator)
    inputs[torch.arange(count), kinds] += 3 * torch.sin(time)
    return TensorPairs(torch.eye(8)[kinds], inputs)


@pytest.fixture(scope="module")
def bound():
    torch.manual_seed(0)
    model = ImageBind(small_config(), {"imu", "depth"})
    before = {name: value.clone() for name, value in model.state_dict().items()}
    result = bind(model, "imu", planted_pairs(), RECIPE, quiet=True)
    return model, before, result


def test_it_learns_what_it_was_paired_with(bound):
    model, _, result = bound
    pairs = planted_pairs(32)
    rows = model.encode_imu(pairs.inputs, normalize=True)
    answers = (rows @ torch.eye(8)[:4].T).argmax(1)
    assert (answers == torch.arange(32) % 4).float().mean() > 0.95
    assert result.losses[-1] < result.losses[0]
    assert result.steps == 30 * 4


def test_only_the_bound_tower_changes(bound):
    model, before, _ = bound
    changed = {
        name.split(".")[1]
        for name, value in model.state_dict().items()
        if not torch.equal(value, before[name])
    }
    assert changed == {"imu"}
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert not model.training


def test_the_temperature_becomes_the_output_scale(bound):
    model, _, result = bound
    assert result.scale == pytest.approx(5.0)
    assert model.scale_of("imu") == pytest.approx(5.0, rel=1e-5)


def test_a_learned_temperature_moves():
    torch.manual_seed(0)
    model = ImageBind(small_config(), {"imu"})
    result = bind(model, "imu", planted_pairs(), RECIPE.but(learn_temperature=True, epochs=4), quiet=True)
    assert not math.isclose(result.scale, 5.0, rel_tol=1e-3)
    assert model.scale_of("imu") == pytest.approx(result.scale, rel=1e-4)


def test_an_mlp_head_and_drop_path_train():
    torch.manual_seed(0)
    model = ImageBind(small_config(head="mlp", drop_path=0.3), {"imu"})
    recipe = RECIPE.but(head="mlp", drop_path=0.3, epochs=10)
    result = bind(model, "imu", planted_pairs(), recipe, quiet=True)
    assert result.losses[-1] < result.losses[0]


def test_runs_repeat_exactly():
    losses = []
    for _ in range(2):
        torch.manual_seed(1)
        model = ImageBind(small_config(), {"imu"})
        losses.append(bind(model, "imu", planted_pairs(), RECIPE.but(epochs=2), quiet=True).losses)
    assert losses[0] == losses[1]


def test_a_recipe_that_contradicts_the_tower_is_refused():
    model = ImageBind(small_config(), {"imu"})
    with pytest.raises(ValueError, match=r"drop_path is 0\.7 but the imu tower was built with 0\.0"):
        bind(model, "imu", planted_pairs(), PUBLISHED["imu"].but(batch_size=16), quiet=True)


def test_fewer_pairs_than_a_batch_are_refused():
    model = ImageBind(small_config(), {"imu"})
    with pytest.raises(ValueError, match="8 pairs do not fill one batch of 16"):
        bind(model, "imu", planted_pairs(8), RECIPE, quiet=True)
