"""Miniature data sets in the layouts of the real ones: a few tiny files each."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np
from PIL import Image


def write_sound(path: Path, seconds: float = 0.1, rate_hz: int = 8000, tone_hz: float = 440.0) -> Path:
    """A WAV file of a tone."""
    path.parent.mkdir(parents=True, exist_ok=True)
    times = np.arange(int(seconds * rate_hz)) / rate_hz
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate_hz)
        file.writeframes((np.sin(2 * np.pi * tone_hz * times) * 20000).astype("<i2").tobytes())
    return path


def write_picture(
    path: Path, color: tuple[int, int, int] | int = (200, 30, 30), size: tuple[int, int] = (16, 12)
) -> Path:
    """A picture of one color; grey for a number."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L" if isinstance(color, int) else "RGB", size, color).save(path)
    return path


def write_text(path: Path, text: str) -> Path:
    """A text file, in UTF-8 and with the line ends of the text."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode("utf-8"))
    return path


def make_esc50(root: Path) -> Path:
    """Two sounds of each of 50 classes, one in fold 1 or 2 and one in fold 3, 4 or 5, as the archive unpacks."""
    folder = root / "ESC-50-master"
    names = ["dog", "rooster", "pig", "cow", "door_wood_knock"] + [f"class_{place}" for place in range(5, 50)]
    lines = ["filename,fold,target,category,esc10,src_file,take"]
    for target, name in enumerate(names):
        for fold in (1 + target % 2, 3 + target % 3):
            filename = f"{fold}-{1000 + target}-A-{target}.wav"
            lines.append(f"{filename},{fold},{target},{name},False,{1000 + target},A")
            write_sound(folder / "audio" / filename, tone_hz=200 + 20 * target)
    write_text(folder / "meta" / "esc50.csv", "\n".join(lines) + "\n")
    return folder
