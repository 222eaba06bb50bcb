"""The embedded default: a procedural world with every sensor, and the small models trained on it.

from bindplug_toyworld import Scene
scene = Scene(7, "eval")
scene.image, scene.audio, scene.depth, scene.thermal, scene.caption
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bindplug.lazy import lazy_names

if TYPE_CHECKING:
    from bindplug_toyworld.dataset import scene_at
    from bindplug_toyworld.evaluation import THRESHOLDS, Measure, evaluate
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

_MODULES = {
    "CLASSNAMES": "things",
    "MOVING": "things",
    "Measure": "evaluation",
    "NAMES": "things",
    "Scene": "scene",
    "THRESHOLDS": "evaluation",
    "TOY_SPACE": "space",
    "evaluate": "evaluation",
    "scene_at": "dataset",
}

__getattr__, __dir__ = lazy_names(__name__, _MODULES, __all__)
