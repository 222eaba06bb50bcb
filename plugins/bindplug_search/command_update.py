"""``bindplug index update`` and ``bindplug index optimize``."""

from __future__ import annotations

from dataclasses import asdict

import click

from bindplug.cli.building import ModelChoice, model_options, output_options, print_json, report_skipped, say
from bindplug_search.command_add import show_report
from bindplug_search.report import SAVE_EVERY


@click.command()
@click.argument("index")
@click.option(
    "--prune",
    is_flag=True,
    help="Also drop files whose whole folder is missing or empty, as of a disk that is not mounted.",
)
@click.option(
    "--on-error",
    type=click.Choice(["raise", "skip"]),
    default="skip",
    show_default=True,
    help="Stop at a bad file, or leave it as it was, name it and exit with 3.",
)
@click.option(
    "--save-every",
    type=click.IntRange(min=1),
    default=SAVE_EVERY,
    show_default=True,
    help="Rows between two commits; an interrupted run loses at most the work on these.",
)
@click.option("--workers", type=click.IntRange(min=0), metavar="N", help="Threads that read files.")
@model_options
@output_options
def update(
    index: str,
    prune: bool,
    on_error: str,
    save_every: int,
    workers: int | None,
    choice: ModelChoice,
    as_json: bool,
    quiet: bool,
) -> int:
    """Bring an INDEX up to date with its files: read changed ones anew, add new ones, drop removed ones.

    New files are those of the folders and patterns that were added. A change is noticed by size and times, and
    confirmed by the content's hash.
    """
    from bindplug_search.command_opening import open_existing

    report = open_existing(index, choice).update(
        prune=prune,
        on_error=on_error,
        save_every=save_every,
        batch_size=choice.batch_size,
        workers=workers,
        progress=False if quiet else None,
    )
    show_report(index, report, as_json, quiet)
    return report_skipped(report.skipped)


@click.command()
@click.argument("index")
@output_options
def optimize(index: str, as_json: bool, quiet: bool) -> None:
    """Build the approximate search of a large INDEX anew, and measure its recall against the exact one.

    Adding and updating do so by themselves where it is due.
    """
    from bindplug_search.opening import open_index

    approximation = open_index(index).optimize()
    if as_json:
        print_json({"index": index, "search": "exact" if approximation is None else asdict(approximation)})
    elif not quiet:
        detail = "every search is exact"
        if approximation is not None:
            neighbors, sample = approximation.k, approximation.sample
            detail = f"recall {approximation.recall:.1%} of the {neighbors} nearest, in {sample} searches"
        say(f"{index}: {detail}")
