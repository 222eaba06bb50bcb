"""Decoding sound: libsndfile for sound files, PyAV for whatever it does not open.

:func:`open_sound` gives random access, so that the clips of a long recording are read without the rest.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from typing import Any, BinaryIO

import numpy as np
import torch

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
from bindplug.inputs.cut_files import cut_remark, is_chained_ogg, remainder_remark
from bindplug.inputs.decoder_messages import decoder_messages
from bindplug.inputs.limits import MOST_CHANNELS, MOST_SAMPLES, check_limit
from bindplug.inputs.mp3s import after_id3, joined_mp3s, xing_size
from bindplug.inputs.notes import caught_remarks, note
from bindplug.inputs.optional import import_optional
from bindplug.inputs.resample import resample
from bindplug.inputs.shared import SharedSources
from bindplug.inputs.source import FileView, describe_source, open_source

EXPECTED = "a sound file (wav, flac, ogg, mp3, ...) or a video with a sound track"
REMEDY = 'Other formats (m4a, ape, wv, ac3, ...) are read with PyAV: pip install "bindplug[video]"'
BLOCK_SAMPLES = 1 << 20
WHOLE_SAMPLES = 1 << 25
"""Samples over all channels up to which a container's sound track is decoded at once: 128 MiB as float32."""
DECODE_ON_S = 20
"""A place farther ahead than this is sought; a nearer one is reached by decoding on."""
MOST_FAULTS = 100
KEPT_S = 30
"""Decoded sound that is kept before the reading position, for windows that overlap."""
INDEXED = ("mov", "matroska", "asf", "avi")
"""Containers with an index, in which PyAV finds a place exactly."""
INTEGER_SCALES = {"u": (128.0, 128.0), "i2": (0.0, 2.0**15), "i4": (0.0, 2.0**31)}
"""Offset and full scale of integer samples."""


class Sound(ABC):
    """An open sound with random access.

    Attributes:
        rate_hz: samples a second.
        channels: number of channels.
        length: samples of a channel.
        remarks: notes on the file as a whole, for every part that is read from it.
    """

    rate_hz: int
    channels: int
    length: int
    remarks: Sequence[str] = ()

    @abstractmethod
    def read(self, start: int, stop: int) -> np.ndarray:
        """Samples ``start`` to ``stop``, (channels, n) float32 with full scale 1; fewer where the sound ends."""


class SamplesInMemory(Sound):
    """Decoded samples, (channels, samples) float32."""

    def __init__(self, samples: np.ndarray, rate_hz: int) -> None:
        self.samples, self.rate_hz = samples, rate_hz
        self.channels, self.length = samples.shape

    def read(self, start: int, stop: int) -> np.ndarray:
        """A copy of samples ``start`` to ``stop``."""
        return self.samples[:, start:stop].copy()


class _SoundFile(Sound):
    """A file that libsndfile decodes."""

    def __init__(self, file: Any, name: str, reopen: Callable[[], Any] | None = None) -> None:
        self.file, self.name, self.reopen = file, name, reopen
        self.chatty = file.format == "MP3"
        self.rate_hz, self.channels, self.length = int(file.samplerate), int(file.channels), int(file.frames)

    def read(self, start: int, stop: int) -> np.ndarray:
        if not self.chatty:
            return self._read(start, stop)
        with decoder_messages() as messages:
            samples = self._read(start, stop)
        faults = [line for line in messages if "error" in line]
        if faults:
            note(f"its decoder reported {len(faults)} errors, the first: {faults[0]}")
        return samples

    def _read(self, start: int, stop: int) -> np.ndarray:
        if self.file.tell() != start:
            self.file.seek(start)
        blocks = [np.zeros((0, self.channels), np.float32)]
        while start < stop:  # by blocks: a damaged header may claim any length
            block = np.zeros((min(BLOCK_SAMPLES, stop - start), self.channels), np.float32)
            try:
                count = len(self.file.read(out=block))
            except RuntimeError:  # soundfile's error; what was decoded before stands in the block
                count = self.file.tell() - start
                if count <= 0 and start == 0:
                    remedy = "If it plays elsewhere, write it anew: ffmpeg -i FILE new.wav."
                    problem = f"damaged {self.file.format} data, of which nothing could be decoded"
                    raise InputError(self.name, found=problem, expected=EXPECTED, remedy=remedy) from None
                self._end_at(start + max(0, count))
                blocks.append(block[: max(0, count)])
                break
            if not count:
                break
            blocks.append(block[:count])
            start += count
        return np.concatenate(blocks).T

    def _end_at(self, length: int) -> None:
        """Remember where the data breaks off, and open the file anew: after an error nothing can be sought."""
        remark = (
            f"decoding ends early, at {length / self.rate_hz:.2f} of {self.length / self.rate_hz:.2f} s; what came "
            "before was read"
        )
        self.remarks = (*self.remarks, remark)
        self.length = length
        if self.reopen is not None:
            self.file = self.reopen()


class _Track(Sound):
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
        for frame in self._frames():
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

    def _frames(self) -> Iterator[Any]:
        """Frames that can be decoded; damaged ones are passed over."""
        failure = import_av("bindplug.inputs.audio").error.InvalidDataError
        frames, faults = self.container.decode(self.track), 0
        while True:
            try:
                frame = next(frames, None)
            except failure:
                faults += 1
                if faults > MOST_FAULTS:
                    raise
                frames = self.container.decode(self.track)
                continue
            if frame is None:
                return
            yield frame


def read_sound(source: object) -> tuple[np.ndarray, int]:
    """All samples of a sound, (channels, samples) float32 with full scale 1, and the rate in Hz.

    Args:
        source: a path, bytes or file object.

    Raises:
        InputError: as :func:`open_sound`, or it holds more than 2^29 samples.
        MissingDependency: soundfile is absent.
    """
    with open_sound(source) as sound:
        count = sound.length * sound.channels
        check_limit(describe_source(source), count, MOST_SAMPLES, "samples at once", "Read parts of it.")
        samples = sound.read(0, sound.length)
        for remark in sound.remarks:
            note(remark)
        return samples, sound.rate_hz


@contextmanager
def open_sound(source: object) -> Iterator[Sound]:
    """Open a sound for random access.

    Args:
        source: a path, bytes or file object of any format that libsndfile or, where it is installed, PyAV reads.

    Raises:
        InputError: it is missing, empty, no sound, damaged, or a video without a sound track.
        MissingDependency: soundfile is absent.
    """
    name = describe_source(source)
    soundfile = import_optional("soundfile", "bindplug.inputs.audio", "audio")
    with open_source(source, EXPECTED) as file:
        start = file.tell()
        sound_file, reason = None, ""
        with decoder_messages():
            try:
                sound_file = soundfile.SoundFile(FileView(file))
            except (soundfile.LibsndfileError, ValueError, OverflowError, TypeError) as error:
                reason = str(error).rsplit(": ", 1)[-1]
        if sound_file is not None and sound_file.frames == 0 and sound_file.format == "WAV" and has_av():
            sound_file, reason = None, "zero samples."  # a header that was written before its data
        if (
            sound_file is not None
            and sound_file.format == "MP3"
            and not xing_size(file, after_id3(file, start))
        ):
            # libsndfile guesses a length from the first bit rates, and ends there
            sound_file, reason = (None, "no stated length.") if has_av() else (sound_file, reason)
        is_chained = sound_file is not None and sound_file.format == "OGG" and is_chained_ogg(file, start)
        if is_chained and has_av():
            sound_file, reason = None, "several sounds in a row."
        if sound_file is not None:
            with sound_file:
                with caught_remarks() as remarks:
                    sound = _sound_of(sound_file, file, start, name)
                if is_chained:
                    remarks.append(
                        'the first of several sounds was read; pip install "bindplug[video]" reads all'
                    )
                sound.remarks = _remarks(file, start, remarks)
                yield sound
        else:
            file.seek(start)
            yield from _from_container(file, name, reason, whole=is_chained)


def _remarks(file: BinaryIO, start: int, remarks: list[str]) -> tuple[str, ...]:
    """The remarks of opening a sound, and that it is cut short."""
    further = (cut_remark(file, start), remainder_remark(file, start))
    return (*remarks, *filter(None, further))


def _sound_of(sound_file: Any, file: BinaryIO, start: int, name: str) -> Sound:
    check_limit(name, sound_file.channels, MOST_CHANNELS, "channels")
    is_mp3 = sound_file.format == "MP3"
    tails = joined_mp3s(file, start) if is_mp3 else []
    if tails:
        return _joined(sound_file, tails, name)
    if is_mp3:
        first = after_id3(file, start)
        stored, declared = file.seek(0, os.SEEK_END) - first, xing_size(file, first)
        if stored < declared:
            note(
                f"the file holds {stored / declared:.1%} of the data that its header declares; what is there was read"
            )
    return _SoundFile(sound_file, name, lambda: _opened(file, start))


def _opened(file: BinaryIO, start: int) -> Any:
    soundfile = import_optional("soundfile", "bindplug.inputs.audio", "audio")
    return soundfile.SoundFile(FileView(file, start))


def _joined(first: Any, tails: list[FileView], name: str) -> Sound:
    soundfile = import_optional("soundfile", "bindplug.inputs.audio", "audio")
    check_limit(name, first.frames * first.channels, MOST_SAMPLES, "samples at once", "Split the file.")
    runs = [(_all(first, name), int(first.samplerate))]
    for tail in tails:
        try:
            with decoder_messages():
                sound = soundfile.SoundFile(tail)
            with sound:
                runs.append((_all(sound, name), int(sound.samplerate)))
        except (soundfile.LibsndfileError, InputError) as error:
            reason = error.found if isinstance(error, InputError) else error
            note(
                f"sound after {sum(run.shape[1] / rate for run, rate in runs):.1f} s could not be read ({reason})"
            )
            break
    return SamplesInMemory(*_one_rate(runs, name))


def _all(sound: Any, name: str) -> np.ndarray:
    return _SoundFile(sound, name).read(0, MOST_SAMPLES // max(1, sound.channels))


def _one_rate(runs: list[tuple[np.ndarray, int]], name: str) -> tuple[np.ndarray, int]:
    """Runs (channels, samples) of differing rates as one array at the first one's rate."""
    rate_hz, channels = runs[0][1], min(samples.shape[0] for samples, _ in runs)
    count = sum(samples.shape[1] * rate_hz / rate for samples, rate in runs) * channels
    check_limit(name, count, MOST_SAMPLES, "samples after resampling")
    if len({(samples.shape[0], rate) for samples, rate in runs}) > 1:
        kinds = ", ".join(f"{rate} Hz x {samples.shape[0]}" for samples, rate in runs[:4])
        note(f"rate or channels change within the sound ({kinds}); each part was resampled to {rate_hz} Hz")
    parts = [
        resample(torch.from_numpy(np.ascontiguousarray(samples[:channels])), rate, rate_hz).numpy()
        for samples, rate in runs
    ]
    return np.concatenate(parts, axis=1), rate_hz


def _from_container(file: BinaryIO, name: str, reason: str, *, whole: bool = False) -> Iterator[Sound]:
    if not has_av():
        problem = f"data that is not sound, or in a format that libsndfile does not read ({reason})"
        raise InputError(name, found=problem, expected=EXPECTED, remedy=REMEDY)
    av = import_av("bindplug.inputs.audio")
    begin = file.tell()
    try:
        with open_container(file, name, EXPECTED, "bindplug.inputs.audio") as container:
            if not container.streams.audio:
                kinds = ", ".join(sorted({stream.type for stream in container.streams})) or "nothing"
                is_picture = container.format.name.endswith("_pipe")  # FFmpeg's demuxers of single pictures
                problem = "a picture" if is_picture else f"data without a sound track (it has: {kinds})"
                raise InputError(name, found=problem, expected=EXPECTED)
            track = container.streams.audio[0]
            with caught_remarks() as remarks:
                sound = _decoded_track(av, container, track, name, whole=whole)
            sound.remarks = _remarks(file, begin, remarks)
            yield sound
    except InputError as error:
        if not error.found.startswith("data that cannot be decoded"):
            raise
        problem = f"data that is not sound, or damaged (libsndfile: {reason} FFmpeg: {error.found})"
        raise InputError(name, found=problem, expected=EXPECTED, remedy=error.remedy) from None


def _decoded_track(av: Any, container: Any, track: Any, name: str, *, whole: bool) -> Sound:
    if track.codec_context is None:
        problem = "a sound track of a codec that FFmpeg does not know"
        raise InputError(name, found=problem, expected=EXPECTED, remedy="Convert it to WAV or FLAC.")
    channels, rate_hz = int(track.codec_context.channels or 1), int(track.codec_context.sample_rate or 0)
    check_limit(name, channels, MOST_CHANNELS, "channels")
    claimed_s = claimed_duration(container, track)
    indexed = container.format.name.startswith(INDEXED)
    if not whole and claimed_s * rate_hz * channels > WHOLE_SAMPLES:
        return _Track(container, track, name, indexed=indexed)
    runs: list[tuple[list[np.ndarray], int]] = []
    count, failure = 0, ""
    frames = container.decode(track)
    while True:
        try:
            frame = next(frames, None)
        except av.error.FFmpegError as error:
            failure = str(error.strerror)
            break
        if frame is None:
            break
        samples, rate_hz = _samples(frame), int(frame.sample_rate)
        count += samples.size
        check_limit(name, count, MOST_SAMPLES, "samples at once", "Convert it to WAV or FLAC, or cut it.")
        check_limit(name, samples.shape[0], MOST_CHANNELS, "channels")
        if not runs or runs[-1][1] != rate_hz or runs[-1][0][0].shape[0] != samples.shape[0]:
            runs.append(([], rate_hz))
        runs[-1][0].append(samples)
    if not runs or not rate_hz:
        problem = f"damaged data ({failure})" if failure else "a sound track of zero samples"
        raise InputError(name, found=problem, expected="at least one sample")
    if failure:
        note(f"decoding ends early ({failure}); what came before was read")
    return SamplesInMemory(*_one_rate([(np.concatenate(part, axis=1), rate) for part, rate in runs], name))


def _samples(frame: Any) -> np.ndarray:
    """A decoded frame's samples, (channels, n) float32 with full scale 1."""
    if frame.format.name.startswith("s64"):  # numpy gets every other format from PyAV
        (frame,) = import_av("bindplug.inputs.audio").AudioResampler(format="dblp").resample(frame)
    array = frame.to_ndarray()
    channels = len(frame.layout.channels)
    if not frame.format.is_planar:
        array = array.reshape(-1, channels).T  # (1, n * channels) -> (channels, n)
    if array.dtype.kind == "f":
        return np.ascontiguousarray(array, np.float32)
    key = "u" if array.dtype.kind == "u" else f"i{array.dtype.itemsize}"
    offset, scale = INTEGER_SCALES[key]
    return ((array.astype(np.float64) - offset) / scale).astype(np.float32)


shared_sounds = SharedSources(open_sound)
"""Sounds that stay open between the windows read from them."""
