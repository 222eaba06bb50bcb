"""Small image encoders of equal size, trained on the toy world in different ways.

encoder = train_image_encoder("dino", "base", "cache/encoders", seed=0)
rows = encoder.embed(pixels)            # (B, 3, H, W) uint8 -> (B, D) unit rows
"""

from __future__ import annotations

from bindplug_lab.encoders.network import (
    SIDE,
    SIZES,
    EncoderSize,
    ImageEncoder,
    initialize_narrow_tower,
)
from bindplug_lab.encoders.recipes import METHODS, RECIPES, EncoderRecipe
from bindplug_lab.encoders.training import train_image_encoder

__all__ = [
    "METHODS",
    "RECIPES",
    "SIDE",
    "SIZES",
    "EncoderRecipe",
    "EncoderSize",
    "ImageEncoder",
    "initialize_narrow_tower",
    "train_image_encoder",
]
