"""The foreign toy CLIP, and the bridge to its space."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

import bindplug
from bindplug.bridges import LinearBridge, fit_bridge
from bindplug.imagebind import ImageBind, ImageBindConfig, TowerConfig, from_open_clip, save_directory
from bindplug_toyworld.evaluation import (
    Measure,
    classification,
    embed_scenes,
    evaluation_scenes,
    format_confusion,
)
from bindplug_toyworld.scene import Scene
from bindplug_toyworld.space import FOREIGN_SPACE
from bindplug_toyworld.things import NAMES
from recipes.card import begin_card, write_card
from recipes.clip import clip_config
from recipes.clip_stages import pretrained_clip
from recipes.rendered import Rendered
from recipes.sensors import SENSORS
from recipes.ship import COMMAND, round_to_half
from recipes.sizes import ClipSize
from recipes.words import silence_unmet_words

logger = logging.getLogger(__name__)

BRIDGE_CAPTIONS = 4000
"""Captions, of training scenes, that the bridge is fitted on."""

BRIDGE_STRENGTH = 1.0
"""Of the ridge. Captions alone would have it a thousand times weaker, and directions in which they hardly vary, but
sounds and pictures do, would be stretched until sounds are no longer told apart."""

RECENTERED_ON = 1024
"""Recordings of each sensor that say where its rows lie."""


def ship_foreign(
    workspace: Path, size: ClipSize, directory: Path, *, scenes: int, quiet: bool | None = None
) -> ImageBind:
    """Train the foreign toy CLIP and write it, with its card, as a model of two towers.

    Args:
        workspace: scenes are rendered to it and finished stages kept in it.
        size: the recipe.
        directory: replaced.
        scenes: evaluation scenes.
        quiet: True shows no progress, None asks the environment.
    """
    clip, figures = pretrained_clip(workspace, size, quiet=quiet)
    model = ImageBind(_config(size.architecture), {"image", "text"}, space=FOREIGN_SPACE)
    model.load_official(from_open_clip(clip.state_dict()))
    model.eval()
    silence_unmet_words(model, workspace)
    round_to_half(model)
    rows = embed_scenes(model, "image", evaluation_scenes(NAMES, scenes, 100_000), scenes, quiet=quiet)
    measure = classification(model, "image", rows)
    logger.info("foreign %s: %.4f of %d", measure.name, measure.value, measure.count)
    save_directory(
        model, directory, dtype=torch.float16, license="Apache-2.0", source=COMMAND, overwrite=True
    )
    card = {
        **begin_card(size, COMMAND),
        "training": figures,
        "evaluation": {measure.name: measure.to_dict()},
    }
    write_card(directory, card)
    (directory / "README.md").write_text(_readme(card, measure, directory))
    return model


def ship_bridge(weights: Path, workspace: Path) -> LinearBridge:
    """Fit the bridge from imagebind_tiny's space to the foreign one from text alone, and write it.

    The sensors' rows, never paired with anything of the foreign side, only tell where each sensor's lie.

    Args:
        weights: holds both models; the bridge goes to its ``toy_bridge``.
        workspace: holds the scenes rendered for each sensor.
    """
    tiny, foreign = bindplug.load(weights / "imagebind_tiny"), bindplug.load(weights / "toy_foreign_clip")
    captions = list(dict.fromkeys(Scene(index, "train").caption for index in range(BRIDGE_CAPTIONS)))
    bridge = fit_bridge(tiny, foreign, captions, method="ridge", strength=BRIDGE_STRENGTH, progress=False)
    assert isinstance(bridge, LinearBridge)
    for sensor in SENSORS:
        inputs = Rendered(workspace / sensor).inputs(sensor)[:RECENTERED_ON].float()
        with torch.inference_mode():
            rows = torch.cat([tiny.encode(sensor, batch, normalize=True) for batch in inputs.split(64)])
        # a sensor's own mean, moved to what it would be over all twenty things
        bridge.recenter(sensor, rows + (tiny.centers[sensor] - rows.mean(0)))
    bridge.recenter("image", _image_rows(tiny, Rendered(workspace / "audio")))
    bridge.save(weights / "toy_bridge", overwrite=True)
    logger.info("toy bridge: %s", bridge.report)
    return bridge


def _image_rows(model: Any, scenes: Rendered) -> torch.Tensor:
    from recipes.clip import jitter_free

    first = torch.arange(min(RECENTERED_ON, len(scenes)))
    with torch.inference_mode():
        batches = jitter_free(scenes.pixels(first)).split(64)
        return torch.cat([model.encode_image(batch, normalize=True) for batch in batches])


def _config(architecture: str) -> ImageBindConfig:
    """The published network's shape but for the two towers that a CLIP has."""
    clip = clip_config(architecture)
    vision, text = clip["vision_cfg"], clip["text_cfg"]
    patch = vision["patch_size"]
    return replace(
        ImageBindConfig.huge(),
        vision=TowerConfig(
            vision["width"],
            vision["layers"],
            vision["width"] // vision["head_width"],
            kernel=(2, patch, patch),
        ),
        text=TowerConfig(text["width"], text["layers"], text["heads"]),
        embed_dim=clip["embed_dim"],
    )


def _readme(card: dict[str, Any], measure: Measure, directory: Path) -> str:
    megabytes = sum(file.stat().st_size for file in directory.glob("*.safetensors")) / 1e6
    minutes = sum(stage["seconds"] for stage in card["training"].values()) / 60
    samples = sum(stage["samples_seen"] for stage in card["training"].values())
    return f"""# toy_foreign_clip

A second CLIP of the toy world, of another seed, shape and width ({FOREIGN_SPACE.width} instead of 128). It plays the
part that CLIP ViT-B/32 plays beside ImageBind's ViT-H/14: tools that live in its space need a bridge.
`bindplug.load("toy_foreign_clip")` gives an encoder of image and text. License: Apache-2.0, weights and data.

- {samples} samples seen, {minutes:.0f} minutes on {card["machine"]}; seeds are fixed; `make weights` runs it again.
- {megabytes:.1f} MB as float16 safetensors; words that no caption held have zero token embeddings.
- image -> text, zero-shot with CLIP's 80 templates, on {measure.count} evaluation scenes: {100 * measure.value:.1f} %.

A row is the truth, a column the answer, in the same order.

```
{format_confusion(measure)}
```
"""
