"""``bindplug classify``: zero-shot classes for files."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from bindplug.cli.lists import read_lines
from bindplug.cli.messages import report_notes, report_skipped
from bindplug.cli.options import ModelChoice, model_options, on_error_option, output_options, split_names
from bindplug.cli.sources import (
    SourceCommand,
    Sources,
    check_reader_options,
    folder_options,
    gather,
    modality_option,
    reader_options,
    short_names,
    source_options,
)
from bindplug.templates import GENERIC_TEMPLATES, OPENAI_IMAGENET_TEMPLATES, SIMPLE_IMAGENET_TEMPLATES

if TYPE_CHECKING:
    from torch import Tensor

    from bindplug.encoder import Encoder
    from bindplug.query import Query
    from bindplug.thresholds import Cutoffs

TEMPLATES = {
    "none": ("{}",),
    "generic": GENERIC_TEMPLATES,
    "simple": SIMPLE_IMAGENET_TEMPLATES,
    "imagenet": OPENAI_IMAGENET_TEMPLATES,
}
STEP = 256
"""Files read and embedded between two steps of the progress bar at most."""


@click.command(cls=SourceCommand)
@click.argument("files", nargs=-1)
@modality_option
@source_options
@folder_options
@click.option("--labels", multiple=True, help='Class names joined by commas, as "a dog,a car". Repeatable.')
@click.option(
    "--labels-file",
    "label_files",
    multiple=True,
    metavar="FILE",
    help="A text file (- for standard input) with one class name a line. Repeatable.",
)
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
@click.option(
    "--none-of-these",
    metavar="FILE",
    help="Cut-offs that `bindplug cutoffs` wrote: a file without a class above its cut-off is none of these.",
)
@on_error_option
@reader_options
@model_options
@output_options
def classify(
    files: tuple[str, ...],
    modality: str | None,
    recursive: bool,
    include: tuple[str, ...],
    labels: tuple[str, ...],
    label_files: tuple[str, ...],
    template: tuple[str, ...],
    templates: str,
    top_k: int,
    none_of_these: str | None,
    on_error: str,
    reader: tuple[str, ...],
    choice: ModelChoice,
    as_json: bool,
    quiet: bool,
    **by_option: Any,
) -> int:
    """Sort files into classes that you name, with no training.

    FILES may be directories and patterns, or - for a list on standard input.

    \b
    bindplug classify sounds/ --modality audio --labels "a dog,a car,rain"
    bindplug classify --audio bark.wav --depth sofa.png --labels "a dog,a sofa"
    """
    sources = gather(by_option, files, modality, reader=reader, recursive=recursive, include=include)
    names = class_names(labels, label_files)
    if on_error == "raise":
        sources.ensure_present("Or say --on-error skip")
    limits = _limits(none_of_these, sources)
    model = choice.load({*sources.modalities, "text"})
    if limits is not None:
        from bindplug.thresholds import space_of

        limits.ensure(space_of(model))
    check_reader_options(model, sources.options)
    classifier = model.zero_shot_classifier(
        names, template or TEMPLATES[templates], progress=False if quiet else None
    )
    rankings, skipped, notes = _rankings(
        model,
        sources,
        classifier,
        names,
        top_k=top_k,
        on_error=on_error,
        batch_size=choice.batch_size,
        quiet=quiet,
        limits=limits,
    )
    if as_json:
        from bindplug.cli.tables import print_json

        print_json(
            {
                "model": choice.name,
                "labels": names,
                "files": rankings,
                "skipped": skipped,
                "notes": notes,
            }
        )
    else:
        _show(sources, rankings)
        if not quiet:
            report_notes(notes)
    return report_skipped(skipped)


def class_names(labels: Sequence[str], label_files: Sequence[str]) -> list[str]:
    """The class names of ``--labels`` and ``--labels-file``, in that order.

    Warns:
        UserWarning: there is a single class, so that its probability is 100 % whatever the file holds.

    Raises:
        click.UsageError: there are none, or one occurs twice.
        InputError: a file cannot be read.
    """
    names = split_names(labels)
    for path in label_files:
        names += [line.strip() for _, line in read_lines(path, "a UTF-8 text file, one name a line")]
    if not names:
        raise click.UsageError('name the classes: --labels "a dog,a car" or --labels-file FILE')
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise click.UsageError(f"class names occur more than once: {', '.join(twice)}")
    if len(names) == 1:
        warnings.warn(f"{names[0]!r} is the only class: 100 % then says nothing; name more", stacklevel=2)
    return names


def _rankings(
    model: Encoder,
    sources: Sources,
    classifier: Tensor,
    names: Sequence[str],
    *,
    top_k: int,
    on_error: str,
    batch_size: int,
    quiet: bool,
    limits: Cutoffs | None = None,
) -> tuple[list[dict[str, Any]], list[dict[str, Any]], list[dict[str, Any]]]:
    """The best classes of every file, the files left out, and the notes on files."""
    from bindplug.embed import warn_unknown_words
    from bindplug.progress import iterate_with_progress
    from bindplug.query import embedding

    rankings: list[dict[str, Any]] = []
    skipped: list[dict[str, Any]] = []
    notes: list[dict[str, Any]] = []
    unknown_words: dict[str, None] = {}
    queries = sources.queries()
    # (D, C) -> C queries
    classes = [embedding(column, model.embedding_space, modality="text") for column in classifier.T]
    step = min(STEP, batch_size)
    parts: list[tuple[list[str], Tensor, Tensor]] = []
    starts = range(0, len(queries), step)
    for start in iterate_with_progress(starts, label="classifying", quiet=quiet or None):
        part = model.embed_with_report(
            queries[start : start + step], batch_size=batch_size, on_error=on_error, progress=False
        )
        unknown_words |= dict.fromkeys(part.unknown_words)
        skipped += [{"source": s.source, "reason": s.reason} for s in part.skipped]
        notes += [
            {"source": sources.items[start + remark.index].value, "note": remark.text}
            for remark in part.notes
        ]
        items = [sources.items[start + index] for index in part.kept]
        rows: list[Query] = [
            embedding(row, model.embedding_space, modality=item.modality)
            for item, row in zip(items, part.rows, strict=True)
        ]
        if not rows:
            continue
        best = model.similarity(rows, classes).topk(min(top_k, len(names)), dim=1)  # (N, C) -> (N, k)
        if limits is not None:
            cosines = model.scores(part.rows, classifier.T)
            parts.append(([item.modality for item in items], part.rows.detach().cpu(), cosines.cpu()))
        for item, probabilities, indices in zip(
            items, best.values.tolist(), best.indices.tolist(), strict=True
        ):
            top = [
                {"label": names[index], "probability": round(probability, 6)}
                for index, probability in zip(indices, probabilities, strict=True)
            ]
            rankings.append({"source": item.value, "modality": item.modality, "top": top})
    warn_unknown_words(list(unknown_words))
    if limits is not None and parts:
        _mark_none(limits, parts, classifier.T.detach().cpu(), rankings)
    return rankings, skipped, notes


def _limits(path: str | None, sources: Sources) -> Cutoffs | None:
    """The cut-offs of a file, which must have one for each of the sources' modalities."""
    if path is None:
        return None
    from bindplug.thresholds import Cutoffs

    limits = Cutoffs.load(path)
    for modality in sources.modalities:
        limits.pair("text", modality)
    return limits


def _mark_none(
    limits: Cutoffs,
    parts: Sequence[tuple[list[str], Tensor, Tensor]],
    class_rows: Tensor,
    rankings: list[dict[str, Any]],
) -> None:
    """Tell of every ranking whether it is none of the classes, which then comes first in it."""
    import torch

    from bindplug.zeroshot import NONE_OF_THESE, none_mask

    modalities = [name for names, _, _ in parts for name in names]
    rows, cosines = torch.cat([part[1] for part in parts]), torch.cat([part[2] for part in parts])
    thresholds = none_mask(limits, modalities, rows, class_rows, cosines)
    for ranking, modality, threshold in zip(rankings, modalities, thresholds, strict=True):
        ranking["none_of_these"] = threshold is not None
        ranking["cutoff"] = limits.threshold("text", modality)
        if threshold is not None:
            ranking["top"].insert(0, {"label": NONE_OF_THESE, "probability": 0.0})


def _show(sources: Sources, rankings: list[dict[str, Any]]) -> None:
    from rich.table import Table
    from rich.text import Text

    from bindplug.cli.tables import console, heat

    names = dict(zip([source.value for source in sources.items], short_names(sources.items), strict=True))
    table = Table()
    table.add_column("file", overflow="fold")
    for rank in range(max((len(item["top"]) for item in rankings), default=0)):
        table.add_column("best" if rank == 0 else f"{rank + 1}.", overflow="fold")
        table.add_column("", justify="right", no_wrap=True)
    for item in rankings:
        cells: list[Text] = []
        for candidate in item["top"]:
            cells += [Text(candidate["label"]), heat(candidate["probability"], 0.0, 1.0, percent=True)]
        table.add_row(Text(names[item["source"]]), *cells)
    console().print(table)
