"""Whether a gyroscope turns as gravity does in the accelerometer's axes: a check of the unit of its rates."""

from __future__ import annotations

import numpy as np

from bindplug.inputs.imu.grid import Track
from bindplug.inputs.imu.units import STANDARD_GRAVITY

GRID_HZ = 20.0
SMOOTH_S = 0.4
"""Over so long both are averaged: gravity turns slowly beside steps and vibration."""
FEWEST_STEPS, MOST_STEPS = 40, 100_000
LEAST_CORRELATION = 0.85
LEAST_CHANGE = 0.3
"""Root mean square of gravity's change in m/s^3 below which noise is measured."""


def rotation_factor(acceleration: Track, rotation: Track) -> float | None:
    """By what rates of turn have to be multiplied to turn gravity as the accelerometer shows it.

    A vector that stands still in the world changes by -rate x vector in axes that turn.

    Args:
        acceleration: (3, T) in m/s^2, with gravity.
        rotation: (3, T), taken as rad/s.

    Returns:
        About 1 where the rates are in rad/s, and pi / 180 where they are in degrees a second; ``None`` where the motion
        does not tell: too short, without turns, or shaken.
    """
    begin = max(acceleration.start_s, rotation.start_s)
    end = min(track.start_s + track.duration_s for track in (acceleration, rotation))
    steps = min(int((end - begin) * GRID_HZ), MOST_STEPS)
    if steps < FEWEST_STEPS:
        return None
    times = begin + np.arange(steps) / GRID_HZ
    gravity, rates = (_smooth(track, times) for track in (acceleration, rotation))  # (3, steps) each
    change = np.gradient(gravity, 1 / GRID_HZ, axis=1)
    turned = -np.cross(rates, gravity, axis=0)
    steady = np.abs(np.linalg.norm(gravity, axis=0) / STANDARD_GRAVITY - 1) < 0.1
    change, turned = change[:, steady], turned[:, steady]
    if change.shape[1] < FEWEST_STEPS:
        return None
    both, energies = float((change * turned).sum()), [float((part**2).sum()) for part in (change, turned)]
    if energies[0] < LEAST_CHANGE**2 * change.shape[1] or energies[1] == 0:
        return None
    if both < LEAST_CORRELATION * float(np.sqrt(energies[0] * energies[1])):
        return None
    return both / energies[1]


def _smooth(track: Track, times: np.ndarray) -> np.ndarray:
    """Means over :data:`SMOOTH_S` around each time, (3, times)."""
    half = max(1, round(track.rate_hz * SMOOTH_S / 2))
    sums = np.cumsum(np.pad(track.values, ((0, 0), (half + 1, half)), mode="edge"), axis=1)
    means = (sums[:, 2 * half + 1 :] - sums[:, : -(2 * half + 1)]) / (2 * half + 1)  # (3, T)
    own = track.start_s + np.arange(means.shape[1]) / track.rate_hz
    return np.stack([np.interp(times, own, row) for row in means])
