"""``image_embeds`` of stable unCLIP: the embedding is noised, and enters the UNet as its class label."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from bindplug.errors import UnsupportedTarget
from bindplug_diffusers.entrances.base import Conditions, Entrance, Slot
from bindplug_diffusers.entrances.image_encoder import QueryImageEncoder
from bindplug_diffusers.inspection import accepts, unet_of
from bindplug_diffusers.strength import normalizer_norm


class UnCLIPEntrance(Entrance):
    """``StableUnCLIPImg2ImgPipeline`` and pipelines like it: ``image_embeds`` and an ``image_normalizer``.

    The unconditional half of guidance is zeros, made inside the pipeline. Strength 0 is an embedding of zeros.
    """

    name = "image_embeds"
    replaces = ("image_embeds", "image")

    @classmethod
    def fits(cls, pipe: Any) -> bool:
        return accepts(pipe, "image_embeds") and getattr(pipe, "image_normalizer", None) is not None

    def _slots(self) -> tuple[Slot, ...]:
        width = int(self.pipe.image_normalizer.mean.shape[-1])
        label = getattr(unet_of(self.pipe).config, "projection_class_embeddings_input_dim", None)
        if label not in (None, 2 * width):  # the embedding and its noise level, side by side
            raise UnsupportedTarget(
                f"this {type(self.pipe).__name__} is put together from parts that do not fit: its image_normalizer is "
                f"for embeddings of {width} numbers, its unet for {label // 2}"
            )
        return (Slot(width),)

    @property
    def norm(self) -> float:
        """The length that the pipeline's own normalizer expects."""
        return normalizer_norm(self.pipe.image_normalizer)

    def arguments(self, conditions: Conditions) -> dict[str, Any]:
        return {"image_embeds": self.sized(conditions.slots[0], conditions.norm)}

    def components(self, conditions: Conditions) -> dict[str, Any]:
        """A normalizer to be moved in place of the pipeline's own, whose parameters every call replaces.

        And for an image encoder that was not loaded a stand-in: the pipeline asks it for its dtype.
        """
        parts: dict[str, Any] = {"image_normalizer": deepcopy(self.pipe.image_normalizer)}
        if getattr(self.pipe, "image_encoder", None) is None:
            rows = conditions.slots[0].to(self.device, self.dtype)
            parts["image_encoder"] = QueryImageEncoder(rows, norm=1.0)
        return parts
