"""The base class of entrances, and what enters them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from bindplug.errors import InputError
from bindplug_diffusers.pipeline_info import component_of, device_of, is_guided
from bindplug_diffusers.strength import DEFAULT_NORM


@dataclass(frozen=True)
class Slot:
    """One place that takes an embedding. A pipeline with two IP-Adapters has two.

    Args:
        width: length of the embedding.
        refusal: why the slot takes no pooled image embedding; empty if it does.
    """

    width: int
    refusal: str = ""


@dataclass(frozen=True)
class SlotRows:
    """What enters one slot.

    Args:
        rows: (B, D) float32 unit rows times their strength, or a tensor in the pipeline's own form.
        negatives: (B, D) rows for the unconditional half of guidance.
        is_native: whether ``rows`` is a tensor in the pipeline's own form, which is passed on unchanged.
    """

    rows: Tensor
    negatives: Tensor
    is_native: bool = False


@dataclass(frozen=True)
class Conditions:
    """What enters a pipeline in one call.

    Args:
        slots: for each slot, its rows.
        norm: factor that gives unit rows the length the pipeline expects; None where only a call can tell.
        is_guided: whether the pipeline denoises with classifier-free guidance.
        is_batch: whether the rows are of several queries; else all are the same.
        pictures: number of pictures in the call. Each row is for ``pictures // B`` consecutive ones.
    """

    slots: Sequence[SlotRows]
    norm: float | None
    is_guided: bool
    is_batch: bool
    pictures: int


class Entrance(ABC):
    """The arguments or components by which image embeddings enter a pipeline.

    Args:
        pipe: the pipeline. Its components are read and never changed.

    Raises:
        UnsupportedTarget: the pipeline has this entrance, but no slot for a pooled image embedding.
    """

    name: ClassVar[str]
    replaces: ClassVar[tuple[str, ...]]
    """Arguments of the pipeline that a query replaces."""
    has_negative: ClassVar[bool] = False
    """Whether guidance takes a query to lead away from."""
    makes_pictures: ClassVar[bool] = True
    """Whether the output of the pipeline has pictures or frames."""
    network: ClassVar[str] = "unet"
    """The component whose dtype the embeddings must have."""

    def __init__(self, pipe: Any) -> None:
        self.pipe = pipe
        self.slots = self._slots()

    @classmethod
    @abstractmethod
    def fits(cls, pipe: Any) -> bool:
        """Whether the pipeline's class has this entrance."""

    @abstractmethod
    def _slots(self) -> tuple[Slot, ...]:
        """The places that take embeddings, at least one."""

    @abstractmethod
    def arguments(self, conditions: Conditions) -> dict[str, Any]:
        """Arguments of the pipeline's call that carry the embeddings."""

    def components(self, conditions: Conditions) -> dict[str, Any]:
        """Components in place of the pipeline's own, for one call."""
        return {}

    def methods(self, conditions: Conditions) -> dict[str, Any]:
        """Methods in place of the pipeline's own, for one call of several queries that it would mix otherwise."""
        return {}

    def is_guided(self, arguments: Mapping[str, Any]) -> bool:
        """Whether a call with these arguments uses classifier-free guidance."""
        return is_guided(self.pipe, arguments)

    @property
    def norm(self) -> float | None:
        """Length of an embedding at strength 1; None where only a call can tell."""
        return DEFAULT_NORM

    @property
    def dtype(self) -> torch.dtype:
        """The dtype that the pipeline computes in."""
        dtype: torch.dtype = component_of(self.pipe, self.network).dtype
        return dtype

    @property
    def device(self) -> torch.device:
        """The device that the pipeline computes on."""
        return device_of(self.pipe)

    def scale(self, rows: Tensor, norm: float | None) -> Tensor:
        """Rows with the length, dtype and device that the pipeline takes.

        Raises:
            InputError: they are too long for the pipeline's dtype.
        """
        scaled = rows.float() * (1.0 if norm is None else norm)
        cast = scaled.to(self.device, self.dtype)
        if not cast.isfinite().all():
            detail = f"embeddings of length {float(scaled.norm(dim=-1).max()):.3g}"
            raise InputError("strength", found=detail, expected=f"embeddings that {self.dtype} can hold")
        return cast

    def check_arguments(self, arguments: Mapping[str, Any]) -> None:
        """Refuse arguments that the query replaces.

        Raises:
            InputError: one of them is present.
        """
        present = [name for name in self.replaces if arguments.get(name) is not None]
        if present:
            remedy = f"Leave {present[0]} out, or the query"
            raise InputError(
                "pipe()", found=f"a query and {present[0]}", expected="one of them", remedy=remedy
            )


def repeat_for_pictures(rows: Tensor, pictures: int) -> Tensor:
    """(B, ...) -> (pictures, ...): one row for each picture, those of one query consecutive."""
    return rows.repeat_interleave(pictures // len(rows), dim=0)
