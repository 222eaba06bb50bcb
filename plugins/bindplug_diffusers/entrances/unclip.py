"""unCLIP: the image embedding is noised and conditions the UNet, or is projected for the decoder."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from bindplug.errors import UnsupportedTarget
from bindplug_diffusers.entrances.base import Conditions, Entrance, Slot
from bindplug_diffusers.entrances.image_encoder import QueryImageEncoder
from bindplug_diffusers.pipeline_info import accepts, component_of, has_component
from bindplug_diffusers.strength import normalizer_norm


class StableUnCLIPEntrance(Entrance):
    """``image_embeds`` of ``StableUnCLIPImg2ImgPipeline`` and pipelines like it, with an ``image_normalizer``.

    The unconditional half of guidance is zeros, made inside the pipeline. Strength 0 is an embedding of zeros.
    """

    name = "image_embeds"
    replaces = ("image_embeds", "image")

    @classmethod
    def fits(cls, pipe: Any) -> bool:
        return accepts(pipe, "image_embeds") and has_component(pipe, "image_normalizer")

    def _slots(self) -> tuple[Slot, ...]:
        width = int(component_of(self.pipe, "image_normalizer").mean.shape[-1])
        config = component_of(self.pipe, "unet").config
        label_width = getattr(config, "projection_class_embeddings_input_dim", None)
        if label_width not in (None, 2 * width):  # the embedding and its noise level, side by side
            raise UnsupportedTarget(
                f"this {type(self.pipe).__name__} is put together from parts that do not fit: its image_normalizer is "
                f"for embeddings of {width} numbers, its unet for {label_width // 2}"
            )
        return (Slot(width),)

    @property
    def norm(self) -> float:
        """The length that the pipeline's own normalizer expects."""
        return normalizer_norm(self.pipe.image_normalizer)

    def arguments(self, conditions: Conditions) -> dict[str, Any]:
        return {"image_embeds": self.scale(conditions.slots[0].rows, conditions.norm)}

    def components(self, conditions: Conditions) -> dict[str, Any]:
        """A copy of the normalizer, whose parameters every call replaces, and an image encoder if none is loaded.

        The pipeline asks the image encoder for its dtype.
        """
        parts: dict[str, Any] = {"image_normalizer": deepcopy(self.pipe.image_normalizer)}
        if getattr(self.pipe, "image_encoder", None) is None:
            rows = conditions.slots[0].rows.to(self.device, self.dtype)
            parts["image_encoder"] = QueryImageEncoder(rows, norm=1.0)
        return parts


class UnCLIPVariationEntrance(Entrance):
    """``image_embeddings`` of ``UnCLIPImageVariationPipeline`` (Karlo), of CLIP ViT-L/14.

    The unconditional half of guidance is learned. Strength 0 is an embedding of zeros.
    """

    name = "image_embeddings"
    replaces = ("image_embeddings", "image")
    network = "decoder"

    @classmethod
    def fits(cls, pipe: Any) -> bool:
        return accepts(pipe, "image_embeddings") and has_component(pipe, "text_proj")

    def _slots(self) -> tuple[Slot, ...]:
        return (Slot(int(component_of(self.pipe, "text_proj").config.clip_embeddings_dim)),)

    def arguments(self, conditions: Conditions) -> dict[str, Any]:
        return {"image_embeddings": self.scale(conditions.slots[0].rows, conditions.norm)}

    def components(self, conditions: Conditions) -> dict[str, Any]:
        """An image encoder if none is loaded: the pipeline asks it for its dtype."""
        if getattr(self.pipe, "image_encoder", None) is not None:
            return {}
        rows = conditions.slots[0].rows.to(self.device, self.dtype)
        return {"image_encoder": QueryImageEncoder(rows, norm=1.0)}
