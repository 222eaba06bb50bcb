"""``bindplug detect``: objects in pictures, by sounds, words, depth maps or other pictures as prompts."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bindplug.cli.building import (
    ModelChoice,
    Source,
    SourceCommand,
    Sources,
    check_reader_options,
    ensure_new,
    gather,
    model_options,
    output_options,
    overwrite_option,
    reader_options,
    short_names,
    source_options,
)
from bindplug.errors import InputError

if TYPE_CHECKING:
    from bindplug.thresholds import Cutoffs
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
@click.option(
    "--bridge", metavar="NAME|DIR", help="A bridge from the model's space to the detector's, by name or path."
)
@click.option(
    "--route",
    type=click.Choice(ROUTES),
    help="How prompts reach the detector; the first possible route by default.",
)
@click.option(
    "--threshold",
    "-t",
    "thresholds",
    type=click.FloatRange(0, 1),
    multiple=True,
    help="Scores have to be above it. One for all prompts, or one for each in the order of the command line.",
)
@click.option(
    "--cutoffs",
    metavar="FILE",
    help="Cut-offs that `bindplug.cutoffs(detector, ...)` made, instead of --threshold.",
)
@click.option(
    "--suppress",
    type=click.FloatRange(min=0),
    help="Least share of the score of the detector's best other class; 0 keeps every box.",
)
@click.option(
    "--masks", is_flag=True, help="Also compute masks, draw them, and write a PNG for each detection."
)
@click.option(
    "--output", "-o", default="bindplug-detect", show_default=True, metavar="DIR", help="Where results go."
)
@overwrite_option
@model_options
@output_options
def detect(
    pictures: tuple[str, ...],
    reader: tuple[str, ...],
    detector: str,
    bridge: str | None,
    route: str | None,
    thresholds: tuple[float, ...],
    cutoffs: str | None,
    suppress: float | None,
    masks: bool,
    output: str,
    overwrite: bool,
    choice: ModelChoice,
    as_json: bool,
    quiet: bool,
    **prompts: Any,
) -> None:
    """Detect objects in pictures by sounds, words, depth maps or other pictures as prompts.

    Writes each picture with its boxes, and detections.json with all of them, into DIR.

    \b
    bindplug detect street.jpg --audio bark.wav --text bicycle
    """
    from bindplug.bridges import as_bridge
    from bindplug.thresholds import Cutoffs
    from bindplug_detic import Detic
    from bindplug_detic.adapter import upgrade

    sources = gather(prompts, reader=reader)
    if len(thresholds) > 1 and len(thresholds) != len(sources.items):
        raise click.UsageError(f"{len(thresholds)} --threshold for {len(sources.items)} prompts")
    if cutoffs is not None and thresholds:
        raise click.UsageError("give --threshold or --cutoffs, not both")
    limits = None if cutoffs is None else Cutoffs.load(cutoffs)
    directory = Path(output)
    stems = _stems(pictures)
    drawn = [directory / f"{stem}.png" for stem in stems]
    _check_files(pictures, drawn)
    sources.ensure_present()
    sources.ensure_not_replaced(drawn)
    ensure_new([*drawn, directory / SUMMARY, *(_masks_in(directory, stems) if masks else ())], overwrite)
    _make_directory(directory)
    _check_pictures(pictures)
    if bridge is not None:
        as_bridge(bridge, source=None, target=None)
    model = choice.load(_modalities(sources, route))
    check_reader_options(model, sources.options)
    detic = Detic.from_pretrained(detector, device=str(choice.torch_device))
    upgraded = upgrade(detic, model, bridge=bridge, route=route)
    results = _detect_all(upgraded, pictures, sources, limits or thresholds, suppress, masks, quiet)
    entries = [
        _write(detections, picture, stem, directory, masks)
        for detections, picture, stem in zip(results, pictures, stems, strict=True)
    ]
    summary = {
        "model": choice.name,
        "detector": detector,
        "prompts": _describe_prompts(sources, results[0]),
        "pictures": entries,
    }
    (directory / SUMMARY).write_text(json.dumps(summary, indent=2, ensure_ascii=False) + "\n", "utf-8")
    if as_json:
        from bindplug.cli.building import print_json

        print_json(summary)
    else:
        _print_table(summary, short_names(sources.items), directory, quiet)


def _modalities(sources: Sources, route: str | None) -> set[str]:
    """Towers that may be needed: the prompts' own, text for the vocabulary, and image for crops."""
    route_towers = {"direct": set(), "linear": set(), "vocabulary": {"text"}, "rescore": {"text", "image"}}
    return {*sources.modalities, *(route_towers[route] if route else {"text", "image"})}


def _check_files(pictures: Sequence[str], drawn: Sequence[Path]) -> None:
    """Checks all paths before anything is loaded."""
    for picture in pictures:
        if not Path(picture).is_file():
            raise InputError(picture, found="no such file", expected="a picture")
    originals = {Path(picture).resolve() for picture in pictures}
    for path in drawn:
        if path.resolve() in originals:
            problem = f"a directory where {path.name} would replace one of the pictures"
            raise InputError(f"--output {path.parent}", found=problem, expected="another directory")


def _check_pictures(pictures: Sequence[str]) -> None:
    """Decode every picture once, before models are loaded: a run of hours should not end at a damaged file."""
    import warnings

    from bindplug_detic.pictures import read_picture

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # they come again with the detections
        for picture in pictures:
            read_picture(picture)


def _masks_in(directory: Path, stems: Sequence[str]) -> list[Path]:
    """Masks that an earlier run wrote for pictures of these names."""
    prefixes = tuple(f"{stem}-mask-" for stem in stems)
    return [path for path in sorted(directory.glob("*-mask-*.png")) if path.name.startswith(prefixes)]


def _make_directory(directory: Path) -> None:
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        problem = error.strerror or str(error)
        raise InputError(str(directory), found=problem, expected="a directory to write results to") from None


def _detect_all(
    upgraded: Any,
    pictures: Sequence[str],
    sources: Sources,
    thresholds: Sequence[float] | Cutoffs,
    suppress: float | None,
    masks: bool,
    quiet: bool,
) -> list[Detections]:
    from bindplug.progress import iterate_with_progress

    threshold: Any = thresholds
    if isinstance(thresholds, tuple):
        threshold = None if not thresholds else thresholds[0] if len(thresholds) == 1 else list(thresholds)
    prepared = upgraded.prepare(sources.queries())
    return [
        upgraded(
            picture,
            prepared,
            threshold=threshold,
            with_masks=masks,
            suppress=True if suppress is None else suppress,
        )
        for picture in iterate_with_progress(pictures, label="detecting", quiet=quiet or None)
    ]


def _stems(pictures: Sequence[str]) -> list[str]:
    """A name for the results of each picture; equal names are numbered."""
    stems: list[str] = []
    for picture in pictures:
        stem, number = Path(picture).stem, 2
        while stem in stems:
            stem, number = f"{Path(picture).stem}-{number}", number + 1
        stems.append(stem)
    return stems


def _describe_prompts(sources: Sources, first: Detections) -> list[dict[str, Any]]:
    return [
        {"modality": source.modality, "source": source.value, "route": route}
        for source, route in zip(sources.items, first.info["routes"], strict=True)
    ]


def _write(detections: Detections, picture: str, stem: str, directory: Path, masks: bool) -> dict[str, Any]:
    """Writes the files of a picture, and returns its entry for the summary."""
    drawn = directory / f"{stem}.png"
    detections.draw(drawn)
    entries = []
    columns = (detections.boxes.tolist(), detections.scores.tolist(), detections.label_indices.tolist())
    for index, (box, score, prompt) in enumerate(zip(*columns, strict=True)):
        entry: dict[str, Any] = {
            "prompt": prompt,
            "label": detections.labels[index],
            "score": round(score, 4),
            "box": [round(number, 1) for number in box],
        }
        if masks and detections.has_masks:
            path = directory / f"{stem}-mask-{index + 1}.png"
            _write_mask(detections, index, path)
            entry["mask"] = str(path)
        entries.append(entry)
    height, width = detections.image_size
    return {
        "picture": picture, "width": width, "height": height, "drawn": str(drawn), "detections": entries
    }  # fmt: skip


def _write_mask(detections: Detections, index: int, path: Path) -> None:
    import numpy as np
    from PIL import Image

    masks = detections[index].masks
    assert masks is not None
    Image.fromarray(masks[0].numpy().astype(np.uint8) * 255).save(path)


def _print_table(summary: dict[str, Any], names: Sequence[str], directory: Path, quiet: bool) -> None:
    from rich.table import Table
    from rich.text import Text

    from bindplug.cli.building import console, heat

    out = console()
    table = Table()
    for title in ("picture", "prompt", "route"):
        table.add_column(title, overflow="fold")
    table.add_column("score", justify="right", no_wrap=True)
    table.add_column("box (x1, y1, x2, y2)", no_wrap=True)
    paths = [entry["picture"] for entry in summary["pictures"]]
    pictures = dict(zip(paths, short_names([Source("image", path) for path in paths]), strict=True))
    for entry in summary["pictures"]:
        picture = pictures[entry["picture"]]
        for prompt, name in enumerate(names):
            route = summary["prompts"][prompt]["route"]
            rows = [detection for detection in entry["detections"] if detection["prompt"] == prompt]
            for row in rows:
                box = ", ".join(f"{number:.0f}" for number in row["box"])
                table.add_row(Text(picture), Text(name), route, heat(row["score"], 0.0, 1.0, places=2), box)
            if not rows:
                table.add_row(
                    Text(picture), Text(name), route, Text("-", style="dim"), Text("nothing", "dim")
                )
    out.print(table)
    if not quiet:
        out.print(f"[dim]Pictures and {SUMMARY} are in[/] {directory}", soft_wrap=True)
