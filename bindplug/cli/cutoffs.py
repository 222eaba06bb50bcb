"""``bindplug cutoffs``: from which score on a match is a match."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from bindplug.cli.classify import TEMPLATES, class_names
from bindplug.cli.messages import report_skipped
from bindplug.cli.options import (
    ModelChoice,
    ensure_new,
    model_options,
    on_error_option,
    output_options,
    overwrite_option,
)
from bindplug.cli.sources import (
    SourceCommand,
    check_reader_options,
    folder_options,
    gather,
    modality_option,
    reader_options,
    source_options,
)
from bindplug.errors import CheckpointError


@click.command(cls=SourceCommand)
@click.argument("files", nargs=-1)
@modality_option
@source_options
@folder_options
@click.option("--labels", multiple=True, help='What will be looked for, joined by commas, as "a dog,a car".')
@click.option(
    "--labels-file", "label_files", multiple=True, metavar="FILE", help="A text file (- for standard input)."
)
@click.option("--template", multiple=True, metavar="TEXT", help="As of `bindplug classify`.")
@click.option(
    "--templates",
    type=click.Choice(list(TEMPLATES)),
    default="none",
    show_default=True,
    help="As of `bindplug classify`; take the same ones.",
)
@click.option(
    "--fpr",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    default=0.01,
    show_default=True,
    help="The highest rate of false positives.",
)
@click.option(
    "--bound",
    type=click.Choice(["conformal", "binomial"]),
    default="conformal",
    show_default=True,
    help="Keep the rate on average, or with --confidence.",
)
@click.option(
    "--confidence",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    default=0.95,
    show_default=True,
    help="Of the binomial bound.",
)
@click.option("--output", "-o", required=True, metavar="FILE", help="The JSON file to write.")
@overwrite_option
@on_error_option
@reader_options
@model_options
@output_options
def cutoffs(
    files: tuple[str, ...],
    modality: str | None,
    recursive: bool,
    include: tuple[str, ...],
    labels: tuple[str, ...],
    label_files: tuple[str, ...],
    template: tuple[str, ...],
    templates: str,
    fpr: float,
    bound: str,
    confidence: float,
    output: str,
    overwrite: bool,
    on_error: str,
    reader: tuple[str, ...],
    choice: ModelChoice,
    as_json: bool,
    quiet: bool,
    **by_option: Any,
) -> int:
    """Make cut-offs from FILES that hold none of the labels.

    FILES may be directories and patterns, or - for a list on standard input. Give some hundreds, varied as the data
    to judge are.

    \b
    bindplug cutoffs other-sounds/ --modality audio --labels "a dog,a car,rain" -o cutoffs.json
    bindplug classify sounds/ --modality audio --labels "a dog,a car,rain" --none-of-these cutoffs.json
    """
    from bindplug.query import embedding
    from bindplug.thresholds import cutoffs as fit_cutoffs
    from bindplug.zeroshot import class_queries

    ensure_new([Path(output)], overwrite)
    if not Path(output).absolute().parent.is_dir():
        raise CheckpointError(f"{output}: there is no directory {str(Path(output).parent)!r} to write it in")
    sources = gather(by_option, files, modality, reader=reader, recursive=recursive, include=include)
    names = class_names(labels, label_files)
    if on_error == "raise":
        sources.ensure_present("Or say --on-error skip")
    model = choice.load({*sources.modalities, "text"})
    check_reader_options(model, sources.options)
    progress = False if quiet else None
    known_queries = class_queries(model, names, template or TEMPLATES[templates], progress=progress)
    embedded = model.embed_with_report(
        sources.queries(), batch_size=choice.batch_size, on_error=on_error, progress=progress
    )
    absent = [
        embedding(row, model.embedding_space, modality=sources.items[index].modality)
        for index, row in zip(embedded.kept, embedded.rows, strict=True)
    ]
    limits = fit_cutoffs(model, known_queries, absent, fpr=fpr, bound=bound, confidence=confidence)
    limits.save(output, overwrite=overwrite)
    skipped = [{"source": item.source, "reason": item.reason} for item in embedded.skipped]
    if as_json:
        from bindplug.cli.tables import print_json

        summary = ("query_modality", "row_modality", "threshold", "sample_size", "rate_low", "rate_high")
        print_json(
            {
                "path": output,
                "model": choice.name,
                "labels": names,
                "fpr": limits.fpr,
                "bound": limits.bound,
                "pairs": [{name: getattr(pair, name) for name in summary} for pair in limits.pairs],
                "skipped": skipped,
            }
        )
    else:
        click.echo(f"{output}: {limits}")
    return report_skipped(skipped)
