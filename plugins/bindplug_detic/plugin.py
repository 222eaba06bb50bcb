"""The registrations of bindplug_detic: an adapter that gives detectors prompts, and a command that draws the results.

Imports neither torchvision nor detectron2, so that they can be listed where those are not installed.
"""

from __future__ import annotations

from collections.abc import Callable

from bindplug.cards import AdapterCard, CommandCard, is_instance_by_name
from bindplug.hookspecs import hookimpl

DETECTRON2 = ("detectron2.DefaultPredictor", "detectron2.GeneralizedRCNN")


def recognises(target: object) -> bool:
    """Whether an object is our Detic, a predictor or model of detectron2, or what people have instead of these.

    Detectors without a zero-shot classifier, demos and upgraded detectors are recognized too, so that the adapter can
    say what to upgrade.
    """
    if is_instance_by_name(target, "bindplug_detic.Detic") or is_upgraded(target):
        return True
    return is_detectron2(target) or is_demo(target)


def is_upgraded(target: object) -> bool:
    """Whether an object is a detector that takes prompts already."""
    return is_instance_by_name(target, "bindplug_detic.PromptedDetector")


def is_detectron2(target: object) -> bool:
    """Whether an object is a predictor or a model of detectron2."""
    return any(is_instance_by_name(target, name) for name in DETECTRON2)


def is_demo(target: object) -> bool:
    """Whether an object holds a predictor of detectron2, as the demos of detectron2 and Detic do."""
    attributes = getattr(target, "__dict__", None)
    predictor = attributes.get("predictor") if isinstance(attributes, dict) else None
    return is_detectron2(predictor) or type(predictor).__name__ == "AsyncPredictor"


@hookimpl
def register_adapters(register: Callable[[AdapterCard], None]) -> None:
    """``bindplug.upgrade(detector, model)``."""
    register(
        AdapterCard(
            name="detic",
            description="Detic, ours or detectron2's, prompted by sounds, depth, heat, motion, pictures and words",
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
            description="Find in pictures what sounds, words, depth maps or other pictures point at.",
            target="bindplug_detic.command:detect",
            requires=("click", "rich", "torchvision"),
            extra="detic",
        )
    )
