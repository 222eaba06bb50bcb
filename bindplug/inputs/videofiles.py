"""Decoding a few frames of a video with PyAV, by seeking."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any

import numpy as np
from PIL import Image

from bindplug.errors import InputError
from bindplug.inputs.optional import import_optional
from bindplug.inputs.pictures import load_pixels
from bindplug.inputs.pillow_warnings import suppress_pillow_warnings
from bindplug.inputs.source import describe_source, open_source

EXPECTED = "a video file with a video stream, an array (T, H, W, 3), or a still image"
SEEK_OVER_S = 3
"""A frame farther ahead than this is sought; a nearer one is reached by decoding on."""

Spans = Callable[[Fraction], list[tuple[Fraction, Fraction]]]


def still_image(source: object) -> Image.Image | None:
    """The picture, if ``source`` is a picture that does not move; else ``None``."""
    with open_source(source, EXPECTED) as file, suppress_pillow_warnings():
        start = file.tell()
        try:
            picture = Image.open(file)
            moves = getattr(picture, "is_animated", False)
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
            picture, moves = None, True
        if picture is not None and not moves and picture.format != "MPEG":
            load_pixels(picture, describe_source(source), EXPECTED)
            return picture
        file.seek(start)
    return None


def frames_at(source: object, spans_of: Spans) -> tuple[np.ndarray, tuple[int, ...], float]:
    """The first and last frame of each span of a video.

    Args:
        source: a path, bytes or file object.
        spans_of: gives the (start, end) of each clip in seconds from the video's duration in seconds.

    Returns:
        Distinct frames (F, H, W, 3) uint8, two places in them for each span, and the duration in seconds.

    Raises:
        InputError: it is missing, empty, damaged, or without video stream or frames.
        MissingDependency: PyAV is absent.
    """
    av = import_optional("av", "bindplug.inputs.video", "video")
    name = describe_source(source)
    with open_source(source, EXPECTED) as file:
        try:
            with av.open(file, mode="r", metadata_errors="replace") as container:
                if not container.streams.video:
                    kinds = ", ".join(sorted({stream.type for stream in container.streams})) or "no streams"
                    raise InputError(name, found=f"no video stream (it has: {kinds})", expected=EXPECTED)
                stream = container.streams.video[0]
                stream.thread_type = "AUTO"
                return _Reader(container, stream, name).read(spans_of)
        except (av.error.FFmpegError, EOFError, UnicodeDecodeError) as error:
            raise InputError(
                name, found=f"data that cannot be decoded ({error})", expected=EXPECTED
            ) from None


class _Reader:
    """Frames of one stream in ascending order of time, each span's first and last."""

    def __init__(self, container: Any, stream: Any, name: str) -> None:
        self.container, self.stream, self.name = container, stream, name
        self.origin = Fraction(stream.start_time or 0) * stream.time_base
        self.pending: Any = None
        self.frames: Iterator[Any] = iter(())
        self.decoded = 0

    def read(self, spans_of: Spans) -> tuple[np.ndarray, tuple[int, ...], float]:
        duration = self._duration()
        spans = spans_of(duration)
        rate = self.stream.average_rate or self.stream.guessed_rate or Fraction(25)
        half = Fraction(1, 2) / rate  # stamps are rounded; a frame belongs to the half step around its time
        wanted = sorted({time for start, end in spans for time in (start, max(start, end - 1 / rate))})
        frames = np.empty((0, 0, 0, 3), np.uint8)
        for place, time in enumerate(wanted):
            pixels = _upright(self._frame_at(time - half))
            if place == 0:
                frames = np.empty((len(wanted), *pixels.shape), np.uint8)
            elif pixels.shape != frames.shape[1:]:
                raise InputError(self.name, found="frames that change in size", expected="frames of one size")
            frames[place] = pixels
            del pixels  # not to be held while the next one is decoded
        order = [wanted.index(time) for start, end in spans for time in (start, max(start, end - 1 / rate))]
        return frames, tuple(order), float(duration)

    def _duration(self) -> Fraction:
        stream = self.stream
        if stream.duration:
            return Fraction(stream.duration) * stream.time_base
        if self.container.duration:
            return Fraction(self.container.duration, 1_000_000)
        if stream.frames and stream.average_rate:
            return Fraction(stream.frames) / stream.average_rate
        last, step = self.origin, Fraction(0)  # a raw stream says nothing: its packets' times do
        for packet in self.container.demux(stream):
            if packet.pts is not None:
                last = max(last, Fraction(packet.pts) * stream.time_base)
                step = Fraction(packet.duration or 0) * stream.time_base or step
        self.container.seek(0)
        return last - self.origin + step

    def _frame_at(self, earliest: Fraction) -> Any:
        """The first frame not before ``earliest``, else the last one there is."""
        position = self._time(self.pending) if self.pending is not None else None
        if position is None or earliest - position > SEEK_OVER_S:
            self._seek(earliest)
        while self._time(self.pending) < earliest:
            following = next(self.frames, None)
            if following is None:
                break
            self.pending, self.decoded = following, self.decoded + 1
        return self.pending

    def _seek(self, time: Fraction) -> None:
        target = int((max(time, Fraction(0)) + self.origin) / self.stream.time_base)
        if target > (self.stream.start_time or 0) or self.pending is not None:
            self.container.seek(target, stream=self.stream, backward=True)
        self.frames = self.container.decode(self.stream)
        first = next(self.frames, None)
        if first is None and self.pending is None:
            raise InputError(self.name, found="a video stream of no frames", expected=EXPECTED)
        self.pending, self.decoded = first or self.pending, self.decoded + 1

    def _time(self, frame: Any) -> Fraction:
        return Fraction(frame.pts or 0) * frame.time_base - self.origin


def _upright(frame: Any) -> np.ndarray:
    """A frame's pixels (H, W, 3), turned as the file says it was held."""
    pixels = frame.to_ndarray(format="rgb24")
    return np.ascontiguousarray(np.rot90(pixels, round(getattr(frame, "rotation", 0) / 90) % 4))
