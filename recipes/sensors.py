"""Bind audio, depth, thermal and IMU towers to the frozen toy CLIP."""

from __future__ import annotations

import logging
import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from bindplug.imagebind import ImageBind, ImageBindConfig, TowerConfig
from bindplug.training import BindingRecipe, RunOptions, TensorPairs, bind
from recipes.clip import clip_config, jitter_free
from recipes.initial import start_from_image_tower, start_from_whitened_windows
from recipes.render import render
from recipes.rendered import Rendered
from recipes.sizes import RecipeSize

logger = logging.getLogger(__name__)

SENSORS = ("audio", "depth", "thermal", "imu")
PICTURES = ("audio", "depth", "thermal")
"""Sensors whose input is picture-like, and whose towers start from the image tower."""

FIRST_SCENE = {"clip": 0, "audio": 1_000_000, "depth": 2_000_000, "thermal": 3_000_000, "imu": 4_000_000}
"""Each modality is bound on scenes of its own: no scene is ever seen by two sensors."""


def tiny_config(recipes: dict[str, BindingRecipe]) -> ImageBindConfig:
    """The shape of imagebind_tiny: the toy CLIP's two towers and four small sensor towers.

    Inputs have the shapes of imagebind_huge's; patches are larger, which is what makes it fast. Sound, depth and
    heat are cut into as many patches as images are, so that their towers can start from the image tower.
    """
    clip = clip_config()
    vision, text = clip["vision_cfg"], clip["text_cfg"]
    heads, patch = vision["width"] // vision["head_width"], (vision["patch_size"],) * 2

    def sensor(modality: str, width: int, heads: int, kernel: tuple[int, ...]) -> TowerConfig:
        recipe = recipes[modality]
        return TowerConfig(width, 4, heads, kernel=kernel, drop_path=recipe.drop_path, head=recipe.head)

    return ImageBindConfig(
        vision=TowerConfig(
            vision["width"],
            vision["layers"],
            heads,
            kernel=(2, *patch),
        ),
        text=TowerConfig(text["width"], text["layers"], text["heads"]),
        audio=sensor("audio", vision["width"], heads, (16, 25)),
        depth=sensor("depth", vision["width"], heads, patch),
        thermal=sensor("thermal", vision["width"], heads, patch),
        imu=sensor("imu", 96, 3, (20,)),
        embed_dim=clip["embed_dim"],
    )


def embed_images(clip: Any, scenes: Rendered, batch_size: int = 256) -> Tensor:
    """(N, D) unit image embeddings of rendered scenes by the frozen toy CLIP."""
    rows = []
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        for indices in torch.arange(len(scenes)).split(batch_size):
            rows.append(clip.encode_image(jitter_free(scenes.pixels(indices)), normalize=True).float())
    return torch.cat(rows).clone()


def bind_sensors(
    model: ImageBind,
    clip: Any,
    size: RecipeSize,
    workspace: Path,
    *,
    sensors: tuple[str, ...] = SENSORS,
    quiet: bool | None = None,
) -> dict[str, Any]:
    """Bind each sensor's tower in turn, on scenes of its own; returns the figures for the card."""
    figures: dict[str, Any] = {}
    for sensor in sensors:
        scenes = render(
            workspace / sensor,
            split="train",
            start=FIRST_SCENE[sensor],
            count=size.pairs[sensor],
            modalities=(sensor,),
            quiet=quiet,
        )
        scenes = Rendered(scenes.directory, in_memory=True)
        if sensor in PICTURES:
            start_from_image_tower(model, sensor, jitter_free(scenes.pixels(torch.arange(64))))
        else:
            start_from_whitened_windows(model, scenes.inputs(sensor)[:512])
        pairs = TensorPairs(embed_images(clip, scenes), scenes.inputs(sensor), clips=sensor == "audio")
        with sdpa_kernel(SDPBackend.MATH):  # faster than the fused kernel on short sequences on CPUs
            result = bind(
                model, sensor, pairs, size.recipes[sensor], options=RunOptions(precision="bf16"), quiet=quiet
            )
        figures[sensor] = {
            "pairs": len(pairs),
            "steps": result.steps,
            "seconds": round(result.seconds, 1),
            "first_loss": round(result.losses[0], 4),
            "final_loss": round(result.losses[-1], 4),
            "loss_of_chance": round(math.log(size.recipes[sensor].batch_size), 4),
            "scale": round(result.scale, 3),
            "recipe": size.recipes[sensor].to_dict(),
        }
        logger.info("%s bound: %s", sensor, figures[sensor])
    return figures
