"""Recordings cut into windows, each of which becomes a row: ``--windows 2 --hop 1``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

import click

from bindplug.cli.sources import Source, Sources
from bindplug.errors import InputError
from bindplug.modality import Modality

if TYPE_CHECKING:
    from bindplug.encoder import Encoder

F = TypeVar("F", bound=Callable[..., Any])
RECORDED = tuple(modality.value for modality in (Modality.AUDIO, Modality.VIDEO, Modality.IMU))


def window_options(command: F) -> F:
    """Add ``--windows SECONDS`` and ``--hop SECONDS``."""
    positive = click.FloatRange(min=0, min_open=True)
    hop = click.option(
        "--hop",
        type=positive,
        metavar="SECONDS",
        help="From the start of one window to that of the next; a window's length by default.",
    )
    windows = click.option(
        "--windows",
        type=positive,
        metavar="SECONDS",
        help="Embed sounds, videos and motion logs window by window; rows then have start and end.",
    )
    return windows(hop(command))


def check_windows(windows: float | None, hop: float | None) -> dict[str, float] | None:
    """Length and hop of windows in seconds as the output's metadata states them; None without windows.

    Raises:
        click.UsageError: a hop without windows.
    """
    if windows is None:
        if hop is not None:
            raise click.UsageError("--hop needs --windows, the length of a window in seconds")
        return None
    return {"seconds": windows, "hop": windows if hop is None else hop}


def in_windows(
    model: Encoder, sources: Sources, windows: dict[str, float] | None, on_error: str
) -> list[Source]:
    """The sources with every recording replaced by its windows.

    A recording whose length cannot be read stays whole where ``on_error`` is "skip": reading it will tell why.

    Raises:
        InputError: such a recording, where ``on_error`` is "raise".
    """
    if windows is None:
        return sources.items
    from bindplug.inputs.clips import window_count, window_span

    items: list[Source] = []
    for source in sources.items:
        if source.modality not in RECORDED:
            items.append(source)
            continue
        try:
            duration_s = model.preprocess[source.modality].duration(
                source.source, **sources.options.get(source.modality, {})
            )
        except InputError:
            if on_error == "raise":
                raise
            duration_s = 0.0
        if duration_s <= 0:  # a still picture given as a video, or not readable
            items.append(source)
            continue
        count = window_count(duration_s, windows["seconds"], windows["hop"])
        spans = (window_span(index, duration_s, windows["seconds"], windows["hop"]) for index in range(count))
        items += [replace(source, span=span) for span in spans]
    return items
