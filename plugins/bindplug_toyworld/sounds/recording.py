"""Room and microphone: what makes two recordings of one sound differ."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bindplug_toyworld.sounds.signals import (
    SAMPLE_RATE_HZ,
    Signal,
    band,
    decay,
    fast_length,
    frequencies,
    noise_spectrum,
    rms,
    samples,
    tilt,
)

REVERB_CHANCE = 0.7
CLIPPING_CHANCE = 0.03
SNR_DB = (8.0, 30.0)
PEAK_DBFS = (-24.0, -1.0)

# Level falls by 60 dB in the reverberation time: exp(-6.908) is 10 ** -3.
_TIME_CONSTANTS_PER_RT60 = 6.908


def _equaliser(rng: np.random.Generator, n: int) -> Signal:
    """Spectral tilt of up to 1.5 dB an octave and the band a microphone passes."""
    high_hz = rng.uniform(3400, 7000) if rng.random() < 0.3 else 9000.0
    gain = band(rng.uniform(25, 120), high_hz, 3)(frequencies(n))
    return gain * tilt(rng.uniform(-0.25, 0.25))(frequencies(n))


def _room(rng: np.random.Generator, n: int) -> NDArray:
    """Frequency response of a room: the direct sound, then noise that dies away."""
    reverberation_s = rng.uniform(0.15, 0.8)
    length = min(n, samples(reverberation_s))
    tail = rng.standard_normal(length, dtype=np.float32)
    tail *= decay(length, reverberation_s / _TIME_CONSTANTS_PER_RT60)
    tail[: int(0.004 * SAMPLE_RATE_HZ)] = 0.0
    # the tail carries 2 to 35 % of the energy of the direct sound
    tail *= np.sqrt(rng.uniform(0.02, 0.35)) / max(float(np.linalg.norm(tail)), 1e-9)
    tail[0] = 1.0
    return np.fft.rfft(tail, n)


def record(dry: Signal, rng: np.random.Generator) -> Signal:
    """Play ``dry`` in a random room and record it with a random microphone.

    Args:
        dry: (n,) sound at 16 kHz, any level.
        rng: source of chance.

    Returns:
        (n,) float32 in [-1, 1] without a constant part: reverberation (70 %), colored background noise
        8 to 30 dB below the sound, tilted and band-limited spectrum, peak at -24 to -1 dB of full scale
        and, in 3 % of recordings, clipping.
    """
    n = fast_length(len(dry))
    spectrum = np.fft.rfft(dry / max(rms(dry), 1e-9), n)
    if rng.random() < REVERB_CHANCE:
        spectrum = spectrum * _room(rng, n)
    hiss = noise_spectrum(rng, n, tilt(rng.uniform(0.0, 0.9)))
    strength = float(np.linalg.norm(spectrum)) / max(float(np.linalg.norm(hiss)), 1e-9)
    spectrum = spectrum + hiss * np.float32(strength * 10 ** (-rng.uniform(*SNR_DB) / 20))
    spectrum *= _equaliser(rng, n)
    spectrum[0] = 0.0
    wet = np.fft.irfft(spectrum, n)[: len(dry)].astype(np.float32)
    peak_db = rng.uniform(3.0, 9.0) if rng.random() < CLIPPING_CHANCE else rng.uniform(*PEAK_DBFS)
    wet *= np.float32(10 ** (peak_db / 20) / max(float(np.abs(wet).max()), 1e-9))
    return np.clip(wet, -1.0, 1.0)
