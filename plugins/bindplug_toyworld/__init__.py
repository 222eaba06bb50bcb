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
    from bindplug_toyworld.report.colors import AXES, INFERNO, VIRIDIS, apply_colors
    from bindplug_toyworld.report.pictures import motion_paths, spectrogram_picture
    from bindplug_toyworld.scene import Scene
    from bindplug_toyworld.space import TOY_SPACE
    from bindplug_toyworld.things import CLASSNAMES, MOVING, NAMES

__all__ = [
    "AXES",
    "CLASSNAMES",
    "INFERNO",
    "MOVING",
    "NAMES",
    "THRESHOLDS",
    "TOY_SPACE",
    "VIRIDIS",
    "Measure",
    "Scene",
    "apply_colors",
    "evaluate",
    "motion_paths",
    "scene_at",
    "spectrogram_picture",
]

_MODULES = {
    "AXES": "report.colors",
    "CLASSNAMES": "things",
    "INFERNO": "report.colors",
    "MOVING": "things",
    "Measure": "evaluation",
    "NAMES": "things",
    "Scene": "scene",
    "THRESHOLDS": "evaluation",
    "TOY_SPACE": "space",
    "VIRIDIS": "report.colors",
    "apply_colors": "report.colors",
    "evaluate": "evaluation",
    "motion_paths": "report.pictures",
    "scene_at": "dataset",
    "spectrogram_picture": "report.pictures",
}

__getattr__, __dir__ = lazy_names(__name__, _MODULES, __all__)
