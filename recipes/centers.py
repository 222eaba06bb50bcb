"""Where each modality's rows lie on average, for ``embed(recenter=...)``; measured on training scenes."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from bindplug.imagebind import ImageBind
from recipes.clip import jitter_free
from recipes.rendered import Rendered
from recipes.sensors import SENSORS

SCENES = 1024
"""Scenes a modality's mean is taken over."""


def centers_of(model: ImageBind, captioned: Rendered, workspace: Path) -> dict[str, Tensor]:
    """The center of every modality: the images' mean row, and for others that plus their gap to it.

    A gap is measured between a modality's rows and the images of the very same scenes, so that it does not
    matter that motion is only ever about eight of the twenty things.

    Args:
        model: trained.
        captioned: scenes with captions, for images and text.
        workspace: holds the scenes rendered for each sensor.

    Returns:
        For each modality's name, (D,) float32.
    """
    center = _mean_image(model, captioned)
    centers = {"image": center, "text": _mean_caption(model, captioned)}
    for sensor in SENSORS:
        scenes = Rendered(workspace / sensor)
        rows = _mean_row(model, sensor, scenes.inputs(sensor)[:SCENES].float())
        centers[sensor] = center + rows - _mean_image(model, scenes)
    return centers


def _mean_image(model: ImageBind, scenes: Rendered) -> Tensor:
    first = torch.arange(min(SCENES, len(scenes)))
    return _mean_row(model, "image", jitter_free(scenes.pixels(first)))


def _mean_caption(model: ImageBind, scenes: Rendered) -> Tensor:
    first = torch.arange(min(SCENES, len(scenes)))
    return _mean_row(model, "text", scenes.captions(first, torch.Generator().manual_seed(0)))


@torch.inference_mode()
def _mean_row(model: ImageBind, modality: str, inputs: Tensor) -> Tensor:
    rows = torch.cat([F.normalize(model.encode(modality, batch), dim=-1) for batch in inputs.split(64)])
    return rows.mean(0).clone()
