"""Real diffusers pipelines of a few thousand random weights, made in code: no file, no network."""

from __future__ import annotations

from tests.diffusers.tiny.adapters import adapter_state
from tests.diffusers.tiny.parts import WIDTH, feature_extractor, image_encoder, seeded, unet
from tests.diffusers.tiny.pipelines import (
    IMG2IMG,
    INPAINT,
    cascade_prior,
    controlnet,
    flux,
    image_variation,
    kandinsky,
    kandinsky_2_1,
    pixels_alone,
    quiet,
    sdxl,
    stable_diffusion,
    unclip,
    unclip_variation,
    video,
)

__all__ = [
    "IMG2IMG",
    "INPAINT",
    "WIDTH",
    "adapter_state",
    "cascade_prior",
    "controlnet",
    "feature_extractor",
    "flux",
    "image_encoder",
    "image_variation",
    "kandinsky",
    "kandinsky_2_1",
    "pixels_alone",
    "quiet",
    "sdxl",
    "seeded",
    "stable_diffusion",
    "unclip",
    "unclip_variation",
    "unet",
    "video",
]
