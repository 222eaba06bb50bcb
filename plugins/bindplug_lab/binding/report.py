"""What ``bindplug bind`` says of a run: its recipe, what was left out, and what came of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bindplug.cli.building import say

if TYPE_CHECKING:
    from bindplug.training import PairProblem
    from bindplug_lab.binding.run import ReadyRun
    from bindplug_lab.binding.settings import BindSettings

MOST_PROBLEMS = 10
"""Left-out items that are named on the screen; the run's directory has them all."""


def report_problems(problems: Sequence[PairProblem], directory: Path, quiet: bool) -> None:
    """List what was left out in the run's directory, and the first of it on the screen."""
    from bindplug_lab.binding.card import SKIPPED_CSV, write_skipped

    if not problems:
        return
    write_skipped(directory, problems)
    if quiet:
        return
    for problem in problems[:MOST_PROBLEMS]:
        reason = problem.reason.removeprefix(f"{problem.source}: ")
        say(f"left out {problem.source}: {reason}")
    unpaired = sum(problem.kind == "unpaired" for problem in problems)
    say(
        f"{len(problems)} items left out, {unpaired} of them unpaired; all are listed in {directory / SKIPPED_CSV} and "
        f"later beside the model"
    )


def recipe_text(ready: ReadyRun) -> str:
    """The recipe's figures."""
    recipe = ready.recipe
    learned = ", learned" if recipe.learn_temperature else ""
    return (
        f"{recipe.epochs:g} epochs of batches of {recipe.batch_size}, learning rate {recipe.learning_rate:g}, "
        f"temperature {recipe.temperature:g}{learned}"
    )


def report_card(card: dict[str, Any], settings: BindSettings, speak: Callable[[str], None]) -> None:
    """Say what a run came to, then where its model is."""
    training, figures = card["training"], card["held_out"]
    speak(
        f"trained {training['steps']} steps in {training['seconds']:.0f} s; loss {training['losses'][-1]:.3f}"
    )
    if figures is not None:
        for title, key in (
            (f"{card['sense']} to picture", "sample_to_picture"),
            (f"picture to {card['sense']}", "picture_to_sample"),
        ):
            texts = [
                f"R@{recall['k']} {recall['share']:.0%} ({recall['low']:.0%} to {recall['high']:.0%}, chance "
                f"{recall['chance']:.1%})"
                for recall in figures[key]
            ]
            speak(f"{title}, {figures['pairs']} held-out pairs: {', '.join(texts)}")
        if figures["is_chance"]:
            from bindplug_lab.binding.figures import CHANCE_NOTE

            speak(f"note: {CHANCE_NOTE}")
    speak(card["license_note"])
    click.echo(json.dumps(str(settings.output))[1:-1])
