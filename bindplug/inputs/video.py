"""Videos to clips of two frames in three crops."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageOps
from torch import Tensor

from bindplug.errors import InputError, OptionError
from bindplug.inputs.base import Preprocess, decoding, to_device
from bindplug.inputs.clips import check_span, clip_starts, span_within
from bindplug.inputs.image import normalize_rgb, to_eight_bit, to_rgb
from bindplug.inputs.limits import check_limit
from bindplug.inputs.notes import without_notes
from bindplug.inputs.pictures import load_pixels
from bindplug.inputs.source import describe_source, is_file_like, to_numpy
from bindplug.inputs.spatial import IMAGE_SIZE
from bindplug.inputs.videofiles import (
    EXPECTED,
    Spans,
    animation_frames,
    frame_indices,
    frames_at,
    is_animated,
    picture_of,
    video_duration,
)
from bindplug.modality import Modality

CLIPS = 5
CLIP_SECONDS = 2
CROPS = 3
"""Source: measured on the original ImageBind loaders; each clip gives its first and its last frame."""
MOST_SCALED = 1 << 25
"""Pixels of a frame once its short side is scaled to the crop's."""


@dataclass(frozen=True)
class VideoFrames:
    """The frames a video is known by.

    Attributes:
        frames: (distinct frames, H, W, 3) uint8.
        order: places in ``frames``, two for each clip (first, last).
        duration_s: of the video in seconds, 0 for a still image.
    """

    frames: np.ndarray
    order: tuple[int, ...]
    duration_s: float


class VideoPreprocess(Preprocess):
    """Videos to (15, 3, 2, 224, 224): 5 clips x 3 crops, then color, time, height, width.

    A source is a path, bytes or file object of anything PyAV demuxes, an animated GIF, PNG, WebP or AVIF, an
    array (T, H, W, 3) or tensor (T, 3, H, W) together with ``fps`` (8-bit integers or floats from 0 to 1), or a
    still image, which is a video of one frame. Of each of 5 evenly spaced clips of 2 s (see
    :func:`bindplug.inputs.clips.clip_starts`) the first and the last frame are taken, the decoder seeking to
    them; short side to 224 bilinear, crops at the start, middle and end of the long side. Crops of a square
    video are equal and computed once.

    Args:
        image_size: side of the crops in pixels.
        clips: number of clips.
    """

    modality: ClassVar[Modality] = Modality.VIDEO

    def __init__(self, *, image_size: int = IMAGE_SIZE, clips: int = CLIPS) -> None:
        self.image_size, self.clips = image_size, clips

    def read(
        self,
        source: object,
        *,
        fps: float | None = None,
        clips: int | None = None,
        start: float | None = None,
        end: float | None = None,
    ) -> VideoFrames:
        """The frames of one video, in its own size.

        Args:
            source: see the class.
            fps: frames a second; required for arrays of more than one frame, and for raw streams 25 by
                default. Files with a clock of their own go by that.
            clips: overrides the constructor's; at least 1.
            start: where to begin, in seconds; the clips are spread between ``start`` and ``end``.
            end: where to end, in seconds.

        Raises:
            InputError: the source is missing, damaged, has no video stream or no frame, ends before ``start``,
                or is an array of another shape or range or without ``fps``.
            OptionError: an option has a value that it does not take.
            MissingDependency: PyAV is absent or too old.
        """
        clips = self.clips if clips is None else clips
        if clips < 1:
            raise OptionError(f"clips={clips}; expected at least 1")
        check_span(start, end)
        name = describe_source(source)
        if fps is not None and not (math.isfinite(fps) and fps > 0):
            raise InputError(name, found=f"fps={fps!r}", expected="a positive number of frames a second")

        def spans_of(duration: Fraction) -> list[tuple[Fraction, Fraction]]:
            first, last = span_within(start, end, float(duration), name)
            last_s = duration if last >= float(duration) else _exact(last)
            first_s = _exact(first)
            return [(first_s + a, first_s + b) for a, b in self.spans(last_s - first_s, clips)]

        if isinstance(source, (np.ndarray, torch.Tensor)):
            return self._checked(_from_array(source, fps, spans_of, name), name)
        if isinstance(source, Image.Image):
            load_pixels(source, name, EXPECTED)
            return self._checked(_still(source, clips, name), name)
        if not is_file_like(source):
            raise InputError(name, found=f"an object of type {type(source).__name__}", expected=EXPECTED)
        picture = picture_of(source)
        if picture is None:
            frames, order, duration_s = frames_at(source, spans_of, fps)
        elif is_animated(picture):
            frames, order, duration_s = animation_frames(source, spans_of)
        else:
            return self._checked(_still(picture, clips, name), name)
        return self._checked(VideoFrames(frames, order, duration_s), name)

    def spans(self, duration_s: Fraction, clips: int) -> list[tuple[Fraction, Fraction]]:
        """Start and end in seconds of each clip, of which :meth:`read` takes the first and the last frame."""
        return clip_spans(duration_s, clips)

    def duration(self, source: object, *, fps: float | None = None, **options: object) -> float:
        """Length of a video in seconds, 0 for a still picture; the other reader options are ignored."""
        name = describe_source(source)
        if isinstance(source, (np.ndarray, torch.Tensor)):
            return len(source) / _checked_rate(fps, len(source), name)
        with decoding(source, EXPECTED), without_notes(source):
            picture = source if isinstance(source, Image.Image) else picture_of(source)
            if picture is None:
                return float(video_duration(source, fps))
            if isinstance(source, Image.Image) or not is_animated(picture):
                return 0.0
            return animation_frames(source, lambda duration: [(Fraction(0), duration)])[2]

    def _checked(self, reading: VideoFrames, name: str) -> VideoFrames:
        """``reading``, unless its frames would grow beyond measure when their short side is scaled."""
        height, width = reading.frames.shape[1:3]
        short = min(height, width)
        pixels = self.image_size**2 * max(height, width) / max(short, 1)
        remedy = "Crop the long side."
        check_limit(name, pixels, MOST_SCALED, f"pixels after scaling {width}x{height}", remedy)
        return reading

    def finish(
        self, readings: Sequence[VideoFrames], device: torch.device | str | None = None
    ) -> list[Tensor]:
        """Normalized crops, (clips * 3, 3, 2, 224, 224) float32 for each reading, crops varying fastest."""
        return [self._finish_one(reading, device) for reading in readings]

    def _finish_one(self, reading: VideoFrames, device: torch.device | str | None) -> Tensor:
        # Frame by frame: all frames as floats would be four times the memory of the video's own.
        frames = [self._crops_of(to_device(torch.from_numpy(frame), device)) for frame in reading.frames]
        stacked = torch.stack(frames)[list(reading.order)]  # (clips * 2, crops or 1, 3, s, s)
        stacked = stacked.unflatten(0, (-1, 2)).movedim(1, 3)  # (clips, crops or 1, 3, 2, s, s)
        return stacked.expand(-1, CROPS, -1, -1, -1, -1).flatten(0, 1)

    def _crops_of(self, frame: Tensor) -> Tensor:
        """(H, W, 3) uint8 to (crops or 1, 3, s, s) float32."""
        resized = _short_side(frame.permute(2, 0, 1)[None], self.image_size)
        return torch.cat([normalize_rgb(crop) for crop in _crops(resized, self.image_size)])


def _exact(seconds: float) -> Fraction:
    """Seconds without the rounding of floats, so that a window of 2 s is no longer than a clip."""
    return Fraction(seconds).limit_denominator(1_000_000)


def clip_spans(duration_s: Fraction, clips: int) -> list[tuple[Fraction, Fraction]]:
    """Start and end of each clip in seconds; the whole of a video no longer than one clip."""
    length = min(Fraction(CLIP_SECONDS), duration_s)
    return [(start, start + length) for start in clip_starts(duration_s - CLIP_SECONDS, clips)]


def _still(picture: Image.Image, clips: int, name: str) -> VideoFrames:
    pixels = np.array(to_rgb(ImageOps.exif_transpose(picture), name=name))
    return VideoFrames(pixels[None], (0,) * (2 * clips), 0.0)


def _from_array(source: np.ndarray | Tensor, fps: float | None, spans_of: Spans, name: str) -> VideoFrames:
    frames = to_numpy(source)
    if isinstance(source, Tensor) and frames.ndim == 4:
        frames = frames.transpose(0, 2, 3, 1)
    if frames.ndim != 4 or frames.shape[3] != 3 or frames.size == 0:
        expected = "an array (T, H, W, 3) or a tensor (T, 3, H, W) with at least one frame"
        raise InputError(name, found=f"shape {tuple(source.shape)}", expected=expected)
    count = frames.shape[0]
    rate = Fraction(_checked_rate(fps, count, name)).limit_denominator(1_001_000)
    indices = frame_indices(spans_of(count / rate), rate, count)
    distinct = sorted(set(indices))
    pixels = to_eight_bit(frames[distinct], name)
    return VideoFrames(pixels, tuple(distinct.index(index) for index in indices), float(count / rate))


def _checked_rate(fps: float | None, count: int, name: str) -> float:
    if fps is None and count > 1:
        remedy = "Give it: fps=25, say."
        raise InputError(name, found="frames without a rate", expected="fps, frames a second", remedy=remedy)
    return fps or 1


def _short_side(pixels: Tensor, size: int) -> Tensor:
    """Frames (F, 3, H, W) with their short side at ``size``, bilinear as the original: without antialiasing."""
    height, width = pixels.shape[-2:]
    short = min(height, width)
    target = (size * height // short, size * width // short)
    return F.interpolate(pixels.float(), size=target, mode="bilinear", align_corners=False)


def _crops(pixels: Tensor, size: int) -> list[Tensor]:
    """Square crops at the start, middle and end of the long side; one where all three would be equal."""
    height, width = pixels.shape[-2:]
    spare = max(height, width) - size
    if spare == 0:
        return [pixels]
    offsets = (0, math.ceil(spare / 2), spare)
    return [pixels.narrow(-2 if height > width else -1, offset, size) for offset in offsets]
