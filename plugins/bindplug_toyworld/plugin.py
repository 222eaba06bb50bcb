"""What the toy world brings to bindplug: its model, its space, and the demo."""

from __future__ import annotations

from collections.abc import Callable

from bindplug import CommandCard, EmbeddingSpace, ModelCard, hookimpl
from bindplug_toyworld.space import TOY_SPACE


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


@hookimpl
def register_spaces(register: Callable[[EmbeddingSpace], None]) -> None:
    """The toy CLIP's space."""
    register(TOY_SPACE)


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
