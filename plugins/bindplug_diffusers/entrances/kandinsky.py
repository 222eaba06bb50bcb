"""Kandinsky's decoders and Stable Cascade's prior, which take the image embeddings of other CLIPs."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from bindplug.errors import UnsupportedTarget
from bindplug_diffusers.entrances.base import Conditions, Entrance, Slot, repeat_for_pictures
from bindplug_diffusers.pipeline_info import accepts, component_of, has_component


class KandinskyEntrance(Entrance):
    """``image_embeds`` and ``negative_image_embeds`` of Kandinsky 2.1 and 2.2, and of their variants.

    Both halves of guidance are arguments. Strength 0 is an embedding of zeros, as the unconditional half is without a
    negative query. Kandinsky 2.2 takes embeddings of CLIP ViT-bigG/14, Kandinsky 2.1 of ViT-L/14.
    """

    name = "negative_image_embeds"
    replaces = ("image_embeds", "negative_image_embeds")
    has_negative = True

    @classmethod
    def fits(cls, pipe: Any) -> bool:
        return accepts(pipe, "image_embeds") and accepts(pipe, "negative_image_embeds")

    def _slots(self) -> tuple[Slot, ...]:
        config = component_of(self.pipe, "unet").config
        if (
            config.encoder_hid_dim_type == "image_proj"
        ):  # 2.2: the image embedding is all that the UNet attends to
            return (Slot(int(config.encoder_hid_dim)),)
        if config.encoder_hid_dim_type == "text_image_proj":  # 2.1: beside the text's
            return (Slot(int(config.cross_attention_dim)),)
        raise UnsupportedTarget(
            f"this {type(self.pipe).__name__} has a unet that projects {config.encoder_hid_dim_type!r}; known are "
            f"'image_proj' of Kandinsky 2.2 and 'text_image_proj' of Kandinsky 2.1"
        )

    def arguments(self, conditions: Conditions) -> dict[str, Any]:
        (slot,) = conditions.slots
        rows, negatives = (self.scale(half, conditions.norm) for half in (slot.rows, slot.negatives))
        return {"image_embeds": rows, "negative_image_embeds": negatives}


class CascadePriorEntrance(Entrance):
    """``image_embeds`` of ``StableCascadePriorPipeline``, of CLIP ViT-L/14.

    Its output is no picture but the ``image_embeddings`` that ``StableCascadeDecoderPipeline`` takes. The unconditional
    half of guidance is zeros, made inside the pipeline. Strength 0 is an embedding of zeros.
    """

    name = "image_embeds"
    replaces = ("image_embeds", "images")
    makes_pictures = False
    network = "prior"

    @classmethod
    def fits(cls, pipe: Any) -> bool:
        return accepts(pipe, "image_embeds") and has_component(pipe, "prior")

    def _slots(self) -> tuple[Slot, ...]:
        return (Slot(int(component_of(self.pipe, "prior").config.clip_image_in_channels)),)

    def arguments(self, conditions: Conditions) -> dict[str, Any]:
        """A row that the pipeline gives to every output; several come from the method below."""
        if conditions.is_batch:
            return {"images": [torch.zeros(1)]}  # makes the pipeline call encode_image
        return {"image_embeds": self.scale(conditions.slots[0].rows[:1], conditions.norm)[:, None]}

    def methods(self, conditions: Conditions) -> dict[str, Any]:
        """``encode_image``, for several queries: ``image_embeds`` is repeated for every prompt."""
        if not conditions.is_batch:
            return {}
        rows = self.scale(conditions.slots[0].rows, conditions.norm)
        rows = repeat_for_pictures(rows, conditions.pictures)[:, None]  # (B, D) -> (pictures, 1, D)

        def encode_image(*_: Any, **__: Any) -> tuple[Tensor, Tensor]:
            return rows, torch.zeros_like(rows)

        return {"encode_image": encode_image}
