"""The small towers that are bound to every anchor."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from bindplug.imagebind import ImageBindConfig, PatchTower, TowerConfig
from bindplug.training import Checkpoints, RunOptions, TensorPairs, bind_tower, frequency_mask, random_erase
from bindplug_lab.encoders import initialize_narrow_tower
from bindplug_lab.judging.settings import JudgeSettings

WIDTH, BLOCKS, HEADS = 96, 3, 3
GRID = 8
"""Patches along each side, as in the anchors."""
MASKED_BINS = 6
ERASED = 0.25
BATCH = 256


def build_tower(sense: str, shape: tuple[int, ...], embed_dim: int, seed: int) -> PatchTower:
    """A tower for maps of a shape.

    Args:
        sense: audio or depth.
        shape: (1, H, W) of its input.
        embed_dim: D of the anchor's rows.
        seed: of the initial weights.
    """
    _, height, width = shape
    kernel = (height // GRID, width // GRID)
    sensor = TowerConfig(WIDTH, BLOCKS, HEADS, kernel=kernel)
    unused = TowerConfig(WIDTH, 1, HEADS, kernel=(16, 16))
    config = ImageBindConfig(
        vision=TowerConfig(WIDTH, 1, HEADS, kernel=(1, 16, 16)),
        text=TowerConfig(WIDTH, 1, HEADS),
        audio=sensor if sense == "audio" else unused,
        depth=sensor if sense == "depth" else unused,
        thermal=unused,
        imu=TowerConfig(WIDTH, 1, HEADS, kernel=(20,)),
        embed_dim=embed_dim,
    )
    tower = PatchTower(sense, config)
    # the core's towers have positions for inputs of the published sizes; these inputs are smaller
    tower.grid = (height // kernel[0], width // kernel[1])
    tower.pos_embed = nn.Parameter(torch.empty(1, 1 + tower.grid[0] * tower.grid[1], WIDTH))
    initialize_narrow_tower(tower, torch.Generator().manual_seed(seed))
    return tower


def bind_sense(
    sense: str,
    anchor_rows: Tensor,
    inputs: Tensor,
    settings: JudgeSettings,
    seed: int,
    *,
    checkpoints: Path | None = None,
    quiet: bool | None = None,
) -> PatchTower:
    """A tower bound to an anchor.

    Args:
        sense: audio or depth.
        anchor_rows: (N, D) rows of the anchor for the pictures.
        inputs: (N, 1, H, W) recordings of the same scenes.
        settings: sizes.
        seed: of weights, order and augmentation.
        checkpoints: a directory for the state after each epoch. If it holds one, the run goes on from there to the
            same weights as without a break.
        quiet: True shows no progress, None asks the environment.
    """

    def augment(batch: Tensor, generator: torch.Generator) -> Tensor:
        if sense == "audio":
            return frequency_mask(batch, MASKED_BINS, generator)
        return random_erase(batch, ERASED, generator)

    tower = build_tower(sense, tuple(inputs.shape[1:]), anchor_rows.shape[1], seed)
    store = None if checkpoints is None else Checkpoints(checkpoints, keep=1, resume=True)
    # plain attention is faster than the fused kernel on short sequences on CPUs
    with sdpa_kernel(SDPBackend.MATH):
        bind_tower(
            tower,
            TensorPairs(anchor_rows, inputs),
            settings.recipe(sense, seed),
            augment=augment,
            name=sense,
            options=RunOptions(precision="bf16", workers=0, checkpoints=store),
            quiet=quiet,
        )
    return tower


@torch.inference_mode()
def embed_sense(tower: PatchTower, inputs: Tensor) -> Tensor:
    """(N, 1, H, W) recordings -> (N, D) unit rows."""
    rows = torch.cat([tower(part.float()) for part in inputs.split(BATCH)])
    return nn.functional.normalize(rows, dim=-1).clone()
