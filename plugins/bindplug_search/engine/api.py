"""The engine from Python."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bindplug.cli.building import DEFAULT_MODEL, EmbedJob, EmbedSummary, ModelChoice, Source, Sources
from bindplug.errors import InputError
from bindplug.modality import Modality
from bindplug_search.engine.run import run


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
    on_error: str | None = None,
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
        modality: of the sources that state none; by default what the names of files tell, as ``.jpg`` and ``.wav``.
        model, device, dtype, batch_size: which model to load and how; device is "auto", "cpu" or "cuda".
        workers: threads that read files, for each actor.
        on_error: "skip" lists bad items in the table ``_errors``, "raise" stops at the first; by default, files that
            cannot be read are listed, and paths that are not there are an error.
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
        items.append(Source("" if kind is None else Modality.parse(kind).value, value))
    if not items:
        raise InputError("embed_with_ray()", found="no sources", expected="at least one")
    if on_error not in (None, "raise", "skip"):
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
