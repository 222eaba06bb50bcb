"""The engine's road: list, plan, compare with what is done, embed what is not, and count."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from importlib.metadata import version
from numbers import Real
from pathlib import Path
from typing import Any

from bindplug.cli.building import (
    DEFAULT_MODEL,
    EmbedJob,
    EmbedSummary,
    ModelChoice,
    Source,
    Sources,
    is_utf8,
    job_difference,
)
from bindplug.encoder import warn_unknown_words
from bindplug.errors import InputError
from bindplug.modality import Modality
from bindplug.progress import iterate_with_progress
from bindplug.space import EmbeddingSpace
from bindplug_search.engine.cluster import (
    describe_model,
    embed_partitions,
    plan_resources,
    ray_session,
)
from bindplug_search.engine.destination import Destination, open_destination
from bindplug_search.engine.partition import PartitionReport, Work
from bindplug_search.engine.plan import (
    PARTITION_ITEMS,
    WINDOWED_ITEMS,
    Partition,
    Plan,
    digest_of,
    ensure_present,
    list_items,
    plan_items,
)
from bindplug_search.engine.tables import plan_tables

FORMAT = 1
"""Version of an output's layout; another one is never resumed."""

MOST_REMARKS = 1000
"""Skipped items, and notes, in a summary; all are in the tables of the output."""

TYPED = {
    "format": "the version of bindplug",
    "model": "--model",
    "dtype": "--dtype",
    "reader_options": "-O",
    "windows": "--windows or --hop",
    "column": "-E column",
    "id_column": "-E id",
    "space": "the model's space",
    "fingerprint": "the model's weights",
    "count": "the files",
    "items_sha256": "the files",
}
"""Keys of a job -> what a person typed to set them."""


@dataclass(frozen=True)
class Settings:
    """The engine's own options.

    Attributes:
        actors, cpus, gpus: see :func:`bindplug_search.engine.cluster.plan_resources`.
        column: of the tables that are read; None where files are.
        id_column: names for the bytes in ``column``.
    """

    actors: int | None = None
    cpus: float | None = None
    gpus: float | None = None
    column: str | None = None
    id_column: str | None = None

    @classmethod
    def of(cls, options: dict[str, Any]) -> Settings:
        """The settings that ``-E NAME=VALUE`` state.

        Raises:
            InputError: a value of another kind.
        """
        actors, cpus, gpus = (options.get(name) for name in ("actors", "cpus", "gpus"))
        if actors is not None and (isinstance(actors, bool) or not isinstance(actors, int) or actors < 1):
            raise _bad_option("actors", actors, "a whole number of at least 1")
        for name, value in (("cpus", cpus), ("gpus", gpus)):
            if value is not None and (isinstance(value, bool) or not isinstance(value, Real) or value < 0):
                raise _bad_option(name, value, "a number of at least 0, as 0.5")
        column, id_column = (
            None if options.get(name) is None else str(options[name]) for name in ("column", "id")
        )
        if id_column is not None and column is None:
            raise _bad_option("id", id_column, "-E column=NAME beside it")
        return cls(actors, cpus, gpus, column, id_column)


def run(job: EmbedJob) -> EmbedSummary:
    """Embed on a Ray cluster, or on processes of this machine; what is done already is not done again.

    Raises:
        InputError: bad input, an output of another job, a cluster that does not answer, or workers that die.
        MissingDependency: the extra ``ray`` is not installed.
    """
    settings = Settings.of(dict(job.options))
    destination = open_destination(job.output)
    destination.ensure_own()
    earlier = None if job.overwrite else _earlier_job(job, destination)
    step = earlier["step"] if earlier else _step(job)
    plan = _plan(job, settings, step)
    on_error = job.on_error or "skip"
    identity: dict[str, Any] = {
        "format": FORMAT,
        "model": job.choice.name,
        "dtype": job.choice.dtype,
        "reader_options": job.sources.options,
        "windows": job.windows,
        "column": settings.column,
        "id_column": settings.id_column,
        "count": plan.count,
        "items_sha256": plan.digest,
    }
    _ensure_same(job, earlier, identity)
    destination.open()
    with closing(destination):
        if earlier is None:
            for name in destination.finished():
                destination.drop(name)
        if earlier and earlier.get("complete") and destination.finished().keys() == _names(plan).keys():
            reports = dict(zip(_names(plan), destination.reports(_names(plan)), strict=True))
            if on_error == "skip" or not any(report.skipped_count for report in reports.values()):
                return replace(_summary(job, destination, reports.values()), complete=True)
        work = Work(
            choice=job.choice,
            modalities=plan.modalities,
            reader_options=job.sources.options,
            windows=job.windows,
            on_error=on_error,
            workers=job.workers,
            cwd=str(Path.cwd()),
            windowed=job.windows is not None and any(m in ("audio", "video", "imu") for m in plan.modalities),
            with_bytes=plan.with_bytes,
        )
        return _embed(job, settings, destination, plan, work, identity, earlier, step)


def embed_with_ray(
    sources: Sequence[str | tuple[str, str]],
    output: str | Path,
    *,
    modality: str | None = None,
    model: str | Path = DEFAULT_MODEL,
    device: str = "auto",
    dtype: str | None = None,
    batch_size: int = 32,
    workers: int | None = None,
    on_error: str = "skip",
    save_every: int | None = None,
    windows: float | None = None,
    hop: float | None = None,
    reader_options: dict[str, dict[str, Any]] | None = None,
    recursive: bool = False,
    include: Sequence[str] = (),
    restart: bool = False,
    overwrite: bool = False,
    address: str | None = None,
    actors: int | None = None,
    cpus: float | None = None,
    gpus: float | None = None,
    column: str | None = None,
    id_column: str | None = None,
    quiet: bool = False,
) -> EmbedSummary:
    """Embed files, or the rows of tables, on a Ray cluster: ``bindplug embed --engine ray`` from Python.

    A Ray session that the program has begun is used; else one is begun, and ended with the call.

    Args:
        sources: paths, directories, patterns, addresses (``s3://bucket/prefix``) or sentences, each of
            ``modality``, or ``(modality, source)``.
        output: a directory for Parquet files, or the name of a Lance dataset that ends in ``.lance``; or the
            address of one.
        modality: of the sources that state none.
        model, device, dtype, batch_size: which model to load and how; device is "auto", "cpu" or "cuda".
        workers: threads that read files, for each actor.
        on_error: "skip" lists bad items in the table ``_errors``; "raise" stops at the first.
        save_every: items in a partition; 4,096 by default, 64 recordings with windows.
        windows, hop: length of windows of recordings, and from the start of one to that of the next, in seconds.
        reader_options: for each modality, options of its reader.
        recursive, include: how directories are expanded.
        restart, overwrite: begin anew.
        address: of a cluster, as ``auto`` or ``ray://host:10001``; None for this machine.
        actors, cpus, gpus: how many actors, and what each takes; None leaves it to what the cluster has.
        column: read tables, and take paths, sentences or bytes from this column (of webdataset: the member's suffix).
        id_column: names for the bytes.
        quiet: no progress bar.

    Returns:
        How many rows there are, and what was left out.

    Raises:
        InputError: bad input, an output of another job, a cluster that does not answer, or workers that die.
        MissingDependency: the extra ``ray`` is not installed.
    """
    items = []
    for source in sources:
        kind, value = (modality, source) if isinstance(source, str) else source
        if kind is None:
            raise InputError(str(value), found="no modality", expected="modality=, or (modality, source)")
        items.append(Source(Modality.parse(kind).value, value))
    if not items:
        raise InputError("embed_with_ray()", found="no sources", expected="at least one")
    if on_error not in ("raise", "skip"):
        raise InputError("embed_with_ray()", found=f"on_error={on_error!r}", expected='"raise" or "skip"')
    if hop is not None and windows is None:
        raise InputError("embed_with_ray()", found="hop without windows", expected="both")
    span = None if windows is None else {"seconds": windows, "hop": windows if hop is None else hop}
    options = {"actors": actors, "cpus": cpus, "gpus": gpus, "column": column, "id": id_column}
    job = EmbedJob(
        Sources(items, reader_options or {}),
        str(output),
        ModelChoice(str(model), device, dtype, batch_size),
        recursive=recursive,
        include=tuple(include),
        on_error=on_error,
        save_every=save_every,
        workers=workers,
        windows=span,
        restart=restart,
        overwrite=overwrite,
        address=address,
        options=options,
        quiet=quiet,
    )
    return run(job)


def _plan(job: EmbedJob, settings: Settings, step: int) -> Plan:
    if settings.column is not None:
        return plan_tables(job, settings.column, settings.id_column, step)
    items, states = list_items(job)
    if job.on_error == "raise":
        ensure_present(items)
    return Plan(
        plan_items(items, states, step),
        len(items),
        digest_of([source.modality, source.value] for source in items),
        list(dict.fromkeys(source.modality for source in items)),
        with_bytes=not all(is_utf8(source.value) for source in items),
    )


def _earlier_job(job: EmbedJob, destination: Destination) -> dict[str, Any] | None:
    """The job to go on with; None to begin anew.

    Raises:
        InputError: there are partitions, and nothing says of which job.
    """
    earlier = destination.read_job()
    if earlier is None and destination.finished() and not job.restart:
        raise InputError(
            job.output,
            found="partitions without _job.json",
            expected="the description of their job",
            remedy="Say --overwrite to begin anew",
        )
    if earlier is not None and job.restart and not earlier.get("complete"):
        return None
    return earlier


def _step(job: EmbedJob) -> int:
    """Items in a partition: windows make many rows of a recording."""
    return job.save_every or (WINDOWED_ITEMS if job.windows else PARTITION_ITEMS)


def _names(plan: Plan) -> dict[str, Partition]:
    return {partition.name: partition for partition in plan.partitions}


def _ensure_same(job: EmbedJob, earlier: dict[str, Any] | None, identity: dict[str, Any]) -> None:
    """Refuse to mix the rows of two jobs.

    Raises:
        InputError: what stands at the output is of another job.
    """
    if earlier is None:
        return
    compared = {key: text for key, text in TYPED.items() if key in identity}
    difference = job_difference(earlier["identity"], identity, compared)
    if difference:
        complete = earlier.get("complete")
        raise InputError(
            job.output,
            found=f"{'a finished' if complete else 'an unfinished'} job {difference}",
            expected="the same job, to go on with it",
            remedy=f"Choose another --output, or drop that one with --{'overwrite' if complete else 'restart'}",
        )


def _embed(
    job: EmbedJob,
    settings: Settings,
    destination: Destination,
    plan: Plan,
    work: Work,
    identity: dict[str, Any],
    earlier: dict[str, Any] | None,
    step: int,
) -> EmbedSummary:
    with ray_session(job.address) as ray:
        resources = plan_resources(ray, job.choice.device, settings.actors, settings.cpus, settings.gpus)
        device = "cuda" if resources.gpus else "cpu"
        workers = max(1, int(resources.cpus)) if work.workers is None else work.workers
        work = replace(work, choice=replace(job.choice, device=device), workers=workers)
        space = describe_model(ray, work)
        identity = {**identity, "space": space.name, "fingerprint": space.fingerprint}
        _ensure_same(job, earlier, identity)
        work = replace(work, width=space.width, metadata=_metadata(job, identity, space))
        kept, missing = _sort_out(job, destination, plan, work.on_error, earlier)
        state = {"identity": identity, "step": step, "complete": False}
        destination.write_job(state)
        stream = embed_partitions(ray, missing, work, job.output, space, resources) if missing else iter(())
        reports = dict(kept)
        words: dict[str, None] = {}
        for name, report in iterate_with_progress(
            stream, label="embedding", total=len(missing), quiet=job.quiet or None
        ):
            reports[name] = report
            words |= dict.fromkeys(report.unknown_words)
    ordered = [reports[name] for name in _names(plan)]
    destination.commit(work.schema(), _names(plan))
    destination.write_job({**state, "complete": True})
    destination.clear()
    warn_unknown_words(list(words))
    summary = _summary(job, destination, ordered)
    summary.details |= {
        "actors": resources.actors,
        "device": device,
        "partitions": len(plan.partitions),
        "partitions_done_earlier": len(kept),
    }
    return summary


def _sort_out(
    job: EmbedJob, destination: Destination, plan: Plan, on_error: str, earlier: dict[str, Any] | None
) -> tuple[dict[str, PartitionReport], list[Partition]]:
    """What came of the partitions that stand already, and the others; stale ones are removed."""
    partitions, finished = _names(plan), destination.finished()
    stale = [name for name in finished if name not in partitions]
    if stale and not job.quiet:
        warnings.warn(
            f"{len(stale)} partitions hold files that changed since, and are made again", stacklevel=2
        )
    for name in stale:
        destination.drop(name)
    names = [name for name in partitions if name in finished]
    kept = dict(zip(names, destination.reports(names), strict=True))
    if on_error == "raise":
        for name in [name for name, report in kept.items() if report.skipped_count]:
            destination.drop(name)
            del kept[name]
    return kept, [partition for name, partition in partitions.items() if name not in kept]


def _metadata(job: EmbedJob, identity: dict[str, Any], space: EmbeddingSpace) -> dict[str, Any]:
    """What the table's schema says of all rows: the keys of the local path."""
    keys = ("model", "dtype", "reader_options", "windows", "space", "fingerprint", "count", "items_sha256")
    metadata = {key: identity[key] for key in keys if key != "windows" or job.windows}
    return {**metadata, "width": space.width, "version": version("bindplug"), "engine": "ray"}


def _summary(job: EmbedJob, destination: Destination, reports: Iterable[PartitionReport]) -> EmbedSummary:
    summary = EmbedSummary(job.output, 0)
    for report in reports:
        summary.rows += report.rows
        summary.skipped_count += report.skipped_count
        summary.notes_count += report.notes_count
        summary.skipped += report.skipped[: MOST_REMARKS - len(summary.skipped)]
        summary.notes += report.notes[: MOST_REMARKS - len(summary.notes)]
    return summary


def _bad_option(name: str, value: object, expected: str) -> InputError:
    return InputError(f"-E {name}", found=repr(value), expected=expected)
