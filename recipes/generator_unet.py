"""The toy unCLIP's denoiser: diffusers' ``UNet2DConditionModel``, conditioned on noised image embeddings alone."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from diffusers import DDIMScheduler, DDPMScheduler, UNet2DConditionModel
from diffusers.models.embeddings import get_timestep_embedding
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from bindplug.training import parameter_groups
from recipes.descent import descend
from recipes.generator_size import (
    TRAINING_TIMESTEPS,
    GeneratorSize,
    noising_config,
    scheduler_config,
    unet_config,
)

NEIGHBOUR_CHUNK = 1024


@dataclass(frozen=True, eq=False)
class Conditioning:
    """How unit image rows become class labels of the UNet, as the pipeline makes them.

    Args:
        mean, std: (D,) of embeddings: unit rows times ``length``.
        length: of an embedding, at which its numbers are of the size of 1.
    """

    mean: Tensor
    std: Tensor
    length: float

    @classmethod
    def measured(cls, rows: Tensor) -> Conditioning:
        """That of a training set of unit rows (N, D), for whose embeddings the length is the root of D."""
        length = rows.shape[1] ** 0.5
        return cls(rows.mean(0) * length, rows.std(0) * length, length)

    def labels(self, rows: Tensor, levels: Tensor, noise: Tensor) -> Tensor:
        """Class labels (B, 2 D) of unit rows (B, D), noised to ``levels`` (B,) of 0..999.

        Source: diffusers, ``StableUnCLIPImg2ImgPipeline.noise_image_embeddings``.
        """
        keep = _noising_scheduler().alphas_cumprod[levels][:, None]
        standard = (rows * self.length - self.mean) / self.std
        noised = keep.sqrt() * standard + (1 - keep).sqrt() * noise
        level_embedding = get_timestep_embedding(
            levels, rows.shape[1], flip_sin_to_cos=True, downscale_freq_shift=0
        )
        return torch.cat((noised * self.std + self.mean, level_embedding), dim=1)


@dataclass(frozen=True, eq=False)
class Batch:
    """One training batch.

    Args:
        noised: (B, C, h, w) latents with noise.
        timesteps: (B,) int64, how noised.
        velocity: (B, C, h, w), what the network is to say.
        labels: (B, 2 D) class labels, zeros where the embedding is dropped.
    """

    noised: Tensor
    timesteps: Tensor
    velocity: Tensor
    labels: Tensor


def build_unet(size: GeneratorSize, width: int) -> Any:
    """A denoiser with random weights, for embeddings of ``width`` numbers."""
    torch.manual_seed(size.seed + 1)
    return UNet2DConditionModel(**unet_config(size, width))


def fit_unet(
    unet: Any, latents: Tensor, rows: Tensor, size: GeneratorSize, *, quiet: bool | None = None
) -> tuple[Any, dict[str, Any]]:
    """Train ``unet`` in place.

    Args:
        unet: the denoiser.
        latents: (N, C, h, w) of the pictures.
        rows: (N, 2, D) two unit image rows that go with each.
        size: the recipe.
        quiet: True shows no progress, None asks the environment.

    Returns:
        The running mean of the network, in evaluation mode, and the figures for the card.
    """
    groups = parameter_groups(unet.named_parameters(), size.weight_decay)
    optimizer = torch.optim.AdamW(groups, lr=size.learning_rate, betas=(0.9, 0.99), fused=True)
    unet.to(memory_format=torch.channels_last).train()
    average = AveragedModel(unet, multi_avg_fn=get_ema_multi_avg_fn(size.average))
    optimizer.register_step_post_hook(lambda *_: average.update_parameters(unet))
    batch_iterator = batches(latents, rows, size, size.steps)

    def loss_of() -> tuple[Tensor, Tensor]:
        batch = next(batch_iterator)
        loss = F.mse_loss(velocity(unet, batch.noised, batch.timesteps, batch.labels), batch.velocity)
        return loss, loss

    start_s = time.perf_counter()
    losses = descend(
        optimizer, loss_of, steps=size.steps, warmup=size.warmup_steps, name="denoiser", quiet=quiet
    )
    return average.module.eval(), {
        "seconds": round(time.perf_counter() - start_s, 1),
        "samples_seen": size.steps * size.batch_size,
        "final_loss": round(sum(losses[-50:]) / len(losses[-50:]), 4),
    }


def velocity(unet: Any, noised: Tensor, timesteps: Tensor, labels: Tensor) -> Tensor:
    """The network's answer (B, C, h, w) float32; the prompt, which it does not look at, is one token of zeros."""
    empty_prompt = torch.zeros(len(noised), 1, unet.config.cross_attention_dim)
    with torch.autocast("cpu", torch.bfloat16):
        x = noised.contiguous(memory_format=torch.channels_last)
        return unet(x, timesteps, empty_prompt, class_labels=labels).sample.float()


def batches(
    latents: Tensor, rows: Tensor, size: GeneratorSize, count: int, *, seed: int = 0
) -> Iterator[Batch]:
    """``count`` random training batches, the same for the same recipe and seed."""
    generator = torch.Generator().manual_seed(size.seed + 1000 * seed)
    conditioning = Conditioning.measured(rows.flatten(0, 1))
    means = neighbour_means(rows[:, 0], size.neighbours)
    scheduler: Any = DDIMScheduler(**scheduler_config())
    order = torch.empty(0, dtype=torch.long)
    for _ in range(count):
        while len(order) < size.batch_size:
            order = torch.cat((order, torch.randperm(len(latents), generator=generator)))
        batch_indices, order = order[: size.batch_size], order[size.batch_size :]
        view = torch.randint(2, (size.batch_size,), generator=generator)
        x = latents[batch_indices].float()
        led = lead(rows[batch_indices, view], means[batch_indices], size.led, generator)
        noise = torch.randn(x.shape, generator=generator)
        timesteps = spread_timesteps(len(x), generator)
        yield Batch(
            scheduler.add_noise(x, noise, timesteps),
            timesteps,
            scheduler.get_velocity(x, noise, timesteps),
            _noised_labels(conditioning, led, size, generator),
        )


def spread_timesteps(count: int, generator: torch.Generator) -> Tensor:
    """``count`` timesteps, one at random from each of as many equal parts of the schedule."""
    parts = torch.arange(count) + torch.rand(count, generator=generator)
    return (parts * TRAINING_TIMESTEPS / count).long().clamp_(max=TRAINING_TIMESTEPS - 1)


def neighbour_means(rows: Tensor, count: int) -> Tensor:
    """(N, D) unit rows, each the mean of the ``count`` others nearest to a unit row (N, D)."""
    count = min(count, len(rows) - 1)
    means = []
    for chunk in rows.split(NEIGHBOUR_CHUNK):
        nearest = (chunk @ rows.T).topk(count + 1, dim=1).indices[:, 1:]  # the nearest is the row itself
        means.append(rows[nearest].mean(1))
    return F.normalize(torch.cat(means), dim=1)


def lead(rows: Tensor, means: Tensor, fraction: float, generator: torch.Generator) -> Tensor:
    """Unit rows (B, D), a ``fraction`` of them moved a random part of the way to ``means``.

    A sound tells what a thing is but not its color or place: its row lies among those of many pictures.
    """
    way = torch.rand(len(rows), 1, generator=generator)
    is_moved = torch.rand(len(rows), 1, generator=generator) < fraction
    return torch.where(is_moved, F.normalize(rows + way * (means - rows), dim=1), rows)


def _noised_labels(
    conditioning: Conditioning, rows: Tensor, size: GeneratorSize, generator: torch.Generator
) -> Tensor:
    count = len(rows)
    noised = torch.rand(count, generator=generator) < size.noised
    levels = torch.randint(size.most_noise + 1, (count,), generator=generator) * noised
    labels = conditioning.labels(rows, levels, torch.randn(rows.shape, generator=generator))
    keep = torch.rand(count, 1, generator=generator) >= size.dropped
    return labels * keep


@cache
def _noising_scheduler() -> Any:
    return DDPMScheduler(**noising_config())
