"""The sounds of the toy world: reproducible, clean, and telling the twenty things apart."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bindplug.errors import InputError
from bindplug_toyworld.sounds import SAMPLE_RATE_HZ, VOICES, synthesise
from bindplug_toyworld.sounds import signals as sig
from bindplug_toyworld.sounds.recording import PEAK_DBFS, record

# fmt: off
THINGS = [
    "dog", "cat", "bird", "cow", "frog", "bee", "horse", "car", "train", "ambulance", "helicopter", "boat",
    "bicycle", "walking", "running", "bell", "drum", "clock", "rain", "fire",
]
# fmt: on


def test_exactly_the_twenty_things_have_a_voice():
    assert sorted(VOICES) == sorted(THINGS)
    assert len(THINGS) == 20


@pytest.mark.parametrize("thing", THINGS)
def test_a_recording_is_reproducible_clean_and_within_full_scale(thing):
    first = synthesise(thing, np.random.default_rng(3))
    again = synthesise(thing, np.random.default_rng(3))
    other = synthesise(thing, np.random.default_rng(4))
    assert first.dtype == np.float32
    assert first.shape == (4 * SAMPLE_RATE_HZ,)
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    for sound in (first, other):
        assert np.isfinite(sound).all()
        assert 10 ** (PEAK_DBFS[0] / 20) * 0.99 <= np.abs(sound).max() <= 1.0
        assert abs(sound.mean()) < 1e-3


@given(
    thing=st.sampled_from(THINGS),
    seed=st.integers(0, 2**32 - 1),
    seconds=st.floats(1 / 16_000, 6.0, allow_nan=False),
)
@settings(max_examples=60)
def test_any_length_renders(thing, seed, seconds):
    sound = synthesise(thing, np.random.default_rng(seed), seconds)
    assert sound.shape == (max(1, round(seconds * SAMPLE_RATE_HZ)),)
    assert sound.dtype == np.float32
    assert np.isfinite(sound).all()
    assert np.abs(sound).max() <= 1.0


@pytest.mark.parametrize("thing", THINGS)
def test_every_two_seconds_hold_the_voice(thing):
    """No window of 2 s is empty beside the loudest one."""
    for seed in range(3):
        dry = VOICES[thing](np.random.default_rng(seed), 8 * SAMPLE_RATE_HZ)
        starts = range(0, 6 * SAMPLE_RATE_HZ + 1, SAMPLE_RATE_HZ // 4)
        energies = [float(np.square(dry[s : s + 2 * SAMPLE_RATE_HZ]).sum()) for s in starts]
        assert min(energies) > 0.02 * max(energies)


def _fingerprint(sound: np.ndarray) -> np.ndarray:
    """Level-free log energies of 32 bands: their mean, spread and 90th percentile, and the beat of the whole.

    From the middle two seconds alone, as a model hears them.
    """
    middle = len(sound) // 2
    clip = sound[middle - SAMPLE_RATE_HZ : middle + SAMPLE_RATE_HZ]
    frames = np.lib.stride_tricks.sliding_window_view(clip, 512)[::160] * np.hanning(512)
    power = np.abs(np.fft.rfft(frames)) ** 2
    mel = np.linspace(0, 2595 * math.log10(1 + 8000 / 700), 34)
    edges = np.rint((700 * (10 ** (mel / 2595) - 1)) / 8000 * 256).astype(int)
    bands = np.stack([power[:, a : max(b, a + 1)].mean(1) for a, b in zip(edges, edges[2:], strict=False)], 1)
    logs = np.log(bands + 1e-6 * bands.mean())
    logs -= logs.mean()
    flux = np.maximum(np.diff(logs, axis=0), 0).mean(1)
    beat = np.abs(np.fft.rfft(flux - flux.mean(), 400))[1:61]
    beat = 8 * np.sqrt(beat / max(beat.sum(), 1e-9))
    return np.concatenate([logs.mean(0), 2 * logs.std(0), np.percentile(logs, 90, axis=0), beat])


def test_a_nearest_centroid_tells_the_things_apart():
    train = np.array([[_fingerprint(_sound(thing, seed)) for seed in range(20)] for thing in THINGS])
    test = np.array([[_fingerprint(_sound(thing, 1000 + seed)) for seed in range(20)] for thing in THINGS])
    scale = train.std(axis=(0, 1)) + 0.1
    centroids = train.mean(axis=1) / scale
    distance = np.linalg.norm(test[:, :, None] / scale - centroids, axis=-1)
    right = distance.argmin(-1) == np.arange(len(THINGS))[:, None]
    assert right.mean() >= 0.8, dict(zip(THINGS, right.mean(1).tolist(), strict=True))
    assert right.mean(1).min() >= 0.4, dict(zip(THINGS, right.mean(1).tolist(), strict=True))


def _sound(thing: str, seed: int) -> np.ndarray:
    return synthesise(thing, np.random.default_rng([seed, THINGS.index(thing)]))


def _peak_hz(sound: np.ndarray, low: float, high: float) -> float:
    spectrum = np.abs(np.fft.rfft(sound))
    f = np.fft.rfftfreq(len(sound), 1 / SAMPLE_RATE_HZ)
    spectrum[(f < low) | (f > high)] = 0
    return float(f[spectrum.argmax()])


def _rhythm_hz(sound: np.ndarray, low: float, high: float) -> float:
    """Rate at which the rise of the loudness recurs."""
    power = np.add.reduceat(np.square(sound), np.arange(0, len(sound), 80))
    rise = np.maximum(np.diff(np.log(power + 1e-3 * power.max())), 0)
    flow = np.correlate(rise - rise.mean(), rise - rise.mean(), "full")[len(rise) - 1 :]
    lags = np.arange(len(flow)) / 200
    inside = (lags >= 1 / high) & (lags <= 1 / low)
    return float(1 / lags[inside][flow[inside].argmax()])


@pytest.mark.parametrize(
    ("thing", "low", "high"),
    [("walking", 1.55, 2.1), ("running", 2.5, 3.3), ("clock", 0.85, 1.2), ("horse", 1.85, 2.6)],
)
def test_rhythms_have_the_tempo_of_the_real_thing(thing, low, high):
    # searched from above half the tempo, where every second beat would answer as well
    for seed in range(4):
        dry = VOICES[thing](np.random.default_rng(seed), 10 * SAMPLE_RATE_HZ)
        assert low <= _rhythm_hz(dry, 0.7 * low, 3.6) <= high


def test_pitches_are_those_of_the_real_thing():
    for seed in range(4):
        dry = {t: VOICES[t](np.random.default_rng(seed), 4 * SAMPLE_RATE_HZ) for t in ("bee", "bird", "cow")}
        assert 170 < _peak_hz(dry["bee"], 50, 8000) < 310
        assert 1500 < _peak_hz(dry["bird"], 50, 8000) < 7500
        assert 60 < _peak_hz(dry["cow"], 50, 8000) < 1100


def test_a_recording_adds_noise_to_silence_around_a_click():
    dry = np.zeros(SAMPLE_RATE_HZ, dtype=np.float32)
    dry[8000] = 1.0
    wet = record(dry, np.random.default_rng(0))
    assert wet.shape == dry.shape
    assert abs(int(np.abs(wet).argmax()) - 8000) <= 8
    assert np.abs(wet[:4000]).max() > 0


@pytest.mark.parametrize("n", [1, 2, 5, 16_000])
def test_a_constant_is_never_recorded(n):
    assert abs(record(np.ones(n, dtype=np.float32), np.random.default_rng(1)).mean()) < 1e-4


def test_clipping_is_rare():
    rng = np.random.default_rng(0)
    dry = sig.noise(rng, 1600)
    clipped = [np.count_nonzero(np.abs(record(dry, rng)) == 1.0) > 1 for _ in range(400)]
    assert 1 <= sum(clipped) <= 40


@pytest.mark.parametrize("thing", ["unicorn", "", "Dog"])
def test_an_unknown_thing_is_refused_with_the_known_ones(thing):
    with pytest.raises(InputError, match="one of dog, cat"):
        synthesise(thing, np.random.default_rng(0))


@pytest.mark.parametrize("seconds", [0.0, -1.0, math.nan, math.inf, 1e6])
def test_an_impossible_length_is_refused(seconds):
    with pytest.raises(InputError, match="seconds above 0"):
        synthesise("dog", np.random.default_rng(0), seconds)


@given(n=st.integers(1, 10**6))
def test_fast_lengths_are_smooth_and_close(n):
    size = sig.fast_length(n)
    assert n <= size <= max(2 * n, 125)
    for prime in (2, 3, 5):
        while size % prime == 0:
            size //= prime
    assert size == 1


def test_four_seconds_need_no_padding():
    assert sig.fast_length(4 * SAMPLE_RATE_HZ) == 4 * SAMPLE_RATE_HZ


def test_an_oscillator_plays_the_frequency_it_is_given():
    tone = sig.oscillate(sig.phase_of(np.full(16_000, 440.0)), sig.wavetable((1.0, 0.3)))
    assert _peak_hz(tone, 20, 8000) == pytest.approx(440, abs=1)
    assert np.abs(tone).max() == pytest.approx(1.0, abs=1e-3)


def test_placing_cuts_what_falls_outside():
    out = np.zeros(4, dtype=np.float32)
    sig.place(out, np.ones(3, dtype=np.float32), -1)
    sig.place(out, np.ones(3, dtype=np.float32), 3, gain=2.0)
    sig.place(out, np.ones(3, dtype=np.float32), 9)
    assert out.tolist() == [1, 1, 0, 2]


def test_scattering_equals_placing():
    rng = np.random.default_rng(0)
    grains = rng.standard_normal((50, 20)).astype(np.float32)
    starts, gains = rng.integers(-20, 300, 50), rng.random(50)
    out = np.zeros(300, dtype=np.float32)
    for grain, start, gain in zip(grains, starts, gains, strict=True):
        sig.place(out, grain, int(start), float(gain))
    np.testing.assert_allclose(sig.scatter(300, grains, starts, gains), out, atol=1e-5)


@given(seed=st.integers(0, 10**6), period=st.floats(0.05, 2.0), jitter=st.floats(0, 0.8))
def test_a_rhythm_is_already_under_way_and_never_pauses(seed, period, jitter):
    n = 2 * SAMPLE_RATE_HZ
    starts = sig.onsets(np.random.default_rng(seed), n, period, jitter)
    assert starts[0] <= 0
    assert starts[-1] < n
    longest = period * (1 + jitter) * SAMPLE_RATE_HZ + 1
    assert np.all(np.diff(starts) <= longest)
    assert n - starts[-1] <= longest


def test_a_mode_above_hearing_of_the_recorder_is_left_out():
    assert not sig.ring(0.01, (9000.0,), (0.01,), (1.0,)).any()
