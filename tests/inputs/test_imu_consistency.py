"""A unit of rotation that gravity's turns contradict is noted."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from bindplug.errors import InputNote
from bindplug.inputs import ImuPreprocess
from bindplug.inputs.imu.consistency import rotation_factor
from bindplug.inputs.imu.grid import Track
from tests.inputs.imu_logs import DEG, G, motion, times

preprocess = ImuPreprocess()
RATE_HZ = 100
T = times(RATE_HZ, 12)


def tilting(scale=1.0, noise=0.05):
    """A phone that is slowly tilted, its axes turning by small steps: acceleration and rotation, (3, T) each."""
    rates = scale * np.stack([0.25 * np.sin(1.9 * T), 0.2 * np.cos(1.3 * T), 0.1 * np.sin(0.7 * T)])
    gravity, rows = np.array([0.0, 2.0, 9.6]) * G / 9.806, []
    for rate in rates.T:
        rows.append(gravity)
        gravity = gravity - np.cross(rate, gravity) / RATE_HZ
        gravity *= G / np.linalg.norm(gravity)
    return np.stack(rows, 1) + np.random.default_rng(0).normal(0, noise, (3, T.size)), rates


def factor(acceleration, rates):
    return rotation_factor(Track(acceleration, RATE_HZ), Track(rates, RATE_HZ))


def test_the_factor_by_which_rates_turn_gravity():
    acceleration, rates = tilting()
    assert factor(acceleration, rates) == pytest.approx(1, abs=0.1)
    assert factor(acceleration, rates * DEG) == pytest.approx(1 / DEG, rel=0.1)
    assert factor(acceleration, rates / DEG) == pytest.approx(DEG, rel=0.1)


def test_motion_that_tells_nothing():
    acceleration, rates = tilting()
    assert factor(acceleration[:, :100], rates[:, :100]) is None  # too short
    assert factor(acceleration, 0 * rates) is None
    assert factor(np.repeat(acceleration[:, :1], T.size, 1), rates * 0.001) is None  # at rest
    assert factor(3 * acceleration, rates) is None  # shaken
    assert factor(acceleration, rates[[1, 2, 0]]) is None  # axes that do not belong together
    assert factor(*np.split(motion(T), 2)) is None


def read(acceleration, rates, **names):
    columns = {"time (s)": T} | {f"acc_{a} (m/s^2)": row for a, row in zip("xyz", acceleration, strict=True)}
    unit = names.get("unit", "")
    return preprocess(columns | {f"gyro_{a}{unit}": row for a, row in zip("xyz", rates, strict=True)})


def test_rates_that_gravity_contradicts_are_noted():
    acceleration, rates = tilting()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read(acceleration, rates)
        read(acceleration, rates * DEG, unit=" (deg/s)")
    acceleration, rates = tilting(0.3)  # slow enough to raise no other doubt
    with pytest.warns(InputNote, match=r"57 times what gravity's turns.*gyro_unit='deg/s'"):
        read(acceleration, rates * DEG)
    with pytest.warns(InputNote, match=r"a 57th of what gravity's turns.*gyro_unit='rad/s'"):
        read(acceleration, rates, unit=" (deg/s)")
