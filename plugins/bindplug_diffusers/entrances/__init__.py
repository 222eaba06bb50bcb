"""The entrances of pipelines: where an image embedding enters, and what form it must have."""

from __future__ import annotations

from typing import Any

from bindplug.errors import UnsupportedTarget
from bindplug_diffusers.entrances.base import Conditions, Entrance, Slot, SlotRows
from bindplug_diffusers.entrances.image_encoder import ImageEncoderEntrance
from bindplug_diffusers.entrances.ip_adapter import IPAdapterEntrance, TransformerIPAdapterEntrance
from bindplug_diffusers.entrances.kandinsky import CascadePriorEntrance, KandinskyEntrance
from bindplug_diffusers.entrances.refusals import REASONS, refusal
from bindplug_diffusers.entrances.unclip import StableUnCLIPEntrance, UnCLIPVariationEntrance
from bindplug_diffusers.pipeline_info import is_kind

__all__ = ["ENTRANCES", "Conditions", "Entrance", "Slot", "SlotRows", "find_entrance"]

ENTRANCES: tuple[type[Entrance], ...] = (
    StableUnCLIPEntrance,
    UnCLIPVariationEntrance,
    KandinskyEntrance,
    CascadePriorEntrance,
    TransformerIPAdapterEntrance,
    IPAdapterEntrance,
    ImageEncoderEntrance,
)


def find_entrance(pipe: Any) -> Entrance:
    """The entrance of a pipeline, according to its present components.

    Args:
        pipe: a diffusers pipeline.

    Raises:
        UnsupportedTarget: no pooled image embedding can enter it; the message says why.
    """
    if not any(is_kind(pipe, *names) for names in REASONS):
        for kind in ENTRANCES:
            if kind.fits(pipe):
                return kind(pipe)
    raise UnsupportedTarget(
        f"this {type(pipe).__name__} takes no query: {refusal(pipe)}. Use a pipeline that takes pooled CLIP "
        f"embeddings, as StableUnCLIPImg2ImgPipeline, or a Stable Diffusion (XL) pipeline with an IP-Adapter; or steer "
        f"it by gradients, which is slow: bindplug_diffusers.guided"
    )
