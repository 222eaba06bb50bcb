"""``bindplug judge``: compare image encoders by what other senses learn from them."""

from __future__ import annotations

from pathlib import Path

import click

from bindplug.cli.building import OK, console, output_options, print_json, say
from bindplug_lab.judging.comparison import judge as compare
from bindplug_lab.judging.report import markdown, write_report
from bindplug_lab.judging.settings import JudgeSettings

DEFAULTS = JudgeSettings()


@click.command()
@click.option(
    "--anchors",
    default="toy_clip,supervised,simclr,dino,random",
    show_default=True,
    metavar="NAME,...",
    help="Encoders that are trained here, and ids of models with an image tower.",
)
@click.option("--output", "-o", required=True, metavar="DIR", help="Where tables, figure and parts go.")
@click.option(
    "--cache", metavar="DIR", help="Rendered scenes and trained encoders; in the output by default."
)
@click.option(
    "--seeds", type=click.IntRange(min=1), default=DEFAULTS.seeds, show_default=True, help="Towers a sense."
)
@click.option(
    "--pairs",
    type=click.IntRange(min=32),
    default=DEFAULTS.pairs,
    show_default=True,
    help="Scenes to bind on.",
)
@click.option(
    "--epochs",
    type=click.IntRange(min=1),
    default=DEFAULTS.epochs,
    show_default=True,
    help="Passes over them.",
)
@click.option(
    "--support",
    type=click.IntRange(min=20),
    default=DEFAULTS.support,
    show_default=True,
    help="Labeled pictures.",
)
@click.option(
    "--test", type=click.IntRange(min=20), default=DEFAULTS.test, show_default=True, help="Test scenes."
)
@click.option(
    "--size",
    type=click.Choice(["small", "base", "large"]),
    default=DEFAULTS.size,
    show_default=True,
    help="Of the encoders that are trained here.",
)
@click.option(
    "--encoder-steps", type=click.IntRange(min=1), help="Train the encoders for so many steps only."
)
@click.option("--jobs", type=click.IntRange(min=1), default=1, show_default=True, help="Processes.")
@output_options
def judge(
    anchors: str,
    output: str,
    cache: str | None,
    seeds: int,
    pairs: int,
    epochs: int,
    support: int,
    test: int,
    size: str,
    encoder_steps: int | None,
    jobs: int,
    as_json: bool,
    quiet: bool,
) -> int:
    """Bind audio and depth towers to several frozen image encoders, and compare.

    Each encoder's own accuracy stands beside the accuracy of the senses that were bound to it without labels. toy_clip,
    supervised, simclr, dino and random are trained here on the toy world, at equal size, in two to six minutes of a
    core each. A run that ended early goes on where it ended when it is started again.
    """
    settings = JudgeSettings(seeds, pairs, epochs, support, test, size, encoder_steps)
    names = [name.strip() for name in anchors.split(",") if name.strip()]
    judgement = compare(names, output, settings, cache=cache, jobs=jobs, quiet=quiet or None)
    paths = write_report(judgement, output)
    if as_json:
        print_json(judgement.to_dict())
    else:
        console().print(markdown(judgement), markup=False, highlight=False)
    say(f"wrote {', '.join(str(Path(path)) for path in paths.values())}")
    return OK
