"""What the animals of the toy world sound like, before room and microphone.

Pitches, rhythms and formants are chosen by ear knowledge of the real animals, wide enough that two
individuals differ; every call comes back within two seconds.
"""

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
    oscillate,
    phase_of,
    place,
    ring,
    rolloff,
    samples,
    sine,
    vowel,
    wander,
    wavetable,
)


def dog(rng: np.random.Generator, n: int) -> Signal:
    """Irregular barks: noisy bursts that rise and fall through two formants."""
    out = np.zeros(n, dtype=np.float32)
    pitch, mouth = rng.uniform(260, 620), rng.uniform(0.8, 1.3)
    table = wavetable(rolloff(8, 0.7))
    throat = formants((750 * mouth, 1500 * mouth, 2900 * mouth), (350, 500, 900), (1.0, 0.6, 0.25))
    for start in onsets(rng, n, rng.uniform(0.34, 0.62), 0.35, 0.3):
        length = samples(rng.uniform(0.11, 0.22))
        shape = pitch * rng.uniform(0.9, 1.1) * curve(length, (0, 0.3, 1), (0.75, 1.3, 0.65))
        voice = 1.2 * oscillate(phase_of(shape), table) + 0.35 * noise(rng, length)
        place(out, color(voice * envelope(length, 0.12, 0.75), throat), int(start), rng.uniform(0.6, 1))
    return out


def cat(rng: np.random.Generator, n: int) -> Signal:
    """Meows: a gliding harmonic tone while the mouth opens and closes."""
    out = np.zeros(n, dtype=np.float32)
    pitch, mouth = rng.uniform(430, 680), rng.uniform(0.85, 1.2)
    longest = rng.uniform(0.6, 1.0)
    table = wavetable(rolloff(9, 0.8))
    closed = formants((500 * mouth, 1100 * mouth), (250, 400), (1.0, 0.3))
    opened = formants((1100 * mouth, 2300 * mouth, 3700 * mouth), (400, 600, 800), (1.0, 0.9, 0.4))
    for start in onsets(rng, n, longest + rng.uniform(0.2, 0.6), 0.1, longest):
        length = samples(longest * rng.uniform(0.8, 1.0))
        top = rng.uniform(1.15, 1.4)
        glide = pitch * curve(length, (0, 0.3, 0.6, 1), (0.85, top, top * 0.92, rng.uniform(0.65, 0.85)))
        voice = oscillate(phase_of(glide), table) + 0.03 * noise(rng, length)
        opening = curve(length, (0, 0.3, 0.55, 1), (0, 1, 0.9, 0))
        sung = vowel(voice, closed, opened, opening)
        place(out, sung * envelope(length, 0.2, 0.45), int(start), rng.uniform(0.7, 1))
    return out


def _syllable(pitch_hz: float, sweep: float, bend: float, seconds: float, trill_hz: float) -> Signal:
    length = samples(seconds)
    x = np.linspace(0.0, 1.0, length)
    glide = pitch_hz * 2.0 ** (sweep * (x - 0.5) + bend * (2 * x - 1) ** 2)
    if trill_hz:
        glide = glide * (1 + 0.12 * np.sin(2 * np.pi * trill_hz * seconds * x))
    phase = phase_of(np.clip(glide, 1500, 7400))
    return (sine(phase) + 0.08 * sine(2 * phase)) * envelope(length, 0.25, 0.35)


def bird(rng: np.random.Generator, n: int) -> Signal:
    """Song: a motif of fast sweeps and trills between 2 and 7 kHz, sung again and again."""
    out = np.zeros(n, dtype=np.float32)
    pitch = rng.uniform(3000, 4800)
    motif, cursor = [], 0.0
    for _ in range(rng.integers(3, 7)):
        trill = rng.uniform(22, 40) if rng.random() < 0.3 else 0.0
        seconds = rng.uniform(0.18, 0.35) if trill else rng.uniform(0.05, 0.14)
        sweep, bend = rng.uniform(-0.9, 0.9), rng.uniform(-0.4, 0.4)
        grain = _syllable(pitch * rng.uniform(0.75, 1.3), sweep, bend, seconds, trill)
        motif.append((samples(cursor), grain, rng.uniform(0.5, 1.0)))
        cursor += seconds + rng.uniform(0.02, 0.09)
    for start in onsets(rng, n, cursor + rng.uniform(0.1, 0.35), 0.1, cursor):
        for offset, grain, gain in motif:
            place(out, grain, int(start) + offset, gain * rng.uniform(0.8, 1))
    return out


def cow(rng: np.random.Generator, n: int) -> Signal:
    """Moos: a long low glide, nasal at first, then open."""
    out = np.zeros(n, dtype=np.float32)
    pitch, mouth = rng.uniform(95, 165), rng.uniform(0.85, 1.2)
    longest = rng.uniform(1.0, 1.5)
    moos = [_moo(rng, pitch, mouth, longest * rng.uniform(0.9, 1.0)) for _ in range(2)]
    for start in onsets(rng, n, longest + rng.uniform(0.15, 0.4), 0.05, longest):
        place(out, moos[rng.integers(2)], int(start), rng.uniform(0.8, 1))
    return out


def _moo(rng: np.random.Generator, pitch_hz: float, mouth: float, seconds: float) -> Signal:
    length = samples(seconds)
    glide = pitch_hz * curve(length, (0, 0.25, 0.7, 1), (0.8, rng.uniform(1.05, 1.25), 1.05, 0.7))
    voice = oscillate(phase_of(glide * (1 + 0.01 * wander(rng, length, 20))), wavetable(rolloff(26, 0.75)))
    nasal = formants((260 * mouth, 1000 * mouth), (140, 300), (1.0, 0.1))
    opened = formants((420 * mouth, 820 * mouth, 2300 * mouth), (160, 240, 500), (1.0, 0.7, 0.2))
    opening = curve(length, (0, 0.2, 0.4, 1), (0, 0.1, 1, 0.7))
    return vowel(voice + 0.04 * noise(rng, length), nasal, opened, opening) * envelope(length, 0.15, 0.3)


def frog(rng: np.random.Generator, n: int) -> Signal:
    """Croaks of one or two syllables: a resonance struck 25 to 60 times a second."""
    out = np.zeros(n, dtype=np.float32)
    pulse_hz, pitch = rng.uniform(26, 58), rng.uniform(550, 1300)
    syllables = rng.integers(1, 3)
    throat = formants((pitch, pitch * 2.1), (220, 400), (1.0, 0.45))
    croak = np.zeros(samples(0.24 * syllables + 0.2), dtype=np.float32)
    for index in range(syllables):
        length = samples(rng.uniform(0.16, 0.24))
        rate = pulse_hz * (1 + 0.35 * index) * curve(length, (0, 1), (0.85, 1.1))
        pulses = np.exp(-4.0 * (phase_of(rate) % 1.0)).astype(np.float32)
        carrier = sine(phase_of(np.full(length, pitch))) + 0.5 * noise(rng, length)
        sung = color(carrier * pulses, throat) * envelope(length, 0.2, 0.3)
        place(croak, sung, index * samples(0.26), 1.0 - 0.2 * index)
    for start in onsets(rng, n, len(croak) / 16_000 + rng.uniform(0.1, 0.6), 0.15, 0.7):
        place(out, croak, int(start), rng.uniform(0.7, 1))
    return out


def bee(rng: np.random.Generator, n: int) -> Signal:
    """Buzz: a wandering sawtooth near 225 Hz that comes and goes."""
    pitch = rng.uniform(190, 270)
    glide = pitch * (1 + 0.07 * wander(rng, n, rng.uniform(2, 5)) + 0.015 * wander(rng, n, 30))
    buzz = oscillate(phase_of(glide, rng.random()), wavetable(rolloff(24, rng.uniform(0.6, 1.0))))
    near = 0.65 + 0.35 * wander(rng, n, rng.uniform(1, 3)) + 0.1 * wander(rng, n, 25)
    return (buzz * near).astype(np.float32) + 0.02 * noise(rng, n)


def _clop(rng: np.random.Generator, pitch_hz: float) -> Signal:
    modes = (pitch_hz * 0.18, pitch_hz, pitch_hz * 1.62, pitch_hz * 2.7)
    body = ring(0.14, modes, (0.03, 0.016, 0.011, 0.006), (0.7, 1.0, 0.6, 0.3))
    return body + 0.5 * noise(rng, len(body)) * decay(len(body), 0.004)


def _neigh(rng: np.random.Generator) -> Signal:
    length = samples(rng.uniform(0.8, 1.2))
    shake = 1 + 0.09 * sine(phase_of(np.full(length, rng.uniform(9, 13))))
    glide = rng.uniform(800, 1150) * curve(length, (0, 0.15, 1), (0.8, 1.1, 0.45)) * shake
    voice = oscillate(phase_of(glide), wavetable(rolloff(6, 0.7))) * shake**4 + 0.15 * noise(rng, length)
    throat = formants((1100, 2200, 3300), (500, 700, 900), (1.0, 0.8, 0.4))
    return color(voice.astype(np.float32), throat) * envelope(length, 0.1, 0.4)


def horse(rng: np.random.Generator, n: int) -> Signal:
    """Gallop: three clops and a pause about 2.2 times a second; some horses neigh too."""
    ground = noise(rng, n, band(200, 1500))
    out = 0.01 * ground
    pitch, stride = rng.uniform(650, 1300), 1 / rng.uniform(1.9, 2.5)
    clops = [_clop(rng, pitch * rng.uniform(0.85, 1.2)) for _ in range(4)]
    gap = rng.uniform(0.22, 0.27) * stride
    for start in onsets(rng, n, stride, 0.03, 0.5):
        for beat, loudness in enumerate((0.7, 0.85, 1.0)):
            at = int(start) + samples(gap * beat * rng.uniform(0.95, 1.05))
            place(out, clops[rng.integers(4)], at, loudness * rng.uniform(0.75, 1))
    if rng.random() < 0.35:
        place(out, _neigh(rng), int(rng.uniform(-0.1, 0.8) * n), rng.uniform(0.4, 0.9))
    return out
