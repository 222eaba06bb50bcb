"""Unit rows and latents drawn at random, to train a denoiser on."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from recipes.generator_size import SMOKE

WIDTH = 8


def unit(count, width=WIDTH, seed=0):
    return F.normalize(torch.randn(count, width, generator=torch.Generator().manual_seed(seed)), dim=1)


def training_set(count=24):
    generator = torch.Generator().manual_seed(3)
    rows = torch.stack((unit(count), unit(count, seed=1)), dim=1)
    return torch.randn(count, SMOKE.latent_channels, 16, 16, generator=generator), rows
