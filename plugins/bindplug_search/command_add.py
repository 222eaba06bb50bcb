"""``bindplug index add``: files of every kind into an index."""

from __future__ import annotations

import warnings
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from bindplug.cli.building import (
    ModelChoice,
    SourceCommand,
    Sources,
    check_option_values,
    check_windows,
    gather,
    model_options,
    on_error_option,
    output_options,
    parse_reader_options,
    print_json,
    reader_options,
    report_notes,
    report_skipped,
    say,
    source_options,
    window_options,
)
from bindplug.errors import InputError
from bindplug.modality import Modality
from bindplug_search.report import SAVE_EVERY, AddReport

MOST_NAMES = 5
"""Files that a message names; of further ones it gives the number."""

SUMMED = (
    "added",
    "changed",
    "unchanged",
    "removed",
    "rows",
    "metadata_changed",
    "skipped",
    "notes",
    "absent",
)
"""Fields of a report that add up over several runs."""

KINDS = tuple(modality.value for modality in Modality if modality is not Modality.TEXT)


@click.command(cls=SourceCommand)
@click.argument("index")
@click.argument("folders", nargs=-1)
@source_options
@click.option(
    "--from-list",
    "lists",
    multiple=True,
    metavar="FILE",
    help="A text file (- for stdin) with modality<TAB>source in each line. Repeatable.",
)
@click.option("--no-recursive", is_flag=True, help="Leave out the subdirectories of FOLDERS.")
@click.option(
    "--meta",
    "metadata_file",
    metavar="FILE",
    help="Metadata to keep beside the rows: CSV, JSON Lines or Parquet with a column path.",
)
@click.option(
    "--set",
    "assignments",
    multiple=True,
    metavar="KEY=VALUE",
    help="Metadata of all these files. Repeatable.",
)
@on_error_option
@click.option(
    "--save-every",
    type=click.IntRange(min=1),
    default=SAVE_EVERY,
    show_default=True,
    help="Rows between two commits; an interrupted run loses at most the work on these.",
)
@click.option(
    "--workers",
    type=click.IntRange(min=0),
    metavar="N",
    help="Threads that read files while the model works; one for each core by default, at most 4; 0 for none.",
)
@window_options
@reader_options
@model_options
@output_options
def add(
    index: str,
    folders: tuple[str, ...],
    lists: tuple[str, ...],
    no_recursive: bool,
    metadata_file: str | None,
    assignments: tuple[str, ...],
    on_error: str,
    save_every: int,
    workers: int | None,
    windows: float | None,
    hop: float | None,
    reader: tuple[str, ...],
    choice: ModelChoice,
    as_json: bool,
    quiet: bool,
    **by_option: Any,
) -> int:
    """Bring files of every kind into an INDEX, which is made if it does not exist.

    With FOLDERS the options are patterns: which of their files are sounds, pictures, depth maps. Without, they name
    files. Files that are there already, as they are now, are left alone, so that a run that was interrupted goes on
    where it stopped when the same command is given again.

    \b
    bindplug index add library.lance library/ --audio '*.wav' --image '*.jpg' --depth '*_depth.png'
    bindplug index add library.lance --audio bark.wav --text "a dog" --set place=garden
    bindplug index add calls.lance calls/ --audio '*.wav' --windows 2 --hop 1 --meta calls.csv
    """
    from bindplug_search.command_opening import open_or_create
    from bindplug_search.metadata import MetadataFile, parse_values

    check_windows(windows, hop)
    patterns = {kind: by_option.pop(kind) for kind in KINDS if folders and by_option.get(kind)}
    if folders and not patterns:
        raise click.UsageError(
            f"say which files of {folders[0]} to take: --image '*.jpg', --audio '*.wav', ..."
        )
    options = parse_reader_options(reader)
    check_option_values(options)
    values = parse_values(assignments)
    if metadata_file is not None:
        MetadataFile(metadata_file)  # a bad table is told before a model is loaded
    for folder in folders:
        if not Path(folder).is_dir():
            detail = "a file" if Path(folder).exists() else "no such folder"
            raise InputError(folder, found=detail, expected="a folder of files")
    sources = Sources([], options)
    if any(by_option.values()) or lists or not folders:
        sources = gather(by_option, lists=lists, reader=reader)
        if on_error == "raise":
            sources.ensure_present("Or say --on-error skip")
    target = open_or_create(index, choice, {*patterns, *sources.modalities}, options)
    common: dict[str, Any] = {
        "windows": windows,
        "hop": hop,
        "on_error": on_error,
        "save_every": save_every,
        "workers": workers,
        "batch_size": choice.batch_size,
        "progress": False if quiet else None,
    }
    reports = []
    for folder in folders:
        reports.append(
            target.add_folder(
                folder,
                patterns,
                recursive=not no_recursive,
                options=options,
                metadata=values,
                metadata_file=metadata_file,
                **common,
            )
        )
    if sources.items:
        reports.append(target.add(sources.queries(), metadata=values, metadata_file=metadata_file, **common))
    report = merge_reports(reports)
    _warn(report, metadata_file)
    show_report(index, report, as_json, quiet)
    return report_skipped(report.skipped)


def _warn(report: AddReport, metadata_file: str | None) -> None:
    if report.unmatched:
        warnings.warn(f"no file matches {', '.join(map(repr, report.unmatched))}", stacklevel=2)
    if report.unjoined:
        names = ", ".join(report.unjoined[:MOST_NAMES])
        more = len(report.unjoined) - MOST_NAMES
        also = f" and {more} more" if more > 0 else ""
        warnings.warn(f"{metadata_file} has rows of files that were not added: {names}{also}", stacklevel=2)


def merge_reports(reports: list[AddReport]) -> AddReport:
    """What several runs did together; what one of them matched is matched."""
    merged = AddReport()
    for report in reports:
        for name in SUMMED:
            setattr(merged, name, getattr(merged, name) + getattr(report, name))
    for name in ("unmatched", "unjoined"):
        first, *rest = [getattr(report, name) for report in reports] or [[]]
        setattr(merged, name, [item for item in first if all(item in other for other in rest)])
    return merged


def show_report(index: str, report: AddReport, as_json: bool, quiet: bool) -> None:
    """Print what adding or updating did: as JSON, or in one line on stderr."""
    if as_json:
        print_json({"index": index, **asdict(report)})
        return
    if quiet:
        return
    counts = [(report.added, "added"), (report.changed, "read anew"), (report.removed, "removed")]
    unchanged = report.unchanged - report.metadata_changed
    counts += [
        (report.metadata_changed, "with other metadata"),
        (unchanged, "unchanged"),
        (len(report.skipped), "skipped"),
    ]
    done = ", ".join(f"{count} {word}" for count, word in counts if count) or "nothing to do"
    say(f"{index}: {done} ({report.rows} rows written)")
    report_notes(report.notes)
    if report.absent:
        say(
            f"{len(report.absent)} files are gone with their whole folder, as if a disk were not mounted; their rows "
            f"stay (say --prune to drop them): {', '.join(report.absent[:MOST_NAMES])}"
        )
