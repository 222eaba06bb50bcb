"""What every entrance tells and does."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor

from bindplug.errors import InputError
from bindplug_diffusers.inspection import device_of, unet_of
from bindplug_diffusers.strength import DEFAULT_NORM


@dataclass(frozen=True)
class Slot:
    """One place that takes an embedding; a pipeline with two IP-Adapters has two.

    Args:
        width: length of the embedding it takes.
        refusal: why it takes no pooled image embedding; empty if it does.
    """

    width: int
    refusal: str = ""


@dataclass(frozen=True)
class Conditions:
    """What is to enter.

    Args:
        slots: for each slot (B, D) float32 unit rows times their strength, or a tensor in the pipeline's own form.
        negatives: for each slot (B, D) rows for the unconditional half of guidance.
        norm: factor that brings rows to the length the pipeline expects; None where only a call can tell.
        is_guided: whether the pipeline denoises with guidance.
        is_batch: whether rows differ; else all are the same.
        pictures: how many the call makes; each row is for as many that follow each other as there are rows to it.
        own: slots whose tensor is in the pipeline's own form and passes as it is.
    """

    slots: Sequence[Tensor]
    negatives: Sequence[Tensor]
    norm: float | None
    is_guided: bool
    is_batch: bool
    pictures: int
    own: frozenset[int] = field(default_factory=frozenset)


class Entrance(ABC):
    """Where a pipeline takes image embeddings.

    Args:
        pipe: the pipeline, whose components are read and never changed.

    Raises:
        UnsupportedTarget: the pipeline has this entrance, but nothing that a pooled image embedding can enter.
    """

    name: ClassVar[str]
    replaces: ClassVar[tuple[str, ...]]
    """Arguments of the pipeline whose place the query takes."""
    has_negative: ClassVar[bool] = False
    """Whether guidance can lead away from a query of its own."""

    def __init__(self, pipe: Any) -> None:
        self.pipe = pipe
        self.slots = self._slots()

    @classmethod
    @abstractmethod
    def fits(cls, pipe: Any) -> bool:
        """Whether the pipeline has this entrance."""

    @abstractmethod
    def _slots(self) -> tuple[Slot, ...]:
        """The places that take embeddings, at least one."""

    @abstractmethod
    def arguments(self, conditions: Conditions) -> dict[str, Any]:
        """Arguments of the pipeline's call that carry the embeddings."""

    def components(self, conditions: Conditions) -> dict[str, Any]:
        """What to set on the second pipeline that a call runs on: components in place of its own, or methods."""
        return {}

    @property
    def norm(self) -> float | None:
        """Length of an embedding at strength 1; None where only a call can tell."""
        return DEFAULT_NORM

    @property
    def dtype(self) -> torch.dtype:
        """What the pipeline computes in."""
        return unet_of(self.pipe).dtype

    @property
    def device(self) -> torch.device:
        """Where the pipeline computes."""
        return device_of(self.pipe)

    def sized(self, rows: Tensor, norm: float | None) -> Tensor:
        """Rows at the length, in the dtype and on the device that the pipeline takes.

        Raises:
            InputError: they are too long for the pipeline's dtype.
        """
        long = rows.float() * (1.0 if norm is None else norm)
        cast = long.to(self.device, self.dtype)
        if not cast.isfinite().all():
            found = f"embeddings of length {float(long.norm(dim=-1).max()):.3g}"
            raise InputError("strength", found=found, expected=f"embeddings that {self.dtype} can hold")
        return cast

    def check_arguments(self, given: Mapping[str, Any]) -> None:
        """Refuse arguments whose place the query takes.

        Raises:
            InputError: one of them is given.
        """
        taken = [name for name in self.replaces if given.get(name) is not None]
        if taken:
            remedy = f"Leave {taken[0]} out, or the query"
            raise InputError("pipe()", found=f"a query and {taken[0]}", expected="one of them", remedy=remedy)
