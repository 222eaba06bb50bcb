"""Sound tracks that PyAV decodes: of containers, and of sound files that libsndfile does not read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, BinaryIO

import numpy as np

from bindplug.errors import InputError
from bindplug.inputs.containers import (
    claimed_duration,
    has_av,
    import_av,
    open_container,
    seek,
    stamp,
    stream_end,
)
from bindplug.inputs.cut_files import size_remarks
from bindplug.inputs.limits import MOST_CHANNELS, MOST_SAMPLES, check_limit
from bindplug.inputs.notes import caught_remarks, note
from bindplug.inputs.sounds import EXPECTED, WHOLE_SAMPLES, SamplesInMemory, Sound, one_rate

OWNER = "bindplug.inputs.audio"
REMEDY = 'Other formats (m4a, ape, wv, ac3, ...) are read with PyAV: pip install "bindplug[video]"'
DECODE_ON_S = 20
"""A place farther ahead than this is sought; a nearer one is reached by decoding on."""
MOST_FAULTS = 100
KEPT_S = 30
"""Decoded sound that is kept before the reading position, for windows that overlap."""
INDEXED = ("mov", "matroska", "asf", "avi")
"""Containers with an index, in which PyAV finds a place exactly."""
INTEGER_SCALES = {"u": (128.0, 128.0), "i2": (0.0, 2.0**15), "i4": (0.0, 2.0**31)}
"""Offset and full scale of integer samples."""


@contextmanager
def open_track(file: BinaryIO, name: str, reason: str, *, whole: bool = False) -> Iterator[Sound]:
    """Open the first sound track of what PyAV demuxes.

    Args:
        file: seekable, at its beginning.
        name: of the source, for errors.
        reason: why libsndfile does not read it, for errors.
        whole: whether to decode all at once however long it is.

    Raises:
        InputError: PyAV is absent, or there is no sound track that can be decoded.
    """
    if not has_av():
        problem = f"data that is not sound, or in a format that libsndfile does not read ({reason})"
        raise InputError(name, found=problem, expected=EXPECTED, remedy=REMEDY)
    begin = file.tell()
    try:
        with open_container(file, name, EXPECTED, OWNER) as container:
            if not container.streams.audio:
                kinds = ", ".join(sorted({stream.type for stream in container.streams})) or "nothing"
                is_picture = container.format.name.endswith("_pipe")  # FFmpeg's demuxers of single pictures
                problem = "a picture" if is_picture else f"data without a sound track (it has: {kinds})"
                raise InputError(name, found=problem, expected=EXPECTED)
            track = container.streams.audio[0]
            with caught_remarks() as remarks:
                sound = _sound_of(container, track, name, whole=whole)
            sound.remarks = (*remarks, *size_remarks(file, begin))
            yield sound
    except InputError as error:
        if not error.found.startswith("data that cannot be decoded"):
            raise
        problem = f"data that is not sound, or damaged (libsndfile: {reason} FFmpeg: {error.found})"
        raise InputError(name, found=problem, expected=EXPECTED, remedy=error.remedy) from None


def _sound_of(container: Any, track: Any, name: str, *, whole: bool) -> Sound:
    if track.codec_context is None:
        problem = "a sound track of a codec that FFmpeg does not know"
        raise InputError(name, found=problem, expected=EXPECTED, remedy="Convert it to WAV or FLAC.")
    channels, rate_hz = int(track.codec_context.channels or 1), int(track.codec_context.sample_rate or 0)
    check_limit(name, channels, MOST_CHANNELS, "channels")
    claimed_s = claimed_duration(container, track)
    indexed = container.format.name.startswith(INDEXED)
    if not whole and claimed_s * rate_hz * channels > WHOLE_SAMPLES:
        return Track(container, track, name, indexed=indexed)
    return _decoded(container, track, name)


def _decoded(container: Any, track: Any, name: str) -> SamplesInMemory:
    """All of a track, at the rate of its first frame."""
    runs: list[tuple[list[np.ndarray], int]] = []
    count, faults = 0, _Faults()
    for frame in _frames(container, track, faults):
        samples, rate_hz = _samples(frame), int(frame.sample_rate)
        count += samples.size
        check_limit(name, count, MOST_SAMPLES, "samples at once", "Convert it to WAV or FLAC, or cut it.")
        check_limit(name, samples.shape[0], MOST_CHANNELS, "channels")
        if rate_hz and (not runs or runs[-1][1] != rate_hz or runs[-1][0][0].shape[0] != samples.shape[0]):
            runs.append(([], rate_hz))
        if rate_hz:
            runs[-1][0].append(samples)
    if not runs:
        problem = f"damaged data ({faults.reason})" if faults.count else "a sound track of zero samples"
        raise InputError(name, found=problem, expected="at least one sample")
    if faults.count > MOST_FAULTS:
        note(f"decoding ends early ({faults.reason}); what came before was read")
    elif faults.count:
        note(f"{faults.count} damaged places were passed over; what they held is missing ({faults.reason})")
    return SamplesInMemory(*one_rate([(np.concatenate(part, axis=1), rate) for part, rate in runs], name))


@dataclass
class _Faults:
    """Places that could not be decoded: how many, and what FFmpeg says of the last."""

    count: int = 0
    reason: str = ""


def _frames(container: Any, track: Any, faults: _Faults) -> Iterator[Any]:
    """Frames that can be decoded; damaged ones are counted and passed over, up to ``MOST_FAULTS``."""
    error = import_av(OWNER).error
    frames = container.decode(track)
    while True:
        try:
            frame = next(frames, None)
        except error.EOFError:
            return
        except error.FFmpegError as failure:
            faults.count += 1
            faults.reason = str(failure.strerror)
            if faults.count > MOST_FAULTS or not isinstance(failure, error.InvalidDataError):
                faults.count = max(faults.count, MOST_FAULTS + 1)
                return
            frames = container.decode(track)
            continue
        if frame is None:
            return
        yield frame


class Track(Sound):
    """A long sound track, decoded on from the last place read.

    Args:
        container: an open PyAV container.
        track: its sound track.
        name: what errors call the source.
        indexed: whether a place in the container can be sought; else reading goes on from the start.
    """

    def __init__(self, container: Any, track: Any, name: str, *, indexed: bool = True) -> None:
        self.container, self.track, self.name, self.indexed = container, track, name, indexed
        self.length_s = stream_end(container, track, demux_all=not indexed)
        self.buffer: list[tuple[int, np.ndarray]] = []
        self.faults = _Faults()
        self._seek(0)
        first = next(self.blocks, None)
        if first is None:
            raise InputError(name, found="a sound track of zero samples", expected="at least one sample")
        self.buffer = [first]
        self.length = round(self.length_s * self.rate_hz)

    def read(self, start: int, stop: int) -> np.ndarray:
        here = self._end()
        is_far = self.indexed and start > here + DECODE_ON_S * self.rate_hz
        if start < self.buffer[0][0] or is_far:
            self._seek(start if self.indexed else 0)
        while self._end() < stop:
            block = next(self.blocks, None)
            if block is None:
                break
            self.buffer.append(block)
            while len(self.buffer) > 1 and self.buffer[1][0] < min(start, stop - KEPT_S * self.rate_hz):
                self.buffer.pop(0)
        out = np.zeros((self.channels, max(0, min(stop, self._end()) - start)), np.float32)
        for place, samples in self.buffer:  # stamps may leave gaps, which stay silent
            first, last = max(start, place), min(start + out.shape[1], place + samples.shape[1])
            if first < last:
                out[:, first - start : last - start] = samples[:, first - place : last - place]
        return out

    def _end(self) -> int:
        return self.buffer[-1][0] + self.buffer[-1][1].shape[1] if self.buffer else 0

    def _seek(self, start: int) -> None:
        self.buffer = []
        seek(self.container, self.track, Fraction(start, getattr(self, "rate_hz", 1)) - 1)
        self.blocks = self._decoded()

    def _decoded(self) -> Iterator[tuple[int, np.ndarray]]:
        """Place of the first sample, and samples, of each frame."""
        place = 0
        for frame in _frames(self.container, self.track, self.faults):
            samples, rate_hz = _samples(frame), int(frame.sample_rate)
            if not hasattr(self, "rate_hz"):
                self.rate_hz, self.channels = rate_hz, samples.shape[0]
            if (rate_hz, samples.shape[0]) != (self.rate_hz, self.channels):
                problem = f"a sound that changes from {self.rate_hz} Hz to {rate_hz} Hz or in its channels"
                raise InputError(self.name, found=problem, expected="one rate", remedy="Convert it to WAV.")
            time = stamp(frame, self.track)
            place = place if time is None else round(time * rate_hz)
            yield place, samples
            place += samples.shape[1]


def _samples(frame: Any) -> np.ndarray:
    """A decoded frame's samples, (channels, n) float32 with full scale 1."""
    if frame.format.name.startswith("s64"):  # numpy gets every other format from PyAV
        (frame,) = import_av(OWNER).AudioResampler(format="dblp").resample(frame)
    array = frame.to_ndarray()
    channels = len(frame.layout.channels)
    if not frame.format.is_planar:
        array = array.reshape(-1, channels).T  # (1, n * channels) -> (channels, n)
    if array.dtype.kind == "f":
        return np.ascontiguousarray(array, np.float32)
    key = "u" if array.dtype.kind == "u" else f"i{array.dtype.itemsize}"
    offset, scale = INTEGER_SCALES[key]
    return ((array.astype(np.float64) - offset) / scale).astype(np.float32)
