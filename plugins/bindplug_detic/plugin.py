"""What bindplug_detic brings to bindplug: a detector that looks for queries, and a command that draws them.

Imports neither torchvision nor detectron2, so that it can be listed where those are not installed.
"""

from __future__ import annotations

from collections.abc import Callable

from bindplug.cards import AdapterCard, CommandCard, is_instance_by_name
from bindplug.hookspecs import hookimpl


def recognises(target: object) -> bool:
    """Whether an object is our Detic, or a detectron2 predictor or model with a zero-shot classifier."""
    if is_instance_by_name(target, "bindplug_detic.Detic"):
        return True
    if is_instance_by_name(target, "detectron2.DefaultPredictor"):
        return has_zero_shot_classifier(getattr(target, "model", None))
    return is_instance_by_name(target, "detectron2.GeneralizedRCNN") and has_zero_shot_classifier(target)


def has_zero_shot_classifier(model: object) -> bool:
    """Whether every cascade stage of a detectron2 model classifies by ``zs_weight``, as Detic's do."""
    stages = getattr(getattr(model, "roi_heads", None), "box_predictor", None)
    try:
        found = [hasattr(getattr(stage, "cls_score", None), "zs_weight") for stage in stages or ()]
    except TypeError:  # one predictor, as of a detector without a cascade
        return False
    return bool(found) and all(found)


@hookimpl
def register_adapters(register: Callable[[AdapterCard], None]) -> None:
    """``bindplug.upgrade(detector, model)``."""
    register(
        AdapterCard(
            name="detic",
            description="Detic, ours or detectron2's, that looks for sounds, depth, heat, motion, pictures and words",
            target="bindplug_detic.adapter:upgrade",
            recognises=recognises,
            requires=("torchvision",),
            extra="detic",
        )
    )


@hookimpl
def register_commands(register: Callable[[CommandCard], None]) -> None:
    """``bindplug detect``."""
    register(
        CommandCard(
            name="detect",
            description="find in pictures what sounds, words, depth maps or other pictures point at",
            target="bindplug_detic.command:detect",
            requires=("click", "rich", "torchvision"),
            extra="detic",
        )
    )
