"""What people, objects and weather of the toy world sound like, before room and microphone."""

from __future__ import annotations

import numpy as np

from bindplug_toyworld.sounds.signals import (
    Signal,
    band,
    color,
    curve,
    decay,
    envelope,
    formants,
    noise,
    onsets,
    phase_of,
    place,
    ring,
    samples,
    scatter,
    sine,
    tilt,
    wander,
)

# A church bell's partials over its prime: hum, prime, tierce, quint, nominal and above.
# Source: the textbook tuning of a minor-third bell (Fletcher & Rossing, The Physics of Musical Instruments).
_BELL_RATIOS = (0.5, 1.0, 1.2, 1.5, 2.0, 2.51, 2.66, 3.01, 4.17)
_BELL_GAINS = (0.5, 0.8, 0.7, 0.35, 1.0, 0.4, 0.35, 0.3, 0.25)
# Modes of an ideal circular membrane over its lowest: ratios of zeros of the Bessel functions.
_MEMBRANE_RATIOS = (1.0, 1.594, 2.136, 2.296, 2.653)
_MEMBRANE_GAINS = (1.0, 0.5, 0.35, 0.25, 0.2)


def _footfall(rng: np.random.Generator, gravel: float, heel_toe_s: float) -> Signal:
    """Heel, then toe: a low thud and the scrape of the sole."""
    length = samples(0.2)
    scrape = noise(rng, length, band(900, 4500, 1))
    step = np.zeros(length, dtype=np.float32)
    thud = ring(0.1, (95, 190, 430), (0.014, 0.01, 0.006), (0.6, 0.6, 0.5))
    place(step, thud, 0, 1.0)
    place(step, thud, samples(heel_toe_s), 0.4)
    grit = np.abs(rng.standard_normal(length)) ** 2 * gravel + (1 - gravel)
    rub = envelope(length, 0.15, 0.8) * gravel + decay(length, 0.008) * (1 - gravel)
    return step + (0.35 * scrape * rub * grit).astype(np.float32)


def walking(rng: np.random.Generator, n: int) -> Signal:
    """Footsteps, 1.6 to 2.05 a second, on anything from stone to gravel."""
    out = np.zeros(n, dtype=np.float32)
    gravel = rng.uniform(0, 0.8)
    steps = [_footfall(rng, gravel, rng.uniform(0.07, 0.1)) for _ in range(4)]
    for start in onsets(rng, n, 1 / rng.uniform(1.6, 2.05), 0.03, 0.2):
        place(out, steps[rng.integers(4)], int(start), rng.uniform(0.7, 1))
    return out


def running(rng: np.random.Generator, n: int) -> Signal:
    """Short hard footsteps, 2.55 to 3.2 a second, and breath in and out in step with them."""
    out = np.zeros(n, dtype=np.float32)
    gravel, period = rng.uniform(0, 0.6), 1 / rng.uniform(2.55, 3.2)
    steps = [_footfall(rng, gravel, 0.02) for _ in range(4)]
    starts = onsets(rng, n, period, 0.03, 0.2)
    length = samples(period * 1.4)
    inward = noise(rng, length, formants((1500, 2900), (700, 900), (1.0, 0.8))) * envelope(length, 0.6, 0.3)
    outward = noise(rng, length, formants((700, 1700), (400, 700), (1.0, 0.6))) * envelope(length, 0.2, 0.7)
    breath, first = rng.uniform(0.06, 0.2), rng.integers(2)
    for index, start in enumerate(starts):
        place(out, steps[rng.integers(4)], int(start), rng.uniform(0.8, 1.1))
        if index % 2 == first:
            place(out, outward if index // 2 % 2 else inward, int(start) + samples(0.05), breath)
    return out


def bell(rng: np.random.Generator, n: int) -> Signal:
    """A church bell, struck every one to two seconds, whose partials outlast the interval."""
    out = np.zeros(n, dtype=np.float32)
    prime, life = rng.uniform(320, 900), rng.uniform(0.7, 1.3)
    modes = prime * np.array(_BELL_RATIOS) * rng.uniform(0.995, 1.005, len(_BELL_RATIOS))
    gains = np.array(_BELL_GAINS) * rng.uniform(0.7, 1.3, len(_BELL_GAINS))
    decays = life / np.array(_BELL_RATIOS) ** 0.8
    toll = ring(2.2, modes.tolist(), decays.tolist(), gains.tolist())
    toll *= envelope(len(toll), 0.0008, 0.1)
    place(toll, noise(rng, 400) * decay(400, 0.003), 0, 0.5)
    for start in onsets(rng, n, rng.uniform(1.0, 1.9), 0.03, 2.0):
        place(out, toll, int(start), rng.uniform(0.8, 1))
    return out


def _membrane(rng: np.random.Generator, pitch_hz: float, seconds: float, slap: float) -> Signal:
    length = samples(4 * seconds)
    drop = 1 + 0.5 * decay(length, 0.02)
    phase = phase_of(pitch_hz * drop)
    out = np.zeros(length, dtype=np.float32)
    for ratio, gain in zip(_MEMBRANE_RATIOS, _MEMBRANE_GAINS, strict=True):
        out += gain * sine(phase * ratio) * decay(length, seconds / ratio)
    return out + slap * color(noise(rng, length) * decay(length, 0.012), band(400, 4000, 1))


def drum(rng: np.random.Generator, n: int) -> Signal:
    """A pattern of eight eighths on a low and a high drum, repeated."""
    out = np.zeros(n, dtype=np.float32)
    pitch = rng.uniform(75, 140)
    low = _membrane(rng, pitch, rng.uniform(0.08, 0.14), 0.3)
    high = _membrane(rng, pitch * rng.uniform(1.7, 2.4), rng.uniform(0.05, 0.08), 0.7)
    eighth = 60 / rng.uniform(88, 140) / 2
    pattern = rng.random(8) < 0.35
    strong = np.array([True, False, False, False, True, False, False, False])
    for bar in onsets(rng, n, 8 * eighth, 0.0, 8 * eighth):
        for beat in np.flatnonzero(strong | pattern | (np.arange(8) % 4 == 2)):
            start = int(bar) + samples(beat * eighth + rng.uniform(0, 0.008))
            place(out, low if beat % 4 == 0 or pattern[beat - 1] else high, start, rng.uniform(0.75, 1))
    return out


def clock(rng: np.random.Generator, n: int) -> Signal:
    """Tick and tock, steady, one pair about every second, in a resonant case."""
    out = np.zeros(n, dtype=np.float32)
    pitch, case = rng.uniform(2200, 3800), rng.uniform(500, 900)
    grains = []
    for detune in (1.0, rng.uniform(0.72, 0.86)):
        modes = (pitch * detune, pitch * 1.51 * detune, case * detune, case * 2.3 * detune)
        knock = ring(0.12, modes, (0.004, 0.003, 0.02, 0.012), (1.0, 0.8, 0.25, 0.2))
        # the pallet lands, then the wheel: two clicks a few milliseconds apart
        grain = np.zeros(samples(0.16), dtype=np.float32)
        place(grain, knock, 0, 0.5)
        place(grain, knock, samples(rng.uniform(0.012, 0.022)), 1.0)
        grains.append(grain)
    half = rng.uniform(0.44, 0.56)
    for start in onsets(rng, n, 2 * half, 0.0, 1.2):
        place(out, grains[0], int(start), rng.uniform(0.9, 1))
        place(out, grains[1], int(start) + samples(half), rng.uniform(0.8, 1))
    return out


def rain(rng: np.random.Generator, n: int) -> Signal:
    """Dense droplets over pink noise, heavier or lighter from one rain to the next."""
    bank = np.stack([_droplet(rng) for _ in range(24)])
    count = max(1, round(rng.uniform(120, 450) * n / 16_000))
    starts = rng.integers(-bank.shape[1], n, count)
    gains = rng.uniform(0.05, 1.0, count) ** 2
    drops = scatter(n, bank[rng.integers(0, len(bank), count)], starts, gains)
    gusts = (1 + 0.15 * wander(rng, n, 1.0)).astype(np.float32)
    return drops + rng.uniform(0.05, 0.12) * gusts * noise(rng, n, tilt(rng.uniform(0.2, 0.45)))


def _droplet(rng: np.random.Generator) -> Signal:
    pitch, fall = rng.uniform(1500, 6500), rng.uniform(0.0008, 0.003)
    drop = ring(0.009, (pitch, pitch * 1.7), (fall, fall * 0.6), (0.7, 0.4))
    return drop + 0.4 * noise(rng, len(drop)) * decay(len(drop), 0.0008)


def fire(rng: np.random.Generator, n: int) -> Signal:
    """Sparse crackle that comes in flurries, over a low flickering roar."""
    flicker = np.exp(0.5 * wander(rng, n, 5)).astype(np.float32)
    out = rng.uniform(0.05, 0.12) * flicker * noise(rng, n, band(45, rng.uniform(150, 300), 1))
    out += 0.012 * noise(rng, n, band(1500, 6000, 1))
    count = max(1, round(rng.uniform(20, 45) * n / 16_000))
    flurries = rng.integers(0, n, max(1, count // 4))
    starts = rng.choice(flurries, count) + np.rint(rng.exponential(1100, count)).astype(np.int64)
    bank = np.stack([_snap(rng) for _ in range(16)])
    out += scatter(n, bank[rng.integers(0, len(bank), count)], starts, rng.pareto(2.2, count).clip(0.15, 3.0))
    return out


def _snap(rng: np.random.Generator) -> Signal:
    pitch, fall = rng.uniform(900, 3000), rng.uniform(0.0008, 0.004)
    snap = ring(0.02, (pitch, pitch * 2.3), (fall, fall / 2), (0.4, 0.3))
    return snap + 0.9 * noise(rng, len(snap)) * decay(len(snap), fall) * curve(
        len(snap), (0, 0.01, 1), (0, 1, 1)
    ).astype(np.float32)
