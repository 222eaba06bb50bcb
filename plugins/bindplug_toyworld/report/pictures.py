"""Sensor files as pictures for people."""

from __future__ import annotations

import io
import wave
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from bindplug_toyworld.report.colors import AXES, INFERNO, MAGMA, VIRIDIS, apply_colors

DYNAMIC_RANGE_DB = 65.0
"""What lies further below a sound's loudest part is drawn black."""

SPECTROGRAM_HZ = (60.0, 8000.0)
WINDOW, HOP = 512, 128  # 32 and 8 ms at 16 kHz

ENLARGED_PX = 192
"""Generated pictures are enlarged to at least this side, smoothly, rather than by the browser."""


@dataclass(frozen=True)
class Scaled:
    """A picture in false colors and the range they stand for."""

    picture: Image.Image
    low: float
    high: float


def read_picture(path: Path) -> Image.Image:
    """A picture file in RGB."""
    with Image.open(path) as file:
        return file.convert("RGB")


def prompt_picture(path: Path, modality: str, side: int) -> Image.Image:
    """A file of any modality but text as a square picture."""
    if modality == "audio":
        return spectrogram_picture(*read_wave(path), side, side)
    if modality == "imu":
        return motion_picture(read_motion(path), side, side, (255, 255, 255))
    if modality == "depth":
        picture = depth_picture(path).picture
    elif modality == "thermal":
        picture = thermal_picture(path).picture
    else:
        picture = read_picture(path)
    return picture.resize((side, side), Image.Resampling.LANCZOS)


def enlarged(path: Path) -> Image.Image:
    """A generated picture at no less than :data:`ENLARGED_PX`."""
    picture = read_picture(path)
    factor = max(1.0, ENLARGED_PX / max(picture.size))
    size = (round(picture.width * factor), round(picture.height * factor))
    return picture.resize(size, Image.Resampling.BICUBIC)


def depth_picture(path: Path) -> Scaled:
    """A 16-bit PNG of millimetres, near = bright; the range is in metres. Pixels without a value stay grey."""
    with Image.open(path) as file:
        metres = np.asarray(file).astype(np.float32) / 1000
    valid = metres > 0
    low, high = np.percentile(metres[valid], [1, 99]) if valid.any() else (0.0, 1.0)
    colors = apply_colors(-metres, VIRIDIS, -float(high), -float(low))
    colors[~valid] = 128
    return Scaled(Image.fromarray(colors), float(low), float(high))


def thermal_picture(path: Path) -> Scaled:
    """A 16-bit TIFF of hundredths of a kelvin, hot = bright; the range is in degrees Celsius."""
    with Image.open(path) as file:
        celsius = np.asarray(file).astype(np.float32) / 100 - 273.15
    low, high = (float(v) for v in np.percentile(celsius, [0.5, 99.5]))
    return Scaled(Image.fromarray(apply_colors(celsius, INFERNO, low, high)), low, high)


def read_wave(path: Path) -> tuple[np.ndarray, int]:
    """Samples (N,) float32 in [-1, 1] and the rate in Hz of a 16-bit mono WAV file."""
    with wave.open(str(path), "rb") as file:
        samples = np.frombuffer(file.readframes(file.getnframes()), dtype="<i2")
        return samples.astype(np.float32) / 32768, file.getframerate()


def waveform_picture(
    samples: np.ndarray, width: int, height: int, color: tuple[int, int, int]
) -> Image.Image:
    """Extent of a sound in each column, on a transparent ground; scaled to its loudest sample."""
    picture = Image.new("RGBA", (width, height), (0, 0, 0, 0))
    draw = ImageDraw.Draw(picture)
    peak = max(float(np.abs(samples).max(initial=0.0)), 1e-6)
    middle = (height - 1) / 2
    for x, column in enumerate(np.array_split(samples / peak, width)):
        if len(column):
            top, bottom = middle - column.max() * middle, middle - column.min() * middle
            draw.line([(x, top), (x, max(bottom, top + 1))], fill=(*color, 255))
    return picture


def spectrogram_picture(samples: np.ndarray, rate_hz: int, width: int, height: int) -> Image.Image:
    """Loudness over time (right) and frequency (up, evenly spaced on the mel scale)."""
    padded = np.pad(samples, (0, max(0, WINDOW - len(samples))))
    windows = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::HOP]
    power = np.abs(np.fft.rfft(windows * np.hanning(WINDOW), axis=1)) ** 2
    bins = np.fft.rfftfreq(WINDOW, 1 / rate_hz)
    low, high = (2595 * np.log10(1 + hz / 700) for hz in SPECTROGRAM_HZ)
    rows_hz = 700 * (10 ** (np.linspace(low, high, 96) / 2595) - 1)
    decibels = 10 * np.log10(power + 1e-10)
    mel = np.stack([np.interp(rows_hz, bins, frame) for frame in decibels], axis=1)[::-1]
    loudest = float(mel.max())
    colors = apply_colors(mel, MAGMA, loudest - DYNAMIC_RANGE_DB, loudest)
    return Image.fromarray(colors).resize((width, height), Image.Resampling.BICUBIC)


def read_motion(path: Path) -> np.ndarray:
    """(6, T): accelerometer in m/s^2, then gyroscope in rad/s, of an ``imu.csv``."""
    return np.loadtxt(path, delimiter=",", skiprows=1)[:, 1:7].T


def motion_seconds(path: Path) -> float:
    """How long an ``imu.csv`` lasts, by its first column, seconds."""
    times = np.loadtxt(path, delimiter=",", skiprows=1, usecols=0)
    return float(times[-1] - times[0] + (times[1] - times[0])) if len(times) > 1 else 0.0


def extremes(series: np.ndarray, columns: int) -> np.ndarray:
    """(.., T) -> (.., 2 columns): lowest and highest value of each stretch, so that no peak is lost."""
    parts = np.array_split(series, columns, axis=-1)
    pairs = [np.stack([part.min(-1), part.max(-1)], axis=-1) for part in parts]
    return np.concatenate(pairs, axis=-1)


def motion_paths(
    series: np.ndarray, width: int, height: int, columns: int = 150
) -> list[list[tuple[float, float]]]:
    """Points of three traces (3, T) that share one scale, within ``width`` x ``height``."""
    traces = extremes(series, columns)
    low, high = float(traces.min()), float(traces.max())
    x = np.linspace(1, width - 1, traces.shape[1])
    y = height - 3 - (traces - low) / max(high - low, 1e-9) * (height - 6)
    return [[(round(float(a), 1), round(float(b), 1)) for a, b in zip(x, trace, strict=True)] for trace in y]


def motion_picture(motion: np.ndarray, width: int, height: int, ground: tuple[int, int, int]) -> Image.Image:
    """Accelerometer above, gyroscope below; x red, y green, z blue."""
    scale, half = 3, height // 2
    picture = Image.new("RGB", (width * scale, height * scale), ground)
    draw = ImageDraw.Draw(picture)
    for block in range(2):
        paths = motion_paths(motion[3 * block : 3 * block + 3], width, half)
        for color, path in zip(AXES, paths, strict=True):
            points = [(x * scale, (y + half * block) * scale) for x, y in path]
            draw.line(points, fill=color, width=scale)
    return picture.resize((width, height), Image.Resampling.LANCZOS)


def video_frames(path: Path, count: int) -> list[Image.Image]:
    """``count`` frames of a video, evenly spaced from the first to the last."""
    import av

    with av.open(str(path)) as container:
        frames = [frame.to_image() for frame in container.decode(video=0)]
    places = np.linspace(0, len(frames) - 1, min(count, len(frames))).round().astype(int)
    return [frames[i] for i in places]


def animation(frames: list[Image.Image], frame_ms: int) -> bytes:
    """Frames as an endless WebP animation."""
    buffer = io.BytesIO()
    frames[0].save(
        buffer,
        "WEBP",
        save_all=True,
        append_images=frames[1:],
        duration=frame_ms,
        loop=0,
        quality=55,
        method=3,
    )
    return buffer.getvalue()


def encoded(picture: Image.Image, kind: str = "PNG") -> bytes:
    """A picture as the bytes of a PNG or WEBP file."""
    buffer = io.BytesIO()
    picture.save(buffer, kind, **({"optimize": True} if kind == "PNG" else {"quality": 82, "method": 4}))
    return buffer.getvalue()
