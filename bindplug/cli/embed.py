"""``bindplug embed``: many files into one file of embeddings, in a way that survives interruption."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np

from bindplug.cli.classify import report_skipped
from bindplug.cli.options import ModelChoice, model_options, output_options
from bindplug.cli.sources import (
    Sources,
    check_reader_options,
    gather,
    modality_option,
    reader_options,
    source_options,
)
from bindplug.errors import InputError

if TYPE_CHECKING:
    from bindplug.cli.journal import Journal, Part
    from bindplug.encoder import Encoder


@click.command()
@click.argument("files", nargs=-1)
@modality_option
@source_options
@click.option(
    "--from-list",
    "lists",
    multiple=True,
    metavar="FILE",
    help="A text file (- for stdin) with one source a line, or modality<TAB>source. Repeatable.",
)
@click.option("--output", "-o", required=True, metavar="FILE", help="Where to: FILE.parquet or FILE.npz.")
@click.option(
    "--on-error",
    type=click.Choice(["raise", "skip"]),
    default="raise",
    show_default=True,
    help="Stop at a bad file, or leave it out, name it and exit with 3.",
)
@click.option(
    "--save-every",
    type=click.IntRange(min=1),
    default=256,
    show_default=True,
    help="Items between two saves; an interrupted run loses at most these.",
)
@click.option("--restart", is_flag=True, help="Begin anew instead of going on with an interrupted run.")
@reader_options
@model_options
@output_options
def embed(
    files: tuple[str, ...],
    modality: str | None,
    lists: tuple[str, ...],
    output: str,
    on_error: str,
    save_every: int,
    restart: bool,
    reader: tuple[str, ...],
    choice: ModelChoice,
    as_json: bool,
    quiet: bool,
    **given: Any,
) -> int:
    """Embed many files into one Parquet or NPZ file.

    Each row has path, modality, embedding (float32 of unit length), model and space. A run that was
    interrupted goes on where it stopped when the same command is given again.

    \b
    bindplug embed *.wav --modality audio -o sounds.parquet
    bindplug embed --image a.png --text "a dog" -o mixed.npz
    """
    from bindplug.cli.journal import Journal
    from bindplug.cli.outputs import check_output, write_output

    path = Path(output)
    check_output(path)
    sources = gather(given, files, modality, lists, reader)
    if on_error == "raise":
        _check_present(sources)
    model = choice.load(sources.modalities)
    check_reader_options(model, sources.options)
    space = model.embedding_space
    job = {
        "model": choice.name,
        "space": space.name,
        "fingerprint": space.fingerprint,
        "dtype": choice.dtype,
        "reader_options": sources.options,
        "on_error": on_error,
    }
    journal = Journal(path, job, sources.items, step=save_every, restart=restart)
    finished = False
    try:
        skipped = _embed_missing(model, sources, journal, choice.batch_size, on_error, quiet)
        metadata = {**job, "width": space.width, "version": version("bindplug"), "skipped": skipped}
        written = write_output(path, journal, space.width, metadata)
        finished = True
    finally:
        journal.close(finished=finished)
    _report(path, written, skipped, as_json, quiet)
    return report_skipped(skipped)


def _check_present(sources: Sources) -> None:
    """A missing file should stop the job before its first hour, not after."""
    missing = [s.value for s in sources.items if not s.is_text and not Path(s.value).exists()]
    if missing:
        more = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
        raise InputError(
            f"{missing[0]}{more}",
            found="no such file",
            expected="files that exist",
            remedy="Or say --on-error skip",
        )


def _embed_missing(
    model: Encoder, sources: Sources, journal: Journal, batch_size: int, on_error: str, quiet: bool
) -> list[dict[str, Any]]:
    """Embed and keep every part that is not on disk yet; all skipped items, of earlier runs included."""
    from bindplug.inputs.progress import iterate_with_progress

    skipped: list[dict[str, Any]] = []
    for start in iterate_with_progress(journal.starts, label="embedding", quiet=quiet or None):
        part = journal.read(start)
        if part is None:
            part = _embed_part(model, sources, journal, start, batch_size, on_error)
            journal.write(start, part)
        skipped += part.skipped
    return skipped


def _embed_part(
    model: Encoder, sources: Sources, journal: Journal, start: int, batch_size: int, on_error: str
) -> Part:
    from bindplug.cli.journal import Part

    state = journal.state(start)
    items = journal.part_items(start)
    done = model.embed_with_report(
        [source.query(sources.options) for source in items],
        batch_size=batch_size,
        on_error=on_error,
        progress=False,
    )
    skipped = [
        {
            "index": start + s.index,
            "modality": items[s.index].modality,
            "source": items[s.index].value,
            "reason": s.reason,
        }
        for s in done.skipped
    ]
    rows = done.rows.cpu().numpy().astype(np.float32)
    return Part(rows, [start + i for i in done.kept], skipped, state)


def _report(path: Path, written: int, skipped: list[dict[str, Any]], as_json: bool, quiet: bool) -> None:
    if as_json:
        from bindplug.cli.screen import print_json

        print_json({"output": str(path), "rows": written, "skipped": skipped})
    elif not quiet:
        left_out = f", {len(skipped)} skipped" if skipped else ""
        click.echo(f"{path}: {written} rows{left_out}", err=True)
