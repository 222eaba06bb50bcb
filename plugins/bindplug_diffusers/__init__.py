"""Queries for the pipelines of diffusers: from a sound, a depth map, a heat image, a motion or a blend to a picture.

import bindplug

pipe = bindplug.upgrade(pipe, bindplug.load("imagebind_huge"))
pipe(audio("waves.wav") + 0.7 * image("crane.jpg"), prompt="oil painting").images[0]

Importing this package imports neither torch nor diffusers; the first name taken from it does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bindplug.lazy import lazy_names
from bindplug_diffusers.requirement import require_diffusers

if TYPE_CHECKING:
    from bindplug_diffusers.adapter import upgrade
    from bindplug_diffusers.entrances import Entrance, Slot, find_entrance
    from bindplug_diffusers.entrances.image_encoder import QueryImageEncoder
    from bindplug_diffusers.guidance import guided
    from bindplug_diffusers.pipeline import PipelineWithQueries
    from bindplug_diffusers.pipeline_loader import load_pipeline, quiet_logging
    from bindplug_diffusers.prototypes import Prototypes
    from bindplug_diffusers.strength import DEFAULT_NORM, expected_norm

__all__ = [
    "DEFAULT_NORM",
    "Entrance",
    "PipelineWithQueries",
    "Prototypes",
    "QueryImageEncoder",
    "Slot",
    "expected_norm",
    "find_entrance",
    "guided",
    "load_pipeline",
    "quiet_logging",
    "upgrade",
]

_MODULES = {
    "DEFAULT_NORM": "strength",
    "Entrance": "entrances",
    "PipelineWithQueries": "pipeline",
    "Prototypes": "prototypes",
    "QueryImageEncoder": "entrances.image_encoder",
    "Slot": "entrances",
    "expected_norm": "strength",
    "find_entrance": "entrances",
    "guided": "guidance",
    "load_pipeline": "pipeline_loader",
    "quiet_logging": "pipeline_loader",
    "upgrade": "adapter",
}

__getattr__, __dir__ = lazy_names(__name__, _MODULES, __all__, before=require_diffusers)
