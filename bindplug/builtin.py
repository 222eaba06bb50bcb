"""The core's own plugin: it registers ImageBind through the door every plugin uses."""

from __future__ import annotations

from collections.abc import Callable

from bindplug.cards import ModelCard
from bindplug.hookspecs import hookimpl
from bindplug.modality import Modality
from bindplug.space import IMAGEBIND_SPACE, EmbeddingSpace

IMAGEBIND_HUGE = ModelCard(
    name="imagebind_huge",
    description="ImageBind as published: six towers, 1.2 billion parameters",
    modalities=tuple(modality.value for modality in Modality),
    space=IMAGEBIND_SPACE,
    license="CC-BY-NC-4.0",
    url="https://dl.fbaipublicfiles.com/imagebind/imagebind_huge.pth",
    size_bytes=4_803_000_000,  # 1,200.8 million float32 parameters; the publisher states no exact size or digest
    origin="arXiv 2305.05665",
)


@hookimpl
def register_models(register: Callable[[ModelCard], None]) -> None:
    """Register the published checkpoint."""
    register(IMAGEBIND_HUGE)


@hookimpl
def register_spaces(register: Callable[[EmbeddingSpace], None]) -> None:
    """Register ImageBind's space."""
    register(IMAGEBIND_SPACE)
