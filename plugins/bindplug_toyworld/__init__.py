"""The embedded default: a procedural world with every sensor, and the small models trained on it.

from bindplug_toyworld import Scene
scene = Scene(7, "eval")
scene.image, scene.audio, scene.depth, scene.thermal, scene.caption
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bindplug_toyworld.dataset import scene_at
    from bindplug_toyworld.evaluate import THRESHOLDS, Measure, evaluate
    from bindplug_toyworld.scene import Scene
    from bindplug_toyworld.space import TOY_SPACE
    from bindplug_toyworld.things import CLASSNAMES, MOVING, NAMES

__all__ = [
    "CLASSNAMES",
    "MOVING",
    "NAMES",
    "THRESHOLDS",
    "TOY_SPACE",
    "Measure",
    "Scene",
    "evaluate",
    "scene_at",
]

_HOMES = {
    "CLASSNAMES": "things",
    "MOVING": "things",
    "Measure": "evaluate",
    "NAMES": "things",
    "Scene": "scene",
    "THRESHOLDS": "evaluate",
    "TOY_SPACE": "space",
    "evaluate": "evaluate",
    "scene_at": "dataset",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
