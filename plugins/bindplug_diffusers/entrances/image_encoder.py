"""Pipelines that take a picture and no embedding: their image encoder is replaced for the time of a call."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from bindplug.errors import InputError, UnsupportedTarget
from bindplug_diffusers.entrances.base import Conditions, Entrance, Slot
from bindplug_diffusers.inspection import is_kind, unet_of


class QueryImageEncoder:
    """In the shape of a ``CLIPVisionModelWithProjection``: whatever the picture, its embedding is the query's.

    It has what pipelines ask of that component: a call that returns ``.image_embeds``, ``parameters()``,
    ``dtype``, ``device``, ``config``, ``to()``. It holds no network that offloading could hook.

    Args:
        rows: (B, D) unit rows times their strength; with one row, every picture gets it. Their dtype is the
            encoder's.
        norm: factor on the rows. None: the length of the embedding that ``encoder`` makes of the picture, so that
            the pipeline sees lengths it knows.
        encoder: the pipeline's own encoder; needed where ``norm`` is None.

    Raises:
        InputError: neither a norm nor an encoder.
    """

    def __init__(self, rows: Tensor, *, norm: float | None = None, encoder: Any = None) -> None:
        if norm is None and encoder is None:
            raise InputError(
                "image_encoder",
                found="no image_encoder in the pipeline, whose embeddings would tell how long they are to be",
                expected="a pipeline loaded whole, or a length",
                remedy="upgrade(pipe, model, norm=...)",
            )
        self.rows, self.norm, self.encoder = rows, norm, encoder
        self.config = getattr(encoder, "config", None)

    @property
    def dtype(self) -> torch.dtype:
        """Of the embeddings."""
        return self.rows.dtype

    @property
    def device(self) -> torch.device:
        """Where the embeddings are."""
        return self.rows.device

    def parameters(self) -> Iterator[Tensor]:
        """The rows, so that ``next(parameters())`` tells dtype and device."""
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
            found = f"{count} pictures"
            raise InputError("image_encoder", found=found, expected=f"{len(self.rows)}, one a query")
        rows = self.rows.to(pixel_values.device).expand(count, -1)
        if self.norm is not None:
            lengths: Any = self.norm
        else:
            seen = self.encoder(pixel_values.to(self.encoder.dtype)).image_embeds
            lengths = seen.float().norm(dim=-1, keepdim=True).to(rows.device)
        return SimpleNamespace(image_embeds=(rows.float() * lengths).to(self.dtype))


class ImageEncoderEntrance(Entrance):
    """Stable Video Diffusion and image variations, which embed the picture they are given.

    Stable Video Diffusion goes on taking its first frame from the picture; the query replaces what CLIP saw in it.
    The unconditional half of guidance is zeros, made inside the pipeline. Strength 0 is an embedding of zeros.
    """

    KINDS = ("StableVideoDiffusionPipeline", "StableDiffusionImageVariationPipeline")

    name = "image_encoder"
    replaces = ()

    @property
    def norm(self) -> None:
        """Only the picture of a call tells, through the pipeline's own encoder."""
        return None

    @classmethod
    def fits(cls, pipe: Any) -> bool:
        return is_kind(pipe, *cls.KINDS)

    def _slots(self) -> tuple[Slot, ...]:
        width = unet_of(self.pipe).config.cross_attention_dim
        widths = {width} if isinstance(width, int) else set(width)
        if len(widths) != 1:
            raise UnsupportedTarget(
                f"the unet of this {type(self.pipe).__name__} attends to embeddings of {widths}"
            )
        return (Slot(int(widths.pop())),)

    def arguments(self, conditions: Conditions) -> dict[str, Any]:
        return {}

    def components(self, conditions: Conditions) -> dict[str, Any]:
        """The stand-in, as constructors of pipelines take it."""
        rows = conditions.slots[0].to(self.device, self.dtype)
        own = getattr(self.pipe, "image_encoder", None)
        return {"image_encoder": QueryImageEncoder(rows, norm=conditions.norm, encoder=own)}
