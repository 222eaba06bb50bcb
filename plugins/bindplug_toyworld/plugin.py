"""What the toy world brings to bindplug: its models, their spaces, the bridge between them, and the demo."""

from __future__ import annotations

from collections.abc import Callable

from bindplug import CommandCard, EmbeddingSpace, ModelCard, hookimpl
from bindplug.cards import BridgeCard
from bindplug_toyworld.space import FOREIGN_SPACE, TOY_SPACE


@hookimpl
def register_models(register: Callable[[ModelCard], None]) -> None:
    """The embedded default."""
    register(
        ModelCard(
            name="imagebind_tiny",
            description="bundled, offline: all modalities, 20 things; trained on the procedural toy world",
            modalities=("image", "video", "text", "audio", "depth", "thermal", "imu"),
            space=TOY_SPACE,
            licence="Apache-2.0",
            weights="bindplug_toyworld:weights/imagebind_tiny",
            origin="plugins/bindplug_toyworld/recipes",
        )
    )
    register(
        ModelCard(
            name="toy_foreign_clip",
            description="bundled: a second CLIP of the toy world, in a space of its own; for bridges",
            modalities=("image", "video", "text"),
            space=FOREIGN_SPACE,
            licence="Apache-2.0",
            weights="bindplug_toyworld:weights/toy_foreign_clip",
            origin="plugins/bindplug_toyworld/recipes",
        )
    )
    register(
        ModelCard(
            name="toy_detic",
            description="bundled: a small Detic for the toy world's things, in the foreign CLIP's space",
            tool="detector",
            modalities=(),
            space=FOREIGN_SPACE,
            licence="Apache-2.0",
            weights="bindplug_toyworld:weights/toy_detic",
            requires=("torchvision",),
            extra="detic",
            origin="plugins/bindplug_toyworld/recipes",
        )
    )
    register(
        ModelCard(
            name="toy_unclip",
            description="bundled: a small unCLIP pipeline of the toy world, conditioned on image embeddings alone",
            tool="generator",
            modalities=(),
            space=TOY_SPACE,
            licence="Apache-2.0",
            weights="bindplug_toyworld:weights/toy_unclip",
            requires=("diffusers", "transformers"),
            extra="diffusers",
            origin="plugins/bindplug_toyworld/recipes",
        )
    )


@hookimpl
def register_spaces(register: Callable[[EmbeddingSpace], None]) -> None:
    """The spaces of both toy CLIPs."""
    register(TOY_SPACE)
    register(FOREIGN_SPACE)


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
            description="six kinds of sensor files through the bundled model, with a report",
            target="bindplug_toyworld.demo:demo",
            requires=("click", "rich", "soundfile", "av"),
            extra="demo",
        )
    )
