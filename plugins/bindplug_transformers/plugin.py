"""What bindplug_transformers brings: sensors for a CLIP of transformers, and encoders of the library's own models."""

from __future__ import annotations

from collections.abc import Callable

from bindplug.cards import AdapterCard, ModelCard, ModelSourceCard, is_instance_by_name, unwrapped
from bindplug.hookspecs import hookimpl
from bindplug.space import EmbeddingSpace

CLASSES = ("transformers.CLIPModel", "bindplug_transformers.ImageBindPreTrainedModel")
"""The latter so that the adapter can say that they need no upgrade."""


def _card(
    name: str, description: str, modalities: tuple[str, ...], width: int, license: str, origin: str
) -> ModelCard:
    space = EmbeddingSpace(f"transformers:{name}", width)
    return ModelCard(
        name=space.name,
        description=description,
        modalities=modalities,
        space=space,
        license=license,
        origin=origin,
        requires=("transformers",),
        extra="transformers",
    )


MODELS = (
    _card(
        "laion/clap-htsat-unfused",
        "CLAP of LAION: sounds and text",
        ("text", "audio"),
        512,
        "Apache-2.0",
        "arXiv 2211.06687",
    ),
    _card(
        "facebook/pe-av-large",
        "Perception Encoder of Meta: sounds, videos, both together, and text",
        ("video", "text", "audio"),
        1024,
        "Apache-2.0",
        "PE-AV, Meta, December 2025",
    ),
    _card(
        "google/embeddinggemma-2",
        "EmbeddingGemma 2 of Google: text, pictures, sounds and videos, 740 M parameters",
        ("image", "video", "text", "audio"),
        768,
        "Apache-2.0",
        "EmbeddingGemma 2, Google, October 2026",
    ),
    _card(
        "google/siglip2-base-patch16-224",
        "SigLIP 2 of Google: pictures and text in many languages",
        ("image", "text"),
        768,
        "Apache-2.0",
        "arXiv 2502.14786",
    ),
    _card(
        "openai/clip-vit-base-patch32", "CLIP of OpenAI", ("image", "text"), 512, "MIT", "arXiv 2103.00020"
    ),
)
"""Some of the models that ids of this scheme load, for ``bindplug models``."""


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
            models=MODELS,
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
