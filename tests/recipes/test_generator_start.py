"""The autoencoder starts by giving back the mean color of the pixels below each latent."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

pytest.importorskip("diffusers")

from recipes.generator_size import FULL, SMOKE
from recipes.generator_vae import build_vae


@pytest.mark.parametrize("size", [FULL, SMOKE])
@torch.no_grad()
def test_it_starts_with_colors(size):
    vae = build_vae(size).eval()
    pixels = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    posterior = vae.encode(pixels).latent_dist
    means = F.avg_pool2d(pixels, size.side // size.latent_side)
    # but for what the normalization of each picture changes, a few per cent
    torch.testing.assert_close(posterior.mean[:, :3], means, rtol=0.05, atol=0.02)
    assert float(posterior.std.max()) < 0.05
    decoded = vae.decode(posterior.mean).sample
    torch.testing.assert_close(decoded, F.interpolate(means, size=64), rtol=0.1, atol=0.04)


def test_every_weight_that_is_not_set_can_still_learn():
    vae = build_vae(SMOKE)
    pixels = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    optimizer = torch.optim.SGD(vae.parameters(), lr=0.1)
    for _ in range(3):  # branches that start silent pass gradient on once their last layer has moved
        optimizer.zero_grad()
        (vae(pixels, sample_posterior=True).sample - pixels).abs().mean().backward()
        optimizer.step()
    still = [name for name, p in vae.named_parameters() if p.grad is None or not p.grad.any()]
    assert not still
