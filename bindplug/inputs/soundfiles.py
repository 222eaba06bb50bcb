"""Decoding sound: libsndfile for sound files, PyAV for whatever it does not open.

:func:`open_sound` gives random access, so that the clips of a long recording are read without the rest.
"""

from __future__ import annotations

import os
import struct
from abc import ABC, abstractmethod
from collections.abc import Iterator
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
from bindplug.inputs.decoder_messages import decoder_messages
from bindplug.inputs.limits import MOST_CHANNELS, MOST_SAMPLES, check_limit
from bindplug.inputs.notes import note
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
XING_BYTES, XING_WITHIN = 0x2, 200


class Sound(ABC):
    """An open sound with random access.

    Attributes:
        rate_hz: samples a second.
        channels: number of channels.
        length: samples of a channel.
    """

    rate_hz: int
    channels: int
    length: int

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

    def __init__(self, file: Any) -> None:
        self.file = file
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
            block = self.file.read(min(BLOCK_SAMPLES, stop - start), dtype="float32", always_2d=True)
            if not len(block):
                break
            blocks.append(block)
            start += len(block)
        return np.concatenate(blocks).T


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
        return sound.read(0, sound.length), sound.rate_hz


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
        if sound_file is not None:
            with sound_file:
                yield _sound_of(sound_file, file, start, name)
        else:
            file.seek(start)
            yield from _from_container(file, name, reason)


def _sound_of(sound_file: Any, file: BinaryIO, start: int, name: str) -> Sound:
    check_limit(name, sound_file.channels, MOST_CHANNELS, "channels")
    tails = _joined_mp3s(file, start) if sound_file.format == "MP3" else []
    return _joined(sound_file, tails, name) if tails else _SoundFile(sound_file)


def _joined_mp3s(file: BinaryIO, start: int) -> list[FileView]:
    """The sounds after the first one in a file of joined MP3s.

    Each begins with a Xing or Info frame that counts its bytes; decoders that believe it end there.
    """
    tails, place = [], start
    end = file.seek(0, os.SEEK_END)
    while True:
        place = _after_id3(file, place)
        size = _xing_size(file, place)
        if not size or place + size >= end:
            break
        place += size
        file.seek(place)
        following = _after_id3(file, place)
        file.seek(following)
        if _is_mpeg_frame(file.read(4)):
            tails.append(FileView(file, place, end))
        else:
            break
    stops = [tail.start for tail in tails[1:]]
    for tail, stop in zip(tails, stops, strict=False):
        tail.stop = stop
    return tails


def _after_id3(file: BinaryIO, place: int) -> int:
    file.seek(place)
    head = file.read(10)
    if len(head) == 10 and head[:3] == b"ID3" and all(byte < 0x80 for byte in head[6:]):
        return place + 10 + sum(byte << shift for byte, shift in zip(head[6:], (21, 14, 7, 0), strict=True))
    return place


def _xing_size(file: BinaryIO, place: int) -> int:
    """Bytes of the MP3 at ``place`` as its Xing or Info frame counts them; 0 if there is none."""
    file.seek(place)
    head = file.read(XING_WITHIN)
    if not _is_mpeg_frame(head[:4]):
        return 0
    for tag in (b"Xing", b"Info"):
        at = head.find(tag)
        if at < 0 or len(head) < at + 16:
            continue
        flags = struct.unpack(">I", head[at + 4 : at + 8])[0]
        if flags & XING_BYTES:
            at += 8 + (4 if flags & 1 else 0)
            return int(struct.unpack(">I", head[at : at + 4])[0])
    return 0


def _is_mpeg_frame(head: bytes) -> bool:
    """Whether four bytes begin a frame of MPEG audio, layer III."""
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return False
    version, layer = (head[1] >> 3) & 3, (head[1] >> 1) & 3
    bitrate, rate = head[2] >> 4, (head[2] >> 2) & 3
    return version != 1 and layer == 1 and bitrate != 15 and rate != 3


def _joined(first: Any, tails: list[FileView], name: str) -> Sound:
    soundfile = import_optional("soundfile", "bindplug.inputs.audio", "audio")
    check_limit(name, first.frames * first.channels, MOST_SAMPLES, "samples at once", "Split the file.")
    runs = [(_all(first), int(first.samplerate))]
    for tail in tails:
        try:
            with decoder_messages():
                sound = soundfile.SoundFile(tail)
            with sound:
                runs.append((_all(sound), int(sound.samplerate)))
        except soundfile.LibsndfileError as error:
            note(
                f"sound after {sum(run.shape[1] / rate for run, rate in runs):.1f} s could not be read ({error})"
            )
            break
    return SamplesInMemory(*_one_rate(runs, name))


def _all(sound: Any) -> np.ndarray:
    return _SoundFile(sound).read(0, MOST_SAMPLES // max(1, sound.channels))


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


def _from_container(file: BinaryIO, name: str, reason: str) -> Iterator[Sound]:
    if not has_av():
        problem = f"data that is not sound, or in a format that libsndfile does not read ({reason})"
        raise InputError(name, found=problem, expected=EXPECTED, remedy=REMEDY)
    av = import_av("bindplug.inputs.audio")
    try:
        with open_container(file, name, EXPECTED, "bindplug.inputs.audio") as container:
            if not container.streams.audio:
                kinds = ", ".join(sorted({stream.type for stream in container.streams})) or "nothing"
                is_picture = container.format.name.endswith("_pipe")  # FFmpeg's demuxers of single pictures
                problem = "a picture" if is_picture else f"data without a sound track (it has: {kinds})"
                raise InputError(name, found=problem, expected=EXPECTED)
            track = container.streams.audio[0]
            yield _decoded_track(av, container, track, name)
    except InputError as error:
        if not error.found.startswith("data that cannot be decoded"):
            raise
        problem = f"data that is not sound, or damaged (libsndfile: {reason} FFmpeg: {error.found})"
        raise InputError(name, found=problem, expected=EXPECTED) from None


def _decoded_track(av: Any, container: Any, track: Any, name: str) -> Sound:
    channels, rate_hz = int(track.codec_context.channels or 1), int(track.codec_context.sample_rate or 0)
    check_limit(name, channels, MOST_CHANNELS, "channels")
    claimed_s = claimed_duration(container, track)
    indexed = container.format.name.startswith(INDEXED)
    if claimed_s * rate_hz * channels > WHOLE_SAMPLES:
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
