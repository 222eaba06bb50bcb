"""What the vehicles of the toy world sound like, before room and microphone."""

from __future__ import annotations

import numpy as np

from bindplug_toyworld.sounds.signals import (
    SAMPLE_RATE_HZ,
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
    scatter,
    sine,
    tilt,
    wander,
    wavetable,
)


def car(rng: np.random.Generator, n: int) -> Signal:
    """Engine whose revolutions climb and drop at gear changes, over road noise; a horn at times."""
    firing_hz = rng.uniform(45, 95)
    gears = np.sort(rng.uniform(0, 1, rng.integers(1, 4)))
    knots, revs = [0.0], [rng.uniform(0.9, 1.3)]
    for change in gears:
        knots += [change, change + 0.04]
        revs += [rng.uniform(1.3, 1.8), rng.uniform(0.85, 1.1)]
    rate = firing_hz * curve(n, [*knots, 1.5], [*revs, rng.uniform(1.3, 1.8)])
    rate *= 1 + 0.01 * wander(rng, n, 15)
    # half orders: the cylinders of a real engine never fire exactly alike
    orders = rolloff(40, 0.7) * np.where(np.arange(1, 41) % 2, rng.uniform(0.25, 0.5), 1.0)
    engine = oscillate(phase_of(rate / 2, rng.random()), wavetable(orders * rng.uniform(0.7, 1.3, 40)))
    box = formants((rng.uniform(90, 180), rng.uniform(300, 600), 1600), (120, 300, 1200), (1, 0.7, 0.3))
    out = color(engine, box) * (1 + 0.15 * wander(rng, n, 3)).astype(np.float32)
    out += rng.uniform(0.04, 0.12) * noise(rng, n, band(80, rng.uniform(500, 1200), 1))
    if rng.random() < 0.2:
        length = samples(rng.uniform(0.25, 0.6))
        phase, chord = phase_of(np.full(length, rng.uniform(380, 440))), wavetable(rolloff(10, 0.6))
        horn = (oscillate(phase, chord) + oscillate(phase * 1.26, chord)) * envelope(length, 0.05, 0.1)
        place(out, horn, int(rng.uniform(0, 1) * n), rng.uniform(0.15, 0.4))
    return out


def _whistle(rng: np.random.Generator) -> Signal:
    length = samples(rng.uniform(0.5, 1.2))
    root = rng.uniform(300, 480)
    bend = curve(length, (0, 0.12, 0.85, 1), (0.93, 1, 1, 0.95))
    phase, table = phase_of(root * bend), wavetable((1.0, 0.55, 0.3, 0.15))
    chord = oscillate(phase, table) + oscillate(phase * 1.189, table) + oscillate(phase * 1.498, table)
    return (0.3 * chord + 0.12 * noise(rng, length, band(600, 3000))) * envelope(length, 0.12, 0.2)


def train(rng: np.random.Generator, n: int) -> Signal:
    """Steam engine: four chugs a bar with the first one strongest, and a chord whistle."""
    steam = noise(rng, n, formants((350, 1100, 2400), (400, 900, 1800), (1.0, 0.7, 0.4)))
    chug_hz = rng.uniform(3.2, 5.5)
    phase = chug_hz * np.arange(n) / SAMPLE_RATE_HZ + rng.uniform(0, 4)
    accents = np.array([1.0, 0.5, 0.7, 0.5])[phase.astype(np.int64) & 3]
    within = phase % 1.0
    puff = np.minimum(within / 0.1, 1.0) * np.exp(-rng.uniform(3.5, 5.5) * within) * accents
    out = steam * (puff + 0.02).astype(np.float32)
    out += 0.06 * noise(rng, n, band(50, 200))
    clank = ring(0.1, (820, 1900, 3100), (0.025, 0.015, 0.01), (0.5, 0.4, 0.2))
    for start in onsets(rng, n, 2 / chug_hz, 0.0, 0.1):
        place(out, clank, int(start), 0.25)
    for start in onsets(rng, n, rng.uniform(1.8, 3.0), 0.2, 1.0):
        if rng.random() < 0.7:
            place(out, _whistle(rng), int(start), rng.uniform(0.5, 1.0))
    return out


def ambulance(rng: np.random.Generator, n: int) -> Signal:
    """Siren of one of three kinds (two-tone, wail, yelp), with Doppler shift, over an engine."""
    kind = rng.integers(3)
    t = np.arange(n) / SAMPLE_RATE_HZ
    if kind == 0:
        low = rng.uniform(420, 520)
        turn = (t / rng.uniform(0.85, 1.3) + rng.random()) % 1.0
        pitch = np.where(turn < 0.5, low, low * rng.uniform(1.26, 1.36))
    else:
        period = rng.uniform(1.1, 1.8) if kind == 1 else rng.uniform(0.22, 0.36)
        turn = (t / period + rng.random()) % 1.0
        low, high = rng.uniform(520, 700), rng.uniform(1200, 1550)
        pitch = low * (high / low) ** (0.5 - 0.5 * np.cos(2 * np.pi * turn))
    pitch = pitch * curve(n, (0, 1), (rng.uniform(0.97, 1.04), rng.uniform(0.97, 1.04)))
    siren = oscillate(phase_of(pitch, rng.random()), wavetable(rolloff(5, 0.8)))
    siren = color(siren, formants((1000, 2000, 3200), (900, 1000, 1200), (1.0, 0.7, 0.4)))
    near = curve(n, (0, 1), (rng.uniform(0.6, 1), rng.uniform(0.6, 1))).astype(np.float32)
    return siren * near + 0.04 * noise(rng, n, band(60, 300))


def helicopter(rng: np.random.Generator, n: int) -> Signal:
    """Rotor chop at 8 to 15 Hz: thumps and gated noise, with the whine of a turbine."""
    chop_hz = rng.uniform(8, 15)
    phase = chop_hz * np.arange(n) / SAMPLE_RATE_HZ + rng.random() + 0.03 * wander(rng, n, 1.5)
    within = phase % 1.0
    slap = (np.minimum(within / 0.08, 1.0) * np.exp(-rng.uniform(4, 7) * within)).astype(np.float32)
    thump_hz = rng.uniform(60, 110)
    thump = slap * sine(within / chop_hz * thump_hz)
    wash = noise(rng, n, band(120, rng.uniform(900, 2200), 1))
    whine_hz = rng.uniform(1700, 3000) * (1 + 0.004 * wander(rng, n, 2))
    whine = oscillate(phase_of(whine_hz), wavetable((1.0, 0.5)))
    return 1.2 * thump + wash * (0.06 + 0.9 * slap) + rng.uniform(0.03, 0.09) * whine


def _bubble(rng: np.random.Generator) -> Signal:
    length = samples(rng.uniform(0.03, 0.09))
    rise = rng.uniform(350, 1100) * curve(length, (0, 1), (1, rng.uniform(1.3, 2.0)))
    return sine(phase_of(rise)) * decay(length, length / SAMPLE_RATE_HZ / 3) * envelope(length, 0.1, 0.3)


def _creak(rng: np.random.Generator) -> Signal:
    length = samples(rng.uniform(0.25, 0.5))
    rate = rng.uniform(35, 70) * curve(length, (0, 0.5, 1), (0.7, 1.2, 0.6))
    rub = np.exp(-9.0 * (phase_of(rate) % 1.0)).astype(np.float32) * noise(rng, length)
    wood = formants((rng.uniform(380, 600), rng.uniform(900, 1400)), (60, 120), (1.0, 0.6))
    return color(rub, wood) * envelope(length, 0.3, 0.4)


def boat(rng: np.random.Generator, n: int) -> Signal:
    """Waves that swell and break against a hull, bubbles, creaking wood; a low horn at times."""
    period = rng.uniform(1.1, 1.9)
    phase = np.arange(n) / SAMPLE_RATE_HZ / period + rng.random() + 0.08 * wander(rng, n, 1.0)
    within = phase % 1.0
    lap = np.where(within < 0.4, (within / 0.4) ** 2, np.exp(-3.5 * (within - 0.4))).astype(np.float32)
    out = 0.7 * noise(rng, n, band(150, 600, 1)) * (0.15 + 0.6 * lap)
    out += noise(rng, n, band(700, 3000, 1)) * (0.04 + 0.5 * lap * lap)
    bubbles = [_bubble(rng) for _ in range(8)]
    for start in onsets(rng, n, rng.uniform(0.09, 0.2), 0.8, 0.1):
        place(out, bubbles[rng.integers(8)], int(start), rng.uniform(0.3, 1.5))
    creaks = [_creak(rng) for _ in range(2)]
    for start in onsets(rng, n, rng.uniform(1.1, 1.8), 0.3, 0.5):
        place(out, creaks[rng.integers(2)], int(start), rng.uniform(1.0, 3.5))
    if rng.random() < 0.25:
        length = samples(rng.uniform(0.8, 1.6))
        horn = oscillate(phase_of(np.full(length, rng.uniform(110, 180))), wavetable(rolloff(14, 0.8)))
        place(out, horn * envelope(length, 0.12, 0.2), int(rng.uniform(-0.1, 0.8) * n), rng.uniform(0.4, 0.9))
    return out


def bicycle(rng: np.random.Generator, n: int) -> Signal:
    """Freewheel ticks 15 to 30 times a second, wind, and a bell that goes ding-ding."""
    out = rng.uniform(0.01, 0.05) * noise(rng, n, tilt(0.8))
    click_hz = rng.uniform(2600, 4600)
    click = ring(0.012, (click_hz, click_hz * 1.43, click_hz * 0.55), (0.0016, 0.001, 0.003), (1.0, 0.7, 0.4))
    rate = rng.uniform(15, 30) * curve(n, (0, 1), (1.0, rng.uniform(0.8, 1.2)))
    starts = np.flatnonzero(np.diff(np.floor(phase_of(rate, rng.random())), prepend=0.0))
    out += scatter(n, np.tile(click, (len(starts), 1)), starts, rng.uniform(0.3, 0.5, len(starts)))
    if rng.random() < 0.7:
        pitch = rng.uniform(1900, 2900)
        modes = (pitch, pitch * 1.004, pitch * 2.13, pitch * 2.76)
        ding = ring(0.7, modes, (0.16, 0.2, 0.07, 0.04), (0.4, 0.4, 0.3, 0.2))
        gap = samples(rng.uniform(0.13, 0.22))
        for start in onsets(rng, n, rng.uniform(1.1, 1.8), 0.2, 0.8):
            gain = rng.uniform(0.4, 0.9)
            place(out, ding, int(start), gain)
            place(out, ding, int(start) + gap, gain * rng.uniform(0.8, 1.1))
    return out
