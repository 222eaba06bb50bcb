"""The toy unCLIP's autoencoder: diffusers' ``AutoencoderKL``, small, with latents of unit variance."""

from __future__ import annotations

import logging
import time
from typing import Any

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from torch import Tensor

from recipes.descent import descend, ends
from recipes.generator_size import GeneratorSize, vae_config
from recipes.generator_start import start_from_colors

logger = logging.getLogger(__name__)

WARMUP = 50
"""Steps of linear warm-up."""
MEASURED_ON = 2000
"""Pictures that tell mean and spread of the latents."""


def build_vae(size: GeneratorSize) -> Any:
    """An autoencoder that passes colors on and has all else to learn."""
    torch.manual_seed(size.seed)
    vae = AutoencoderKL(**vae_config(size))
    start_from_colors(vae)
    return vae


def fit_vae(vae: Any, pixels: Tensor, size: GeneratorSize, *, quiet: bool | None = None) -> dict[str, Any]:
    """Train ``vae`` in place on pieces of pictures, and standardise its latents; returns the figures for the card.

    Args:
        vae: the autoencoder.
        pixels: (N, 3, S, S) uint8.
        size: the recipe.
        quiet: True shows no progress, None asks the environment.
    """
    generator = torch.Generator().manual_seed(size.seed)
    optimizer = torch.optim.AdamW(vae.parameters(), lr=size.vae_learning_rate, weight_decay=0.0, fused=True)
    vae.to(memory_format=torch.channels_last).train()
    start_s = time.perf_counter()
    descend(
        optimizer,
        lambda: vae_loss(vae, pieces(pixels, size.vae_batch, size.crop, generator), size, generator),
        steps=size.vae_steps,
        warmup=min(WARMUP, size.vae_steps // 2),
        name="autoencoder",
        quiet=quiet,
    )
    vae.eval()
    standardise(vae, pixels[:MEASURED_ON])
    whole = _whole_error(vae, pixels[-min(len(pixels), 256) :])
    logger.info("autoencoder: L1 %.4f on whole pictures", whole)
    return {"seconds": round(time.perf_counter() - start_s, 1), "l1": round(whole, 4)}


def fit_decoder(
    vae: Any, pixels: Tensor, latents: Tensor, size: GeneratorSize, *, quiet: bool | None = None
) -> dict[str, Any]:
    """Train the decoder on, in place, to paint a clean picture of latents that are not quite right.

    What a denoiser makes is near what the encoder makes and never the same; a decoder that saw nothing else turns the
    difference into blots. The encoder stays as it is, and with it the latents that a denoiser learned.

    Args:
        vae: the autoencoder.
        pixels: (N, 3, S, S) uint8.
        latents: (N, C, h, w) of the pictures.
        size: the recipe.
        quiet: True shows no progress, None asks the environment.

    Returns:
        The figures for the card: ``first_error`` and ``final_error`` are L1 of whole pictures from noised latents.
    """
    generator = torch.Generator().manual_seed(size.seed + 7)
    learned = [*vae.post_quant_conv.parameters(), *vae.decoder.parameters()]
    optimizer = torch.optim.AdamW(learned, lr=size.vae_learning_rate, weight_decay=0.0, fused=True)
    vae.to(memory_format=torch.channels_last).train()

    def loss_of() -> tuple[Tensor, Tensor]:
        indices = torch.randint(len(pixels), (size.vae_batch,), generator=generator)
        return decoder_loss(vae, as_input(pixels[indices]), latents[indices].float(), size, generator)

    started, warmup = time.perf_counter(), min(WARMUP, size.decoder_steps // 2)
    errors = descend(optimizer, loss_of, steps=size.decoder_steps, warmup=warmup, name="decoder", quiet=quiet)
    vae.eval()
    return ends(errors, started)


def decoder_loss(
    vae: Any, x: Tensor, z: Tensor, size: GeneratorSize, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """The loss of painting ``x`` (B, 3, H, W) in [-1, 1] of its latents ``z`` with noise, and its mean absolute error.

    Args:
        vae: the autoencoder.
        x: the pictures.
        z: (B, C, h, w), what the encoder makes of them.
        size: the recipe.
        generator: of the noise.
    """
    amount = size.decoder_noise * torch.rand(len(z), 1, 1, 1, generator=generator)
    with torch.autocast("cpu", torch.bfloat16):
        noised = z + amount * torch.randn(z.shape, generator=generator)
        y = vae.decode(noised.contiguous(memory_format=torch.channels_last)).sample.float()
    error = (y - x).abs().mean()
    return error + size.edge_weight * _edges(y, x), error


def vae_loss(vae: Any, x: Tensor, size: GeneratorSize, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """The loss of one batch, and its mean absolute error.

    Args:
        vae: the autoencoder.
        x: (B, 3, H, W) in [-1, 1].
        size: the recipe.
        generator: of the latents' noise.
    """
    with torch.autocast("cpu", torch.bfloat16):
        posterior = vae.encode(x).latent_dist
        y = vae.decode(posterior.sample(generator)).sample.float()
    error = (y - x).abs().mean()
    divergence = posterior.kl().float().mean() / posterior.mean[0].numel()
    return error + size.edge_weight * _edges(y, x) + size.kl_weight * divergence, error.detach()


def _edges(y: Tensor, x: Tensor) -> Tensor:
    """L1 between differences of neighbouring pixels, down and across."""
    down, across = ((y.diff(dim=axis) - x.diff(dim=axis)).abs().mean() for axis in (2, 3))
    return down + across


def pieces(pixels: Tensor, count: int, side: int, generator: torch.Generator) -> Tensor:
    """``count`` random square pieces of random pictures, half of them mirrored: (count, 3, side, side) in [-1, 1].

    They start at even pixels, all of a batch at the same ones.
    """
    indices = torch.randint(len(pixels), (count,), generator=generator)
    room = (pixels.shape[-1] - side) // 2 + 1
    top, left = (2 * int(torch.randint(room, (), generator=generator)) for _ in range(2))
    x = as_input(pixels[indices, :, top : top + side, left : left + side])
    is_mirrored = torch.rand(count, 1, 1, 1, generator=generator) < 0.5
    return torch.where(is_mirrored, x.flip(-1), x).contiguous(memory_format=torch.channels_last)


def as_input(pixels: Tensor) -> Tensor:
    """uint8 pixels as float32 in [-1, 1]."""
    return pixels.float() / 127.5 - 1


@torch.no_grad()
def standardise(vae: Any, pixels: Tensor) -> None:
    """Change ``vae`` in place so that each latent channel has mean 0 and variance 1 on these pictures.

    The layers between encoder, latents and decoder are 1 x 1 convolutions, so they take it up exactly: what is decoded
    of a picture does not change.

    Args:
        vae: the autoencoder.
        pixels: (N, 3, S, S) uint8.
    """
    latents = encode_all(vae, pixels).float()
    mean, std = latents.mean((0, 2, 3)), latents.std((0, 2, 3)).clamp(min=1e-6)
    channels = len(mean)
    to_latents, from_latents = vae.quant_conv, vae.post_quant_conv
    to_latents.weight[:channels] /= std[:, None, None, None]
    to_latents.bias[:channels] = (to_latents.bias[:channels] - mean) / std
    to_latents.bias[channels:] -= 2 * std.log()  # the second half are logarithms of variances
    from_latents.bias += from_latents.weight[:, :, 0, 0] @ mean
    from_latents.weight *= std[None, :, None, None]


@torch.inference_mode()
def encode_all(vae: Any, pixels: Tensor, batch_size: int = 64) -> Tensor:
    """(N, C, h, w) float16 means of the latents of (N, 3, S, S) uint8 pictures."""
    batches = [
        vae.encode(as_input(batch).contiguous(memory_format=torch.channels_last)).latent_dist.mean.half()
        for batch in pixels.split(batch_size)
    ]
    return torch.cat(batches).contiguous().clone()


@torch.inference_mode()
def _whole_error(vae: Any, pixels: Tensor) -> float:
    errors = []
    for batch in pixels.split(64):
        x = as_input(batch)
        errors.append(F.l1_loss(vae.decode(vae.encode(x).latent_dist.mean).sample, x))
    return float(torch.stack(errors).mean())
