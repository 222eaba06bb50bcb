"""The files of each scene: pictures, a player, traces, and what the model calls them."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from pathlib import Path

import numpy as np
from PIL import Image

from bindplug_toyworld.report import pictures
from bindplug_toyworld.report.colors import AXES, INFERNO, MAGMA, VIRIDIS
from bindplug_toyworld.report.markup import (
    NAMES,
    caption,
    data_address,
    img,
    mark,
    note,
    number,
    read_picture,
    scale,
)
from bindplug_toyworld.showcase import Answer, Exhibit, Showcase

WAVE = (70, 130, 190)
PLAYABLE_BYTES = 200_000
"""Larger sounds are drawn, not played, to keep the page small."""
TRACES = (("accelerometer", "m/s²"), ("gyroscope", "rad/s"))


def exhibits_section(show: Showcase) -> Iterator[str]:
    """Every scene with every file, its picture, and the three likeliest names."""
    yield '<section aria-labelledby="files"><h2 id="files">What the sensors recorded, and what the model calls it</h2>'
    yield (
        "<p>Each scene was written as real files, and every file was read back and named by zero-shot "
        "classification: its embedding against the words for twenty things (eight, for motion). The model "
        "never saw these scenes.</p>"
        "<p class=soft>Depth is in viridis, near is bright; heat in inferno; spectrograms in magma, evenly spaced on "
        "the mel scale. All three grow lighter evenly from less to more.</p>"
    )
    yield '<div class="exhibits">'
    for exhibit in show.exhibits:
        yield from _exhibit(show, exhibit)
    yield "</div></section>"


def _exhibit(show: Showcase, exhibit: Exhibit) -> Iterator[str]:
    yield f'<article class="card"><h3>{escape(exhibit.classname)}</h3><p class=soft>“{escape(exhibit.caption)}”</p>'
    yield '<div class="tiles">'
    for modality in ("image", "video", "depth", "thermal", "audio", "imu"):
        answer = show.answer(exhibit.thing, modality)
        if answer is not None:
            spread = {"imu": "two", "audio": "two" if "imu" in exhibit.files else "all"}.get(modality, "")
            yield f'<figure class="{spread}">{_media(exhibit, modality)}{_top(answer)}</figure>'
    yield "</div></article>"


def _media(exhibit: Exhibit, modality: str) -> str:
    path = exhibit.files[modality]
    name, alt = NAMES[modality], f"{exhibit.classname}: {NAMES[modality]}"
    if modality == "image":
        picture = read_picture(path)
        return img(picture, alt) + note(f"{picture.width} × {picture.height}") + caption(name, "PNG")
    if modality == "video":
        return _video(path, alt) + caption(name, "MP4")
    if modality == "depth":
        scaled = pictures.depth_picture(path)
        ends = f"{scaled.low:.1f} m", f"{scaled.high:.1f} m"
        return img(scaled.picture, alt) + scale(VIRIDIS[::-1], *ends) + caption(name, "PNG, 16 bits")
    if modality == "thermal":
        scaled = pictures.thermal_picture(path)
        ends = f"{number(scaled.low, 0)} °C", f"{number(scaled.high, 0)} °C"
        return img(scaled.picture, alt) + scale(INFERNO, *ends) + caption(name, "TIFF, 16 bits")
    return _sound(path, alt, name) if modality == "audio" else _motion(path, alt, name)


def _video(path: Path, alt: str) -> str:
    frames = [frame.resize((168, 168), Image.Resampling.LANCZOS) for frame in pictures.video_frames(path, 20)]
    still = data_address(pictures.encoded(frames[0], "WEBP"), "image/webp")
    moving = data_address(pictures.animation(frames, 200), "image/webp")
    return (
        f'<picture><source media="(prefers-reduced-motion: reduce)" srcset="{still}">'
        f'<img alt="{escape(alt, quote=True)}" width="168" height="168" src="{moving}"></picture>'
        + note(f"{len(frames)} frames")
    )


def _sound(path: Path, alt: str, name: str) -> str:
    samples, rate_hz = pictures.read_wave(path)
    wave = img(pictures.waveform_picture(samples, 480, 56, WAVE), f"{alt}, waveform", "PNG", "wave")
    spectrogram = img(
        pictures.spectrogram_picture(samples, rate_hz, 480, 150), f"{alt}, spectrogram", css="wide"
    )
    low_hz, high_hz = pictures.SPECTROGRAM_HZ
    axis = f'<div class="axis"><span>{high_hz / 1000:.0f} kHz</span><span>{low_hz:.0f} Hz</span></div>'
    ends = f"−{pictures.DYNAMIC_RANGE_DB:.0f} dB", "0 dB"
    content = path.read_bytes()
    player = ""
    if len(content) <= PLAYABLE_BYTES:
        source = data_address(content, "audio/wav")
        label = escape(alt, quote=True)
        player = f'<audio controls preload="metadata" aria-label="{label}" src="{source}"></audio>'
    told = caption(name, f"{len(samples) / rate_hz:.1f} s, WAV")
    return f'{wave}<div class="plot">{spectrogram}{axis}</div>{scale(MAGMA, *ends)}{player}{told}'


def _motion(path: Path, alt: str, name: str) -> str:
    motion, seconds = pictures.read_motion(path), pictures.motion_seconds(path)
    width, height = 300, 150
    lines, legend = [], []
    for block, (sensor, unit) in enumerate(TRACES):
        part = motion[3 * block : 3 * block + 3]
        for color, points in zip(AXES, pictures.motion_paths(part, width, height // 2), strict=True):
            drawn = " ".join(f"{x:g},{y + block * height // 2:g}" for x, y in points)
            lines.append(f'<polyline points="{drawn}" fill="none" stroke="rgb{color}" stroke-width="1.2"/>')
        span = f"{number(float(np.min(part)))} to {number(float(np.max(part)))} {unit}"
        keys = "".join(
            f'<span><i style="background:rgb{color}"></i>{axis}</span>'
            for axis, color in zip("xyz", AXES, strict=True)
        )
        legend.append(f'<div><span>{sensor}, {span}</span><span class="keys">{keys}</span></div>')
    rule = f'<path d="M0 {height // 2}H{width}" stroke="currentColor" stroke-opacity=".25"/>'
    label = escape(f"{alt}, accelerometer above, gyroscope below, three axes each", quote=True)
    plot = f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{label}">{"".join(lines)}{rule}</svg>'
    return f'{plot}<div class="legend">{"".join(legend)}</div>{caption(name, f"{seconds:.1f} s, CSV")}'


def _top(answer: Answer) -> str:
    items = []
    for place, (label, chance) in enumerate(answer.top):
        sign = f"{mark(answer.right)} " if place == 0 else ""
        percent = f"{chance * 100:.0f}&nbsp;%"
        items.append(
            f'<li style="--p:{chance * 100:.1f}%"><span>{sign}{escape(label)}</span><span>{percent}</span></li>'
        )
    return f'<ol class="top">{"".join(items)}</ol>'
