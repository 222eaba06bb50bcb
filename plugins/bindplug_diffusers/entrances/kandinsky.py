"""``image_embeds`` and ``negative_image_embeds`` of Kandinsky 2.2's decoders, which take no prompt."""

from __future__ import annotations

from typing import Any

from bindplug_diffusers.entrances.base import Conditions, Entrance, Slot
from bindplug_diffusers.inspection import accepts, unet_of


class KandinskyEntrance(Entrance):
    """``KandinskyV22Pipeline`` and its img2img, inpainting and ControlNet variants.

    Both halves of guidance are arguments. Strength 0 is an embedding of zeros, as the unconditional half is
    without a negative query.
    """

    name = "negative_image_embeds"
    replaces = ("image_embeds", "negative_image_embeds")
    has_negative = True

    @classmethod
    def fits(cls, pipe: Any) -> bool:
        takes = accepts(pipe, "image_embeds") and accepts(pipe, "negative_image_embeds")
        unet = getattr(pipe, "unet", None)
        return takes and getattr(getattr(unet, "config", None), "encoder_hid_dim_type", None) == "image_proj"

    def _slots(self) -> tuple[Slot, ...]:
        return (Slot(int(unet_of(self.pipe).config.encoder_hid_dim)),)

    def arguments(self, conditions: Conditions) -> dict[str, Any]:
        rows, negatives = (
            self.sized(r, conditions.norm) for r in (conditions.slots[0], conditions.negatives[0])
        )
        return {"image_embeds": rows, "negative_image_embeds": negatives}
