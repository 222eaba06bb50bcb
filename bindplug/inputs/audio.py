"""Sounds: read, cut into clips, and turned into normalized log-mel pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from bindplug.errors import InputError, OptionError
from bindplug.inputs.base import Preprocess, to_device
from bindplug.inputs.clips import clip_starts
from bindplug.inputs.filterbank import FRAME_SAMPLES, MEL_BINS, SAMPLE_RATE_HZ, filter_banks, frame_count
from bindplug.inputs.resample import resample
from bindplug.inputs.soundfiles import read_sound
from bindplug.inputs.source import check_choice, describe_source, is_file_like, to_numpy
from bindplug.modality import Modality

CLIPS = 3
CLIP_SECONDS = 2
TARGET_FRAMES = 204
MEAN, STD = -4.268, 9.138
"""Clips, length, frames and normalization. Source: measured on the original ImageBind loaders."""
LOUDEST_FLOAT = 16.0
"""Float samples beyond this are integers that were never scaled; full scale is 1."""
MOST_CHANNELS = 64


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

    A source is a path, bytes or file object of any format libsndfile reads (wav, flac, ogg, mp3, ...) or
    PyAV demuxes (mp4, mkv, m4a, ...), or an array or tensor of samples, (samples,) or (channels,
    samples), together with ``sample_rate``: floats with full scale 1, or int16, int32, uint8.

    Three clips of 2 s, evenly spaced (see :func:`bindplug.inputs.clips.clip_starts`), each less its mean,
    as Kaldi filter banks, zero-padded to 204 frames, then (x + 4.268) / 9.138. Sounds of 2 s or less give three
    equal clips, computed once; those under 25 ms (400 samples) are zero-padded to that.

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
    ) -> SoundClips:
        """The clips of one sound, resampled to 16 kHz.

        Args:
            source: see the class.
            sample_rate: in Hz; required for arrays. For files, it must agree with the file.
            channel: overrides the constructor's.
            clips: overrides the constructor's; at least 1.

        Raises:
            InputError: the sound is missing, damaged, silent by having no samples, or holds NaN or inf;
                an array comes without a sample rate or in a layout that is not (channels, samples).
            MissingDependency: neither soundfile nor PyAV is there to read the file.
        """
        channel = self.channel if channel is None else channel
        clips = self.clips if clips is None else clips
        check_choice("channel", channel, ("first", "mix"))
        if clips < 1:
            raise OptionError(f"clips={clips}; expected at least 1")
        name = describe_source(source)
        if isinstance(source, (np.ndarray, torch.Tensor)):
            samples, rate_hz = _from_array(to_numpy(source), sample_rate, name)
        elif is_file_like(source):
            samples, rate_hz = read_sound(source)
            if sample_rate is not None and sample_rate != rate_hz:
                found, expected = f"sound at {rate_hz} Hz", f"the stated sample_rate={sample_rate}"
                raise InputError(
                    name, found=found, expected=expected, remedy="Leave sample_rate out for files."
                )
        else:
            found = f"an object of type {type(source).__name__}"
            raise InputError(name, found=found, expected="a sound file or an array of samples")
        checked = _checked(samples, channel, name)
        sound = resample(torch.from_numpy(checked), rate_hz, SAMPLE_RATE_HZ)
        return SoundClips(_cut(sound, clips), clips, checked.shape[1] / rate_hz)

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


def _cut(sound: Tensor, clips: int) -> Tensor:
    """Clips of ``sound`` (channels, S), first channel, each less its mean: (clips, 32000), or (1, S) if short.

    Overlapping clips share memory while the means are removed one after another, and a mean is taken over
    all channels: both measured on the original loaders, and needed for their numbers.
    """
    size = CLIP_SECONDS * SAMPLE_RATE_HZ
    spare = sound.shape[1] - size
    if spare <= 0:
        return (sound - sound.mean())[:1]
    sound, pieces = sound.clone(), []
    for start in map(int, clip_starts(spare, clips)):
        clip = sound[:, start : start + size]
        clip -= clip.mean()
        pieces.append(clip[0].clone())
    return torch.stack(pieces)


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
    elif samples.size and np.nanmax(np.abs(samples)) > LOUDEST_FLOAT and np.isfinite(samples).all():
        found = f"float samples up to {np.abs(samples).max():.0f}"
        raise InputError(name, found=found, expected="full scale 1", remedy="Divide 16-bit samples by 32768.")
    return samples.astype(np.float32), int(sample_rate)


def _checked(samples: np.ndarray, channel: str, name: str) -> np.ndarray:
    """(channels, samples) float32, mixed to one channel if asked; refused if empty, NaN or infinite."""
    if samples.size == 0:
        raise InputError(name, found="a sound of zero samples", expected="at least one sample")
    bad = int(samples.size - np.isfinite(samples).sum())
    if bad:
        found = f"{bad} of {samples.size} samples NaN or infinite"
        raise InputError(name, found=found, expected="finite samples", remedy="np.nan_to_num may help.")
    sound = samples.mean(0, keepdims=True) if channel == "mix" else samples
    return np.ascontiguousarray(sound, dtype=np.float32)
