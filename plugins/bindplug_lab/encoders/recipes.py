"""How image encoders are trained, as data."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType

METHODS = ("clip", "supervised", "simclr", "dino", "random")
"""How an encoder learns: from captions, from labels, from the pictures alone, or not at all."""


@dataclass(frozen=True)
class EncoderRecipe:
    """How long and how fast an encoder learns.

    Attributes:
        scenes: pictures of the toy world that it sees.
        steps: optimizer steps.
        batch_size: pictures in a step.
        learning_rate: peak of a cosine schedule that ends at zero.
        warmup_steps: steps of linear warm-up.
        weight_decay: AdamW's, on matrices only.
        clip_grad_norm: largest gradient norm let through.
        near: whether a picture shows a square around the scene's thing, as pictures of ImageNet do, instead of the
            whole scene.
        narrow: whether initial weights suit narrow towers, see
            :func:`~bindplug_lab.encoders.initialize_narrow_tower`.
    """

    scenes: int = 10_000
    steps: int = 1000
    batch_size: int = 128
    learning_rate: float = 1e-3
    warmup_steps: int = 80
    weight_decay: float = 0.05
    clip_grad_norm: float = 1.0
    near: bool = True
    narrow: bool = True


RECIPES = MappingProxyType(
    {
        "clip": EncoderRecipe(),
        "supervised": EncoderRecipe(),
        "simclr": EncoderRecipe(steps=1500, learning_rate=1.5e-3),
        "dino": EncoderRecipe(steps=1500, batch_size=64, learning_rate=5e-4, clip_grad_norm=3.0),
    }
)
"""The recipe of each method, the same for every size. ``"random"`` has none."""
