"""What everything that takes a bridge relies on, whether or not it derives from :class:`bindplug.bridges.Bridge`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

from torch import Tensor

from bindplug.modality import Modality
from bindplug.space import EmbeddingSpace


@runtime_checkable
class AnyBridge(Protocol):
    """A map from unit rows of one space to unit rows of another.

    Attributes:
        kind: how it maps, as ``"linear"`` or ``"vocabulary"``.
        source: the space it maps from.
        target: the space it maps to.
        target_mean: (D_target,) what the unit rows of the target space share, around which weighted sums are
            formed; None if nothing is known of it.
        modalities: names of the modalities that have a center of their own.
    """

    @property
    def kind(self) -> str:
        """How it maps."""

    @property
    def source(self) -> EmbeddingSpace:
        """The space it maps from."""

    @property
    def target(self) -> EmbeddingSpace:
        """The space it maps to."""

    @property
    def target_mean(self) -> Tensor | None:
        """(D_target,) mean of the target's unit rows."""

    @property
    def modalities(self) -> tuple[str, ...]:
        """Modalities with a center of their own."""

    def __call__(self, rows: Any, modality: str | Modality | Sequence[str | Modality] = "text") -> Tensor:
        """(N, D_source) rows to (N, D_target) float32 unit rows; ``modality`` is one for all or one for each."""


PARTS = ("kind", "source", "target", "target_mean", "modalities")
"""Attributes of an :class:`AnyBridge`, for the error that names the absent one."""
