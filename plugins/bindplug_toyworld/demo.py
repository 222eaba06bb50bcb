"""``bindplug demo``: files of every sensor through the bundled models, with a report."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bindplug.cli.building import ModelChoice, model_options, output_options
from bindplug.errors import BindplugError, InputError
from bindplug.modality import Modality

if TYPE_CHECKING:
    from bindplug_toyworld.demo_results import DemoResults, Match

PRINTED = (("audio", "text"), ("audio", "image"), ("depth", "audio"))
"""Matches whose whole table goes to the terminal; the report has all."""


@click.command()
@click.option(
    "--output", "-o", default="bindplug-demo", show_default=True, metavar="DIR", help="Where the report goes."
)
@click.option(
    "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Which scenes to draw."
)
@click.option("--detector", default="toy_detic", show_default=True, help="What looks for things in pictures.")
@click.option(
    "--pipeline", default="toy_unclip", show_default=True, help="The diffusers pipeline that makes pictures."
)
@model_options
@output_options
def demo(
    output: str, seed: int, detector: str, pipeline: str, choice: ModelChoice, as_json: bool, quiet: bool
) -> None:
    """Files of every sensor through the bundled models.

    Writes pictures, videos, sounds, depth maps, thermal pictures, motions and sentences of eight scenes into
    DIR/files, reads them back as a user's files would be, names and matches them, adds a sound to a picture,
    looks in pictures for what the files stand for, makes pictures of them, and leaves DIR/report.html. The detector
    and the pipeline are left out where what they need is not installed.
    """
    from bindplug_toyworld.demo_results import card_averages, run_demo
    from bindplug_toyworld.report.page import write_page

    directory = Path(output)
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        problem = error.strerror or str(error)
        raise InputError(output, found=problem, expected="a directory to write the report to") from None
    model = choice.load([m.value for m in Modality])
    results = run_demo(
        model, directory / "files", name=choice.name, seed=seed, batch_size=choice.batch_size, quiet=quiet
    )
    _use_tools(results, directory, choice, detector, pipeline, quiet)
    results.card_averages = card_averages(choice.name, detector, pipeline)
    page = write_page(results, directory / "report.html")
    if as_json:
        from bindplug.cli.building import print_json

        print_json({**results.to_dict(), "report": str(page)})
    else:
        _print(results, page, quiet)


def verdict(results: DemoResults) -> str:
    """One line that says how many answers are right."""
    words = {
        "classified": "files named",
        "matched": "matched across sensors",
        "sums": "sums found",
        "detected": "things detected",
        "generated": "pictures made",
    }
    return ", ".join(f"{right} of {count} {words[kind]}" for kind, (right, count) in results.tally.items())


def _use_tools(
    results: DemoResults, directory: Path, choice: ModelChoice, detector: str, pipeline: str, quiet: bool
) -> None:
    """Run the commands of other plugins on the demo's files; one that cannot run leaves its reason."""
    from bindplug_toyworld.detection_demo import run_detection
    from bindplug_toyworld.generation_demo import run_generation

    start_s = time.monotonic()
    options = {"--model": choice.name, "--device": choice.device, "--dtype": choice.dtype}
    model = [part for name, value in options.items() if value for part in (name, value)]
    try:
        results.detection = run_detection(
            results.exhibits, directory, model, detector=detector, first=1_000 * (results.seed + 1) + 300
        )
    except BindplugError as error:
        results.unavailable["detection"] = str(error)
    try:
        results.generation = run_generation(
            results.exhibits, directory, model, pipeline=pipeline, quiet=quiet
        )
    except BindplugError as error:
        results.unavailable["generation"] = str(error)
    results.seconds += time.monotonic() - start_s


def _print(results: DemoResults, page: Path, quiet: bool) -> None:
    from rich.text import Text

    from bindplug.cli.building import console, heat_table

    out = console()
    if not quiet:
        out.print(_answers(results))
        for match in results.matches:
            score = f"{sum(match.right)} of {len(match.right)} right"
            title = f"{match.query} → {match.candidate}: {score}{_emerged(match)}"
            if (match.query, match.candidate) in PRINTED:
                names = list(match.things)
                short = [name[:5] for name in names]
                out.print(
                    *heat_table(
                        f"\n{title}",
                        names,
                        short,
                        [list(row) for row in match.cosines],
                        places=2,
                        width=out.width,
                    )
                )
            else:
                out.print(Text(f"\n{title}", style="bold"))
        out.print(_sums(results))
        _print_tools(results)
    out.print(Text(f"\nRight: {verdict(results)}.", style="bold"))
    out.print(f"[dim]{results.seconds:.0f} s. Report:[/] {page}", soft_wrap=True)


def _print_tools(results: DemoResults) -> None:
    from rich.text import Text

    from bindplug.cli.building import console

    out = console()
    if results.detection is not None:
        right, count = results.detection.counts
        kinds = ", ".join(f"{modality} of {thing}" for thing, modality in results.detection.prompts)
        out.print(Text(f"\nA detector prompted by {kinds}", style="bold"))
        out.print(
            f"{right} of {count} things found in {len(results.detection.pictures)} pictures, "
            f"{results.detection.wrong} wrong boxes"
        )
    if results.generation is not None:
        out.print(Text("\nPictures made of files, and what another CLIP sees in them", style="bold"))
        for picture in results.generation.single:
            thing, modality = picture.prompts[0]
            mark, style = ("✓", "green") if picture.right else ("✗", "bold red")
            out.print(Text(f"{mark} {modality} of {thing}: {picture.judged_as[0]}", style=style))
    names = {"detection": "Detection", "generation": "Generation"}
    for part, reason in results.unavailable.items():
        out.print(Text(f"\n{names[part]} is left out: {reason}", style="dim"), soft_wrap=True)


def _emerged(match: Match) -> str:
    return "" if match.trained else " (never trained together)"


def _answers(results: DemoResults) -> Any:
    from rich.table import Table
    from rich.text import Text

    from bindplug_toyworld.demo_results import SENSORS

    table = Table(title="What the model calls each file", title_justify="left", title_style="bold")
    table.add_column("scene", no_wrap=True)
    for modality in SENSORS:
        table.add_column(modality, overflow="fold")
    for exhibit in results.exhibits:
        cells = []
        for modality in SENSORS:
            answer = results.answer(exhibit.thing, modality)
            if answer is None:
                cells.append(Text("-", style="dim"))
            else:
                mark, style = ("✓", "green") if answer.right else ("✗", "bold red")
                cells.append(Text(f"{mark} {answer.top[0][0]}", style=style))
        table.add_row(exhibit.thing, *cells)
    return table


def _sums(results: DemoResults) -> Any:
    from rich.table import Table
    from rich.text import Text

    table = Table(title="\nAdding a sound to a picture", title_justify="left", title_style="bold")
    for column in ("picture", "+ sound", "nearest picture", "scene with both"):
        table.add_column(column)
    for result in results.sums:
        style = "green" if result.right else "bold red"
        nearest = " and ".join(result.nearest[0][1])
        table.add_row(result.picture, result.sound, nearest, Text(f"place {result.rank}", style=style))
    return table
