"""The engine's road: list, plan, compare with what is done, embed what is not, and count."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from contextlib import closing
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from bindplug.cli.building import (
    EmbedJob,
    EmbedSummary,
    is_utf8,
    job_difference,
)
from bindplug.encoder import warn_unknown_words
from bindplug.errors import InputError
from bindplug.progress import iterate_with_progress
from bindplug.space import EmbeddingSpace
from bindplug_search.engine.addresses import local_path
from bindplug_search.engine.cluster import (
    describe_model,
    embed_partitions,
    plan_resources,
    ray_session,
)
from bindplug_search.engine.destination import Destination
from bindplug_search.engine.lance_destination import open_destination
from bindplug_search.engine.partition import PartitionReport, Work
from bindplug_search.engine.plan import (
    PARTITION_ITEMS,
    WINDOWED_ITEMS,
    Partition,
    Plan,
    digest_of,
    list_items,
    plan_items,
)
from bindplug_search.engine.settings import Settings
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
    _ensure_apart(job)
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


def _plan(job: EmbedJob, settings: Settings, step: int) -> Plan:
    if settings.column is not None:
        return plan_tables(job, settings.column, settings.id_column, step)
    items, states = list_items(job)
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


def _ensure_apart(job: EmbedJob) -> None:
    """Raise :class:`InputError` if the output lies below a directory that is read: its files would be read too."""
    place = _resolved(job.output)
    for source in job.sources.items:
        if source.is_text or source.files or not job.recursive:
            continue
        if f"{place}/".startswith(f"{_resolved(source.value)}/"):
            raise InputError(
                f"--output: {job.output}",
                found=f"a place below {source.value}, which is read",
                expected="another",
            )


def _resolved(value: str) -> str:
    path = local_path(value)
    return value.partition("?")[0].rstrip("/") if path is None else str(Path(path).resolve())


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
        earlier_reports, missing = _sort_out(job, destination, plan, work.on_error, earlier)
        state = {"identity": identity, "step": step, "complete": False}
        destination.write_job(state)
        stream = embed_partitions(ray, missing, work, job.output, space, resources) if missing else iter(())
        reports = dict(earlier_reports)
        words: dict[str, None] = {}
        for name, report in iterate_with_progress(
            stream, label="embedding", total=len(missing), quiet=job.quiet or None
        ):
            reports[name] = report
            words |= dict.fromkeys(report.unknown_words)
    ordered = [reports[name] for name in _names(plan)]
    _ensure_in_sight(job, destination, plan)
    destination.commit(work.schema(), _names(plan))
    destination.write_job({**state, "complete": True})
    destination.clear()
    warn_unknown_words(list(words))
    summary = _summary(job, destination, ordered)
    summary.details |= {
        "actors": resources.actors,
        "device": device,
        "partitions": len(plan.partitions),
        "partitions_done_earlier": len(earlier_reports),
    }
    return summary


def _ensure_in_sight(job: EmbedJob, destination: Destination, plan: Plan) -> None:
    """Raise :class:`InputError` if workers of other machines wrote to disks of their own."""
    absent = _names(plan).keys() - destination.finished().keys()
    if absent:
        raise InputError(
            job.output,
            found=f"{len(absent)} of {len(plan.partitions)} partitions that workers wrote are not there",
            expected="a place that all machines share",
            remedy="Use a shared directory, or an address as s3://bucket/rows",
        )


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
    earlier_reports = dict(zip(names, destination.reports(names), strict=True))
    if on_error == "raise":
        for name in [name for name, report in earlier_reports.items() if report.skipped_count]:
            destination.drop(name)
            del earlier_reports[name]
    return earlier_reports, [
        partition for name, partition in partitions.items() if name not in earlier_reports
    ]


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
    if summary.skipped_count:
        summary.details["errors"] = destination.errors
    return summary
