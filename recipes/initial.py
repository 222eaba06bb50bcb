"""Start a sensor's tower from what the image tower knows about pictures, or from the sensor's own statistics."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from bindplug.imagebind import ImageBind, PatchTower, WindowStem

FAINTEST = 1 / 400
"""Directions whose deviation is below this share of the strongest one's are mostly noise, and stay faint."""


@torch.no_grad()
def start_from_image_tower(model: ImageBind, sensor: str, images: Tensor) -> None:
    """Copy the image tower into a sensor's tower, in place.

    Both must have one width and one number of patches. Patch kernels are summed over frames and colors and
    resized; of more blocks than the sensor has, evenly spread ones are taken; the LayerNorm that the image tower
    has before its blocks, and sensors lack, is folded into stem, positions and class token, as far as its division
    by each token's own deviation allows: by the mean deviation over ``images``.

    Args:
        model: holds both towers.
        sensor: the tower to fill.
        images: (B, 3, H, W) preprocessed images to measure on.

    Raises:
        ValueError: the towers' widths or patch counts differ.
    """
    source, tower = model.towers["vision"], model.towers[sensor]
    assert isinstance(source, PatchTower)
    assert isinstance(tower, PatchTower)
    if source.pos_embed.shape != tower.pos_embed.shape:
        raise ValueError(
            f"{sensor} has positions {tuple(tower.pos_embed.shape)}, the image tower {tuple(source.pos_embed.shape)}"
        )
    _fill_stem(source, tower)
    _fill_tokens(source, tower, images)
    indices = torch.linspace(0, len(source.blocks) - 1, len(tower.blocks)).round().long().tolist()
    for block, index in zip(tower.blocks, indices, strict=True):
        # the learned extra key and value, which the image tower lacks, keep their initialization
        block.load_state_dict(source.blocks[index].state_dict(), strict=False)
    tower.head.load_state_dict(source.head.state_dict())


def _fill_stem(source: PatchTower, tower: PatchTower) -> None:
    kernel, target = source.stem.proj.weight, tower.stem.proj.weight
    assert isinstance(kernel, Tensor)
    assert isinstance(target, Tensor)
    grey = kernel.sum(dim=(1, 2))[:, None]
    target.copy_(F.interpolate(grey, size=target.shape[-2:], mode="bilinear", antialias=True))
    assert source.pre_norm is not None
    assert tower.stem.norm is not None
    tower.stem.norm.load_state_dict(source.pre_norm.state_dict())


def _fill_tokens(source: PatchTower, tower: PatchTower, images: Tensor) -> None:
    assert source.pre_norm is not None
    patches, _ = source.stem(images)
    deviation = (patches + source.pos_embed[:, 1:]).std(dim=-1).mean()
    tower.pos_embed.copy_(source.pos_embed * source.pre_norm.weight / deviation)
    first = source.pre_norm(source.cls_token + source.pos_embed[:, :1])
    tower.cls_token.copy_(first - tower.pos_embed[:, :1])


@torch.no_grad()
def start_from_whitened_windows(model: ImageBind, motions: Tensor) -> None:
    """Make the IMU tower's stem see every kind of movement at the same strength, in place.

    Gravity outweighs an engine's tremble a hundredfold; projected at random, every window looks like its own
    constant part and the tower spends its training digging below it. The stem gets the windows' principal
    directions instead, each divided by its deviation, so that its outputs are uncorrelated and of one size.

    Source: the idea of data-dependent initialization, Krähenbühl et al. (arXiv 1511.06856), section 3.

    Args:
        model: holds the IMU tower.
        motions: (B, 6, steps) preprocessed recordings to measure on.
    """
    stem = model.towers["imu"].stem
    assert isinstance(stem, WindowStem)
    windows = motions.float().unfold(-1, stem.window, stem.window).transpose(1, 2).flatten(2).flatten(0, 1)
    variances, directions = torch.linalg.eigh(torch.cov(windows.double().T))
    kernel = stem.proj.weight
    assert isinstance(kernel, Tensor)
    strongest = variances.argsort(descending=True)[: len(kernel)]
    floor = FAINTEST**2 * variances.max()
    rows = directions[:, strongest] / (variances[strongest] + floor).sqrt()
    kernel.copy_(rows.T)
