"""Pictures of the toy world that image encoders are trained on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from bindplug.inputs import Tokenizer
from bindplug_lab.encoders.network import resize
from bindplug_lab.world import WorldSpec, open_world

FIRST_SCENE = 20_000_000
"""Training scenes of the encoders start at this index of the split ``"train"``: no experiment binds on them."""
CAPTIONS = 4
"""Captions of each scene."""
TOKENS = 40
"""Longest caption in tokens; longer ones are cut."""
BATCH = 256


@dataclass
class Pictures:
    """Scenes as tensors.

    Attributes:
        pixels: (N, 3, 64, 64) uint8.
        labels: (N,) int64.
        tokens: (N, 4, 40) int64, four captions a scene.
    """

    pixels: Tensor
    labels: Tensor
    tokens: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def captions(self, indices: Tensor, generator: torch.Generator) -> Tensor:
        """(B, 40) tokens of one caption of each scene, drawn at random."""
        numbers = torch.randint(self.tokens.shape[1], (len(indices),), generator=generator)
        return self.tokens[indices, numbers]


def training_pictures(cache: Path, count: int, *, near: bool = True, quiet: bool | None = None) -> Pictures:
    """The first ``count`` training scenes, from a directory of rendered worlds; rendered there if they aren't yet.

    Captions are of the whole scene: where pictures are near ones, a place or a size in them is not to be seen.

    Args:
        cache: the directory.
        count: of scenes.
        near: whether a picture shows a square around the scene's thing instead of the whole scene.
        quiet: True shows no progress, None asks the environment.
    """
    spec = WorldSpec("train", FIRST_SCENE, count, sensors=("image",), captions=CAPTIONS, near=near)
    world = open_world(spec, cache, quiet=quiet)
    images = world.tensor("image").split(BATCH)
    pixels = torch.cat([resize(part).round().to(torch.uint8) for part in images])
    tokenize = Tokenizer(TOKENS)
    texts = [text for captions in world.all_captions() for text in captions]
    # (N * captions, T) -> (N, captions, T)
    tokens = tokenize(texts).unflatten(0, (count, CAPTIONS))
    return Pictures(pixels, world.tensor("labels")[:, 0], tokens)
