"""Pipelines that embed a picture themselves: their image encoder is replaced for the time of a call."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from bindplug.errors import InputError, UnsupportedTarget
from bindplug_diffusers.entrances.base import Conditions, Entrance, Slot
from bindplug_diffusers.pipeline_info import component_of, is_kind


class QueryImageEncoder:
    """Stands in for a ``CLIPVisionModelWithProjection``: every picture has the embedding of a query.

    It has the parts that pipelines use: a call that returns ``.image_embeds``, ``parameters()``, ``dtype``,
    ``device``, ``config`` and ``to()``. It holds no network that offloading could hook.

    Args:
        rows: (B, D) unit rows times their strength, or one row for all pictures. Their dtype is the encoder's.
        norm: factor on the rows; None for the length of the embedding that ``encoder`` makes of the picture.
        encoder: the pipeline's own encoder; needed if ``norm`` is None.

    Raises:
        InputError: neither a norm nor an encoder.
    """

    def __init__(self, rows: Tensor, *, norm: float | None = None, encoder: Any = None) -> None:
        if norm is None and encoder is None:
            raise InputError(
                "image_encoder",
                found="no image_encoder in the pipeline, which would tell how long embeddings are",
                expected="a pipeline with its image_encoder, or a length",
                remedy="upgrade(pipe, model, norm=...)",
            )
        self.rows, self.norm, self.encoder = rows, norm, encoder
        self.config = getattr(encoder, "config", None)

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the embeddings."""
        return self.rows.dtype

    @property
    def device(self) -> torch.device:
        """The device of the embeddings."""
        return self.rows.device

    def parameters(self) -> Iterator[Tensor]:
        """The rows, so that ``next(parameters())`` has the dtype and device."""
        yield self.rows

    def to(self, *args: Any, **kwargs: Any) -> QueryImageEncoder:
        """An encoder with its rows moved or cast."""
        return QueryImageEncoder(self.rows.to(*args, **kwargs), norm=self.norm, encoder=self.encoder)

    def __call__(self, pixel_values: Tensor, **_: Any) -> SimpleNamespace:
        """``.image_embeds`` (B, D) for a batch of B pictures.

        Raises:
            InputError: another number of pictures than of rows.
        """
        count = len(pixel_values)
        if len(self.rows) not in (1, count):
            detail = f"{count} pictures"
            raise InputError("image_encoder", found=detail, expected=f"{len(self.rows)}, one a query")
        rows = self.rows.to(pixel_values.device).expand(count, -1)
        if self.norm is not None:
            lengths: Any = self.norm
        else:
            own = self.encoder(pixel_values.to(self.encoder.dtype)).image_embeds
            lengths = own.float().norm(dim=-1, keepdim=True).to(rows.device)
        return SimpleNamespace(image_embeds=(rows.float() * lengths).to(self.dtype))


class ImageEncoderEntrance(Entrance):
    """Stable Video Diffusion and image variations, whose argument is a picture.

    Stable Video Diffusion still takes its first frame from the picture. The query replaces the picture's embedding.
    The unconditional half of guidance is zeros, made inside the pipeline. Strength 0 is an embedding of zeros.
    """

    KINDS = ("StableVideoDiffusionPipeline", "StableDiffusionImageVariationPipeline")

    name = "image_encoder"
    replaces = ()

    @property
    def norm(self) -> None:
        """None: the pipeline's own encoder tells the length for the picture of each call."""
        return None

    @classmethod
    def fits(cls, pipe: Any) -> bool:
        return is_kind(pipe, *cls.KINDS)

    def _slots(self) -> tuple[Slot, ...]:
        width = component_of(self.pipe, "unet").config.cross_attention_dim
        widths = {width} if isinstance(width, int) else set(width)
        if len(widths) != 1:
            raise UnsupportedTarget(
                f"the unet of this {type(self.pipe).__name__} attends to embeddings of several widths: {sorted(widths)}"
            )
        return (Slot(int(widths.pop())),)

    def arguments(self, conditions: Conditions) -> dict[str, Any]:
        return {}

    def components(self, conditions: Conditions) -> dict[str, Any]:
        """The stand-in, which constructors of pipelines take too."""
        rows = conditions.slots[0].rows.to(self.device, self.dtype)
        own = getattr(self.pipe, "image_encoder", None)
        return {"image_encoder": QueryImageEncoder(rows, norm=conditions.norm, encoder=own)}
