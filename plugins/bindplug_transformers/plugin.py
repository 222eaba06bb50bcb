"""What bindplug_transformers brings: sensors for a CLIP of transformers, and encoders of the library's own models."""

from __future__ import annotations

from collections.abc import Callable

from bindplug.cards import AdapterCard, ModelSourceCard, is_instance_by_name, unwrapped
from bindplug.hookspecs import hookimpl

CLASSES = ("transformers.CLIPModel", "bindplug_transformers.ImageBindPreTrainedModel")
"""The latter so that the adapter can say that they need no upgrade."""


def _is_clip(value: object) -> bool:
    return any(is_instance_by_name(unwrapped(value), name) for name in CLASSES)


@hookimpl
def register_adapters(register: Callable[[AdapterCard], None]) -> None:
    """``bindplug.upgrade(CLIPModel)``."""
    register(
        AdapterCard(
            name="transformers_clip",
            description="a transformers CLIPModel that also embeds sound, depth, heat, motion and video",
            target="bindplug_transformers.adapter:upgrade",
            requires=("transformers",),
            extra="transformers",
            recognises=_is_clip,
        )
    )


@hookimpl
def register_model_sources(register: Callable[[ModelSourceCard], None]) -> None:
    """``bindplug.load("transformers:ID")`` and ``bindplug.load("sentence-transformers:ID")``."""
    register(
        ModelSourceCard(
            name="transformers",
            description="embedding models of transformers: CLAP, PE-AV, EmbeddingGemma 2, CLIP, SigLIP",
            target="bindplug_transformers.sources.loading:load",
            requires=("transformers",),
            extra="transformers",
            form="transformers:OWNER/NAME or transformers:./DIRECTORY",
        )
    )
    register(
        ModelSourceCard(
            name="sentence-transformers",
            description="text embedders, and CLIPs and CLAPs, of sentence-transformers",
            target="bindplug_transformers.sources.sentence:load",
            requires=("sentence_transformers", "transformers"),
            extra="sentence-transformers",
            form="sentence-transformers:OWNER/NAME or sentence-transformers:./DIRECTORY",
        )
    )
