"""Building blocks of the toy world's sounds: oscillators, noises, resonances, rhythms.

Legend: ``n`` samples at 16 kHz; phases are counted in cycles, not radians; a *grain* is a short sound
that a rhythm places many times.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

SAMPLE_RATE_HZ = 16_000
"""Rate of every sound. Source: ImageBind's audio tower listens at 16 kHz (arXiv 2305.05665, B.1)."""

Signal = NDArray[np.float32]
Curve = NDArray[np.float64]
Gain = Callable[[Signal], Signal]  # frequencies in Hz to amplitudes

_TABLE_SIZE = 2048  # a power of two, so that wrapping a phase is a bit mask
_LOWEST_HZ = 20.0


def samples(seconds: float) -> int:
    """Number of samples in ``seconds``, at least one."""
    return max(1, round(seconds * SAMPLE_RATE_HZ))


def frequencies(n: int) -> Signal:
    """Frequencies in Hz of the ``n // 2 + 1`` bins of a real FFT over ``n`` samples."""
    return np.fft.rfftfreq(n, 1 / SAMPLE_RATE_HZ).astype(np.float32)


def phase_of(frequency_hz: Curve | Signal, start: float = 0.0) -> Curve:
    """Phase in cycles of an oscillator whose frequency follows ``frequency_hz`` (n,)."""
    # float64: thousands of cycles accumulate, and float32 would turn the rest into hiss
    return np.cumsum(frequency_hz, dtype=np.float64) / SAMPLE_RATE_HZ + start


def wavetable(amplitudes: Sequence[float] | Curve) -> Signal:
    """One cycle of a periodic wave from the amplitudes of harmonics 1, 2, …; peak 1."""
    spectrum = np.zeros(_TABLE_SIZE // 2 + 1, dtype=np.complex64)
    spectrum[1 : len(amplitudes) + 1] = -1j * np.asarray(amplitudes)
    table = np.fft.irfft(spectrum, _TABLE_SIZE).astype(np.float32)
    return table / np.abs(table).max()


def oscillate(phase: Curve, table: Signal) -> Signal:
    """Read ``table`` along ``phase`` in cycles: far cheaper than summing sines."""
    return table[(phase * _TABLE_SIZE).astype(np.int64) & (_TABLE_SIZE - 1)]


def rolloff(count: int, power: float = 1.0) -> Curve:
    """Amplitudes ``k ** -power`` of harmonics 1 to ``count`` (power 1 is a sawtooth)."""
    return np.arange(1.0, count + 1.0) ** -power


def sine(phase: Curve) -> Signal:
    """Sine of a phase in cycles."""
    return np.sin(2 * np.pi * (phase % 1.0)).astype(np.float32)


def curve(n: int, positions: Sequence[float], values: Sequence[float]) -> Curve:
    """Piecewise linear curve over ``n`` samples; positions run from 0 to 1."""
    return np.interp(np.linspace(0.0, 1.0, n), positions, values)


def wander(rng: np.random.Generator, n: int, rate_hz: float) -> Curve:
    """Slow random curve in [-1, 1] with about ``rate_hz`` turns a second."""
    knots = max(2, round(n / SAMPLE_RATE_HZ * rate_hz) + 1)
    return np.interp(np.linspace(0.0, knots - 1.0, n), np.arange(knots), rng.uniform(-1.0, 1.0, knots))


def envelope(n: int, attack: float, release: float) -> Signal:
    """Raised-cosine rise over the fraction ``attack`` and fall over the fraction ``release``."""
    x = np.linspace(0.0, 1.0, n, dtype=np.float32)
    edge = np.minimum(np.clip(x / attack, 0.0, 1.0), np.clip((1.0 - x) / release, 0.0, 1.0))
    return (0.5 - 0.5 * np.cos(np.pi * edge)).astype(np.float32)


def decay(n: int, time_constant_s: float) -> Signal:
    """Exponential fall from 1."""
    fallen = np.arange(n, dtype=np.float32) / np.float32(time_constant_s * SAMPLE_RATE_HZ)
    return np.exp(-fallen, dtype=np.float32)


def ring(
    seconds: float, modes_hz: Sequence[float], decays_s: Sequence[float], gains: Sequence[float]
) -> Signal:
    """A struck body: decaying sines at ``modes_hz``, one decay and one gain a mode."""
    t: Signal = np.arange(samples(seconds), dtype=np.float32) / np.float32(SAMPLE_RATE_HZ)
    out = np.zeros_like(t)
    for mode, fall, gain in zip(modes_hz, decays_s, gains, strict=True):
        if mode < 0.49 * SAMPLE_RATE_HZ:
            out += np.float32(gain) * np.exp(-t / fall) * np.sin(2 * np.pi * mode * t)
    return out.astype(np.float32)


def band(low_hz: float, high_hz: float, order: int = 2) -> Gain:
    """Gain of a band pass with soft edges of ``6 * order`` dB an octave."""

    def gain(f: Signal) -> Signal:
        above = np.square(np.float32(low_hz) / np.maximum(f, 1.0))
        below = np.square(f / np.float32(high_hz))
        product = (1.0 + _whole_power(above, order)) * (1.0 + _whole_power(below, order))
        return np.sqrt(1.0 / product, dtype=np.float32)

    return gain


def _whole_power(x: Signal, exponent: int) -> Signal:
    out = x
    for _ in range(exponent - 1):  # ten times faster than ``**`` at the orders used here
        out = out * x
    return out


def formants(centers_hz: Sequence[float], widths_hz: Sequence[float], gains: Sequence[float]) -> Gain:
    """Gain of parallel resonances over a floor 34 dB below, as a mouth or a box gives."""

    def gain(f: Signal) -> Signal:
        out = np.full_like(f, 0.02)
        for center, width, peak in zip(centers_hz, widths_hz, gains, strict=True):
            out += np.float32(peak) / np.sqrt(1.0 + ((f - center) / (0.5 * width)) ** 2)
        return out

    return gain


def fast_length(n: int) -> int:
    """Smallest length from ``n`` up whose FFT is fast; 4 seconds are such a length themselves."""
    return min(factor << max(0, math.ceil(math.log2(n / factor))) for factor in (1, 3, 5, 9, 15, 25, 125))


def colors(x: Signal, *gains: Gain) -> list[Signal]:
    """``x`` filtered by each of several gains over frequency, without delay."""
    size = fast_length(len(x))
    spectrum, f = np.fft.rfft(x, size), frequencies(size)
    return [np.fft.irfft(spectrum * gain(f), size)[: len(x)].astype(np.float32) for gain in gains]


def color(x: Signal, gain: Gain) -> Signal:
    """``x`` filtered by a gain over frequency, without delay."""
    return colors(x, gain)[0]


def vowel(x: Signal, closed: Gain, opened: Gain, opening: Curve) -> Signal:
    """``x`` through a mouth that moves between two shapes as ``opening`` (n,) goes from 0 to 1."""
    shut, wide = colors(x, closed, opened)
    return (shut + (wide - shut) * opening).astype(np.float32)


def noise(rng: np.random.Generator, n: int, gain: Gain | None = None) -> Signal:
    """Gaussian noise of unit root mean square, white or colored by ``gain``."""
    if gain is None:
        return rng.standard_normal(n, dtype=np.float32)
    size = fast_length(n)
    out = np.fft.irfft(noise_spectrum(rng, size, gain), size)[:n].astype(np.float32)
    return out / max(rms(out), 1e-9)


def noise_spectrum(rng: np.random.Generator, n: int, gain: Gain) -> NDArray:
    """Real-FFT spectrum (n // 2 + 1,) of a colored noise, drawn there to spare one transform."""
    f = frequencies(n)
    parts = rng.standard_normal((len(f), 2), dtype=np.float32)
    return parts.view(np.complex64)[:, 0] * gain(f).astype(np.float32)


def tilt(power: float) -> Gain:
    """Gain ``f ** -power`` (0.5 is pink, 1 is brown), flat under 20 Hz."""
    return lambda f: (np.maximum(f, _LOWEST_HZ) / 1000.0) ** np.float32(-power)


def rms(x: Signal) -> float:
    """Root mean square."""
    return float(np.sqrt(np.mean(np.square(x))))


def onsets(
    rng: np.random.Generator, n: int, period_s: float, jitter: float = 0.0, lead_s: float = 0.0
) -> NDArray[np.int64]:
    """Start samples of a rhythm that has been going on before the recording began.

    Args:
        rng: source of chance.
        n: length of the recording in samples.
        period_s: mean interval in seconds.
        jitter: largest deviation of an interval, as a fraction of the period.
        lead_s: length of a grain: how long before sample 0 one may begin and still be heard.

    Returns:
        Sorted starts, the first ones negative.
    """
    count = int((n / SAMPLE_RATE_HZ + lead_s) / (period_s * (1.0 - jitter))) + 3
    intervals = period_s * (1.0 + jitter * rng.uniform(-1.0, 1.0, count))
    starts = np.cumsum(intervals) - intervals[0] - lead_s - rng.uniform(0.0, period_s)
    starts = np.rint(starts * SAMPLE_RATE_HZ).astype(np.int64)
    return starts[starts < n]


def place(out: Signal, grain: Signal, start: int, gain: float = 1.0) -> None:
    """Add ``gain * grain`` to ``out`` in place at sample ``start``; what falls outside is cut."""
    begin, end = max(start, 0), min(start + len(grain), len(out))
    if begin < end:
        out[begin:end] += np.float32(gain) * grain[begin - start : end - start]


def scatter(n: int, grains: Signal, starts: NDArray[np.int64], gains: Curve) -> Signal:
    """Mix many short grains (K, L) at ``starts`` (K,) with ``gains`` (K,) into ``n`` samples."""
    where = starts[:, None] + np.arange(grains.shape[1])
    inside = (where >= 0) & (where < n)
    weights = (grains * gains[:, None])[inside]
    return np.bincount(where[inside], weights, n).astype(np.float32)
