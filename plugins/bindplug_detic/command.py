"""``bindplug detect``: find in pictures what sounds, words, depth maps or other pictures point at."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bindplug.cli.options import ModelChoice, model_options, output_options
from bindplug.cli.sources import (
    SourceCommand,
    Sources,
    check_reader_options,
    gather,
    reader_options,
    short_names,
    source_options,
)
from bindplug.errors import InputError

if TYPE_CHECKING:
    from bindplug_detic.results import Detections

ROUTES = ("direct", "linear", "vocabulary", "rescore")
DEFAULT_DETECTOR = "toy_detic"
SUMMARY = "detections.json"


@click.command(cls=SourceCommand)
@click.argument("pictures", nargs=-1, required=True, metavar="PICTURE...")
@source_options
@reader_options
@click.option(
    "--detector",
    default=DEFAULT_DETECTOR,
    show_default=True,
    help="Name of a detector, or path to Detic's weights.",
)
@click.option("--bridge", metavar="DIR", help="A bridge from the model's space to the detector's.")
@click.option(
    "--route",
    type=click.Choice(ROUTES),
    help="How prompts reach the detector; the best possible way by default.",
)
@click.option(
    "--threshold",
    "-t",
    "thresholds",
    type=click.FloatRange(0, 1),
    multiple=True,
    help="Scores have to be above it. One for all prompts, or one for each in the order of the table.",
)
@click.option(
    "--suppress",
    type=click.FloatRange(min=0),
    help="How near a prompt must come to the best other class of the detector; 0 lets every box stand.",
)
@click.option("--masks", is_flag=True, help="Also find masks, draw them, and write a PNG for each detection.")
@click.option(
    "--output", "-o", default="bindplug-detect", show_default=True, metavar="DIR", help="Where results go."
)
@model_options
@output_options
def detect(
    pictures: tuple[str, ...],
    reader: tuple[str, ...],
    detector: str,
    bridge: str | None,
    route: str | None,
    thresholds: tuple[float, ...],
    suppress: float | None,
    masks: bool,
    output: str,
    choice: ModelChoice,
    as_json: bool,
    quiet: bool,
    **given: Any,
) -> None:
    """Find in pictures what sounds, words, depth maps or other pictures point at.

    Writes each picture with its boxes, and detections.json with all of them, into DIR.

    \b
    bindplug detect street.jpg --audio bark.wav --text bicycle
    """
    from bindplug_detic import Detic
    from bindplug_detic.adapter import upgrade

    sources = gather(given, reader=reader)
    if len(thresholds) > 1 and len(thresholds) != len(sources.items):
        raise click.UsageError(f"{len(thresholds)} --threshold for {len(sources.items)} prompts")
    directory = Path(output)
    stems = _stems(pictures)
    _check_files(pictures, [directory / f"{stem}.png" for stem in stems])
    _make(directory)
    sources.ensure_present()
    model = choice.load(_modalities(sources, route))
    check_reader_options(model, sources.options)
    found = Detic.from_pretrained(detector, device=str(choice.torch_device))
    upgraded = upgrade(found, model, bridge=bridge, route=route)
    results = _detected(upgraded, pictures, sources, thresholds, suppress, masks, quiet)
    entries = [
        _written(one, picture, stem, directory, sources, masks)
        for one, picture, stem in zip(results, pictures, stems, strict=True)
    ]
    summary = {
        "model": choice.name,
        "detector": detector,
        "prompts": _prompts(sources, results[0]),
        "pictures": entries,
    }
    (directory / SUMMARY).write_text(json.dumps(summary, indent=2, ensure_ascii=False) + "\n", "utf-8")
    if as_json:
        from bindplug.cli.tables import print_json

        print_json(summary)
    else:
        _show(summary, short_names(sources.items), directory, quiet)


def _modalities(sources: Sources, route: str | None) -> set[str]:
    """Towers that may be needed: the prompts' own, text for the vocabulary, and image for crops."""
    further = {"direct": set(), "linear": set(), "vocabulary": {"text"}, "rescore": {"text", "image"}}
    return {*sources.modalities, *(further[route] if route else {"text", "image"})}


def _check_files(pictures: Sequence[str], drawn: Sequence[Path]) -> None:
    """Look at all paths before anything is loaded, so that a wrong one costs no time."""
    for picture in pictures:
        if not Path(picture).is_file():
            raise InputError(picture, found="no such file", expected="a picture to look at")
    given = {Path(picture).resolve() for picture in pictures}
    for path in drawn:
        if path.resolve() in given:
            found = f"a directory where {path.name} would replace a picture that was given"
            raise InputError(f"--output {path.parent}", found=found, expected="another directory")


def _make(directory: Path) -> None:
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        found = error.strerror or str(error)
        raise InputError(str(directory), found=found, expected="a directory to write results to") from None


def _detected(
    upgraded: Any,
    pictures: Sequence[str],
    sources: Sources,
    thresholds: Sequence[float],
    suppress: float | None,
    masks: bool,
    quiet: bool,
) -> list[Detections]:
    from bindplug.progress import iterate_with_progress

    threshold: Any = None if not thresholds else thresholds[0] if len(thresholds) == 1 else list(thresholds)
    prompts = upgraded.prepare(sources.queries())
    return [
        upgraded(
            picture,
            prompts,
            threshold=threshold,
            with_masks=masks,
            suppress=True if suppress is None else suppress,
        )
        for picture in iterate_with_progress(pictures, label="detecting", quiet=quiet or None)
    ]


def _stems(pictures: Sequence[str]) -> list[str]:
    """A name for the results of each picture; those of one name get a number."""
    stems: list[str] = []
    for picture in pictures:
        stem, number = Path(picture).stem, 2
        while stem in stems:
            stem, number = f"{Path(picture).stem}-{number}", number + 1
        stems.append(stem)
    return stems


def _prompts(sources: Sources, first: Detections) -> list[dict[str, Any]]:
    return [
        {"modality": source.modality, "source": source.value, "route": route}
        for source, route in zip(sources.items, first.info["routes"], strict=True)
    ]


def _written(
    found: Detections, picture: str, stem: str, directory: Path, sources: Sources, masks: bool
) -> dict[str, Any]:
    """Write what was found in a picture, and describe it."""
    drawn = directory / f"{stem}.png"
    found.draw(drawn)
    detections = []
    for index, (box, score, prompt) in enumerate(
        zip(found.boxes.tolist(), found.scores.tolist(), found.label_indices.tolist(), strict=True)
    ):
        entry: dict[str, Any] = {
            "prompt": prompt,
            "label": found.labels[index],
            "score": round(score, 4),
            "box": [round(number, 1) for number in box],
        }
        if masks and found.has_masks:
            entry["mask"] = str(_mask_file(found, index, directory / f"{stem}-mask-{index + 1}.png"))
        detections.append(entry)
    height, width = found.image_size
    return {
        "picture": picture, "width": width, "height": height, "drawn": str(drawn), "detections": detections
    }  # fmt: skip


def _mask_file(found: Detections, index: int, path: Path) -> Path:
    import numpy as np
    from PIL import Image

    masks = found[index].masks
    assert masks is not None
    Image.fromarray(masks[0].numpy().astype(np.uint8) * 255).save(path)
    return path


def _show(summary: dict[str, Any], names: Sequence[str], directory: Path, quiet: bool) -> None:
    from rich.table import Table
    from rich.text import Text

    from bindplug.cli.tables import console, heat

    out = console()
    table = Table(pad_edge=False)
    for title in ("picture", "prompt", "route"):
        table.add_column(title, overflow="fold")
    table.add_column("score", justify="right", no_wrap=True)
    table.add_column("box (x1, y1, x2, y2)", no_wrap=True)
    for entry in summary["pictures"]:
        shown = Path(entry["picture"]).name
        for prompt, name in enumerate(names):
            route = summary["prompts"][prompt]["route"]
            mine = [one for one in entry["detections"] if one["prompt"] == prompt]
            for one in mine:
                box = ", ".join(f"{number:.0f}" for number in one["box"])
                table.add_row(Text(shown), Text(name), route, heat(one["score"], 0.0, 1.0, places=2), box)
            if not mine:
                table.add_row(Text(shown), Text(name), route, Text("-", style="dim"), Text("nothing", "dim"))
    out.print(table)
    if not quiet:
        out.print(f"[dim]Pictures and {SUMMARY} are in[/] {directory}", soft_wrap=True)
