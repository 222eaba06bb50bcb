"""The motions of the toy world: reproducible, physical, and telling the things apart."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bindplug.errors import InputError
from bindplug_toyworld.motions import (
    GRAVITY,
    MOVES,
    SAMPLE_RATE_HZ,
    Story,
    felt,
    mounting,
    move,
)

THINGS = ["horse", "car", "train", "helicopter", "boat", "bicycle", "walking", "running"]


def test_exactly_the_things_that_move_one():
    assert sorted(MOVES) == sorted(THINGS)


@pytest.mark.parametrize("thing", THINGS)
def test_a_recording_is_reproducible_and_has_the_promised_shape(thing):
    first, again = (move(thing, np.random.default_rng(5)) for _ in range(2))
    assert first.dtype == np.float32
    assert first.shape == (6, 1000)
    assert np.isfinite(first).all()
    assert np.array_equal(first, again)
    assert not np.array_equal(first, move(thing, np.random.default_rng(6)))


@pytest.mark.parametrize("thing", THINGS)
def test_gravity_is_felt_and_no_motion_is_beyond_a_phone_sensor(thing):
    for seed in range(40):
        motion = move(thing, np.random.default_rng(seed))
        force = np.linalg.norm(motion[:3], axis=0)
        assert 8.5 < force.mean() < 11.5
        assert force.max() < 8 * GRAVITY
        assert np.abs(motion[3:]).max() < math.radians(1000)


@given(thing=st.sampled_from(THINGS), seed=st.integers(0, 2**32 - 1), count=st.integers(2, 3000))
@settings(max_examples=60)
def test_any_length_renders(thing, seed, count):
    motion = move(thing, np.random.default_rng(seed), count / SAMPLE_RATE_HZ)
    assert motion.shape == (6, count)
    assert np.isfinite(motion).all()


def test_at_rest_up_reads_plus_g():
    reading = felt(Story(np.zeros((3, 10)), np.zeros((3, 10))))
    np.testing.assert_allclose(reading[2], GRAVITY)
    np.testing.assert_allclose(reading[[0, 1, 3, 4, 5]], 0, atol=1e-12)


@given(
    roll=st.floats(-1.2, 1.2),
    pitch=st.floats(-1.2, 1.2),
    force=st.tuples(*[st.floats(-20, 20)] * 3),
)
def test_attitude_turns_the_force_without_stretching_it(roll, pitch, force):
    acceleration = np.repeat(np.array(force)[:, None], 4, axis=1)
    attitude = np.repeat(np.array([roll, pitch, 0.3])[:, None], 4, axis=1)
    reading = felt(Story(acceleration, attitude))
    expected = np.linalg.norm([force[0], force[1], force[2] + GRAVITY])
    np.testing.assert_allclose(np.linalg.norm(reading[:3], axis=0), expected, atol=1e-9)


def test_the_gyroscope_explains_how_gravity_turns():
    """Seen from the body, a fixed vector v obeys dv/dt = -w x v."""
    t = np.arange(1000) / SAMPLE_RATE_HZ
    attitude = np.stack([0.3 * np.sin(3 * t), 0.2 * np.cos(2 * t), 0.5 * t])
    reading = felt(Story(np.zeros((3, len(t))), attitude))
    force, turn = reading[:3], reading[3:]
    change = np.gradient(force, 1 / SAMPLE_RATE_HZ, axis=1)
    np.testing.assert_allclose(change[:, 2:-2], -np.cross(turn, force, axis=0)[:, 2:-2], atol=5e-3)


def test_mountings_are_rotations_and_mostly_upright():
    rng = np.random.default_rng(0)
    upright = []
    for _ in range(400):
        rotation = mounting(rng)
        np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-12)
        assert np.linalg.det(rotation) == pytest.approx(1.0)
        upright.append(rotation[2, 2] >= math.cos(math.radians(40)) - 1e-9)
    assert 0.85 < np.mean(upright) < 0.99


def _fingerprint(motion: np.ndarray) -> np.ndarray:
    """Log energy of force and turn in 24 frequency bands, summed over axes: free of the mounting."""
    centered = motion - motion.mean(axis=1, keepdims=True)
    power = np.abs(np.fft.rfft(centered * np.hanning(motion.shape[1]))) ** 2
    edges = np.unique(np.geomspace(1, power.shape[1] - 1, 25).astype(int))
    rows = [power[:3].sum(0), power[3:].sum(0)]
    return np.log(np.concatenate([[r[a:b].mean() for a, b in pairwise(edges)] for r in rows]) + 1e-3)


def test_a_nearest_centroid_tells_the_motions_apart():
    def sample(offset: int) -> np.ndarray:
        seeds = range(offset, offset + 20)
        return np.array(
            [
                [_fingerprint(move(t, np.random.default_rng([s, i]))) for s in seeds]
                for i, t in enumerate(THINGS)
            ]
        )

    train, test = sample(0), sample(1000)
    centroids = train.mean(axis=1)
    right = (
        np.linalg.norm(test[:, :, None] - centroids, axis=-1).argmin(-1) == np.arange(len(THINGS))[:, None]
    )
    assert right.mean() >= 0.8, dict(zip(THINGS, right.mean(1).tolist(), strict=True))
    assert right.mean(1).min() >= 0.5, dict(zip(THINGS, right.mean(1).tolist(), strict=True))


def _strongest_hz(thing: str, seed: int, low: float, high: float) -> float:
    t = np.arange(4000) / SAMPLE_RATE_HZ
    up = MOVES[thing](np.random.default_rng(seed), t).acceleration[2]
    power = np.abs(np.fft.rfft(up - up.mean()))
    f = np.fft.rfftfreq(len(t), 1 / SAMPLE_RATE_HZ)
    power[(f < low) | (f > high)] = 0
    return float(f[power.argmax()])


@pytest.mark.parametrize(
    ("thing", "low", "high"),
    [
        ("horse", 1.85, 2.6),
        ("walking", 1.5, 2.15),
        ("running", 2.45, 3.25),
        ("helicopter", 17.0, 24.0),
        ("boat", 0.1, 0.45),
    ],
)
def test_heave_has_the_tempo_of_the_real_thing(thing, low, high):
    for seed in range(6):
        assert low <= _strongest_hz(thing, seed, 0.05, 3.8 if thing != "helicopter" else 100) <= high


def test_runners_fly_and_land_at_two_to_three_g_while_walkers_stay_down():
    def extremes(thing: str) -> tuple[float, float]:
        forces = [np.linalg.norm(move(thing, np.random.default_rng(s))[:3], axis=0) for s in range(20)]
        return float(np.median([f.min() for f in forces])), float(np.median([f.max() for f in forces]))

    low, high = extremes("running")
    assert low < 0.35 * GRAVITY
    assert 2 * GRAVITY < high < 3.5 * GRAVITY
    low, high = extremes("walking")
    assert low > 0.3 * GRAVITY
    assert high < 2 * GRAVITY


@pytest.mark.parametrize("thing", ["dog", "", "Horse"])
def test_a_thing_without_motion_is_refused_with_those_that_have_one(thing):
    with pytest.raises(InputError, match="one of horse, car"):
        move(thing, np.random.default_rng(0))


@pytest.mark.parametrize("seconds", [0.0, 0.001, -1.0, math.nan, math.inf, 1e6])
def test_an_impossible_length_is_refused(seconds):
    with pytest.raises(InputError, match=r"seconds from 0\.01"):
        move("car", np.random.default_rng(0), seconds)
