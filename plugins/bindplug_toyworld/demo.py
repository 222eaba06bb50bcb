"""``bindplug demo``: files of every sensor through the bundled models, with a report."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bindplug.cli.options import ModelChoice, model_options, output_options
from bindplug.errors import BindplugError, InputError
from bindplug.modality import Modality

if TYPE_CHECKING:
    from bindplug_toyworld.showcase import Match, Showcase

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
    looks in pictures for what the files stand for, makes pictures of them, and leaves DIR/report.html and
    DIR/report.png. The detector and the pipeline are left out where what they need is not installed.
    """
    from bindplug_toyworld.report import draw_contact_sheet, write_page
    from bindplug_toyworld.showcase import present

    directory = Path(output)
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        found = error.strerror or str(error)
        raise InputError(output, found=found, expected="a directory to write the report to") from None
    model = choice.load([m.value for m in Modality])
    show = present(
        model, directory / "files", name=choice.name, seed=seed, batch_size=choice.batch_size, quiet=quiet
    )
    _use_tools(show, directory, choice, detector, pipeline, quiet)
    page = write_page(show, directory / "report.html")
    sheet = draw_contact_sheet(show, directory / "report.png")
    if as_json:
        from bindplug.cli.tables import print_json

        print_json({**show.to_dict(), "report": str(page), "picture": str(sheet)})
    else:
        _print(show, page, sheet, quiet)


def verdict(show: Showcase) -> str:
    """One line that says how many answers are right."""
    words = {
        "classified": "files named",
        "matched": "matched across sensors",
        "sums": "sums found",
        "found": "things detected",
        "drawn": "pictures made",
    }
    return ", ".join(f"{right} of {count} {words[kind]}" for kind, (right, count) in show.tally.items())


def _use_tools(
    show: Showcase, directory: Path, choice: ModelChoice, detector: str, pipeline: str, quiet: bool
) -> None:
    """Run the commands of other plugins on the demo's files; one that cannot run leaves its reason."""
    from bindplug_toyworld.drawing import generate
    from bindplug_toyworld.searching import search

    started = time.monotonic()
    given = {"--model": choice.name, "--device": choice.device, "--dtype": choice.dtype}
    model = [part for name, value in given.items() if value for part in (name, value)]
    try:
        show.search = search(
            show.exhibits, directory, model, detector=detector, first=1_000 * (show.seed + 1) + 300
        )
    except BindplugError as error:
        show.absent["search"] = str(error)
    try:
        show.gallery = generate(show.exhibits, directory, model, pipeline=pipeline, quiet=quiet)
    except BindplugError as error:
        show.absent["gallery"] = str(error)
    show.seconds += time.monotonic() - started


def _print(show: Showcase, page: Path, sheet: Path, quiet: bool) -> None:
    from rich.text import Text

    from bindplug.cli.tables import console, heat_table

    out = console()
    if not quiet:
        out.print(_answers(show))
        for match in show.matches:
            score = f"{sum(match.right)} of {len(match.right)} right"
            title = f"{match.query} → {match.candidate}: {score}{_emerged(match)}"
            if (match.query, match.candidate) in PRINTED:
                names = list(match.things)
                short = [name[:5] for name in names]
                out.print(
                    heat_table(f"\n{title}", names, short, [list(row) for row in match.cosines], places=2)
                )
            else:
                out.print(Text(f"\n{title}", style="bold"))
        out.print(_sums(show))
        _print_tools(show)
    out.print(Text(f"\nRight: {verdict(show)}.", style="bold"))
    out.print(f"[dim]{show.seconds:.0f} s. Report:[/] {page}  [dim]and[/] {sheet}", soft_wrap=True)


def _print_tools(show: Showcase) -> None:
    from rich.text import Text

    from bindplug.cli.tables import console

    out = console()
    if show.search is not None:
        right, count = show.search.found
        kinds = ", ".join(f"{modality} of {thing}" for thing, modality in show.search.prompts)
        out.print(Text(f"\nA detector asked for {kinds}", style="bold"))
        out.print(
            f"{right} of {count} things found in {len(show.search.pictures)} pictures, {show.search.wrong} wrong boxes"
        )
    if show.gallery is not None:
        out.print(Text("\nPictures made of files, and what another CLIP sees in them", style="bold"))
        for drawing in show.gallery.single:
            thing, modality = drawing.asked[0]
            mark, style = ("✓", "green") if drawing.right else ("✗", "bold red")
            out.print(Text(f"{mark} {modality} of {thing}: {drawing.seen[0]}", style=style))
    names = {"search": "Detection", "gallery": "Generation"}
    for part, reason in show.absent.items():
        out.print(Text(f"\n{names[part]} is left out: {reason}", style="dim"), soft_wrap=True)


def _emerged(match: Match) -> str:
    return "" if match.trained else " (never trained together)"


def _answers(show: Showcase) -> Any:
    from rich.table import Table
    from rich.text import Text

    from bindplug_toyworld.showcase import SENSORS

    table = Table(
        title="What the model calls each file", title_justify="left", title_style="bold", pad_edge=False
    )
    table.add_column("scene", no_wrap=True)
    for modality in SENSORS:
        table.add_column(modality, overflow="fold")
    for exhibit in show.exhibits:
        cells = []
        for modality in SENSORS:
            answer = show.answer(exhibit.thing, modality)
            if answer is None:
                cells.append(Text("-", style="dim"))
            else:
                mark, style = ("✓", "green") if answer.right else ("✗", "bold red")
                cells.append(Text(f"{mark} {answer.top[0][0]}", style=style))
        table.add_row(exhibit.thing, *cells)
    return table


def _sums(show: Showcase) -> Any:
    from rich.table import Table
    from rich.text import Text

    table = Table(
        title="\nAdding a sound to a picture", title_justify="left", title_style="bold", pad_edge=False
    )
    for column in ("picture", "+ sound", "nearest picture", "scene with both"):
        table.add_column(column)
    for result in show.sums:
        style = "green" if result.right else "bold red"
        nearest = " and ".join(result.found[0][1])
        table.add_row(result.seen, result.heard, nearest, Text(f"place {result.rank}", style=style))
    return table
