"""The registration of bindplug_lab: its commands."""

from __future__ import annotations

from collections.abc import Callable

from bindplug.cards import CommandCard, ModelSourceCard
from bindplug.hookspecs import hookimpl


@hookimpl
def register_commands(register: Callable[[CommandCard], None]) -> None:
    """``bindplug bind``, ``eval``, ``few-shot``, ``ablate``, ``judge`` and ``score``."""
    register(
        CommandCard(
            name="bind",
            description="Train a tower on pairs of a picture and another sense.",
            target="bindplug_lab.binding.command:bind",
            requires=("click", "accelerate"),
            extra="train",
        )
    )
    register(
        CommandCard(
            name="eval",
            description="Evaluate models on benchmarks, with intervals.",
            target="bindplug_lab.evaluation.command:evaluate",
            requires=("click",),
            extra="lab",
        )
    )
    register(
        CommandCard(
            name="few-shot",
            description="Classify from a few examples a class, and draw the curve.",
            target="bindplug_lab.few_shot.command:few_shot",
            requires=("click", "matplotlib", "sklearn"),
            extra="lab",
        )
    )
    register(
        CommandCard(
            name="ablate",
            description="Run a grid of binding experiments, and draw each.",
            target="bindplug_lab.ablations.command:ablate",
            requires=("click", "accelerate", "matplotlib"),
            extra="lab",
        )
    )
    register(
        CommandCard(
            name="judge",
            description="Compare image encoders by what other senses learn from them.",
            target="bindplug_lab.judging.command:judge",
            requires=("click", "accelerate", "matplotlib", "sklearn"),
            extra="lab",
        )
    )
    register(
        CommandCard(
            name="score",
            description="Score generated files against prompts of another sense.",
            target="bindplug_lab.scoring.command:score",
            requires=("click",),
            extra="lab",
        )
    )


@hookimpl
def register_model_sources(register: Callable[[ModelSourceCard], None]) -> None:
    """``bindplug.load("senses:small")``."""
    register(
        ModelSourceCard(
            name="senses",
            description="reference models of the senses benchmark, on the toy world",
            target="bindplug_lab.senses.reference:load",
            form="senses:small or senses:random",
        )
    )
