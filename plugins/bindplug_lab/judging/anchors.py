"""The image encoders that are compared: those trained here, and any model with an image tower."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

import bindplug
from bindplug.errors import InputError, UnknownModel
from bindplug.inputs import IMAGE_SIZE
from bindplug.progress import iterate_with_progress
from bindplug_lab.encoders import train_image_encoder
from bindplug_lab.judging.settings import JudgeSettings
from bindplug_lab.world import open_world

TRAINED = {"toy_clip": "clip"} | {name: name for name in ("supervised", "simclr", "dino", "random")}
"""Anchors that are trained here, by the method of :mod:`bindplug_lab.encoders` that trains them."""
BATCH = 64


def check_anchors(names: Sequence[str]) -> None:
    """Refuse names of which no encoder can be made, before anything is trained.

    Raises:
        InputError: there are none, or one is given twice.
        UnknownModel: a name is neither an encoder that is trained here nor a model that bindplug can load.
        ModalityNotLoaded: the model has no image tower.
    """
    if not names:
        raise InputError("anchors", found="none", expected=f"some of {', '.join(TRAINED)}, or model ids")
    duplicates = sorted({name for name in names if names.count(name) > 1})
    if duplicates:
        raise InputError("anchors", found=f"{duplicates[0]!r} twice", expected="each anchor once")
    for name in names:
        if name not in TRAINED:
            _load(name)


def _load(name: str) -> bindplug.Encoder:
    try:
        return bindplug.load(name, modalities={"image"})
    except UnknownModel as error:
        raise UnknownModel(
            f"anchor {name!r} is neither trained here ({', '.join(TRAINED)}) nor a model: {error}"
        ) from error


def embed_worlds(
    name: str, settings: JudgeSettings, cache: Path, *, quiet: bool | None = None
) -> dict[str, Tensor]:
    """The rows that an anchor gives the pictures of every part.

    Rows are moved by their mean over the pictures to bind on, and have unit length. Encoders whose training compares no
    images put all pictures into a narrow cone; without its middle their rows can be told apart. Every anchor is treated
    alike, and no label is used.

    Args:
        name: of the anchor.
        settings: sizes.
        cache: directory of rendered worlds (``worlds``) and trained encoders (``encoders``).
        quiet: True shows no progress, None asks the environment.

    Returns:
        For each part of :meth:`JudgeSettings.worlds` (N, D) float32 rows.
    """
    embed, side = _embedder(name, settings, cache, quiet)
    rows = {}
    for part, spec in settings.worlds(side).items():
        batches = open_world(spec, cache / "worlds", quiet=quiet).tensor("image").split(BATCH)
        progress = iterate_with_progress(batches, label=f"{name}: {part}", quiet=quiet)
        rows[part] = torch.cat([embed(batch) for batch in progress])
    mean = torch.cat([rows["audio"], rows["depth"]]).mean(0)
    return {part: F.normalize(values - mean, dim=-1) for part, values in rows.items()}


def _embedder(
    name: str, settings: JudgeSettings, cache: Path, quiet: bool | None
) -> tuple[Callable[[Tensor], Tensor], int | None]:
    """A function from (B, 3, S, S) uint8 pictures to unit rows, and the S that it needs if it needs one."""
    if name in TRAINED:
        method = TRAINED[name]
        recipe = settings.encoder_recipe(method)
        encoder = train_image_encoder(method, settings.size, cache / "encoders", recipe=recipe, quiet=quiet)
        return encoder.embed, None
    model = _load(name)

    def embed(pixels: Tensor) -> Tensor:
        # (B, 3, S, S) -> B pictures of (S, S, 3)
        pictures = [Image.fromarray(picture) for picture in pixels.permute(0, 2, 3, 1).numpy()]
        return model.embed([bindplug.image(picture) for picture in pictures], progress=False).float().cpu()

    return embed, IMAGE_SIZE
