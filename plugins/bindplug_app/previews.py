"""A file of any sense as something to look at: pictures, maps in color, plots of motion, spectrograms."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

from bindplug.errors import BindplugError
from bindplug.inputs import SAMPLE_RATE_HZ, collected_notes
from bindplug_toyworld import (
    AXES,
    INFERNO,
    VIRIDIS,
    apply_colors,
    motion_paths,
    spectrogram_picture,
)

if TYPE_CHECKING:
    from PIL.Image import Image

    from bindplug.encoder import Encoder

SIDE = 480
"""Most pixels of a picture's side."""
SOUND_SIZE = (480, 150)
MOTION_SIZE = (480, 200)
KINDS = {
    "text": "Words",
    "audio": "Sound",
    "image": "Picture",
    "video": "Video",
    "depth": "Depth map",
    "thermal": "Heat picture",
    "imu": "Motion log",
}
"""What people call the modalities."""


@dataclass(frozen=True)
class Preview:
    """A file as something to look at.

    Args:
        markup: HTML, with an alternative text.
        legend: what the colors or lines stand for.
        address: of the picture, as data; empty for a drawing.
    """

    markup: str
    legend: str = ""
    address: str = ""


def preview(
    model: Encoder,
    kind: str,
    source: object,
    name: str,
    *,
    options: Mapping[str, Any] | None = None,
    span: tuple[float, float] | None = None,
) -> Preview | None:
    """A file as something to look at; None if it has nothing to show, or cannot be read.

    Args:
        model: whose readers are used.
        kind: name of the modality.
        source: a path, bytes or file object.
        name: of the file, for the alternative text.
        options: of the reader.
        span: start and end in seconds of the part of a recording to show.
    """
    make_preview = _PREVIEWS.get(kind)
    if make_preview is None or kind not in model.modalities:
        return None
    settings = dict(options or {})
    if span is not None and kind in ("audio", "imu", "video"):
        settings |= {"start": span[0], "end": span[1]}
    try:
        with collected_notes():  # remarks are told where a file is read for the model
            reading = model.preprocess[kind].read(source, **settings)
        return make_preview(reading, name)
    except (BindplugError, ArithmeticError, LookupError, OSError, RuntimeError, TypeError, ValueError):
        return None  # the search, which reads the file for the model, says what is wrong with it


def picture_markup(picture: Image, alt: str, kind: str = "JPEG") -> str:
    """An ``<img>`` that holds the picture itself."""
    size = f'width="{picture.width}" height="{picture.height}"'
    return f'<img {size} alt="{clean(alt)}" src="{_address(picture, kind)}">'


def _address(picture: Image, kind: str = "JPEG") -> str:
    buffer = io.BytesIO()
    options = {"quality": 85} if kind == "JPEG" else {}
    picture.convert("RGB").save(buffer, kind, **options)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"


def clean(text: str) -> str:
    """Text for a page: escaped; what is no character, or would not be seen, as a question mark in a diamond."""
    return escape("".join(c if c.isprintable() and not "\ud800" <= c <= "\udfff" else "\ufffd" for c in text))


def _image(reading: Image, name: str) -> Preview:
    return Preview(picture_markup(_small(reading), f"the picture {name}"))


def _video(reading: Any, name: str) -> Preview:
    from PIL import Image

    frame = _small(Image.fromarray(reading.frames[0]))
    alt = f"the first picture of the video {name}"
    return Preview(picture_markup(frame, alt), f"{reading.duration_s:.1f} s", _address(frame))


def _depth(reading: Any, name: str) -> Preview:
    values = reading.values
    low, high = _range(values)
    is_metric = reading.preset not in ("relative", "disparity")
    near, far = (f"{low:.3g} m", f"{high:.3g} m") if is_metric else ("near", "far")
    if reading.preset == "disparity":
        colors = apply_colors(values, VIRIDIS, low, high)
    else:
        colors = apply_colors(-values, VIRIDIS, -high, -low)
    legend = f"bright is near ({near}), dark is far ({far})" if is_metric else "bright is near, dark is far"
    return Preview(picture_markup(_map(colors), f"the depth map {name} in color"), legend)


def _thermal(reading: Any, name: str) -> Preview:
    values = reading.values.astype(np.float32)
    colors = apply_colors(-values if reading.inverted else values, INFERNO, *_range(values, reading.inverted))
    legend = "bright is hot"
    if reading.window is not None and not reading.inverted:
        low, high = reading.window
        legend = f"dark is {low:.0f}, bright {high:.0f} °C" if -90 < low < high < 2000 else legend
    return Preview(picture_markup(_map(colors), f"the heat picture {name} in color"), legend)


def _motion(reading: Any, name: str) -> Preview:
    series = reading.windows[0].numpy()  # (6, T): accelerometer, gyroscope
    width, height = MOTION_SIZE
    half, lines = height // 2, []
    for block in range(2):
        paths = motion_paths(series[3 * block : 3 * block + 3], width, half)
        for color, path in zip(AXES, paths, strict=True):
            points = " ".join(f"{x:g},{y + block * half:g}" for x, y in path)
            lines.append(
                f'<polyline fill="none" stroke="#{bytes(color).hex()}" stroke-width="1.5" points="{points}"/>'
            )
    alt = clean(f"the motion log {name} as curves: accelerometer above, gyroscope below")
    markup = f'<svg role="img" aria-label="{alt}" viewBox="0 0 {width} {height}">{"".join(lines)}</svg>'
    return Preview(markup, f"acceleration above, rotation below; {reading.duration_s:.1f} s")


def _sound(reading: Any, name: str) -> Preview:
    clips = reading.waveforms.numpy()  # (clips, samples)
    length = round(reading.duration_s * SAMPLE_RATE_HZ)
    if len(clips) > 1 and length <= clips.size:  # they overlap: each at its place
        samples = np.zeros(length, dtype=np.float32)
        for clip, start in zip(clips, np.linspace(0, length - clips.shape[1], len(clips)), strict=True):
            place = max(0, round(start))
            samples[place : place + clips.shape[1]] = clip[: length - place]
    else:
        samples = clips.reshape(-1)  # (clips * samples,)
    picture = spectrogram_picture(samples, SAMPLE_RATE_HZ, *SOUND_SIZE)
    alt = f"what the sound {name} is made of: time to the right, pitch upward"
    return Preview(picture_markup(picture, alt), f"{reading.duration_s:.1f} s")


_PREVIEWS: dict[str, Callable[[Any, str], Preview]] = {
    "image": _image,
    "video": _video,
    "depth": _depth,
    "thermal": _thermal,
    "imu": _motion,
    "audio": _sound,
}


def _small(picture: Image) -> Image:
    copy = picture.copy()
    copy.thumbnail((SIDE, SIDE))
    return copy


def _map(colors: np.ndarray) -> Image:
    """Colors (H, W, 3) as a picture of at most :data:`SIDE` a side, and not too small to see."""
    from PIL import Image

    picture = _small(Image.fromarray(colors))
    factor = SIDE // (2 * max(picture.size))
    return picture.resize((picture.width * factor, picture.height * factor)) if factor > 1 else picture


def _range(values: np.ndarray, inverted: bool = False) -> tuple[float, float]:
    """Between which values colors run: all but the outermost hundredth."""
    finite = values[np.isfinite(values)]
    low, high = (float(v) for v in np.percentile(finite, (1, 99))) if finite.size else (0.0, 1.0)
    if not math.isfinite(high - low):
        low, high = 0.0, 1.0
    return (-high, -low) if inverted else (low, high)
