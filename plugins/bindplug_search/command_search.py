"""``bindplug search``: find files of an index."""

from __future__ import annotations

import os
import tempfile
import webbrowser
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bindplug.cli.building import (
    ModelChoice,
    SourceCommand,
    check_reader_options,
    console,
    gather_terms,
    heat,
    model_options,
    output_options,
    print_json,
    reader_options,
    term_options,
)
from bindplug.modality import Modality
from bindplug_search.options import where_option
from bindplug_search.report import file_label

if TYPE_CHECKING:
    from bindplug.indexes import IndexMatch

PICTURE_COLUMNS = 16
"""Characters of a picture's width in a terminal."""


@click.command(cls=SourceCommand)
@click.argument("index")
@term_options
@click.option(
    "-k",
    "--top-k",
    "top_k",
    type=click.IntRange(min=1),
    default=10,
    show_default=True,
    help="Results to give.",
)
@click.option(
    "--kind",
    "kinds",
    multiple=True,
    type=click.Choice([modality.value for modality in Modality]),
    help="Look among these only. Repeatable.",
)
@where_option
@click.option("--min-score", type=click.FloatRange(-1, 1), help="Leave out results of a lower cosine.")
@click.option(
    "--cutoffs",
    metavar="FILE",
    help="Leave out results that are no match by what bindplug cutoffs measured; for a single source.",
)
@click.option("--all-windows", is_flag=True, help="Give every window of a recording, not its best one alone.")
@click.option(
    "--recenter/--no-recenter",
    default=None,
    help="Move sources to where the rows searched lie; by default for sums, if the model knows how.",
)
@click.option("--exact", is_flag=True, help="Compare with every row of a large index too.")
@click.option(
    "--bridge",
    metavar="PATH_OR_NAME",
    help="From the model's space to the index's, where they differ; a registered one by default.",
)
@click.option("--page", metavar="FILE.html", help="Write the results as a page with pictures and players.")
@click.option("--open", "open_page", is_flag=True, help="Show the results as a page in the browser.")
@click.option("--pictures/--no-pictures", default=None, help="Show small pictures; by default in a terminal.")
@reader_options
@model_options
@output_options
def search(
    index: str,
    weights: tuple[str, ...],
    top_k: int,
    kinds: tuple[str, ...],
    where: tuple[str, ...],
    min_score: float | None,
    cutoffs: str | None,
    all_windows: bool,
    recenter: bool | None,
    exact: bool,
    bridge: str | None,
    page: str | None,
    open_page: bool,
    pictures: bool | None,
    reader: tuple[str, ...],
    choice: ModelChoice,
    as_json: bool,
    quiet: bool,
    **by_option: Any,
) -> None:
    """Find the files of an INDEX that are nearest to a sound, a picture, a sentence, or a sum of several.

    Several sources are one query: their weighted sum, less those of --minus-...

    \b
    bindplug search library.lance --audio bark.wav --kind image
    bindplug search library.lance --audio bark.wav --text "at night" --minus-text rain -k 10
    bindplug search library.lance --text "a dog" --where place=garden --open
    """
    from bindplug_search.command_opening import open_existing

    sources, query = gather_terms(by_option, weights, reader)
    target = open_existing(index, choice, bridge=bridge)
    if sources.options:
        check_reader_options(target.model_for(sources.modalities), sources.options)
    matches = target.search(
        query,
        top_k,
        kind=kinds or None,
        where=where,
        all_windows=all_windows,
        recenter=recenter,
        min_score=min_score,
        cutoffs=cutoffs,
        exact=exact,
    )
    if page is not None or open_page:
        _write_page(page, open_page, repr(query), matches)
    if as_json:
        print_json({"index": index, "query": repr(query), "results": [as_values(match) for match in matches]})
    else:
        _show(matches, pictures)


def as_values(match: IndexMatch) -> dict[str, Any]:
    """A match as JSON values."""
    return {
        "path": match.path,
        "kind": match.kind,
        "score": round(match.score, 6),
        "span": None if match.span is None else list(match.span),
        "metadata": dict(match.metadata),
    }


def _write_page(page: str | None, open_page: bool, title: str, matches: Sequence[IndexMatch]) -> None:
    from bindplug_search.page import write_page

    if page is None:
        handle, page = tempfile.mkstemp(prefix="bindplug-search-", suffix=".html")
        os.close(handle)
    path = Path(page).absolute()
    write_page(path, title, matches)
    if open_page and not webbrowser.open(path.as_uri()):
        click.echo(f"bindplug: no browser to open; the page is {path}", err=True)


def _show(matches: Sequence[IndexMatch], pictures: bool | None) -> None:
    from rich.table import Table
    from rich.text import Text

    out = console()
    if not matches:
        out.print(Text("nothing matches"))
        return
    with_pictures = out.is_terminal if pictures is None else pictures
    windowed = any(match.span for match in matches)
    keys = list(dict.fromkeys(key for match in matches for key in match.metadata))
    table = Table(show_lines=False)
    if with_pictures:
        table.add_column("")
    table.add_column("score", justify="right", no_wrap=True)
    table.add_column("kind", no_wrap=True)
    table.add_column("file", overflow="fold")
    if windowed:
        table.add_column("seconds", no_wrap=True)
    for key in keys:
        table.add_column(Text(key), overflow="fold")
    high, low = matches[0].score, min(match.score for match in matches)
    for match in matches:
        cells = [_picture(match)] if with_pictures else []
        cells += [heat(match.score, low, high), Text(match.kind), Text(file_label(match.path, match.kind))]
        if windowed:
            cells.append(Text(f"{match.span[0]:g}-{match.span[1]:g}" if match.span else ""))
        table.add_row(*cells, *(Text(_value(match.metadata.get(key))) for key in keys))
    out.print(table)


def _picture(match: IndexMatch) -> Any:
    from rich.text import Text

    from bindplug_search.pictures import as_blocks, thumbnail

    picture = thumbnail(match.path, match.kind, side=64)
    return Text("") if picture is None else as_blocks(picture, PICTURE_COLUMNS)


def _value(value: object) -> str:
    if value is None:
        return ""
    return f"{value:g}" if isinstance(value, float) else str(value)
