"""The open_clip plugin: an adapter that adds sensors to an existing CLIP of open_clip or OpenAI.

Imports nothing of open_clip, so that it can be listed where open_clip is not installed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bindplug import AdapterCard, hookimpl
from bindplug.cards import is_instance_by_name

CLASSES = ("open_clip.CLIP", "open_clip.CustomTextCLIP", "clip.model.CLIP")
"""Classes with one image and one text tower. CoCa also has a captioner and is not among them."""

WRAPPERS = {
    "torch.DataParallel": "module",
    "torch.DistributedDataParallel": "module",
    "torch.OptimizedModule": "_orig_mod",  # made by torch.compile
}
"""Modules that hold one other module, and the attribute that holds it."""


def unwrapped(target: Any) -> Any:
    """The innermost module of a parallel or compiled one; any other object itself."""
    for name, attribute in WRAPPERS.items():
        if is_instance_by_name(target, name):
            return unwrapped(getattr(target, attribute))
    return target


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
