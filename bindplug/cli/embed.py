"""``bindplug embed``: many files into one file of embeddings, in a way that survives interruption."""

from __future__ import annotations

import hashlib
import json
from collections import deque
from collections.abc import Iterator
from contextlib import closing
from importlib.metadata import version
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bindplug.cli.engines import LOCAL, EmbedJob, find_engine, parse_engine_options, run_engine
from bindplug.cli.messages import report_notes, report_skipped
from bindplug.cli.options import ModelChoice, model_options, output_options
from bindplug.cli.sources import (
    SourceCommand,
    Sources,
    check_reader_options,
    folder_options,
    gather,
    modality_option,
    reader_options,
    source_options,
)
from bindplug.cli.windows import check_windows, in_windows, window_options
from bindplug.errors import InputError, printable

if TYPE_CHECKING:
    from bindplug.cli.journal import Journal
    from bindplug.encoder import Encoder
    from bindplug.query import Query

DEFAULT_SAVE_EVERY = 256
"""Items between two saves."""


@click.command(cls=SourceCommand)
@click.argument("files", nargs=-1)
@modality_option
@source_options
@folder_options
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
    help="Stop at a bad file (the default here), or leave it out, name it and exit with 3 (that of other engines).",
)
@click.option(
    "--save-every",
    type=click.IntRange(min=1),
    help="Items between two saves; an interrupted run loses at most these. 256 here, the engine's choice elsewhere.",
)
@click.option(
    "--workers",
    type=click.IntRange(min=0),
    metavar="N",
    help="Threads that read files while the model works; one for each core by default, at most 4; 0 for none.",
)
@window_options
@click.option(
    "--engine",
    default=LOCAL,
    show_default=True,
    metavar="NAME",
    help="What does the work: local is this process; ray is many processes or machines.",
)
@click.option("--address", metavar="ADDRESS", help="Of the engine's cluster, as auto or ray://host:10001.")
@click.option(
    "--engine-option",
    "-E",
    "engine_options",
    multiple=True,
    metavar="NAME=VALUE",
    help="An option of the engine, as actors=4. Repeatable.",
)
@click.option("--restart", is_flag=True, help="Begin anew instead of going on with an interrupted run.")
@click.option("--overwrite", is_flag=True, help="Replace the output if it exists.")
@reader_options
@model_options
@output_options
def embed(
    files: tuple[str, ...],
    modality: str | None,
    recursive: bool,
    include: tuple[str, ...],
    lists: tuple[str, ...],
    output: str,
    on_error: str | None,
    save_every: int | None,
    workers: int | None,
    windows: float | None,
    hop: float | None,
    engine: str,
    address: str | None,
    engine_options: tuple[str, ...],
    restart: bool,
    overwrite: bool,
    reader: tuple[str, ...],
    choice: ModelChoice,
    as_json: bool,
    quiet: bool,
    **by_option: Any,
) -> int:
    """Embed many files into one Parquet or NPZ file.

    Each row has path, modality, embedding (float32 of unit length), model and space, and with --windows its start
    and end in seconds. FILES may be directories and patterns, or - for a list on
    standard input. A run that was interrupted goes on where it stopped when the same command is given again.

    \b
    bindplug embed sounds/ --modality audio -o sounds.parquet
    bindplug embed --image a.png --text "a dog" -o mixed.npz
    bindplug embed calls/ --modality audio --windows 2 --hop 1 -o calls.parquet
    bindplug embed --engine ray --address auto s3://bucket/prefix -o s3://bucket/rows
    """
    if engine != LOCAL:
        entry = find_engine(engine)
        if modality is None and entry.card.finds_modality:
            modality = ""
        whole = EmbedJob(
            gather(by_option, files, modality, lists, reader, as_typed=True),
            output,
            choice,
            recursive=recursive,
            include=include,
            on_error=on_error,
            save_every=save_every,
            workers=workers,
            windows=check_windows(windows, hop),
            restart=restart,
            overwrite=overwrite,
            address=address,
            options=parse_engine_options(entry, engine_options),
            quiet=quiet,
        )
        return run_engine(entry, whole, as_json=as_json)
    if address is not None or engine_options:
        raise click.UsageError("--address and --engine-option need --engine, as --engine ray")
    on_error, save_every = on_error or "raise", save_every or DEFAULT_SAVE_EVERY
    from bindplug.cli.journal import Journal
    from bindplug.cli.outputs import check_output, write_output

    path = Path(output)
    check_output(path)
    sources = gather(by_option, files, modality, lists, reader, recursive=recursive, include=include)
    _ensure_no_address(sources)
    job: dict[str, Any] = {
        "model": choice.name,
        "dtype": choice.dtype,
        "reader_options": sources.options,
    }
    window_lengths = check_windows(windows, hop)
    if window_lengths is not None:
        job["windows"] = window_lengths
    identity = {**job, "on_error": on_error, **_items_identity(sources)}
    sources.ensure_not_replaced([path])
    if path.exists() and not overwrite:
        return _already_there(path, identity, as_json, quiet)
    if on_error == "raise":
        sources.ensure_present("Or say --on-error skip")
    model = choice.load(sources.modalities)
    check_reader_options(model, sources.options)
    items = in_windows(model, sources, window_lengths, on_error)
    space = model.embedding_space
    job |= {"space": space.name, "fingerprint": space.fingerprint}
    journal = Journal(path, job, items, step=save_every, restart=restart, keep_skipped=on_error == "skip")
    finished = False
    try:
        skipped, notes = _embed_missing(model, sources, journal, choice.batch_size, on_error, workers, quiet)
        metadata = {
            **identity,
            **job,
            "width": space.width,
            "version": version("bindplug"),
            "items": len(items),
            "skipped": skipped,
            "notes": notes,
        }
        row_count = write_output(path, journal, space.width, metadata)
        finished = True
    finally:
        journal.close(finished=finished)
    _report(path, row_count, skipped, notes, as_json, quiet)
    return report_skipped(skipped)


def _ensure_no_address(sources: Sources) -> None:
    """Refuse ``s3://bucket/prefix`` and the like, which only engines read."""
    for source in sources.items:
        if not source.is_text and "://" in source.value and not Path(source.value).exists():
            raise InputError(
                source.value,
                found="an address",
                expected="a path on this machine",
                remedy="Say --engine ray to read from addresses",
            )


def _items_identity(sources: Sources) -> dict[str, Any]:
    """What tells whether an output was made of the same files in the same state."""
    from bindplug.cli.journal import digest_of, file_state

    states = json.dumps([file_state(source) for source in sources.items])
    return {
        "count": len(sources.items),
        "items_sha256": digest_of(sources.items),
        "state_sha256": hashlib.sha256(states.encode()).hexdigest(),
    }


def _already_there(path: Path, identity: dict[str, Any], as_json: bool, quiet: bool) -> int:
    """Accept an output that the same command made earlier; refuse any other.

    Raises:
        InputError: the output is of another job, or files have changed since.
    """
    from bindplug.cli.outputs import read_metadata

    metadata = read_metadata(path)
    same = metadata is not None and all(metadata.get(key) == value for key, value in identity.items())
    if not same or metadata is None:
        raise InputError(
            str(path),
            found="a file that this command did not make of these files as they are now",
            expected="a new place",
            remedy="Say --overwrite to replace it",
        )
    skipped = list(metadata["skipped"])
    rows = metadata["items"] - len(skipped)
    if as_json:
        from bindplug.cli.tables import print_json

        notes = metadata["notes"]
        print_json({"output": str(path), "rows": rows, "skipped": skipped, "notes": notes, "complete": True})
    elif not quiet:
        click.echo(printable(f"{path}: already complete, {rows} rows"), err=True)
    return report_skipped(skipped)


def _embed_missing(
    model: Encoder,
    sources: Sources,
    journal: Journal,
    batch_size: int,
    on_error: str,
    workers: int | None,
    quiet: bool,
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Embed and keep every part that is not on disk yet; all skipped items and notes, of earlier runs included."""
    from bindplug.cli.journal import part_of
    from bindplug.embed import embed_parts
    from bindplug.progress import iterate_with_progress

    skipped: list[dict[str, Any]] = []
    notes: list[dict[str, Any]] = []
    missing: list[int] = []
    for start in journal.starts:
        part = journal.read(start)
        if part is None:
            missing.append(start)
        else:
            skipped += part.skipped
            notes += part.notes
    in_flight: deque[tuple[int, list[list[int]]]] = deque()

    def parts() -> Iterator[list[Query]]:  # consumed ahead of the rows, by no more than the readers need
        for start in missing:
            in_flight.append((start, journal.state(start)))
            yield [source.query(sources.options) for source in journal.part_items(start)]

    embedded = embed_parts(model, parts(), batch_size=batch_size, on_error=on_error, workers=workers)
    with closing(embedded):
        for result in iterate_with_progress(
            embedded, label="embedding", total=len(missing), quiet=quiet or None
        ):
            start, state = in_flight.popleft()
            part = part_of(result, journal.part_items(start), start, state)
            journal.write(start, part)
            skipped += part.skipped
            notes += part.notes
    by_index = itemgetter("index")
    return sorted(skipped, key=by_index), sorted(notes, key=by_index)


def _report(
    path: Path,
    row_count: int,
    skipped: list[dict[str, Any]],
    notes: list[dict[str, Any]],
    as_json: bool,
    quiet: bool,
) -> None:
    if as_json:
        from bindplug.cli.tables import print_json

        print_json({"output": str(path), "rows": row_count, "skipped": skipped, "notes": notes})
    elif not quiet:
        left_out = f", {len(skipped)} skipped" if skipped else ""
        click.echo(printable(f"{path}: {row_count} rows{left_out}"), err=True)
        report_notes(notes)
