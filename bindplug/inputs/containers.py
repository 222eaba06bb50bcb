"""Opening media with PyAV, safely and in a release that decodes right."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from types import ModuleType
from typing import Any, BinaryIO

from bindplug.errors import InputError, MissingDependency
from bindplug.inputs.cut_files import cut_remark
from bindplug.inputs.optional import import_optional
from bindplug.inputs.source import FileView

MINIMUM_PYAV = "17.1"
"""16.1 and earlier convert BT.709 video wrongly, by up to 24 levels of 255; 17.0 ends the process on FLV files. 17.1,
18.0 and 18.1 agree with FFmpeg on color bars of BT.601 and BT.709 within 1 level, and read rotation."""
OPTIONS = {"protocol_whitelist": "none"}
"""A playlist (ffconcat, HLS) must not open other files or URLs."""
TAIL_S = 2
RESTART_S = 1
"""By how much time stamps fall where a recording begins anew; packets out of order fall by less."""


def import_av(owner: str) -> ModuleType:
    """PyAV.

    Raises:
        MissingDependency: it is absent or older than 17.1.
    """
    return import_optional("av", owner, "video", minimum=MINIMUM_PYAV)


def has_av() -> bool:
    """Whether PyAV is installed in a release that can be used."""
    try:
        import_av("bindplug.inputs")
    except MissingDependency:
        return False
    return True


@contextmanager
def open_container(file: BinaryIO, name: str, expected: str, owner: str) -> Iterator[Any]:
    """Open ``file`` as a PyAV input container.

    Raises:
        InputError: it cannot be demuxed, or decoding fails in the block.
        MissingDependency: PyAV is absent or too old.
    """
    av = import_av(owner)
    start = file.tell()
    try:
        with av.open(FileView(file), mode="r", metadata_errors="replace", options=dict(OPTIONS)) as container:
            yield container
    except (av.error.FFmpegError, EOFError, UnicodeDecodeError) as error:
        problem = f"data that cannot be decoded ({getattr(error, 'strerror', None) or error})"
        breaks_off = cut_remark(file, start) != ""  # an MP4's index often stands at its end
        remedy = (
            "The file breaks off before the data that its header declares: copy it again."
            if breaks_off
            else ""
        )
        raise InputError(name, found=problem, expected=expected, remedy=remedy) from None


def stamp(item: Any, stream: Any) -> Fraction | None:
    """Presentation time of a frame or packet in seconds from the stream's start; None without a stamp."""
    if item.pts is None:
        return None
    base = item.time_base or stream.time_base
    return Fraction(item.pts) * base - Fraction(stream.start_time or 0) * stream.time_base


def stream_end(container: Any, stream: Any, *, demux_all: bool = False) -> Fraction:
    """Where the packets of ``stream`` end, in seconds from its start; 0 where no packet has a stamp.

    Headers claim the length of the longest stream of a container, or that of a recording that broke off. So the
    packets at the claimed end are demuxed (not decoded), and where there are none, all are. The container is left
    at an arbitrary place.

    Args:
        container: an open PyAV container.
        stream: one of its streams.
        demux_all: whether to demux all at once, for containers in which no place can be found by its time.
    """
    failures = import_av("bindplug.inputs").error.FFmpegError
    claimed = claimed_duration(container, stream)
    starts = [max(claimed - TAIL_S, Fraction(0))] if claimed > TAIL_S and not demux_all else []
    for start in [*starts, Fraction(0)]:
        try:
            seek(container, stream, start)
            end = _last_packet(container, stream, failures)
        except failures:
            continue
        if end > 0:
            return end
    return Fraction(0)


def stamps_restart(container: Any, stream: Any) -> bool:
    """Whether the time stamps of an MPEG transport stream start again, as in recordings that were joined.

    All packets are demuxed; the container is left at an arbitrary place.
    """
    if container.format.name != "mpegts":
        return False
    failures = import_av("bindplug.inputs").error.FFmpegError
    latest = -math.inf
    try:
        for packet in container.demux(stream):
            if packet.dts is None:
                continue
            time = float(packet.dts * (packet.time_base or stream.time_base))
            if time < latest - RESTART_S:
                return True
            latest = max(latest, time)
    except failures:  # a cut file
        pass
    return False


def claimed_duration(container: Any, stream: Any) -> Fraction:
    """What the headers say of the stream's length in seconds, else of the container's; 0 if nothing."""
    if stream.duration and stream.duration > 0:
        return Fraction(stream.duration) * stream.time_base
    if container.duration and container.duration > 0:
        return Fraction(container.duration, 1_000_000)
    return Fraction(0)


def seek(container: Any, stream: Any, time: Fraction) -> None:
    """Place ``container`` at a key frame of ``stream`` not after ``time`` (seconds from its start), if it has one."""
    try:
        container.seek(_ticks(time, stream), stream=stream, backward=True)
    except import_av("bindplug.inputs").error.FFmpegError:  # there is none so early
        container.seek(_ticks(Fraction(0), stream), stream=stream, backward=True)


def _ticks(time: Fraction, stream: Any) -> int:
    return int(time / stream.time_base) + (stream.start_time or 0)


def _last_packet(container: Any, stream: Any, failures: type[Exception]) -> Fraction:
    end = step = Fraction(0)
    try:
        for packet in container.demux(stream):
            start = stamp(packet, stream)
            if start is None:
                continue
            step = Fraction(packet.duration or 0) * (packet.time_base or stream.time_base) or step
            end = max(end, start + step)
    except failures:  # a cut file: what came before counts
        pass
    return end
