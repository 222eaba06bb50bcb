"""Decoding a few frames of a video: with PyAV by seeking, animated pictures with Pillow."""

from __future__ import annotations

import math
import os
import struct
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from typing import Any, BinaryIO

import numpy as np
from PIL import Image, ImageOps

from bindplug.errors import InputError
from bindplug.inputs.containers import (
    claimed_duration,
    import_av,
    open_container,
    seek,
    stamp,
    stamps_restart,
    stream_end,
)
from bindplug.inputs.cut_files import size_remarks
from bindplug.inputs.image import to_rgb
from bindplug.inputs.limits import MOST_PIXELS, check_limit
from bindplug.inputs.notes import note
from bindplug.inputs.pictures import identify, open_picture
from bindplug.inputs.pillow_warnings import suppress_pillow_warnings
from bindplug.inputs.source import describe_source, open_source, suffix_of

EXPECTED = "a video file with a video stream, an array (T, H, W, 3), or a still image"
OWNER = "bindplug.inputs.video"
SEEK_OVER_S = 3
"""A frame farther ahead than this is sought; a nearer one is reached by decoding on."""
ANIMATED = ("GIF", "WEBP", "PNG", "AVIF")
"""Formats of Pillow whose several frames are one moving picture."""
VIDEO = ("FLI",)
"""Formats that Pillow opens and PyAV decodes better."""
SHORTEST_DELAY_MS, DEFAULT_DELAY_MS = 20, 100
"""A frame of an animated picture shown for less than the first is shown for the second. Source: what browsers and
FFmpeg do with GIFs of delay 0 and 1."""
SEEK_BACK_S = (0, 2, 10, 60, 1_000_000)
"""Seconds before the target to seek to; the next one is tried where the first frame comes after the target."""
INSTANT_S = Fraction(1, 1000)
"""How far before a time to seek, so that the frame before that time is decoded too."""
THEORA = ("theora", "vp3", "vp4")
"""Codecs whose packets may be empty, where a frame repeats the one before: FFmpeg refuses these as arguments. Decoded
by several threads after a seek, their frames are torn in some runs."""
MATRIX_BYTES = 36
MOTION_JPEG = (".mjpeg", ".mjpg")
"""Streams of JPEGs, the first of which Pillow would take for the whole."""
RAW_FPS = Fraction(25)
MOST_FAULTS = 100
TOLERANCE_S = Fraction(1, 10)
"""By how much the packets of a stream may end before or after what its header says."""

Span = tuple[Fraction, Fraction]
Spans = Callable[[Fraction], list[Span]]
"""Start and end of each clip in seconds, from the video's duration in seconds."""
Frames = tuple[np.ndarray, tuple[int, ...], float]


def picture_of(source: object) -> Image.Image | None:
    """The source as an open Pillow picture, if it is one, moving or not; else ``None``.

    A still picture's pixels are decoded. Of a moving one, read the frames with :func:`animation_frames`.
    """
    name = describe_source(source)
    with open_source(source, EXPECTED) as file, suppress_pillow_warnings():
        start = file.tell()
        try:
            picture = identify(file, name, EXPECTED)
        except InputError:
            picture = None
        file.seek(start)
        if picture is None or picture.format in VIDEO or suffix_of(source) in MOTION_JPEG:
            return None
        return picture if is_animated(picture) else open_picture(_again(source, file), EXPECTED)


def _again(source: object, file: BinaryIO) -> object:
    """``source`` to be opened once more: itself, or for a stream what was read of it."""
    return source if isinstance(source, (str, os.PathLike, bytes, bytearray, memoryview)) else file


def is_animated(picture: Image.Image) -> bool:
    """Whether ``picture`` moves; the pages of a TIFF or the two eyes of an MPO do not."""
    return picture.format in ANIMATED and bool(getattr(picture, "is_animated", False))


def animation_frames(source: object, spans_of: Spans) -> Frames:
    """As :func:`frames_at`, for an animated GIF, PNG, WebP or AVIF."""
    name = describe_source(source)
    with open_source(source, EXPECTED) as file, suppress_pillow_warnings():
        picture = Image.open(file)
        starts = [Fraction(0)]
        try:
            for index in range(picture.n_frames):  # type: ignore[attr-defined]
                picture.seek(index)
                picture.load()  # the delay of some formats is known after decoding
                delay = round(picture.info.get("duration", 0))
                starts.append(
                    starts[-1] + Fraction(delay if delay >= SHORTEST_DELAY_MS else DEFAULT_DELAY_MS, 1000)
                )
        except (OSError, ValueError, SyntaxError, EOFError) as error:
            if len(starts) == 1:
                raise
            note(f"the animation breaks off after {len(starts) - 1} frames ({error})")
        *starts, duration = starts
        spans = spans_of(duration)

        def index_at(time: Fraction) -> int:
            return max(0, sum(start <= time for start in starts) - 1)

        indices = [
            place
            for start, end in spans
            for place in (index_at(start), max(index_at(start), _before(starts, end)))
        ]
        distinct = sorted(set(indices))
        pixels: list[np.ndarray] = []
        picture.seek(0)
        for index in distinct:
            picture.seek(index)
            frame = to_rgb(ImageOps.exif_transpose(picture.copy()), name=name)
            pixels.append(np.array(frame))
    return np.stack(pixels), tuple(distinct.index(place) for place in indices), float(duration)


def _before(starts: Sequence[Fraction], end: Fraction) -> int:
    """Index of the last frame that begins before ``end``."""
    return max(0, sum(start < end for start in starts) - 1)


def frames_at(source: object, spans_of: Spans, fps: float | None = None) -> Frames:
    """The first and last frame of each span of a video.

    Args:
        source: a path, bytes or file object.
        spans_of: gives the (start, end) of each clip in seconds from the video's duration in seconds.
        fps: frames a second of a raw stream, which has no clock of its own; 25 by default.

    Returns:
        Distinct frames (F, H, W, 3) uint8, two places in them for each span, and the duration in seconds.

    Raises:
        InputError: it is missing, empty, damaged, or without video stream or frames.
        MissingDependency: PyAV is absent or too old.
    """
    name = describe_source(source)
    with open_source(source, EXPECTED) as file:
        start = file.tell()
        with open_container(file, name, EXPECTED, OWNER) as container:
            stream = _stream(container, name)
            reader, is_joined = _Reader(container, stream, name), stamps_restart(container, stream)
            duration = Fraction(0) if is_joined else reader.duration()
            if duration > 0:
                frames = reader.read(spans_of(duration), duration)
                for remark in size_remarks(file, start):
                    note(remark)
                return frames
        file.seek(start)
        reason = "its time stamps start again" if is_joined else "a raw stream has no clock"
        return _raw_frames(file, name, spans_of, fps, reason)


def video_duration(source: object, fps: float | None = None) -> Fraction:
    """Length of a video in seconds; 0 for a still picture.

    Raises:
        InputError, MissingDependency: as :func:`frames_at`.
    """
    name = describe_source(source)
    with open_source(source, EXPECTED) as file:
        start = file.tell()
        with open_container(file, name, EXPECTED, OWNER) as container:
            stream = _stream(container, name)
            is_joined = stamps_restart(container, stream)
            duration = Fraction(0) if is_joined else _Reader(container, stream, name).duration()
        if duration > 0:
            return duration
        file.seek(start)
        with open_container(file, name, EXPECTED, OWNER) as container:
            stream = _stream(container, name)
            return _packets(container, stream) / _raw_rate(stream, fps)


def _stream(container: Any, name: str) -> Any:
    if not container.streams.video:
        kinds = ", ".join(sorted({stream.type for stream in container.streams})) or "no streams"
        raise InputError(name, found=f"no video stream (it has: {kinds})", expected=EXPECTED)
    stream = container.streams.video[0]
    aspect = stream.sample_aspect_ratio
    if aspect and aspect != 1:
        note(
            f"its pixels are not square ({aspect.numerator}:{aspect.denominator}); frames are read without stretching"
        )
    stream.thread_type = "NONE" if stream.codec_context.name in THEORA else "AUTO"
    return stream


class _Reader:
    """Frames of one stream in ascending order of time, each span's first and last."""

    def __init__(self, container: Any, stream: Any, name: str) -> None:
        self.container, self.stream, self.name = container, stream, name
        self.pending: Any = None
        self.before: Any = None  # the frame before the pending one
        self.frames: Iterator[Any] = iter(())
        self.decoded = self.faults = 0

    def duration(self) -> Fraction:
        """Length of the stream in seconds: its packets', where the header disagrees; 0 without time stamps."""
        claimed_s, end = (
            claimed_duration(self.container, self.stream),
            stream_end(self.container, self.stream),
        )
        if end == 0:
            return Fraction(0)
        if self.stream.duration is None or not self.container.format.name.startswith("mov"):
            return end  # other containers state their own length as their streams'
        if claimed_s - end > 1:
            note(f"the video ends at {float(end):.1f} s; its header says {float(claimed_s):.1f} s")
        return (
            claimed_s if abs(claimed_s - end) <= TOLERANCE_S else end
        )  # edit lists may hide packets at the end

    def read(self, spans: list[Span], duration: Fraction) -> Frames:
        """The frames of these spans, and the duration."""
        rate = self.stream.average_rate or self.stream.guessed_rate or RAW_FPS
        half = Fraction(1, 2) / rate  # stamps are rounded; a frame belongs to the half step around its time
        places: dict[tuple[Fraction, Fraction, bool], int] = {}
        points = [
            point
            for start, end in spans
            for point in ((start - half, end - half, False), (max(start, end) - half, end - half, True))
        ]
        distinct: dict[Fraction, int] = {}
        frames = np.empty((0, 0, 0, 3), np.uint8)
        for earliest, end, is_last in sorted(set(points)):
            frame = self._frame_of(earliest, end, is_last)
            time = self._time(frame)
            if time not in distinct:
                pixels = _upright(frame, self.name)
                if not distinct:
                    frames = np.empty((len(set(points)), *pixels.shape), np.uint8)
                elif pixels.shape != frames.shape[1:]:
                    problem = "frames that change in size"
                    raise InputError(self.name, found=problem, expected="frames of one size")
                distinct[time] = len(distinct)
                frames[distinct[time]] = pixels
                del pixels  # not to be held while the next one is decoded
            places[earliest, end, is_last] = distinct[time]
        if self.faults:
            note(f"{self.faults} damaged places were passed over")
        return frames[: len(distinct)], tuple(places[point] for point in points), float(duration)

    def _frame_of(self, earliest: Fraction, end: Fraction, is_last: bool) -> Any:
        """The first frame of a span, not before ``earliest``, or its last one, before ``end``.

        Where frames are far apart a span may have none of its own: then the one that is shown, from before it.
        """
        position = self._time(self.pending) if self.pending is not None else None
        if position is None or earliest - position > SEEK_OVER_S:
            self._seek(earliest - INSTANT_S)
        while self._time(self.pending) < earliest:
            following = self._next()
            if following is None:
                break
            self.before, self.pending, self.decoded = self.pending, following, self.decoded + 1
        is_beyond = self.before is not None and self._time(self.pending) >= (earliest if is_last else end)
        return self.before if is_beyond else self.pending

    def _seek(self, time: Fraction) -> None:
        """Decode the key frame before ``time``; farther back where a container finds a later one (MPEG-TS)."""
        before, self.before = self.pending, None
        for back in SEEK_BACK_S:
            seek(self.container, self.stream, time - back)
            self.frames = self.container.decode(self.stream)
            first = self._next()
            if first is not None and self._time(first) <= max(time, Fraction(0)):
                break
        if first is None and before is None:
            raise InputError(self.name, found="a video stream of no frames", expected=EXPECTED)
        self.pending, self.decoded = first or before, self.decoded + 1

    def _next(self) -> Any:
        """The next frame that can be decoded, None at the end."""
        error = import_av(OWNER).error
        while True:
            try:
                frame = next(self.frames, None)
            except error.EOFError:
                return None
            except (error.InvalidDataError, error.ArgumentError) as failure:
                repeats = (
                    isinstance(failure, error.ArgumentError) and self.stream.codec_context.name in THEORA
                )
                self.faults += not repeats
                if self.faults > MOST_FAULTS:
                    raise
                self.frames = self.container.decode(self.stream)
            else:
                return frame

    def _time(self, frame: Any) -> Fraction:
        return stamp(frame, self.stream) or Fraction(0)


def _raw_frames(file: BinaryIO, name: str, spans_of: Spans, fps: float | None, reason: str) -> Frames:
    """Frames of a stream without a clock for all of it, such as raw H.264: counted, then decoded from the start."""
    start = file.tell()
    with open_container(file, name, EXPECTED, OWNER) as container:
        stream = _stream(container, name)
        count, rate = _packets(container, stream), _raw_rate(stream, fps)
    if count == 0:
        raise InputError(name, found="a video stream of no frames", expected=EXPECTED)
    if fps is None:
        note(f"{reason}; {float(rate):g} frames a second assumed, fps= says otherwise")
    duration = count / rate
    indices = frame_indices(spans_of(duration), rate, count)
    distinct = sorted(set(indices))
    frames: dict[int, np.ndarray] = {}
    file.seek(start)
    with open_container(file, name, EXPECTED, OWNER) as container:
        last = None
        for index, frame in enumerate(container.decode(_stream(container, name))):
            last = index
            if index in distinct:
                frames[index] = _upright(frame, name)
            if index >= distinct[-1]:
                break
    if not frames or last is None:
        raise InputError(name, found="a video stream of no frames", expected=EXPECTED)
    places = [min(frames, key=lambda index: abs(index - place)) for place in indices]
    order = sorted(frames)
    if len({frames[index].shape for index in order}) > 1:
        raise InputError(name, found="frames that change in size", expected="frames of one size")
    return np.stack([frames[index] for index in order]), tuple(map(order.index, places)), float(duration)


def frame_indices(spans: Sequence[Span], rate: Fraction, count: int) -> list[int]:
    """Index of the first and of the last frame of each span, of ``count`` frames at an even rate."""
    indices = []
    for start, end in spans:
        first = min(math.ceil(start * rate), count - 1)
        indices += [first, max(first, min(math.ceil(end * rate), count) - 1)]
    return indices


def _packets(container: Any, stream: Any) -> int:
    return sum(packet.size > 0 for packet in container.demux(stream))


def _raw_rate(stream: Any, fps: float | None) -> Fraction:
    if fps is not None:
        return Fraction(fps).limit_denominator(1_001_000)
    return stream.average_rate or stream.guessed_rate or RAW_FPS


def _upright(frame: Any, name: str) -> np.ndarray:
    """A frame's pixels (H, W, 3), turned as the file says it was held."""
    check_limit(name, frame.width * frame.height, MOST_PIXELS, "pixels in a frame")
    pixels = frame.to_ndarray(format="rgb24")
    matrix = _display_matrix(frame)
    if matrix is None:
        return np.ascontiguousarray(np.rot90(pixels, round(frame.rotation / 90) % 4))
    (a, b), (c, d) = matrix  # a pixel at (x, y) is shown at (a x + c y, b x + d y)
    if max(abs(b), abs(c)) > max(abs(a), abs(d)):
        pixels = pixels.swapaxes(0, 1)  # (H, W, 3) -> (W, H, 3)
        a, d = c, b
    pixels = pixels[:, ::-1] if a < 0 else pixels
    return np.ascontiguousarray(pixels[::-1] if d < 0 else pixels)


def _display_matrix(frame: Any) -> tuple[tuple[int, int], tuple[int, int]] | None:
    """The upper left of a frame's display matrix, which turns it by right angles or mirrors it; None without one."""
    for data in frame.side_data:
        if getattr(data.type, "name", "") == "DISPLAYMATRIX" and len(content := bytes(data)) >= MATRIX_BYTES:
            a, b, _, c, d, *_ = struct.unpack(f"={MATRIX_BYTES // 4}i", content[:MATRIX_BYTES])
            return (a, b), (c, d)
    return None
