"""The open_clip plugin: an adapter that adds sensors to an existing CLIP of open_clip or OpenAI.

Imports nothing of open_clip, so that it can be listed where open_clip is not installed.
"""

from __future__ import annotations

from collections.abc import Callable

from bindplug import AdapterCard, ModelSourceCard, hookimpl
from bindplug.cards import is_instance_by_name, unwrapped

CLASSES = ("open_clip.CLIP", "open_clip.CustomTextCLIP", "clip.model.CLIP")
"""Classes with one image and one text tower. CoCa also has a captioner and is not among them."""


def recognises(target: object) -> bool:
    """Whether an object is a CLIP of open_clip or OpenAI, or a wrapper of one."""
    # models of this package too, so that the adapter can say that they need no upgrade
    return any(
        is_instance_by_name(unwrapped(target), name) for name in (*CLASSES, "bindplug_open_clip.SensorMixin")
    )


@hookimpl
def register_adapters(register: Callable[[AdapterCard], None]) -> None:
    """``bindplug.upgrade(open_clip_model)``."""
    register(
        AdapterCard(
            name="open_clip",
            description="a CLIP of open_clip or OpenAI: keeps its towers, adds audio, depth, thermal, IMU and video",
            target="bindplug_open_clip.adapter:upgrade",
            recognises=recognises,
            requires=("open_clip",),
            extra="open-clip",
        )
    )


@hookimpl
def register_model_sources(register: Callable[[ModelSourceCard], None]) -> None:
    """``bindplug.load("open_clip:NAME:TAG")``."""
    register(
        ModelSourceCard(
            name="open_clip",
            description="CLIPs of open_clip, by architecture and tag, weight file, hub id or directory",
            target="bindplug_open_clip.source:load",
            requires=("open_clip",),
            extra="open-clip",
            form="open_clip:NAME:TAG, open_clip:NAME:FILE, open_clip:hf-hub:OWNER/NAME or open_clip:./DIRECTORY",
        )
    )
