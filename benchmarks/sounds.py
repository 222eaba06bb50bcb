"""Sound files to measure with."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np

SAMPLE_RATE_HZ = 16_000
SOUND_SECONDS = 8
"""Long enough that three clips of two seconds do not overlap."""


def synthesise(seed: int) -> np.ndarray:
    """Three gliding tones in noise, (samples,) float64 in [-1, 1], with energy in every mel band."""
    rng = np.random.default_rng(seed)
    time_s = np.arange(SOUND_SECONDS * SAMPLE_RATE_HZ) / SAMPLE_RATE_HZ
    sound = rng.normal(0, 0.05, time_s.shape)
    for start_hz, glide in zip(rng.uniform(80, 3000, 3), rng.uniform(0, 300, 3), strict=True):
        sound += 0.15 * np.sin(2 * np.pi * (start_hz + glide * time_s) * time_s)
    return sound.clip(-1, 1)


def write_sounds(directory: Path, count: int) -> list[Path]:
    """``count`` mono 16-bit wav files at 16 kHz; those that exist are kept."""
    directory.mkdir(parents=True, exist_ok=True)
    paths = [directory / f"sound_{index:03d}.wav" for index in range(count)]
    for index, path in enumerate(paths):
        if not path.exists():
            with wave.open(str(path), "wb") as file:
                file.setparams((1, 2, SAMPLE_RATE_HZ, 0, "NONE", ""))
                file.writeframes((synthesise(index) * 32767).astype("<i2").tobytes())
    return paths
