"""Decoded sound: what readers of every format give, and runs of differing rates as one sound."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
import torch

from bindplug.inputs.limits import MOST_SAMPLES, check_limit
from bindplug.inputs.notes import note
from bindplug.inputs.resample import resample

EXPECTED = "a sound file (wav, flac, ogg, mp3, ...) or a video with a sound track"
WHOLE_SAMPLES = 1 << 25
"""Samples over all channels up to which a sound is decoded at once: 128 MiB as float32."""


class Sound(ABC):
    """An open sound with random access.

    Attributes:
        rate_hz: samples a second.
        channels: number of channels.
        length: samples of a channel.
        remarks: notes on the file as a whole, for every part that is read from it.
    """

    rate_hz: int
    channels: int
    length: int
    remarks: Sequence[str] = ()

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


def one_rate(runs: list[tuple[np.ndarray, int]], name: str) -> tuple[np.ndarray, int]:
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
