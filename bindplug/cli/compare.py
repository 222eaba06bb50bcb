"""``bindplug compare``: everything given against everything given."""

from __future__ import annotations

from typing import Any

import click

from bindplug.cli.options import ModelChoice, model_options, output_options
from bindplug.cli.sources import (
    SourceCommand,
    Sources,
    check_reader_options,
    folder_options,
    gather,
    reader_options,
    short_names,
    source_options,
)
from bindplug.modality import Modality
from bindplug.query import Query, embedding


@click.command(cls=SourceCommand)
@source_options
@folder_options
@reader_options
@click.option(
    "--against",
    type=click.Choice([m.value for m in Modality]),
    help="Also tell how likely each item goes with each of this modality; text by default, where there is some.",
)
@model_options
@output_options
def compare(
    choice: ModelChoice,
    reader: tuple[str, ...],
    against: str | None,
    recursive: bool,
    include: tuple[str, ...],
    as_json: bool,
    quiet: bool,
    **by_option: Any,
) -> None:
    """Compare files and sentences of any kinds with each other.

    A FILE may be a directory or a pattern. Prints the cosine of every pair and, against sentences (or
    --against MODALITY), probabilities.

    \b
    bindplug compare --image a.png --audio b.wav --text "a dog" --text "a car"
    """
    sources = gather(by_option, reader=reader, recursive=recursive, include=include)
    if len(sources.items) < 2:
        raise click.UsageError("there is nothing to compare one thing with; name two or more")
    if against and against not in sources.modalities:
        raise click.UsageError(f"--against {against}, but no --{against} is given")
    sources.ensure_present()
    result = comparison(sources, choice, against)
    if as_json:
        from bindplug.cli.tables import print_json

        print_json(result)
    else:
        _show(sources, result)


def comparison(sources: Sources, choice: ModelChoice, against: str | None) -> dict[str, Any]:
    """Cosines of all pairs; and probabilities over the items of one modality, where they mean something."""
    model = choice.load(sources.modalities)
    check_reader_options(model, sources.options)
    rows = model.embed(sources.queries(), batch_size=choice.batch_size, progress=False)
    result: dict[str, Any] = {
        "model": choice.name,
        "space": model.embedding_space.name,
        "items": [{"modality": source.modality, "source": source.value} for source in sources.items],
        "cosines": _rounded(rows @ rows.T),
    }
    against = against or ("text" if "text" in sources.modalities else None)
    inside = [i for i, source in enumerate(sources.items) if source.modality == against]
    outside = [i for i in range(len(sources.items)) if i not in inside]
    if len(inside) >= 2 and outside:
        queries: list[Query] = [
            embedding(row, model.embedding_space, modality=source.modality)
            for row, source in zip(rows, sources.items, strict=True)
        ]
        chances = model.similarity([queries[i] for i in outside], [queries[i] for i in inside])
        result["probabilities"] = {
            "against": against,
            "rows": outside,
            "columns": inside,
            "values": _rounded(chances),
        }
    return result


def _rounded(values: Any) -> list[list[float]]:
    return [[round(float(v), 6) for v in row] for row in values.tolist()]


def _show(sources: Sources, result: dict[str, Any]) -> None:
    from bindplug.cli.tables import console, heat_table

    pairs = zip(sources.items, short_names(sources.items, 34), strict=True)
    names = [f"{i} {source.modality} {name}" for i, (source, name) in enumerate(pairs, start=1)]
    out = console()
    numbers = [str(i) for i in range(1, len(names) + 1)]
    cosines = heat_table("Cosine similarity", names, numbers, result["cosines"], same=True, width=out.width)
    out.print(*cosines, sep="\n")
    chances = result.get("probabilities")
    if chances:
        columns = short_names([sources.items[i] for i in chances["columns"]], 24)
        rows = [names[i] for i in chances["rows"]]
        out.print()
        title = f"Which {chances['against']} goes with it? (each row sums to 100 %)"
        out.print(
            *heat_table(title, rows, columns, chances["values"], percent=True, width=out.width), sep="\n"
        )
