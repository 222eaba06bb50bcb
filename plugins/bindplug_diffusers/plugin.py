"""The diffusers plugin: an adapter for pipelines, and the command ``bindplug generate``."""

from __future__ import annotations

from collections.abc import Callable

from bindplug.cards import AdapterCard, CommandCard, is_instance_by_name
from bindplug.hookspecs import hookimpl


def _is_pipeline(value: object) -> bool:
    return is_instance_by_name(value, "diffusers.DiffusionPipeline")


@hookimpl
def register_adapters(register: Callable[[AdapterCard], None]) -> None:
    """``bindplug.upgrade(pipeline)``."""
    register(
        AdapterCard(
            name="diffusers",
            description="a diffusers pipeline with a CLIP image embedding entrance that also takes queries",
            target="bindplug_diffusers.adapter:upgrade",
            requires=("diffusers", "transformers"),
            extra="diffusers",
            recognises=_is_pipeline,
        )
    )


@hookimpl
def register_commands(register: Callable[[CommandCard], None]) -> None:
    """``bindplug generate``."""
    register(
        CommandCard(
            name="generate",
            description="Make a picture of a sound, a depth map, a heat image, a motion, or a blend.",
            target="bindplug_diffusers.command:generate",
            requires=("diffusers", "transformers"),
            extra="diffusers",
        )
    )
