"""Engines that plugins register for ``bindplug embed --engine NAME``: what they are handed and what they return."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import asdict, dataclass, field
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

import click

from bindplug.cli.messages import report_notes, report_skipped, say
from bindplug.cli.options import ModelChoice, announce_toy
from bindplug.cli.sources import Sources
from bindplug.cli.tables import print_json
from bindplug.errors import InputError, PluginError, printable

if TYPE_CHECKING:
    from bindplug.cards import EngineCard
    from bindplug.plugins import Entry

LOCAL = "local"
"""The engine that embeds in this process."""


@dataclass(frozen=True)
class EmbedJob:
    """What a person asked ``bindplug embed`` to do.

    Attributes:
        sources: what to embed as typed, and options of the readers: directories, patterns and addresses such as
            ``s3://bucket/prefix`` are not expanded. The modality of a source is empty where none was stated and the
            engine's card says that it finds it out.
        output: where to, as typed.
        choice: model, device, dtype and batch size.
        recursive, include: how directories are to be expanded, as in :func:`bindplug.cli.building.expand`.
        on_error: "raise" or "skip"; None where the engine decides.
        save_every: items between two saves; None where the engine decides.
        workers: threads that read files for a model; None where the engine decides.
        windows: ``{"seconds": ..., "hop": ...}`` for recordings; None without windows.
        restart: drop what an unfinished job left.
        overwrite: replace a finished output.
        address: of a cluster; None for this machine.
        options: the engine's own, by name.
        quiet: no progress bars, warnings or remarks.
    """

    sources: Sources
    output: str
    choice: ModelChoice = field(default_factory=ModelChoice)
    recursive: bool = False
    include: tuple[str, ...] = ()
    on_error: str | None = None
    save_every: int | None = None
    workers: int | None = None
    windows: dict[str, float] | None = None
    restart: bool = False
    overwrite: bool = False
    address: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    quiet: bool = False


@dataclass
class EmbedSummary:
    """What an engine did.

    Attributes:
        output: where the rows are.
        rows: how many there are, those of earlier runs included.
        skipped_count: inputs left out.
        notes_count: remarks of readers.
        skipped: the first of them: ``{"modality", "source", "reason"}``.
        notes: the first remarks: ``{"modality", "source", "note"}``.
        complete: whether an earlier run had done everything.
        details: whatever else the engine reports, as JSON.
    """

    output: str
    rows: int
    skipped_count: int = 0
    notes_count: int = 0
    skipped: list[dict[str, Any]] = field(default_factory=list)
    notes: list[dict[str, Any]] = field(default_factory=list)
    complete: bool = False
    details: dict[str, Any] = field(default_factory=dict)


def find_engine(name: str) -> Entry[EngineCard]:
    """The engine that a plugin registers under this name.

    Raises:
        InputError: there is none.
    """
    from bindplug.plugins import registry

    engines = registry().engines
    if name not in engines:
        near = get_close_matches(name, [LOCAL, *engines], n=1, cutoff=0.5)
        raise InputError(
            "--engine",
            found=repr(name),
            expected=f"one of {', '.join([LOCAL, *sorted(engines)])}",
            remedy=f"Did you mean {near[0]}?" if near else "",
        )
    return engines[name]


def parse_engine_options(entry: Entry[EngineCard], assignments: Sequence[str]) -> dict[str, Any]:
    """Options by name from ``NAME=VALUE``; a VALUE that is JSON is taken as such.

    Raises:
        click.BadParameter: an item has another form, or the engine has no such option.
    """
    options: dict[str, Any] = {}
    for assignment in assignments:
        name, equals, value = assignment.partition("=")
        if not equals:
            raise click.BadParameter(f"{assignment!r} is not NAME=VALUE, as actors=4", param_hint="-E")
        if name not in entry.card.options:
            names = ", ".join(entry.card.options) or "none"
            raise click.BadParameter(
                f"the engine {entry.card.name} has no option {name!r}; it has: {names}", param_hint="-E"
            )
        try:
            options[name] = json.loads(value)
        except (ValueError, RecursionError):
            options[name] = value
    return options


def run_engine(entry: Entry[EngineCard], job: EmbedJob, *, as_json: bool) -> int:
    """Have an engine do a job, and report what it did.

    Returns:
        The exit code.

    Raises:
        MissingDependency: a package that the engine needs is absent.
        PluginError: the engine returned something other than a summary.
    """
    engine = entry.load(entry.card.target)
    announce_toy(job.choice.name)
    with redirect_stdout(sys.stderr):  # what libraries print must not mix with --json
        summary = engine(job)
    if not isinstance(summary, EmbedSummary):
        raise PluginError(
            f"plugin {entry.plugin.name!r}: the engine {entry.card.name!r} returned a {type(summary).__name__}; "
            f"expected an EmbedSummary"
        )
    if as_json:
        print_json(asdict(summary))
    elif not job.quiet:
        done = "already complete, " if summary.complete else ""
        left_out = f", {summary.skipped_count} skipped" if summary.skipped_count else ""
        click.echo(printable(f"{summary.output}: {done}{summary.rows} rows{left_out}"), err=True)
        report_notes(summary.notes)
    code = report_skipped(summary.skipped)
    more = summary.skipped_count - len(summary.skipped)
    if more > 0:
        say(f"{more} more skipped inputs are in the table of errors")
    return code
