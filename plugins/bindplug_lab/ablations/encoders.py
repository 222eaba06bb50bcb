"""Frozen image encoders by name, with the rows of the class names."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

import bindplug
from bindplug.inputs import IMAGE_SIZE, normalize_rgb
from bindplug_lab.encoders import RECIPES, train_image_encoder
from bindplug_toyworld import CLASSNAMES

BATCH = 128
_PROMPT = "a photo of a {}."


@dataclass(frozen=True)
class FrozenEncoder:
    """An image encoder and its class names.

    Attributes:
        name: distinguishes its rows from those of other encoders.
        encode: (B, 3, S, S) uint8 pictures of any side -> (B, D) rows.
        classifier: (20, D) unit rows of the things' names.
    """

    name: str
    encode: Callable[[Tensor], Tensor]
    classifier: Tensor


@cache
def image_encoder(name: str, cache_directory: Path, scenes: int, steps: int) -> FrozenEncoder:
    """The encoder of that name.

    Args:
        name: one of ``IMAGE_ENCODERS``.
        cache_directory: where encoders that are trained here are kept.
        scenes: pictures that these are trained on.
        steps: steps that these are trained for.
    """
    if name.startswith("clip-"):
        return _small_clip(name, cache_directory, scenes, steps)
    model = bindplug.load(name, modalities=("image", "text"))
    classifier = model.zero_shot_classifier(list(CLASSNAMES), progress=False)

    def encode(images: Tensor) -> Tensor:
        return torch.as_tensor(model.encode_image(at_model_size(images), normalize=True))

    # (D, 20) -> (20, D)
    return FrozenEncoder(name, encode, classifier.T.float().contiguous())


def _small_clip(name: str, cache_directory: Path, scenes: int, steps: int) -> FrozenEncoder:
    recipe = replace(RECIPES["clip"], scenes=scenes, steps=steps, near=False, narrow=False)
    size = name.removeprefix("clip-")
    encoder = train_image_encoder("clip", size, cache_directory / "encoders", recipe=recipe, quiet=True)
    classifier = encoder.embed_text([_PROMPT.format(classname) for classname in CLASSNAMES])
    return FrozenEncoder(f"{name}-{scenes}-{steps}", encoder.embed, classifier)


def at_model_size(images: Tensor) -> Tensor:
    """(B, 3, S, S) uint8 -> (B, 3, 224, 224) float32, normalized."""
    resized = F.interpolate(
        images.float(), size=(IMAGE_SIZE, IMAGE_SIZE), mode="bilinear", align_corners=False
    )
    return normalize_rgb(resized)


@torch.inference_mode()
def embed_images(encoder: FrozenEncoder, images: Tensor) -> Tensor:
    """(B, 3, S, S) uint8 -> (B, D) float32 rows."""
    rows = [encoder.encode(batch).float() for batch in images.split(BATCH)]
    return torch.cat(rows).clone()
