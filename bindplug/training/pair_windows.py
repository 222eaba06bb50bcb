"""Recordings cut into windows, each a pair with the picture of its moment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from bindplug.errors import BindplugError, InputError
from bindplug.inputs import make_preprocess
from bindplug.inputs.base import Preprocess
from bindplug.inputs.clips import span_within, window_count, window_span
from bindplug.inputs.containers import open_container
from bindplug.inputs.notes import collected_notes
from bindplug.inputs.source import open_source
from bindplug.inputs.video import VideoPreprocess
from bindplug.progress import iterate_with_progress
from bindplug.training.pair_items import PairItem, PairList, PairProblem

RECORDED = frozenset(("audio", "imu"))
"""Senses whose samples have a length in time."""

VIDEO_WINDOW_S = {"audio": 2.0, "imu": 5.0}
"""Length of the windows that videos are cut into by default: that of a clip."""

LEAST_ADVANCE = 0.1
"""A last window that starts less than this share of a hop after the one before is left out: it is the same once more.
Encoders pad the ends of sound tracks, so that a video of 10 s has 10.02 s of sound."""

EXPECTED = "a video with a sound track"


@dataclass(frozen=True)
class _Pictures:
    """The pictures of a video on the clock of its sound.

    Attributes:
        offset_s: when the first one is shown, in seconds of the sound; negative where they begin before it.
        duration_s: how long they last.
    """

    offset_s: float
    duration_s: float

    def moment(self, time_s: float) -> float | None:
        """The time in the pictures that a time of the sound belongs to; None where nothing is shown then."""
        moment = time_s - self.offset_s
        return moment if 0 <= moment < self.duration_s or not self.duration_s else None


def cut_windows(
    pairs: PairList,
    sense: str,
    *,
    seconds: float | None = None,
    hop: float | None = None,
    options: Mapping[str, Any] | None = None,
    quiet: bool | None = None,
) -> PairList:
    """The pairs with every recording replaced by its windows, each with the picture of its moment.

    A window of a video is paired with the frame in its middle, by the clock that both tracks share: tracks of a video
    that was cut often start at different times. Windows in whose middle nothing is shown are left out. A window of a
    sound beside a picture is paired with that picture. Without ``seconds`` recordings stay whole, but for videos, which
    are cut into windows of a clip's length. All windows of a recording are of one group.

    Args:
        pairs: to cut.
        sense: of the samples.
        seconds: length of a window; None for whole recordings.
        hop: from the start of one window to that of the next; ``seconds`` by default.
        options: of the sense's reader, which tell the length of some recordings.
        quiet: True shows no progress.

    Returns:
        The windows; recordings whose length cannot be read are among the problems.

    Raises:
        InputError: the sense has no length in time.
    """
    if seconds is not None and sense not in RECORDED:
        raise InputError(
            "windows", found=f"{sense}, whose samples have no length in time", expected="audio or imu"
        )
    if sense not in RECORDED or (seconds is None and not any(item.is_video for item in pairs)):
        return pairs
    length = VIDEO_WINDOW_S[sense] if seconds is None else seconds
    step = length if hop is None else hop
    reader = make_preprocess([sense])[sense]
    items: list[PairItem] = []
    problems = list(pairs.problems)
    cut = 0
    for item in iterate_with_progress(pairs.items, label="measuring recordings", quiet=quiet):
        if seconds is None and not item.is_video:
            items.append(item)
            continue
        try:
            items += _windows(item, reader, length, step, options or {})
        except InputError as error:
            problems.append(PairProblem(item.sample.name, str(error)))
            continue
        cut += item.is_video
    result = PairList(items, problems, pairs.format, pairs.source, list(pairs.notes))
    if seconds is None and cut:
        result.notes.append(
            f"{cut} videos were cut into windows of {length:g} s, each with the frame in its middle"
        )
    return result


def _windows(
    item: PairItem, reader: Preprocess, length: float, step: float, options: Mapping[str, Any]
) -> list[PairItem]:
    """The windows of one recording.

    Raises:
        InputError: it cannot be measured, or a video's sound and pictures have no time in common.
    """
    with collected_notes():
        duration_s = reader.duration(item.sample.open(), **options)
    first, last = span_within(item.start_s, item.end_s, duration_s, item.sample.name)
    pictures = _pictures(item) if item.is_video else None
    windows: list[PairItem] = []
    for index in range(window_count(last - first, length, step)):
        start, end = window_span(index, last - first, length, step)
        if index and start < (index - 1 + LEAST_ADVANCE) * step:
            break
        moment = None
        if pictures is not None:
            moment = pictures.moment(first + (start + end) / 2)
            if moment is None:
                continue
        windows.append(
            replace(
                item,
                name=f"{item.name} at {first + start:g} s",
                start_s=first + start,
                end_s=first + end,
                moment_s=moment,
            )
        )
    if not windows:
        raise InputError(
            item.anchor.name,
            found="no picture in the middle of any window of its sound",
            expected="a video whose sound and pictures are of one time",
        )
    return windows


def _pictures(item: PairItem) -> _Pictures:
    """The pictures of a video; those of another file than the sample's start with the sample."""
    with collected_notes():
        duration_s = VideoPreprocess(clips=1).duration(item.anchor.open())
    is_one_file = item.anchor.name == item.sample.name
    return _Pictures(_offset_s(item.anchor.open(), item.anchor.name) if is_one_file else 0.0, duration_s)


def _offset_s(source: object, name: str) -> float:
    """By how many seconds the first picture comes after the beginning of the sound; 0 where the file does not say."""
    try:
        with (
            open_source(source, EXPECTED) as file,
            open_container(file, name, EXPECTED, "reading videos") as container,
        ):
            starts = [
                float(streams[0].start_time * streams[0].time_base)
                for streams in (container.streams.audio, container.streams.video)
                if streams and streams[0].start_time is not None
            ]
    except BindplugError:  # what cannot be read is said by its reader
        return 0.0
    return starts[1] - starts[0] if len(starts) == 2 else 0.0
