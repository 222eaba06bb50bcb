"""What the toy world brings to bindplug: its models, their spaces, the bridge between them, and the demo."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bindplug import CommandCard, EmbeddingSpace, ModelCard, hookimpl
from bindplug.cards import BridgeCard
from bindplug_toyworld.space import CLAP_SPACE, FOREIGN_SPACE, TOY_SPACE


@hookimpl
def register_models(register: Callable[[ModelCard], None]) -> None:
    """The embedded default."""
    visual = ("image", "video", "text")
    register(
        _bundled(
            "imagebind_tiny",
            "bundled, offline: all modalities, 20 things; trained on the procedural toy world",
            TOY_SPACE,
            modalities=(*visual, "audio", "depth", "thermal", "imu"),
        )
    )
    register(
        _bundled(
            "toy_foreign_clip",
            "bundled: a second CLIP of the toy world, in a space of its own; for bridges",
            FOREIGN_SPACE,
            modalities=visual,
        )
    )
    register(
        _bundled(
            "toy_clap",
            "bundled: transformers' CLAP at tiny size, of sounds and captions; it never saw a picture",
            CLAP_SPACE,
            modalities=("text", "audio"),
            loader="bindplug_toyworld.clap:load",
            requires=("transformers",),
            extra="transformers",
        )
    )
    register(
        _bundled(
            "toy_detic",
            "bundled: a small Detic for the toy world's things, in the foreign CLIP's space",
            FOREIGN_SPACE,
            tool="detector",
            requires=("torchvision",),
            extra="detic",
        )
    )
    register(
        _bundled(
            "toy_unclip",
            "bundled: a small unCLIP pipeline of the toy world, conditioned on image embeddings alone",
            TOY_SPACE,
            tool="generator",
            requires=("diffusers", "transformers"),
            extra="diffusers",
        )
    )


def _bundled(
    name: str, description: str, space: EmbeddingSpace, *, modalities: tuple[str, ...] = (), **others: Any
) -> ModelCard:
    """The card of weights that lie in this package under their name, made by its recipes."""
    return ModelCard(
        name=name,
        description=description,
        modalities=modalities,
        space=space,
        license="Apache-2.0",
        weights=f"bindplug_toyworld:weights/{name}",
        origin="recipes",
        toy=True,
        **others,
    )


@hookimpl
def register_spaces(register: Callable[[EmbeddingSpace], None]) -> None:
    """The spaces of both toy CLIPs and of the toy CLAP."""
    register(TOY_SPACE)
    register(FOREIGN_SPACE)
    register(CLAP_SPACE)


@hookimpl
def register_bridges(register: Callable[[BridgeCard], None]) -> None:
    """From one toy CLIP's space to the other's."""
    register(
        BridgeCard(
            name="toy_bridge",
            description="imagebind_tiny to the foreign toy CLIP, fitted from captions",
            source=TOY_SPACE,
            destination=FOREIGN_SPACE,
            target="bindplug_toyworld.bridge:load",
        )
    )


@hookimpl
def register_commands(register: Callable[[CommandCard], None]) -> None:
    """``bindplug demo``."""
    register(
        CommandCard(
            name="demo",
            description="Send six kinds of sensor files through the bundled model, and write a report.",
            target="bindplug_toyworld.demo:demo",
            requires=("click", "rich", "soundfile", "av"),
            extra="demo",
        )
    )
