"""``bindplug classify``: zero-shot classes for files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bindplug.cli.options import ModelChoice, model_options, output_options
from bindplug.cli.sources import (
    Sources,
    check_reader_options,
    gather,
    modality_option,
    reader_options,
    short_names,
    source_options,
)
from bindplug.errors import InputError
from bindplug.templates import GENERIC_TEMPLATES, OPENAI_IMAGENET_TEMPLATES, SIMPLE_IMAGENET_TEMPLATES

if TYPE_CHECKING:
    from torch import Tensor

    from bindplug.encoder import Encoder

TEMPLATES = {
    "none": ("{}",),
    "generic": GENERIC_TEMPLATES,
    "simple": SIMPLE_IMAGENET_TEMPLATES,
    "imagenet": OPENAI_IMAGENET_TEMPLATES,
}
STEP = 256
"""Files read and embedded between two steps of the progress bar at most."""


@click.command()
@click.argument("files", nargs=-1)
@modality_option
@source_options
@click.option("--labels", help='Class names joined by commas, as "a dog,a car".')
@click.option("--labels-file", metavar="FILE", help="A text file with one class name a line.")
@click.option(
    "--template", multiple=True, metavar="TEXT", help='A prompt such as "the sound of {}". Repeatable.'
)
@click.option(
    "--templates",
    type=click.Choice(list(TEMPLATES)),
    default="none",
    show_default=True,
    help="Prompts to put the names in: none takes them as they are; the others want bare nouns.",
)
@click.option(
    "--top-k", "-k", type=click.IntRange(min=1), default=3, show_default=True, help="Classes to show."
)
@click.option("--on-error", type=click.Choice(["raise", "skip"]), default="raise", show_default=True)
@reader_options
@model_options
@output_options
@click.pass_context
def classify(
    ctx: click.Context,
    files: tuple[str, ...],
    modality: str | None,
    labels: str | None,
    labels_file: str | None,
    template: tuple[str, ...],
    templates: str,
    top_k: int,
    on_error: str,
    reader: tuple[str, ...],
    choice: ModelChoice,
    as_json: bool,
    quiet: bool,
    **given: Any,
) -> int:
    """Sort files into classes that you name, with no training.

    \b
    bindplug classify *.wav --modality audio --labels "a dog,a car,rain"
    bindplug classify --audio bark.wav --depth sofa.png --labels "a dog,a sofa"
    """
    sources = gather(given, files, modality, reader=reader)
    names = class_names(labels, labels_file)
    model = choice.load({*sources.modalities, "text"})
    check_reader_options(model, sources.options)
    classifier = model.zero_shot_classifier(
        names, template or TEMPLATES[templates], progress=False if quiet else None
    )
    found, skipped = _classified(model, sources, classifier, names, top_k, on_error, choice.batch_size, quiet)
    if as_json:
        from bindplug.cli.screen import print_json

        print_json({"model": choice.name, "labels": names, "files": found, "skipped": skipped})
    else:
        _show(sources, found)
    return report_skipped(skipped)


def class_names(labels: str | None, labels_file: str | None) -> list[str]:
    """The class names of ``--labels`` and ``--labels-file``.

    Raises:
        click.UsageError: there are none, or one occurs twice.
        InputError: the file cannot be read.
    """
    names = [name.strip() for name in (labels or "").split(",")]
    if labels_file:
        try:
            names += [line.strip() for line in Path(labels_file).read_text(encoding="utf-8").splitlines()]
        except (OSError, UnicodeDecodeError) as error:
            found = getattr(error, "strerror", None) or str(error)
            raise InputError(
                labels_file, found=found, expected="a UTF-8 text file, one name a line"
            ) from None
    names = [name for name in names if name]
    if not names:
        raise click.UsageError('name the classes: --labels "a dog,a car" or --labels-file FILE')
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise click.UsageError(f"class names occur more than once: {', '.join(twice)}")
    return names


def report_skipped(skipped: Sequence[dict[str, Any]]) -> int:
    """Name the skipped inputs on stderr; the exit code that this makes."""
    from bindplug.cli.app import OK, SKIPPED

    for item in skipped:
        click.echo(f"bindplug: skipped {item['source']}: {item['reason']}", err=True)
    return SKIPPED if skipped else OK


def _classified(
    model: Encoder,
    sources: Sources,
    classifier: Tensor,
    names: Sequence[str],
    top_k: int,
    on_error: str,
    batch_size: int,
    quiet: bool,
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    from bindplug.inputs.progress import iterate_with_progress
    from bindplug.query import embedding

    found: list[dict[str, Any]] = []
    skipped: list[dict[str, Any]] = []
    queries = sources.queries()
    classes = [embedding(column, model.embedding_space, modality="text") for column in classifier.T]
    step = min(STEP, batch_size)
    starts = range(0, len(queries), step)
    for start in iterate_with_progress(starts, label="classifying", quiet=quiet or None):
        part = model.embed_with_report(
            queries[start : start + step], batch_size=batch_size, on_error=on_error, progress=False
        )
        skipped += [{"source": s.source, "reason": s.reason} for s in part.skipped]
        if not part.kept:
            continue
        rows = [
            embedding(row, model.embedding_space, modality=sources.items[start + index].modality)
            for index, row in zip(part.kept, part.rows, strict=True)
        ]
        best = model.similarity(rows, classes).topk(min(top_k, len(names)), dim=1)
        for index, chances, classes in zip(
            part.kept, best.values.tolist(), best.indices.tolist(), strict=True
        ):
            top = [
                {"label": names[c], "probability": round(p, 6)} for c, p in zip(classes, chances, strict=True)
            ]
            found.append({"source": sources.items[start + index].value, "top": top})
    return found, skipped


def _show(sources: Sources, found: list[dict[str, Any]]) -> None:
    from rich.table import Table
    from rich.text import Text

    from bindplug.cli.screen import console, heat

    values = [source.value for source in sources.items]
    shown = dict(zip(values, short_names(sources.items), strict=True))
    table = Table(pad_edge=False)
    table.add_column("file", overflow="fold")
    for place in range(max((len(item["top"]) for item in found), default=0)):
        table.add_column("best" if place == 0 else f"{place + 1}.", overflow="fold")
        table.add_column("", justify="right", no_wrap=True)
    for item in found:
        cells: list[Text] = []
        for answer in item["top"]:
            cells += [Text(answer["label"]), heat(answer["probability"], 0.0, 1.0, percent=True)]
        table.add_row(Text(shown[item["source"]]), *cells)
    console().print(table)
