"""``ip_adapter_image_embeds``: one tensor an IP-Adapter, the unconditional half first where guidance is on."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from bindplug.errors import UnsupportedTarget
from bindplug_diffusers.entrances.base import Conditions, Entrance, Slot
from bindplug_diffusers.inspection import accepts, is_kind, unet_of

POOLED = "ImageProjection"
"""The projection that takes a pooled embedding: Linear, then LayerNorm."""

_OTHERS = {
    "IPAdapterPlusImageProjection": "a 'plus' adapter, which looks at the patches of a picture (hidden states)",
    "IPAdapterFullImageProjection": "a 'full' adapter, which looks at the patches of a picture (hidden states)",
    "IPAdapterFaceIDImageProjection": "a FaceID adapter, which takes the vector of a face recogniser",
    "IPAdapterFaceIDPlusImageProjection": "a FaceID 'plus' adapter, which takes the vector of a face recogniser",
    "IPAdapterTimeImageProjection": "an adapter that looks at the patches of a picture (hidden states)",
}
_REMEDY = (
    "Load one that takes the pooled embedding, as ip-adapter_sd15.safetensors or ip-adapter_sdxl_vit-h.safetensors of "
    "h94/IP-Adapter (image_encoder_folder=None leaves CLIP's encoder out)"
)


class IPAdapterEntrance(Entrance):
    """Stable Diffusion and SDXL with IP-Adapters, in every variant that takes ``ip_adapter_image_embeds``.

    Without a negative query the unconditional half is zeros, as diffusers makes it. Strength 0 is an embedding
    of zeros; it is not scale 0, since an adapter projects zeros to something: for the pipeline without the
    adapter, ``pipe.set_ip_adapter_scale(0)``.
    """

    name = "ip_adapter_image_embeds"
    replaces = ("ip_adapter_image_embeds", "ip_adapter_image")
    has_negative = True

    @classmethod
    def fits(cls, pipe: Any) -> bool:
        return accepts(pipe, "ip_adapter_image_embeds")

    def _slots(self) -> tuple[Slot, ...]:
        name = type(self.pipe).__name__
        if accepts(self.pipe, "negative_ip_adapter_image_embeds") or not hasattr(self.pipe, "unet"):
            raise UnsupportedTarget(
                f"the IP-Adapters of a {name} are of another kind than those of Stable Diffusion"
            )
        if is_kind(self.pipe, "StableDiffusionInstructPix2PixPipeline"):
            raise UnsupportedTarget(f"a {name} guides threefold, for which its IP-Adapter takes no query")
        layers = getattr(
            getattr(unet_of(self.pipe), "encoder_hid_proj", None), "image_projection_layers", None
        )
        if not layers:
            raise UnsupportedTarget(
                f"this {name} takes image embeddings through IP-Adapters, and none is loaded. {_REMEDY}"
            )
        slots = tuple(_slot(layer) for layer in layers)
        if all(slot.refusal for slot in slots):
            reasons = "; ".join(f"IP-Adapter {i} is {slot.refusal}" for i, slot in enumerate(slots))
            raise UnsupportedTarget(f"a query is one pooled embedding, and {reasons}. {_REMEDY}")
        return slots

    def arguments(self, conditions: Conditions) -> dict[str, Any]:
        """A row for each adapter, which the pipeline gives to every picture of the call."""
        rows = slice(None) if conditions.is_batch else slice(1)
        entering = [
            own.to(self.device, self.dtype)
            if slot in conditions.own
            else self._joined(own[rows], conditions.negatives[slot][rows], conditions)
            for slot, own in enumerate(conditions.slots)
        ]
        return {"ip_adapter_image_embeds": entering}

    def components(self, conditions: Conditions) -> dict[str, Any]:
        """For several queries, the pipeline's own step of preparing embeddings, which would mix them in every picture.

        It repeats all rows once for each picture, and attention then reads them as one sequence of tokens.
        """
        if not conditions.is_batch:
            return {}
        prepared = [
            _tiled(own.to(self.device, self.dtype), conditions)
            if slot in conditions.own
            else self._joined(
                _repeated(own, conditions.pictures),
                _repeated(conditions.negatives[slot], conditions.pictures),
                conditions,
            )
            for slot, own in enumerate(conditions.slots)
        ]
        return {"prepare_ip_adapter_image_embeds": lambda *_, **__: prepared}

    def _joined(self, rows: Tensor, negatives: Tensor, conditions: Conditions) -> Tensor:
        """(2B, 1, D), negatives first, with guidance; (B, 1, D) without."""
        halves = [negatives, rows] if conditions.is_guided else [rows]
        return self.sized(torch.cat(halves), conditions.norm)[:, None]


def _repeated(rows: Tensor, pictures: int) -> Tensor:
    """A row for each picture, those of one query together."""
    return rows.repeat_interleave(pictures // len(rows), dim=0)


def _tiled(tensor: Tensor, conditions: Conditions) -> Tensor:
    """A tensor in the pipeline's own form, its halves repeated for every picture."""
    halves = tensor.chunk(2) if conditions.is_guided else (tensor,)
    return torch.cat([torch.cat([half] * (conditions.pictures // len(half))) for half in halves])


def _slot(layer: Any) -> Slot:
    kind = type(layer).__name__
    if kind == POOLED:
        return Slot(int(layer.image_embeds.in_features))
    return Slot(0, _OTHERS.get(kind, f"of the kind {kind}, which is not known to take a pooled embedding"))
