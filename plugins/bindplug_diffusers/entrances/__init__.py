"""The entrances of pipelines: where an image embedding gets in, what it must be like, and who takes none."""

from __future__ import annotations

from typing import Any

from bindplug.errors import UnsupportedTarget
from bindplug_diffusers.entrances.base import Conditions, Entrance, Slot
from bindplug_diffusers.entrances.image_encoder import ImageEncoderEntrance
from bindplug_diffusers.entrances.ip_adapter import IPAdapterEntrance
from bindplug_diffusers.entrances.kandinsky import KandinskyEntrance
from bindplug_diffusers.entrances.unclip import UnCLIPEntrance

__all__ = ["ENTRANCES", "Conditions", "Entrance", "Slot", "find_entrance"]

ENTRANCES: tuple[type[Entrance], ...] = (
    UnCLIPEntrance,
    KandinskyEntrance,
    IPAdapterEntrance,
    ImageEncoderEntrance,
)


def find_entrance(pipe: Any) -> Entrance:
    """The entrance of a pipeline, as it is now.

    Args:
        pipe: a diffusers pipeline.

    Raises:
        UnsupportedTarget: it has none, or the one it has takes no pooled image embedding; the message says why.
    """
    for kind in ENTRANCES:
        if kind.fits(pipe):
            return kind(pipe)
    name = type(pipe).__name__
    raise UnsupportedTarget(
        f"this {name} has no entrance for image embeddings: its call takes neither image_embeds nor "
        f"ip_adapter_image_embeds, and it is none of {', '.join(ImageEncoderEntrance.KINDS)}. Use a pipeline that "
        f"does, as StableUnCLIPImg2ImgPipeline, or a Stable Diffusion (XL) pipeline with an IP-Adapter; or steer it "
        f"by gradients, which is slow: bindplug_diffusers.guided"
    )
