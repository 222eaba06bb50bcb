"""What the open_clip plugin brings to bindplug: ears for an existing open_clip model.

Imports nothing of open_clip, so that it can be listed where open_clip is not installed.
"""

from __future__ import annotations

from collections.abc import Callable

from bindplug import AdapterCard, hookimpl
from bindplug.cards import is_instance_by_name

CLASSES = ("CLIP", "CustomTextCLIP")
"""Classes of open_clip with one image and one text tower. CoCa captions too and is not among them."""


def recognises(target: object) -> bool:
    """Whether an object is an open_clip CLIP that does not take queries yet."""
    if is_instance_by_name(target, "bindplug_open_clip.SensorFace"):
        return False
    return any(is_instance_by_name(target, f"open_clip.{name}") for name in CLASSES)


@hookimpl
def register_adapters(register: Callable[[AdapterCard], None]) -> None:
    """``bindplug.upgrade(open_clip_model)``."""
    register(
        AdapterCard(
            name="open_clip",
            description="open_clip's CLIP: shares its image and text towers, adds sound, depth, heat, motion and video",
            target="bindplug_open_clip.adapter:upgrade",
            recognises=recognises,
            requires=("open_clip",),
            extra="open-clip",
        )
    )
