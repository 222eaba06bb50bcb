"""The toy unCLIP's denoiser: its batches, what it learns, and the guidance it is taught."""

from __future__ import annotations

import dataclasses

import pytest
import torch

pytest.importorskip("diffusers")

from diffusers import DDIMScheduler

from recipes.generator_guidance import calibrate_guidance, guidance_loss
from recipes.generator_size import DEFAULT_GUIDANCE, FULL, SMOKE, scheduler_config
from recipes.generator_unet import (
    Conditioning,
    batches,
    build_unet,
    fit_unet,
    spread_timesteps,
    velocity,
)
from tests.recipes.planted import WIDTH, training_set


def test_timesteps_cover_the_schedule():
    steps = spread_timesteps(50, torch.Generator().manual_seed(0))
    assert (steps // 20).tolist() == list(range(50))


def test_batches_are_reproducible_and_drop_embeddings():
    latents, rows = training_set()
    size = dataclasses.replace(SMOKE, dropped=0.5, batch_size=24)
    first, again = (list(batches(latents, rows, size, 3)) for _ in range(2))
    other = next(batches(latents, rows, size, 1, seed=1))
    assert all(torch.equal(a.noised, b.noised) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[0].noised, other.noised)
    dropped = (torch.cat([batch.labels for batch in first]) == 0).all(1).float().mean()
    assert 0.3 < dropped < 0.7
    assert all(batch.labels.shape == (24, 2 * WIDTH) for batch in first)


def test_noise_and_latents_come_back_from_velocity():
    latents, rows = training_set()
    size = dataclasses.replace(SMOKE, batch_size=24)
    batch = next(batches(latents, rows, size, 1))
    kept = DDIMScheduler(**scheduler_config()).alphas_cumprod[batch.timesteps][:, None, None, None]
    clean = kept.sqrt() * batch.noised - (1 - kept).sqrt() * batch.velocity
    distances = torch.cdist(clean.flatten(1), latents.flatten(1))
    assert distances.amin(1).max() < 0.1  # others are 78 apart


def test_the_denoiser_learns_what_the_embedding_tells():
    latents, rows = training_set(2)
    latents[0], latents[1] = 1.0, -1.0
    size = dataclasses.replace(
        SMOKE, steps=60, batch_size=16, learning_rate=3e-3, noised=0.0, led=0.0, neighbours=1, average=0.9
    )
    network, figures = fit_unet(build_unet(size, WIDTH), latents, rows, size, quiet=True)
    assert figures["samples_seen"] == 960
    conditioning = Conditioning.measured(rows.flatten(0, 1))
    with torch.no_grad():
        noise = torch.randn(2, SMOKE.latent_channels, 16, 16, generator=torch.Generator().manual_seed(9))
        labels = conditioning.labels(rows[:, 0], torch.zeros(2, dtype=torch.long), torch.zeros(2, WIDTH))
        clean = -velocity(
            network, noise, torch.full((2,), 999), labels
        )  # at the last step nothing is left of it
    assert clean[0].mean() > 0.5
    assert clean[1].mean() < -0.5


def test_the_student_s_loss_is_zero_for_a_perfect_one():
    class Linear(torch.nn.Module):
        config = type("config", (), {"cross_attention_dim": 8})

        def __init__(self, factor):
            super().__init__()
            self.factor = factor

        def forward(self, x, timesteps, text, class_labels):
            said = x + self.factor * class_labels.mean(1)[:, None, None, None]
            return type("output", (), {"sample": said.float()})

    latents, rows = training_set()
    batch = next(batches(latents, rows, SMOKE, 1))
    loss, error = guidance_loss(Linear(3.0 / DEFAULT_GUIDANCE), Linear(1.0), batch, 3.0)
    assert loss < 1e-4
    assert error < 1e-3
    loss, error = guidance_loss(Linear(1.0), Linear(1.0), batch, 3.0)
    assert loss > 1e-3
    loss, _ = guidance_loss(Linear(1.0), Linear(1.0), batch, DEFAULT_GUIDANCE)
    assert loss < 1e-4


def test_calibration_leaves_the_teacher_alone_and_can_be_left_out():
    latents, rows = training_set()
    teacher = build_unet(SMOKE, WIDTH).eval()
    before = {name: tensor.clone() for name, tensor in teacher.state_dict().items()}
    student, figures = calibrate_guidance(teacher, latents, rows, SMOKE, quiet=True)
    assert all(torch.equal(before[name], tensor) for name, tensor in teacher.state_dict().items())
    assert any(not torch.equal(before[name], tensor) for name, tensor in student.state_dict().items())
    assert set(figures) == {"seconds", "first_error", "final_error"}
    same, _ = calibrate_guidance(teacher, latents, rows, dataclasses.replace(SMOKE, guidance_steps=0))
    assert same is teacher


def test_the_full_recipe_sees_its_pictures_a_few_times():
    seen = FULL.steps * FULL.batch_size / FULL.scenes
    assert 3 < seen < 40
    assert FULL.latent_side == 16
