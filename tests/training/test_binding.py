"""Binding learns: a small tower finds the frozen anchors it was paired with, and nothing else changes."""

from __future__ import annotations

import math

import pytest
import torch

import bindplug
from bindplug.imagebind import ImageBind, ImageBindConfig
from bindplug.imagebind.config import TowerConfig
from bindplug.training import PUBLISHED, BindingRecipe, HeldOut, TensorPairs, bind, bind_tower, fit_scale


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


def test_held_out_samples_fit_the_similarity_scale():
    pairs, later = planted_pairs(), planted_pairs(96)
    held_out = HeldOut(later.inputs[64:], torch.eye(8)[:4], torch.arange(64, 96) % 4)
    model = ImageBind(small_config(), {"imu", "text"})
    model.similarity_scales = {"text": 30.0, "imu": 1.0}
    result = bind(model, "imu", pairs, RECIPE, held_out=held_out, quiet=True)
    rows = model.encode("imu", held_out.inputs)
    assert result.similarity_scale == pytest.approx(
        fit_scale(rows, held_out.candidates, held_out.labels), rel=1e-3
    )
    assert model.similarity_scales == {"text": 30.0, "imu": result.similarity_scale}
    motion, words = (
        bindplug.embedding(rows[0].detach(), model.embedding_space, modality="imu"),
        bindplug.text("a"),
    )
    assert model.scales([motion], [words]).item() == pytest.approx(result.similarity_scale)
    assert bind(model, "imu", pairs, RECIPE, quiet=True).similarity_scale is None
    assert model.similarity_scales == {"text": 30.0}  # that of the earlier tower is gone


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
    model = ImageBind(small_config(), {"imu"}).train()
    with pytest.raises(ValueError, match="8 pairs do not fill one batch of 16"):
        bind(model, "imu", planted_pairs(8), RECIPE, quiet=True)
    assert model.training  # refused before anything was touched


class Sense(torch.nn.Module):
    """A tower of no modality of ours: (B, 6, 2000) to (B, D)."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.seen = torch.nn.Conv1d(6, 16, 50, stride=50)
        self.head = torch.nn.Linear(16, width)
        self.modes: list[bool] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.modes.append(self.training)
        return self.head(self.seen(x).relu().mean(2))


OWN = RECIPE.but(learning_rate=1e-2, epochs=10)


def test_any_network_is_bound_to_the_anchors():
    tower = Sense()
    result = bind_tower(tower, planted_pairs(), OWN, quiet=True)
    assert all(tower.modes)
    assert not tower.training
    assert result.steps == 40
    assert len(result.losses) == 10
    assert result.scale == pytest.approx(5.0)
    pairs = planted_pairs(32)
    answers = (tower(pairs.inputs) @ torch.eye(8)[:4].T).argmax(1)
    assert (answers == torch.arange(32) % 4).float().mean() > 0.95


def test_what_is_frozen_in_a_tower_stays():
    tower = Sense()
    tower.seen.requires_grad_(False)
    seen, head = tower.seen.weight.clone(), tower.head.weight.clone()
    bind_tower(tower, planted_pairs(), OWN.but(epochs=1), quiet=True)
    assert torch.equal(tower.seen.weight, seen)
    assert not torch.equal(tower.head.weight, head)


def test_augmentation_sees_every_batch_and_repeats():
    drawn: list[list[float]] = []

    def augment(inputs: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        drawn[-1].append(float(torch.rand((), generator=generator)))
        return torch.zeros_like(inputs)

    losses = []
    for _ in range(2):
        drawn.append([])
        losses.append(
            bind_tower(Sense(), planted_pairs(), OWN.but(epochs=2), augment=augment, quiet=True).losses
        )
    assert len(set(drawn[0])) == 2 * 64  # each of the small batch's pairs has draws of its own
    assert drawn[0] == drawn[1]
    assert losses[0] == losses[1]
    assert losses[0][-1] > 2.5  # nothing can be learnt of zeros: the logarithm of 16 is 2.77


def test_a_tower_that_cannot_learn_is_refused():
    frozen = Sense().requires_grad_(False)
    with pytest.raises(ValueError, match="sonar: no parameter to learn"):
        bind_tower(frozen, planted_pairs(), OWN, name="sonar", quiet=True)
    with pytest.raises(ValueError, match=r"rows of shape \(16, 9\) for anchors of \(16, 8\)"):
        bind_tower(Sense(9), planted_pairs(), OWN, quiet=True)
    with pytest.raises(ValueError, match="8 pairs do not fill one batch of 16"):
        bind_tower(Sense(), planted_pairs(8), OWN, quiet=True)


def test_a_recipe_of_imagebinds_own_towers_is_refused():
    with pytest.raises(ValueError, match="the recipe sets drop_path, frequency_mask, which only ImageBind"):
        bind_tower(Sense(), planted_pairs(), PUBLISHED["audio"].but(batch_size=16), quiet=True)


@pytest.mark.parametrize(
    ("side", "message"),
    [
        ("image_embeddings", "anchors of the pairs: NaN or infinity at pair 3; expected finite embeddings"),
        (
            "inputs",
            r"the loss is nan at step 1: the tower's rows are not finite for pair 3.* leave these pairs out",
        ),
    ],
)
def test_a_loss_that_is_not_finite_ends_the_run_before_it_spoils_the_tower(side, message):
    tower, pairs = Sense(), planted_pairs(16)
    getattr(pairs, side)[3] = math.nan
    before = {name: value.clone() for name, value in tower.state_dict().items()}
    with pytest.raises(ValueError, match=message):
        bind_tower(tower, pairs, OWN, quiet=True)
    assert all(torch.equal(value, before[name]) for name, value in tower.state_dict().items())
    assert not tower.training
