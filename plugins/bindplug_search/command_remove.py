"""``bindplug index remove``: take rows out of an index."""

from __future__ import annotations

from dataclasses import asdict

import click

from bindplug.cli.building import output_options, print_json, say
from bindplug.modality import Modality
from bindplug_search.options import where_option
from bindplug_search.report import RemoveReport, file_label

MOST_NAMES = 5
"""Files that a message names; of further ones it gives the number."""


@click.command()
@click.argument("index")
@click.option(
    "--path",
    "paths",
    multiple=True,
    metavar="PATH",
    help="A file, a folder with all that is below it, or a pattern as '*_draft.png'. Repeatable.",
)
@click.option("--text", "texts", multiple=True, metavar="SENTENCE", help="A sentence. Repeatable.")
@click.option(
    "--kind",
    "kinds",
    multiple=True,
    type=click.Choice([modality.value for modality in Modality]),
    help="Of these kinds only. Repeatable.",
)
@where_option
@click.option("--missing", is_flag=True, help="Only files that are no longer there.")
@click.option("--dry-run", is_flag=True, help="List what would be removed, and change nothing.")
@output_options
def remove(
    index: str,
    paths: tuple[str, ...],
    texts: tuple[str, ...],
    kinds: tuple[str, ...],
    where: tuple[str, ...],
    missing: bool,
    dry_run: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Take files out of an INDEX, and list them; the files themselves are not touched.

    Removed are files that meet all that is said; of several paths and sentences, all. A removed file that is still in
    a folder that was added is left out by `bindplug index update` until it is added again; a folder that is given with
    --path alone is forgotten.

    \b
    bindplug index remove library.lance --path holiday/
    bindplug index remove library.lance --path '*_draft.png' --where 'year<2020' --dry-run
    bindplug index remove library.lance --missing --json
    """
    from bindplug_search.opening import open_index

    if not (paths or texts or kinds or where or missing):
        raise click.UsageError("say what to remove: --path, --text, --kind, --where or --missing")
    report = open_index(index).remove(
        paths, texts=texts, kind=kinds, where=where, missing=missing, dry_run=dry_run
    )
    if as_json:
        print_json({"index": index, **asdict(report)})
    elif not quiet:
        _show(index, report)


def _show(index: str, report: RemoveReport) -> None:
    for file in report.removed:
        click.echo(f"{file['kind']}\t{file_label(file['path'], file['kind'])}")
    count = len(report.removed)
    verb = "would be removed" if report.dry_run else "removed"
    done = (
        f"{_counted(count, 'file')} {verb} ({_counted(report.rows, 'row')})" if count else "nothing to remove"
    )
    say(f"{index}: {done}")
    if report.folders:
        say(f"updates {'would ' if report.dry_run else ''}no longer look in {', '.join(report.folders)}")
    if report.left_out:
        say(f"{report.left_out} of them are still in folders that were added; updates leave them out")
    if report.absent:
        say(
            f"{len(report.absent)} files are gone with their whole folder, as if a disk were not mounted; their rows "
            f"stay (name the folder with --path to drop them): {', '.join(report.absent[:MOST_NAMES])}"
        )


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"
