"""``ip_adapter_image_embeds``: one tensor for each IP-Adapter."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from bindplug.errors import UnsupportedTarget
from bindplug_diffusers.entrances.base import Conditions, Entrance, Slot, SlotRows, repeat_for_pictures
from bindplug_diffusers.pipeline_info import accepts, component_of, default_of, is_kind

POOLED = "ImageProjection"
"""The projection that takes a pooled embedding: a linear layer and a layer norm."""

PATCHES = "it takes the patch tokens of an image encoder (hidden states)"
REFUSED_PROJECTIONS = {
    "IPAdapterPlusImageProjection": f"a 'plus' adapter: {PATCHES}",
    "IPAdapterFullImageProjection": f"a 'full' adapter: {PATCHES}",
    "IPAdapterFaceIDImageProjection": "a FaceID adapter: it takes the vector of a face recognition network",
    "IPAdapterFaceIDPlusImageProjection": "a FaceID 'plus' adapter: it takes the vector of a face recognition network",
    "IPAdapterTimeImageProjection": f"an adapter of Stable Diffusion 3: {PATCHES}",
}
REMEDY = (
    "Load one that takes the pooled embedding, as ip-adapter_sd15.safetensors or ip-adapter_sdxl_vit-h.safetensors of "
    "h94/IP-Adapter (image_encoder_folder=None leaves CLIP's encoder out)"
)


class IPAdapterEntrance(Entrance):
    """Stable Diffusion, SDXL and other UNet pipelines with IP-Adapters.

    Each tensor has the unconditional half first where guidance is on. Without a negative query that half is zeros, as
    in diffusers. Strength 0 is an embedding of zeros. It differs from scale 0, as an adapter projects zeros to
    something: for the pipeline without the adapter, call ``pipe.set_ip_adapter_scale(0)``.
    """

    name = "ip_adapter_image_embeds"
    replaces: ClassVar[tuple[str, ...]] = ("ip_adapter_image_embeds", "ip_adapter_image")
    has_negative = True

    @classmethod
    def fits(cls, pipe: Any) -> bool:
        return accepts(pipe, "ip_adapter_image_embeds")

    def _slots(self) -> tuple[Slot, ...]:
        name = type(self.pipe).__name__
        if is_kind(self.pipe, "StableDiffusionInstructPix2PixPipeline"):
            raise UnsupportedTarget(
                f"a {name} guides by text and by picture at once, so its IP-Adapter takes three rows for each picture"
            )
        projection = getattr(component_of(self.pipe, self.network), "encoder_hid_proj", None)
        layers = getattr(projection, "image_projection_layers", None)
        if not layers:
            raise UnsupportedTarget(
                f"this {name} takes image embeddings through IP-Adapters, and none is loaded. {self._remedy}"
            )
        slots = tuple(_slot(layer) for layer in layers)
        if all(slot.refusal for slot in slots):
            reasons = "; ".join(f"IP-Adapter {i} is {slot.refusal}" for i, slot in enumerate(slots))
            raise UnsupportedTarget(f"a query is one pooled embedding, and {reasons}. {self._remedy}")
        return slots

    @property
    def _remedy(self) -> str:
        return REMEDY

    def arguments(self, conditions: Conditions) -> dict[str, Any]:
        """One row for each adapter, which the pipeline gives to every picture of the call."""
        count = None if conditions.is_batch else 1
        tensors = [
            slot.rows.to(self.device, self.dtype)
            if slot.is_native
            else self._halves(slot.rows[:count], slot.negatives[:count], conditions)
            for slot in conditions.slots
        ]
        return {"ip_adapter_image_embeds": tensors}

    def methods(self, conditions: Conditions) -> dict[str, Any]:
        """For several queries, the pipeline's preparation of embeddings, which would mix them in every picture.

        It repeats all rows once for each picture, and attention then reads them as one sequence of tokens.
        """
        if not conditions.is_batch:
            return {}
        prepared = [
            _tile(slot.rows.to(self.device, self.dtype), conditions)
            if slot.is_native
            else self._halves(
                repeat_for_pictures(slot.rows, conditions.pictures),
                repeat_for_pictures(slot.negatives, conditions.pictures),
                conditions,
            )
            for slot in conditions.slots
        ]
        return {"prepare_ip_adapter_image_embeds": lambda *_, **__: prepared}

    def _halves(self, rows: Tensor, negatives: Tensor, conditions: Conditions) -> Tensor:
        """(B, D) -> (2B, 1, D), negatives first, with guidance; (B, 1, D) without."""
        halves = [negatives, rows] if conditions.is_guided else [rows]
        return self.scale(torch.cat(halves), conditions.norm)[:, None]


class TransformerIPAdapterEntrance(IPAdapterEntrance):
    """Flux and Chroma with IP-Adapters: both halves of guidance are arguments.

    The published adapters take embeddings of CLIP ViT-L/14. The negative half counts only with true guidance
    (``true_cfg_scale`` above 1 and a negative prompt); it is zeros without a negative query.
    """

    replaces = (
        "ip_adapter_image_embeds",
        "ip_adapter_image",
        "negative_ip_adapter_image_embeds",
        "negative_ip_adapter_image",
    )
    network = "transformer"

    @classmethod
    def fits(cls, pipe: Any) -> bool:
        return accepts(pipe, "ip_adapter_image_embeds") and accepts(pipe, "negative_ip_adapter_image_embeds")

    @property
    def _remedy(self) -> str:
        return (
            "Load one that takes the pooled embedding: pipe.load_ip_adapter('XLabs-AI/flux-ip-adapter', ...)"
        )

    def is_guided(self, arguments: Mapping[str, Any]) -> bool:
        """Whether true guidance is on, which denoises a second time for the negative prompt."""
        if not accepts(self.pipe, "true_cfg_scale"):
            return super().is_guided(arguments)
        scale = arguments.get("true_cfg_scale", default_of(self.pipe, "true_cfg_scale"))
        has_negative = any(
            arguments.get(name) is not None for name in ("negative_prompt", "negative_prompt_embeds")
        )
        return bool(scale and scale > 1 and has_negative)

    def arguments(self, conditions: Conditions) -> dict[str, Any]:
        """(B, 1, D) for each adapter; the pipeline itself would need an image encoder for absent negatives."""
        tensors = [self._tensors(slot, conditions) for slot in conditions.slots]
        return {
            "ip_adapter_image_embeds": [positive for positive, _ in tensors],
            "negative_ip_adapter_image_embeds": [negative for _, negative in tensors],
        }

    def methods(self, conditions: Conditions) -> dict[str, Any]:
        """For several queries, a preparation that keeps the rows of one query together, as latents are.

        The pipeline's own repeats all rows as a whole.
        """
        if not conditions.is_batch:
            return {}

        def prepare(image: Any, embeds: list[Tensor], *_: Any, **__: Any) -> list[Tensor]:
            return [repeat_for_pictures(tensor, conditions.pictures) for tensor in embeds]

        return {"prepare_ip_adapter_image_embeds": prepare}

    def _tensors(self, slot: SlotRows, conditions: Conditions) -> tuple[Tensor, Tensor]:
        """What enters one adapter, (B, 1, D), and the same for the negative half."""
        if slot.is_native:
            positive = slot.rows.to(self.device, self.dtype)
            return positive, torch.zeros_like(positive)
        positive, negative = (
            self.scale(half, conditions.norm)[:, None] for half in (slot.rows, slot.negatives)
        )
        return positive, negative


def _tile(tensor: Tensor, conditions: Conditions) -> Tensor:
    """A tensor in the pipeline's own form, its halves repeated for every picture."""
    halves = tensor.chunk(2) if conditions.is_guided else (tensor,)
    return torch.cat([torch.cat([half] * (conditions.pictures // len(half))) for half in halves])


def _slot(layer: Any) -> Slot:
    kind = type(layer).__name__
    if kind == POOLED:
        return Slot(int(layer.image_embeds.in_features))
    return Slot(0, REFUSED_PROJECTIONS.get(kind, f"of the unknown kind {kind}"))
