"""Readers for networks of other libraries: our reading and checks, then the library's own processor.

Each takes a function that turns what was read into the network's input: one tensor, or named tensors, without a
batch axis. The function must be safe to call from several threads at once, and picklable where the encoder is to be.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, ClassVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from bindplug.errors import InputError, OptionError
from bindplug.inputs.audio import RATE_REMEDY, SoundPart, opened_sound
from bindplug.inputs.base import ModelInput, Preprocess, decoding, stack_items, to_device
from bindplug.inputs.clips import check_span, span_within
from bindplug.inputs.image import ImagePreprocess
from bindplug.inputs.limits import MOST_SAMPLES, check_limit
from bindplug.inputs.notes import note
from bindplug.inputs.soundfiles import open_sound, shared_sounds
from bindplug.inputs.sounds import EXPECTED, WHOLE_SAMPLES
from bindplug.inputs.source import check_choice, describe_source
from bindplug.inputs.text import check_text
from bindplug.inputs.video import VideoPreprocess
from bindplug.modality import Modality

WINDOWS = 3
"""Windows that stand for a sound longer than one; as many as ImageBind's clips."""

SOUND_OPTIONS = ("sample_rate", "channel", "clips", "full_scale", "start", "end")

INSTANT = Fraction(1, 1_000_000)
"""Seconds; less than any frame lasts."""


class PicturePreprocess(ImagePreprocess):
    """Images as :class:`ImagePreprocess` reads them, then a function of the picture.

    Args:
        process: a PIL image, RGB and upright, to the network's input.
        exif, alpha: as in :class:`ImagePreprocess`.
    """

    def __init__(
        self, process: Callable[[Image.Image], ModelInput], *, exif: bool = True, alpha: str = "white"
    ) -> None:
        super().__init__(exif=exif, alpha=alpha)
        self.process = process

    def finish(  # type: ignore[override]
        self, readings: Sequence[Image.Image], device: torch.device | str | None = None
    ) -> list[ModelInput]:
        """The network's input for each picture."""
        return [on_device(self.process(picture), device) for picture in readings]


class SentencePreprocess(Preprocess):
    """Strings to the token ids of a library's tokenizer.

    Args:
        tokenize: a string and whether to cut a longer one, to the network's input and the number of tokens before
            it was cut.
        limit: most tokens that the network takes; None if it takes any number.
    """

    modality: ClassVar[Modality] = Modality.TEXT

    def __init__(self, tokenize: Callable[..., tuple[ModelInput, int]], *, limit: int | None) -> None:
        self.tokenize, self.limit = tokenize, limit

    def read(self, source: object, *, truncate: bool = True, **options: Any) -> ModelInput:
        """The network's input for one text.

        Args:
            source: the text itself, never a path.
            truncate: whether a text of too many tokens is cut, which an input note says, or refused.
            options: further ones of the tokenizer's function.

        Raises:
            InputError: ``source`` is not a string, or is too long and ``truncate`` is off.
        """
        name = check_text(source)
        check_options("a text", self.tokenize, options, ("truncate",))
        inputs, tokens = self.tokenize(source, **options)
        if self.limit is not None and tokens > self.limit:
            problem = f"a text of {tokens} tokens"
            if not truncate:
                remedy = "Shorten it, or let it be cut with truncate=True."
                raise InputError(name, found=problem, expected=f"at most {self.limit}", remedy=remedy)
            note(f"{problem}, cut to {self.limit}")
        return inputs

    def finish(
        self, readings: Sequence[ModelInput], device: torch.device | str | None = None
    ) -> list[ModelInput]:
        """The readings on ``device``."""
        return [on_device(reading, device) for reading in readings]


@dataclass(frozen=True)
class SoundWindows:
    """Stretches of one sound at a network's sample rate.

    Attributes:
        waveforms: W arrays (samples,) float32, mono, of one length.
        duration_s: length of the whole sound in seconds.
        options: what the reader hands on to the processor's function.
    """

    waveforms: tuple[np.ndarray, ...]
    duration_s: float
    options: dict[str, Any]


class WaveformPreprocess(Preprocess):
    """Sounds as :class:`AudioPreprocess` reads them, resampled and mono, then a function of the samples.

    A sound no longer than a window is read whole. Of a longer one, evenly spaced windows from its start to its end
    are read; the encoder averages their rows. An input note says where they leave part of the sound out.

    Args:
        process: samples (N,) float32 with full scale 1, to the network's input.
        sample_rate_hz: the rate that the network was trained at.
        window_seconds: the longest sound that the network takes at once.
        windows: how many windows stand for a longer sound.
        channel: which of several channels to hear, their mean ``"mix"`` or the ``"first"``.
        fewest_samples: at the network's rate; a shorter sound is refused, since nothing of it would be heard.
    """

    modality: ClassVar[Modality] = Modality.AUDIO

    def __init__(
        self,
        process: Callable[..., ModelInput],
        *,
        sample_rate_hz: int,
        window_seconds: float,
        windows: int = WINDOWS,
        channel: str = "mix",
        fewest_samples: int = 1,
    ) -> None:
        check_choice("channel", channel, ("first", "mix"))
        self.fewest_samples = fewest_samples
        self.process, self.sample_rate_hz, self.window_seconds = process, sample_rate_hz, window_seconds
        self.windows, self.channel = windows, channel

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
        **options: Any,
    ) -> SoundWindows:
        """The windows of one sound at the network's sample rate.

        Args:
            source: as :class:`AudioPreprocess` takes it.
            sample_rate: in Hz; required for arrays. For files, it must agree with the file.
            channel: overrides the constructor's.
            clips: how many windows stand for a sound longer than one; at least 1.
            full_scale: what float samples are divided by: 32768 for 16-bit numbers stored as floats.
            start: where to begin, in seconds.
            end: where to end, in seconds.
            options: of the processor's function, where it takes some.

        Raises:
            InputError, OptionError, MissingDependency: as :meth:`AudioPreprocess.read`.
        """
        channel = self.channel if channel is None else channel
        check_choice("channel", channel, ("first", "mix"))
        check_options("a sound", self.process, options, SOUND_OPTIONS)
        count = self.windows if clips is None else clips
        if count < 1:
            raise OptionError(f"clips={count}; expected at least 1")
        if not (math.isfinite(full_scale) and full_scale > 0):
            raise OptionError(f"full_scale={full_scale}; expected a positive number")
        check_span(start, end)
        name = describe_source(source)
        opener = shared_sounds if start is not None or end is not None else open_sound
        with opened_sound(source, sample_rate, name, opener) as sound:
            first, last = (
                math.floor(time * sound.rate_hz + 0.5)
                for time in span_within(start, end, sound.length / sound.rate_hz, name)
            )
            part = SoundPart(sound, first, last, channel, full_scale, name, self.sample_rate_hz)
            waveforms = self._cut(part, count)
        if len(waveforms[0]) < self.fewest_samples:
            raise InputError(
                name,
                found=f"a sound of {len(waveforms[0])} samples at {self.sample_rate_hz} Hz",
                expected=f"at least {self.fewest_samples}, the fewest that the model hears",
            )
        if all(part.silences):
            note(part.silences[0])
        duration_s = part.length / part.rate_hz
        if len(waveforms) > 1 and duration_s > count * self.window_seconds:
            note(
                f"{duration_s:.1f} s of sound, of which {count} windows of {self.window_seconds:g} s are heard; "
                f"clips={math.ceil(duration_s / self.window_seconds)} hears all of it"
            )
        return SoundWindows(waveforms, duration_s, options)

    def duration(self, source: object, *, sample_rate: int | None = None, **options: object) -> float:
        """Length of a sound in seconds; the other reader options are ignored."""
        name = describe_source(source)
        with decoding(source, EXPECTED), opened_sound(source, sample_rate, name, shared_sounds) as sound:
            return sound.length / sound.rate_hz

    def finish(
        self, readings: Sequence[SoundWindows], device: torch.device | str | None = None
    ) -> list[ModelInput]:
        """The network's input for each sound, with an axis of its W windows in front."""
        return [
            on_device(stack_items([self.process(w, **reading.options) for w in reading.waveforms]), device)
            for reading in readings
        ]

    def _cut(self, part: SoundPart, count: int) -> tuple[np.ndarray, ...]:
        """(window samples,) float32 for each window, or the whole sound if it fits one."""
        size = round(self.window_seconds * self.sample_rate_hz)
        length = -(-part.length * self.sample_rate_hz // part.rate_hz)
        spare = length - size
        if spare > 0 and part.length * part.sound.channels > WHOLE_SAMPLES:
            starts = [round(spare * i / max(1, count - 1)) for i in range(count)]
            return tuple(part.resampled(start, size)[0].numpy().copy() for start in starts)
        check_limit(part.name, length, MOST_SAMPLES, "samples after resampling", RATE_REMEDY)
        check_limit(part.name, part.length * part.sound.channels, MOST_SAMPLES, "samples at once")
        sound = part.whole()[0].numpy()  # (samples,)
        spare = len(sound) - size
        if spare <= 0:
            return (sound.copy(),)
        starts = [round(spare * i / max(1, count - 1)) for i in range(count)]
        return tuple(sound[start : start + size].copy() for start in starts)


@dataclass(frozen=True)
class FrameSequence:
    """Evenly spaced frames of a video, and what the reader hands on to the processor's function.

    Attributes:
        frames: (N, H, W, 3) uint8.
        fps: frames a second among them; 0 for a still picture.
        duration_s: of the video in seconds.
        source: what was read.
        start, end: the stretch of it in seconds, where one was asked for.
        options: of the processor's function.
    """

    frames: np.ndarray
    fps: float
    duration_s: float
    source: object
    start: float | None
    end: float | None
    options: dict[str, Any]


class FramesPreprocess(VideoPreprocess):
    """Videos as :class:`VideoPreprocess` reads them, N frames at even times, then a function of them.

    Args:
        process: a :class:`FrameSequence` to the network's input.
        frames: how many; at least 1. None to take ``rate_hz`` frames a second.
        rate_hz: frames a second, where ``frames`` is None.
        most_frames: of ``rate_hz`` frames a second, at most this many, spread from the first to the last of them.
        to_the_end: whether the last of ``frames`` is the video's last, as the first is its first; else each of them
            begins one of as many equal parts of the video.
    """

    def __init__(
        self,
        process: Callable[[FrameSequence], ModelInput],
        *,
        frames: int | None,
        rate_hz: float = 1.0,
        most_frames: int = 512,
        to_the_end: bool = False,
    ) -> None:
        super().__init__(clips=1)
        self.process, self.count, self.rate_hz, self.most_frames = process, frames, rate_hz, most_frames
        self.to_the_end = to_the_end

    def read(  # type: ignore[override]
        self,
        source: object,
        *,
        fps: float | None = None,
        frames: int | None = None,
        start: float | None = None,
        end: float | None = None,
        **options: Any,
    ) -> FrameSequence:
        """The frames of one video, in its own size.

        Args:
            source: as :class:`VideoPreprocess` takes it.
            fps: frames a second of the source; required for arrays of more than one frame.
            frames: how many to take; overrides the constructor's.
            start: where to begin, in seconds.
            end: where to end, in seconds.
            options: of the processor's function, where it takes some.

        Raises:
            InputError, OptionError, MissingDependency: as :meth:`VideoPreprocess.read`.
        """
        count = self.count if frames is None else frames
        if count is not None and count < 1:
            raise OptionError(f"frames={count}; expected at least 1")
        # What one frame of an array lasts is known; the last of a file is found by its end.
        last = (
            Fraction(1) / Fraction(fps) if isinstance(source, (np.ndarray, Tensor)) and fps else Fraction(0)
        )
        reader = _FramesAt(lambda duration_s: self._times(duration_s, count, last))
        reading = reader.read(source, fps=fps, clips=1 if count is None else count, start=start, end=end)
        pixels = reading.frames[list(reading.order[1::2])]  # (N, H, W, 3)
        length = (reading.duration_s if end is None else min(end, reading.duration_s)) - (start or 0.0)
        times = self._times(Fraction(length), count, last) if length > 0 else []
        rate = float((len(times) - 1) / (times[-1] - times[0])) if len(times) > 1 else float(length > 0)
        return FrameSequence(pixels, rate, reading.duration_s, source, start, end, options)

    def _times(self, duration_s: Fraction, count: int | None, last: Fraction) -> list[Fraction]:
        """Seconds from the start at which frames are taken."""
        if count is None:
            every = max(1, math.floor(duration_s * Fraction(self.rate_hz)))
            picked = list(range(every))
            if every > self.most_frames:
                picked = [i * (every - 1) // max(1, self.most_frames - 1) for i in range(self.most_frames)]
            return [i / Fraction(self.rate_hz) for i in picked]
        if self.to_the_end and count > 1:
            return [i * (duration_s - last) / (count - 1) for i in range(count)]
        return [i * duration_s / count for i in range(count)]

    def finish(  # type: ignore[override]
        self, readings: Sequence[FrameSequence], device: torch.device | str | None = None
    ) -> list[ModelInput]:
        """The network's input for each video."""
        return [on_device(self.process(reading), device) for reading in readings]


class _FramesAt(VideoPreprocess):
    """Videos of which the frames at given times are read, after the first frame each.

    Args:
        times: the length of the video in seconds to the times.
    """

    def __init__(self, times: Callable[[Fraction], list[Fraction]]) -> None:
        super().__init__(clips=1)
        self.times = times

    def spans(self, duration_s: Fraction, clips: int) -> list[tuple[Fraction, Fraction]]:
        """The start of the video and each time: the last frame that begins no later is taken."""
        return [(Fraction(0), time + INSTANT) for time in self.times(duration_s)]


def check_options(
    what: str, function: Callable[..., Any], options: Mapping[str, Any], others: Sequence[str]
) -> None:
    """Refuse options that a processor's function does not take, before it is taken for a fault of the data.

    Args:
        what: they are of, for the message.
        function: takes the source, and some of the options by name.
        options: to be handed to it.
        others: options that the reader itself takes.

    Raises:
        OptionError: one is unknown.
    """
    parameters = inspect.signature(function).parameters.values() if options else ()
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return
    names = [parameter.name for parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY]
    unknown = sorted(set(options) - set(names))
    if unknown:
        raise OptionError(f"{what} has no option {unknown[0]!r}; expected {', '.join((*others, *names))}")


def on_device(inputs: ModelInput, device: torch.device | str | None) -> ModelInput:
    """``inputs`` on ``device``, by name where they have names."""
    if isinstance(inputs, Tensor):
        return to_device(inputs, device)
    return {name: to_device(part, device) for name, part in inputs.items()}
