"""Sounds: read, cut into clips, and turned into normalized log-mel pictures."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from bindplug.errors import InputError, OptionError
from bindplug.inputs.base import Preprocess, decoding, to_device
from bindplug.inputs.clips import check_span, clip_starts, span_within
from bindplug.inputs.filterbank import FRAME_SAMPLES, MEL_BINS, SAMPLE_RATE_HZ, filter_banks, frame_count
from bindplug.inputs.limits import MOST_SAMPLES, check_limit
from bindplug.inputs.notes import note
from bindplug.inputs.resample import reach, resample
from bindplug.inputs.soundfiles import open_sound, shared_sounds
from bindplug.inputs.sounds import EXPECTED, WHOLE_SAMPLES, SamplesInMemory, Sound
from bindplug.inputs.source import check_choice, describe_source, is_file_like, to_numpy
from bindplug.modality import Modality

CLIPS = 3
CLIP_SECONDS = 2
TARGET_FRAMES = 204
MEAN, STD = -4.268, 9.138
"""Clips, length, frames and normalization. Source: measured on the original ImageBind loaders."""
LOUDEST_FLOAT = 16.0
"""Float samples beyond this are integers that were never scaled; full scale is 1."""
SILENT = 1e-3
"""What is heard is silent if its peak is no more than this part of the loudest channel's (rounding remains)."""
MOST_CHANNELS = 64
LONGEST_SOUND_S = 10 * 24 * 3600.0
"""Ten days; longer ones have a rate in their header that nobody records at."""
SLOWEST_HZ = 40
"""Rates below hold nothing above 20 Hz, where the filter bank and hearing begin."""
RATE_REMEDY = "Check the rate in its header; else cut it into several files."


@dataclass(frozen=True)
class SoundClips:
    """Clips of one sound at 16 kHz, each with its own mean removed.

    Attributes:
        waveforms: (distinct clips, samples) float32.
        clips: how many clips the model is given; where ``waveforms`` has one row it stands for all.
        duration_s: length of the whole sound in seconds.
    """

    waveforms: Tensor
    clips: int
    duration_s: float


class AudioPreprocess(Preprocess):
    """Sound files, sound tracks of videos, and sample arrays to (3, 1, 128, 204).

    A source is a path, bytes or file object of any format libsndfile reads (wav, flac, ogg, mp3, ...) or, where
    it is installed, PyAV (m4a, mp4, mkv, ape, wv, ac3, ...), or an array or tensor of samples, (samples,) or (channels,
    samples), together with ``sample_rate``: floats with full scale 1, or int16, int32, uint8.

    Three clips of 2 s, evenly spaced (see :func:`bindplug.inputs.clips.clip_starts`), each less its mean,
    as Kaldi filter banks, zero-padded to 204 frames, then (x + 4.268) / 9.138. Sounds of 2 s or less give three
    equal clips, computed once, whose pictures are padded to 204 frames as the original's are; those under 25 ms (400
    samples) are zero-padded to that, with a note.

    Args:
        channel: which of several channels to hear, ``"first"`` (as the original did) or their mean, ``"mix"``.
        clips: number of clips.
    """

    modality: ClassVar[Modality] = Modality.AUDIO
    joint: ClassVar[bool] = True

    def __init__(self, *, channel: str = "first", clips: int = CLIPS) -> None:
        check_choice("channel", channel, ("first", "mix"))
        self.channel, self.clips = channel, clips

    def read(
        self,
        source: object,
        *,
        sample_rate: int | None = None,
        channel: str | None = None,
        clips: int | None = None,
        full_scale: float = 1.0,
        start: float | None = None,
        end: float | None = None,
    ) -> SoundClips:
        """The clips of one sound, resampled to 16 kHz. Of a long file only the clips are decoded.

        Args:
            source: see the class.
            sample_rate: in Hz; required for arrays. For files, it must agree with the file.
            channel: overrides the constructor's.
            clips: overrides the constructor's; at least 1.
            full_scale: what float samples are divided by: 32768 for 16-bit numbers stored as floats.
            start: where to begin, in seconds; the clips are spread between ``start`` and ``end``.
            end: where to end, in seconds.

        Raises:
            InputError: the sound is missing, damaged, silent by having no samples, holds NaN or inf, or ends
                before ``start``; floats are far beyond full scale; an array comes without a sample rate or in
                a layout that is not (channels, samples).
            OptionError: an option has a value that it does not take.
            MissingDependency: soundfile is absent.
        """
        channel = self.channel if channel is None else channel
        clips = self.clips if clips is None else clips
        _check_options(channel, clips, full_scale)
        check_span(start, end)
        name = describe_source(source)
        opener = shared_sounds if start is not None or end is not None else open_sound
        with opened_sound(source, sample_rate, name, opener) as sound:
            first, last = (
                math.floor(time * sound.rate_hz + 0.5)
                for time in span_within(start, end, sound.length / sound.rate_hz, name)
            )
            part = SoundPart(sound, first, last, channel, full_scale, name)
            waveforms = _cut(part, clips)
            remarks = sound.remarks
        for remark in remarks:
            note(remark)
        if all(part.silences):
            note(part.silences[0])
        return SoundClips(waveforms, clips, part.length / part.rate_hz)

    def duration(self, source: object, *, sample_rate: int | None = None, **options: object) -> float:
        """Length of a sound in seconds; the other reader options are ignored."""
        name = describe_source(source)
        with decoding(source, EXPECTED), opened_sound(source, sample_rate, name, shared_sounds) as sound:
            return sound.length / sound.rate_hz

    def finish(
        self, readings: Sequence[SoundClips], device: torch.device | str | None = None
    ) -> list[Tensor]:
        """Log-mel pictures, (clips, 1, 128, 204) for each reading, in one filter-bank call for all."""
        if not readings:
            return []
        rows = [row for reading in readings for row in reading.waveforms]
        waveforms = torch.zeros(len(rows), max(FRAME_SAMPLES, *(row.shape[0] for row in rows)))
        for waveform, row in zip(waveforms, rows, strict=True):
            waveform[: row.shape[0]] = row
        banks = filter_banks(to_device(waveforms, device))  # (rows, frames, 128)
        pictures = torch.zeros(len(rows), 1, MEL_BINS, TARGET_FRAMES, device=banks.device)
        for picture, bank, row in zip(pictures, banks, rows, strict=True):
            frames = frame_count(max(FRAME_SAMPLES, row.shape[0]))
            picture[0, :, :frames] = bank[:frames].T
        pictures.sub_(MEAN).div_(STD)
        each = pictures.split([len(reading.waveforms) for reading in readings])
        shape = (1, MEL_BINS, TARGET_FRAMES)
        return [
            item if len(item) == reading.clips else item.expand(reading.clips, *shape).clone()
            for item, reading in zip(each, readings, strict=True)
        ]


class SoundPart:
    """Samples ``first`` to ``last`` of a sound, mixed, checked and resampled."""

    def __init__(
        self,
        sound: Sound,
        first: int,
        last: int,
        channel: str,
        full_scale: float,
        name: str,
        to_hz: int = SAMPLE_RATE_HZ,
    ) -> None:
        self.sound, self.first, self.length = sound, first, last - first
        self.channel, self.full_scale, self.name = channel, full_scale, name
        self.rate_hz, self.to_hz = sound.rate_hz, to_hz
        self.silences: list[str] = []
        """For each read so far the remark on its silence, empty if something was heard."""

    def samples(self, start: int, stop: int) -> Tensor:
        """Samples (channels, stop - start) float32, counted from ``first``; zeros outside the part."""
        inner = self.sound.read(self.first + max(0, start), self.first + min(stop, self.length))
        samples, silence = _check_and_mix(inner, self.channel, self.full_scale, self.name)
        self.silences.append(silence)
        return F.pad(torch.from_numpy(samples), (max(0, -start), max(0, stop - self.length)))

    def whole(self) -> Tensor:
        """The part at ``to_hz``, (channels, samples)."""
        inner = self.samples(0, self.length)
        self.length = inner.shape[1]  # a damaged header may claim more
        return resample(inner, self.rate_hz, self.to_hz)

    def resampled(self, start: int, size: int) -> Tensor:
        """``size`` samples from sample ``start`` on at ``to_hz``, (channels, size), as :meth:`whole` has them.

        Reading begins at a multiple of the rates' period, where the filter's phases repeat.
        """
        divisor = math.gcd(self.rate_hz, self.to_hz)
        old, new = self.rate_hz // divisor, self.to_hz // divisor
        lead = -(-reach(self.rate_hz, self.to_hz) // old) + 1
        block = start // new - lead
        stop = -(-(start + size) * old // new) + lead * old
        inner = self.samples(block * old, stop)
        if inner.shape[1] < stop - block * old:
            problem = (
                f"a sound that ends before the {self.length / self.rate_hz:.1f} s that its header claims"
            )
            raise InputError(self.name, found=problem, expected="a whole file", remedy="Convert it to WAV.")
        begin = start - block * new
        return resample(inner, self.rate_hz, self.to_hz)[:, begin : begin + size]


def _cut(part: SoundPart, clips: int) -> Tensor:
    """Clips of a sound's first channel, each less its mean: (clips, 32000), or (1, S) if it is short.

    Overlapping clips share memory while the means are removed one after another, and a mean is taken over
    all channels: both measured on the original loaders, and needed for their numbers.
    """
    size = CLIP_SECONDS * SAMPLE_RATE_HZ
    length = -(-part.length * SAMPLE_RATE_HZ // part.rate_hz)
    starts = [int(start) for start in clip_starts(length - size, clips)]
    apart = all(later - earlier >= size for earlier, later in pairwise(starts))
    if apart and part.length * part.sound.channels > WHOLE_SAMPLES:
        pieces = [part.resampled(start, size) for start in starts]
        return torch.stack([(piece - piece.mean())[0] for piece in pieces])
    check_limit(part.name, length, MOST_SAMPLES, "samples after resampling", RATE_REMEDY)
    check_limit(part.name, part.length * part.sound.channels, MOST_SAMPLES, "samples at once")
    sound = part.whole()
    spare = sound.shape[1] - size
    if sound.shape[1] < FRAME_SAMPLES:
        note(f"{1000 * sound.shape[1] / SAMPLE_RATE_HZ:.1f} ms of sound, padded with silence to 25 ms")
    if spare <= 0:
        return (sound - sound.mean())[:1]
    pieces = []
    for start in map(int, clip_starts(spare, clips)):
        clip = sound[:, start : start + size]
        clip -= clip.mean()
        pieces.append(clip[0].clone())
    return torch.stack(pieces)


def _check_options(channel: str, clips: int, full_scale: float) -> None:
    check_choice("channel", channel, ("first", "mix"))
    if clips < 1:
        raise OptionError(f"clips={clips}; expected at least 1")
    if not (math.isfinite(full_scale) and full_scale > 0):
        raise OptionError(f"full_scale={full_scale}; expected a positive number")


@contextmanager
def opened_sound(
    source: object,
    sample_rate: int | None,
    name: str,
    opener: Callable[[object], AbstractContextManager[Sound]],
) -> Iterator[Sound]:
    """The source as an open sound."""
    if isinstance(source, (np.ndarray, torch.Tensor)):
        yield SamplesInMemory(*_from_array(to_numpy(source), sample_rate, name))
    elif is_file_like(source):
        with opener(source) as sound:
            if sample_rate is not None and sample_rate != sound.rate_hz:
                problem, expected = f"sound at {sound.rate_hz} Hz", f"the stated sample_rate={sample_rate}"
                remedy = "Leave sample_rate out for files."
                raise InputError(name, found=problem, expected=expected, remedy=remedy)
            if sound.rate_hz < SLOWEST_HZ:
                problem, expected = f"sound at {sound.rate_hz} Hz", f"at least {SLOWEST_HZ} Hz"
                remedy = "Nothing audible has so low a rate: is its header damaged?"
                raise InputError(name, found=problem, expected=expected, remedy=remedy)
            check_limit(name, sound.length / sound.rate_hz, LONGEST_SOUND_S, "s of sound", RATE_REMEDY)
            yield sound
    else:
        problem = f"an object of type {type(source).__name__}"
        raise InputError(name, found=problem, expected="a sound file or an array of samples")


def _from_array(samples: np.ndarray, sample_rate: int | None, name: str) -> tuple[np.ndarray, int]:
    """Samples as (channels, samples) float32 with full scale 1, and their rate."""
    if sample_rate is None:
        remedy = "Give it: sample_rate=16000, say."
        raise InputError(name, found="samples without a rate", expected="sample_rate in Hz", remedy=remedy)
    if sample_rate != int(sample_rate) or sample_rate <= 0:
        raise InputError(name, found=f"sample_rate={sample_rate!r}", expected="a positive whole number of Hz")
    samples = np.atleast_2d(samples)
    layout = "an array (samples,) or (channels, samples)"
    if samples.ndim != 2:
        raise InputError(name, found=f"shape {samples.shape}", expected=layout)
    if samples.shape[0] > max(MOST_CHANNELS, samples.shape[1]) and samples.shape[1] > 0:
        remedy = "Transpose it if it is (samples, channels)."
        raise InputError(name, found=f"{samples.shape[0]} channels", expected=layout, remedy=remedy)
    if samples.dtype in (np.int16, np.int32):
        samples = samples / np.float32(-float(np.iinfo(samples.dtype).min))
    elif samples.dtype == np.uint8:
        samples = (samples.astype(np.float32) - 128) / 128
    elif samples.dtype.kind != "f":
        expected = "float samples with full scale 1, or int16, int32, uint8"
        raise InputError(name, found=f"samples of type {samples.dtype}", expected=expected)
    return samples.astype(np.float32), int(sample_rate)


def _check_and_mix(samples: np.ndarray, channel: str, full_scale: float, name: str) -> tuple[np.ndarray, str]:
    """(channels, samples) float32, mixed to one channel for "mix", and a remark if they are silent.

    Raises:
        InputError: there are no samples, NaN, infinities, or floats far beyond full scale.
    """
    if samples.size == 0:
        raise InputError(name, found="a sound of zero samples", expected="at least one sample")
    bad = int(samples.size - np.isfinite(samples).sum())
    if bad:
        problem = f"{bad} of {samples.size} samples NaN or infinite"
        raise InputError(name, found=problem, expected="finite samples", remedy="np.nan_to_num may help.")
    samples = samples / np.float32(full_scale) if full_scale != 1 else samples
    peak = float(np.abs(samples).max())
    if peak > LOUDEST_FLOAT:
        bits = next((bits for bits in (16, 24, 32) if peak <= 2 ** (bits - 1)), 16)
        remedy = f"Say full_scale={2 ** (bits - 1)} if they are {bits}-bit numbers, or scale them to -1..1."
        raise InputError(
            name, found=f"float samples up to {peak:.5g}", expected="full scale 1", remedy=remedy
        )
    sound = samples.mean(0, keepdims=True) if channel == "mix" else samples
    return np.ascontiguousarray(sound, dtype=np.float32), _silence(peak, channel) if np.abs(
        sound[0]
    ).max() <= SILENT * peak else ""


def _silence(peak: float, channel: str) -> str:
    """What to remark on a sound of which nothing is heard."""
    if peak == 0:
        return "silence: every sample is 0"
    if channel == "mix":
        return "the channels cancel when mixed; channel='first' hears the first alone"
    return "the first channel is silent and others are not; channel='mix' hears them all"
