"""What an inertial sensor feels on the things of the toy world that one can ride or do.

A motion is a small rigid-body story told in the heading frame (x forward, y left, z up): the acceleration
of the body and its roll, pitch and yaw. Gravity is added, both are turned into the body's axes, and the
gyroscope is the exact derivative of the same attitude; then the sensor is mounted at a random angle and
adds its own bias, drift and noise.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from bindplug.errors import InputError

__all__ = ["MOVES", "SAMPLE_RATE_HZ", "move"]

SAMPLE_RATE_HZ = 200
"""Rate of every motion. Source: Ego4D's recordings run at about 200 Hz."""

GRAVITY = 9.81
"""Specific force at rest, in m/s^2, pointing up."""

_LONGEST_SECONDS = 3600.0
_LEVEL_MOUNTING_CHANCE = 0.92
_LARGEST_TILT = math.radians(40)

Array = NDArray[np.float64]


@dataclass
class Story:
    """A motion in the heading frame.

    Args:
        acceleration: (3, T) m/s^2 without gravity: forward, left, up.
        attitude: (3, T) rad: roll, pitch, yaw.
    """

    acceleration: Array
    attitude: Array


def _still(t: Array) -> Story:
    return Story(np.zeros((3, len(t))), np.zeros((3, len(t))))


def _wave(t: Array, frequency_hz: float, phase: float = 0.0) -> Array:
    """Sine; ``phase`` in cycles."""
    return np.sin(2 * np.pi * (frequency_hz * t + phase))


def _band_noise(rng: np.random.Generator, count: int, n: int, low_hz: float, high_hz: float) -> Array:
    """Noise (count, n) of unit root mean square with soft band edges."""
    f = np.fft.rfftfreq(n, 1 / SAMPLE_RATE_HZ)
    parts = rng.standard_normal((count, len(f), 2))
    gain = 1 / np.sqrt((1 + (low_hz / np.maximum(f, 1e-3)) ** 6) * (1 + (f / high_hz) ** 6))
    spectrum = (parts[..., 0] + 1j * parts[..., 1]) * gain
    spectrum[:, 0] = 0.0
    out = np.fft.irfft(spectrum, n, axis=-1)
    return out / np.maximum(out.std(axis=-1, keepdims=True), 1e-9)


def _slow(rng: np.random.Generator, t: Array, slowest_hz: float, fastest_hz: float) -> Array:
    """Smooth wandering of unit root mean square: three sines of random pace and phase."""
    paces = rng.uniform(slowest_hz, fastest_hz, (3, 1))
    return np.sqrt(2 / 3) * np.sin(2 * np.pi * (paces * t + rng.random((3, 1)))).sum(axis=0)


def _pace(rng: np.random.Generator, t: Array, rate_hz: float, unsteadiness: float = 0.03) -> Array:
    """Phase in cycles of a rhythm near ``rate_hz`` whose tempo breathes a little."""
    return rate_hz * t + rng.random() + unsteadiness * _slow(rng, t, 0.15, 0.5)


def _strikes(phase: Array, damping: float, rings: float) -> Array:
    """A damped ringing that starts at every whole cycle of ``phase``: ``rings`` waves a cycle."""
    within = phase % 1.0
    return np.exp(-damping * within) * np.sin(2 * np.pi * rings * within)


def horse(rng: np.random.Generator, t: Array) -> Story:
    """Gallop: strides at about 2.2 Hz of three beats each, with strong heave and pitch."""
    story, phase = _still(t), _pace(rng, t, rng.uniform(1.95, 2.5))
    strength = rng.uniform(0.75, 1.2)
    heave = 3.6 * _wave(phase, 1) + 1.1 * _wave(phase, 2, rng.random())
    for beat, force in enumerate((0.7, 0.85, 1.0)):
        heave += 4.0 * force * _strikes(phase - 0.25 * beat, 12.0, 5.0)
    story.acceleration[:] = strength * np.stack(
        [2.2 * _wave(phase, 1, 0.3) + 0.6 * _wave(phase, 3), 0.8 * _slow(rng, t, 1, 3), heave]
    )
    story.attitude[0] = 0.04 * _wave(phase, 1, rng.random()) + 0.02 * _slow(rng, t, 0.1, 0.4)
    story.attitude[1] = strength * rng.uniform(0.1, 0.18) * _wave(phase, 1, 0.25)
    story.attitude[2] = 0.15 * _slow(rng, t, 0.05, 0.2)
    return story


def car(rng: np.random.Generator, t: Array) -> Story:
    """Engine vibration at 20 to 40 Hz, bends, pedals and the bumps of the road."""
    story = _still(t)
    speed = rng.uniform(7, 22)
    yaw_rate = min(0.35, 3.0 / speed) * rng.uniform(0.2, 1.0) * _slow(rng, t, 0.04, 0.18)
    pedals = rng.uniform(0.3, 1.3) * _slow(rng, t, 0.05, 0.25)
    road = rng.uniform(0.15, 0.5)
    springs = _band_noise(rng, 2, len(t), 1.0, 2.0)
    wheels = _band_noise(rng, 3, len(t), 9.0, 15.0) * np.exp(0.6 * _slow(rng, t, 0.3, 1.0))
    firing = _pace(rng, t, rng.uniform(21, 38), 0.3)
    engine = rng.uniform(0.12, 0.35) * (_wave(firing, 1) + 0.4 * _wave(firing, 2))
    story.acceleration[0] = pedals + 0.3 * engine + 0.4 * road * wheels[0]
    story.acceleration[1] = speed * yaw_rate + 0.6 * engine + 0.5 * road * wheels[1]
    story.acceleration[2] = engine + road * (1.2 * springs[0] + wheels[2])
    story.attitude[0] = 0.008 * speed * yaw_rate + 0.006 * road * springs[1]
    story.attitude[1] = -0.012 * pedals + 0.008 * road * springs[0]
    story.attitude[2] = np.cumsum(yaw_rate) / SAMPLE_RATE_HZ
    return story


def train(rng: np.random.Generator, t: Array) -> Story:
    """Slow sway, and the double knock of a bogie's two axles over every rail joint."""
    story = _still(t)
    joints = _pace(rng, t, rng.uniform(1.2, 1.9), 0.01)
    gap = rng.uniform(0.2, 0.28)
    knock = _strikes(joints, 22.0, 11.0) + 0.85 * _strikes(joints - gap, 22.0, 11.0)
    strength = rng.uniform(1.0, 2.4)
    sway = _pace(rng, t, rng.uniform(0.5, 0.75), 0.05)
    hum = _band_noise(rng, 3, len(t), 4.0, 60.0) * rng.uniform(0.06, 0.16)
    story.acceleration[:] = hum
    story.acceleration[0] += rng.uniform(0, 0.4) * _slow(rng, t, 0.02, 0.08)
    story.acceleration[1] += rng.uniform(0.25, 0.6) * _wave(sway, 1) + 0.25 * strength * knock
    story.acceleration[2] += strength * knock
    story.attitude[0] = rng.uniform(0.012, 0.03) * _wave(sway, 1, 0.25)
    story.attitude[1] = 0.003 * strength * _strikes(joints, 8.0, 3.0)
    story.attitude[2] = 0.05 * _slow(rng, t, 0.02, 0.06)
    return story


def helicopter(rng: np.random.Generator, t: Array) -> Story:
    """Rotor at about 5 Hz once and 20 Hz four times a turn; attitude that changes slowly."""
    story, rotor = _still(t), _pace(rng, t, rng.uniform(4.4, 5.8), 0.02)
    once, blades = rng.uniform(0.3, 0.9), rng.uniform(0.9, 2.2)
    shake = np.stack([_wave(rotor, 4, phase) + 0.3 * _wave(rotor, 8, phase) for phase in rng.random(3)])
    story.acceleration[:] = blades * shake * np.array([[0.5], [0.6], [1.0]])
    story.acceleration[0] += 0.6 * once * _wave(rotor, 1)
    story.acceleration[1] += 0.6 * once * _wave(rotor, 1, 0.25)
    story.acceleration[2] += once * _wave(rotor, 1, 0.1) + 0.4 * _slow(rng, t, 0.1, 0.4)
    story.attitude[0] = rng.uniform(0.04, 0.15) * _slow(rng, t, 0.05, 0.2) + 0.006 * _wave(rotor, 1, 0.25)
    story.attitude[1] = rng.uniform(-0.12, 0.02) + 0.06 * _slow(rng, t, 0.05, 0.2) + 0.006 * _wave(rotor, 1)
    story.attitude[2] = rng.uniform(0.1, 0.5) * _slow(rng, t, 0.04, 0.15)
    return story


def boat(rng: np.random.Generator, t: Array) -> Story:
    """Large slow roll, pitch and heave on a swell of 0.1 to 0.35 Hz."""
    story, swell = _still(t), _pace(rng, t, rng.uniform(0.14, 0.35), 0.08)
    story.acceleration[2] = rng.uniform(0.4, 1.3) * _wave(swell, 1) + 0.15 * _slow(rng, t, 0.4, 0.9)
    story.acceleration[0] = 0.3 * _wave(swell, 1, 0.25) + 0.1 * _slow(rng, t, 0.3, 0.8)
    story.acceleration[1] = 0.3 * _slow(rng, t, 0.15, 0.4)
    story.attitude[0] = rng.uniform(0.12, 0.35) * _wave(swell, rng.uniform(0.7, 1.1), rng.random())
    story.attitude[1] = rng.uniform(0.05, 0.15) * _wave(swell, 1, 0.2) + 0.02 * _slow(rng, t, 0.3, 0.8)
    story.attitude[2] = 0.12 * _slow(rng, t, 0.05, 0.2)
    return story


def bicycle(rng: np.random.Generator, t: Array) -> Story:
    """Pedalling sway at 1.2 to 1.5 Hz, two thrusts a turn, and broadband road buzz."""
    story, crank = _still(t), _pace(rng, t, rng.uniform(1.15, 1.55))
    buzz = rng.uniform(0.7, 2.0) * np.exp(0.3 * _slow(rng, t, 0.3, 1.2))
    lean = 0.08 * _slow(rng, t, 0.08, 0.25)
    sway = rng.uniform(0.04, 0.1)
    story.acceleration[:] = buzz * _band_noise(rng, 3, len(t), 8.0, 80.0) * np.array([[0.5], [0.4], [1.0]])
    story.acceleration[0] += rng.uniform(0.3, 0.7) * _wave(crank, 2) + 0.3 * _slow(rng, t, 0.05, 0.2)
    story.acceleration[1] += 8.0 * sway * _wave(crank, 1, 0.5)
    # in a bend the rider leans until gravity and the bend balance: no side force is felt
    story.acceleration[1] -= GRAVITY * np.tan(lean)
    story.attitude[0] = sway * _wave(crank, 1) + lean
    story.attitude[1] = 0.02 * _slow(rng, t, 0.05, 0.3)
    story.attitude[2] = 0.6 * sway * _wave(crank, 1, 0.2) - np.cumsum(lean) * GRAVITY / 5.5 / SAMPLE_RATE_HZ
    return story


def walking(rng: np.random.Generator, t: Array) -> Story:
    """Steps at about 1.8 Hz with heel strikes; the hips turn once every two steps."""
    story, step = _still(t), _pace(rng, t, rng.uniform(1.6, 2.05))
    strength = rng.uniform(0.7, 1.2)
    heel = _strikes(step, 14.0, 6.5)
    story.acceleration[2] = strength * (2.1 * _wave(step, 1) + 0.7 * _wave(step, 2, 0.15) + 2.6 * heel)
    story.acceleration[0] = strength * (1.2 * _wave(step, 1, 0.3) + 0.5 * _wave(step, 2) - 1.0 * heel)
    story.acceleration[1] = strength * rng.uniform(0.7, 1.2) * _wave(step, 0.5)
    story.attitude[0] = rng.uniform(0.03, 0.07) * _wave(step, 0.5, 0.25)
    story.attitude[1] = rng.uniform(0.02, 0.04) * _wave(step, 1, 0.4)
    story.attitude[2] = rng.uniform(0.06, 0.14) * _wave(step, 0.5, 0.1) + 0.1 * _slow(rng, t, 0.05, 0.2)
    return story


def running(rng: np.random.Generator, t: Array) -> Story:
    """Steps at about 2.8 Hz: flight without weight, then a push of two to three g."""
    story, step = _still(t), _pace(rng, t, rng.uniform(2.55, 3.15), 0.02)
    contact = rng.uniform(0.52, 0.68)  # of a step; the mean push has to be one weight
    within = step % 1.0
    push = np.where(within < contact, np.sin(np.pi * within / contact), 0.0) * GRAVITY * np.pi / (2 * contact)
    heel = _strikes(step, 16.0, 5.0)
    story.acceleration[2] = push - GRAVITY + rng.uniform(3, 7) * heel
    story.acceleration[0] = rng.uniform(1.5, 2.8) * _wave(step, 1, 0.4) - 2.0 * heel
    story.acceleration[1] = rng.uniform(1.0, 2.2) * _wave(step, 0.5)
    story.attitude[0] = rng.uniform(0.04, 0.09) * _wave(step, 0.5, 0.25)
    story.attitude[1] = 0.08 + rng.uniform(0.03, 0.06) * _wave(step, 1, 0.4)
    story.attitude[2] = rng.uniform(0.1, 0.22) * _wave(step, 0.5, 0.1) + 0.08 * _slow(rng, t, 0.05, 0.2)
    return story


MOVES: MappingProxyType[str, Callable[[np.random.Generator, Array], Story]] = MappingProxyType(
    {
        "horse": horse,
        "car": car,
        "train": train,
        "helicopter": helicopter,
        "boat": boat,
        "bicycle": bicycle,
        "walking": walking,
        "running": running,
    }
)
"""The story of every thing that moves one: ``(rng, t) -> Story``, ``t`` (T,) seconds."""


def felt(story: Story) -> Array:
    """What an ideal sensor along the body's own axes reads.

    Args:
        story: the motion.

    Returns:
        (6, T): specific force in m/s^2 (acceleration and gravity), then angular velocity in rad/s.
    """
    roll, pitch = story.attitude[:2]
    forward, left, up = story.acceleration[0], story.acceleration[1], story.acceleration[2] + GRAVITY
    # heading to body: undo pitch about y, then roll about x
    x = np.cos(pitch) * forward - np.sin(pitch) * up
    path_up = np.sin(pitch) * forward + np.cos(pitch) * up
    y = np.cos(roll) * left + np.sin(roll) * path_up
    z = -np.sin(roll) * left + np.cos(roll) * path_up
    roll_rate, pitch_rate, yaw_rate = np.gradient(story.attitude, 1 / SAMPLE_RATE_HZ, axis=1)
    turn = np.stack(
        [
            roll_rate - yaw_rate * np.sin(pitch),
            pitch_rate * np.cos(roll) + yaw_rate * np.cos(pitch) * np.sin(roll),
            -pitch_rate * np.sin(roll) + yaw_rate * np.cos(pitch) * np.cos(roll),
        ]
    )
    return np.concatenate([np.stack([x, y, z]), turn])


def _axis_rotation(axis: Array, angle: float) -> Array:
    """Rotation matrix about a unit axis (Rodrigues' formula)."""
    x, y, z = axis
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + math.sin(angle) * cross + (1 - math.cos(angle)) * cross @ cross


def mounting(rng: np.random.Generator) -> Array:
    """Random rotation (3, 3) from body to sensor axes.

    Any heading; 92 % stand within 40 degrees of upright, the others anyhow.
    """
    heading = _axis_rotation(np.array([0.0, 0.0, 1.0]), rng.uniform(0, 2 * np.pi))
    direction = rng.uniform(0, 2 * np.pi)
    axis = np.array([math.cos(direction), math.sin(direction), 0.0])
    level = rng.random() < _LEVEL_MOUNTING_CHANCE
    # the cosine of the tilt is uniform for directions spread evenly over the sphere
    tilt = rng.uniform(0, _LARGEST_TILT) if level else math.acos(rng.uniform(-1, 1))
    return _axis_rotation(axis, tilt) @ heading


def _sensed(rng: np.random.Generator, ideal: Array) -> Array:
    """Mount the sensor and add scale error, bias, drift and noise of a consumer-grade part."""
    rotation, length = mounting(rng), ideal.shape[1]
    out = np.concatenate([rotation @ ideal[:3], rotation @ ideal[3:]])
    out *= rng.normal(1.0, 0.01, (6, 1))
    spread = np.repeat([[0.08], [0.012]], 3, axis=0)
    drift = np.linspace(-0.5, 0.5, length) * rng.normal(0, 0.5, (6, 1))
    noise = rng.uniform(0.2, 0.8) * rng.standard_normal((6, length)) * np.repeat([[1.0], [0.6]], 3, axis=0)
    return out + spread * (rng.standard_normal((6, 1)) + drift + noise)


def move(thing: str, rng: np.random.Generator, seconds: float = 5.0) -> NDArray[np.float32]:
    """What an inertial sensor records on one thing.

    Tempo, strength, phase, mounting angle, bias, drift and noise are drawn from ``rng``, and equal
    generators give equal recordings.

    Args:
        thing: one of :data:`MOVES`.
        rng: source of chance; it advances.
        seconds: length, 0.01 to 3600.

    Returns:
        (6, T) float32 at 200 Hz, T = ``seconds`` x 200: accelerometer x, y, z in m/s^2 (gravity included:
        +9.81 along up at rest), gyroscope x, y, z in rad/s.

    Raises:
        InputError: the thing has no motion, or the length is out of range.
    """
    if thing not in MOVES:
        raise InputError(repr(thing), found="no thing that moves one", expected=f"one of {', '.join(MOVES)}")
    # a derivative needs two samples
    if not (math.isfinite(seconds) and 2 / SAMPLE_RATE_HZ <= seconds <= _LONGEST_SECONDS):
        raise InputError(
            f"seconds={seconds!r}",
            found="a length that cannot be rendered",
            expected=f"seconds from {2 / SAMPLE_RATE_HZ:g} to {_LONGEST_SECONDS:g}",
        )
    t = np.arange(round(seconds * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    return _sensed(rng, felt(MOVES[thing](rng, t))).astype(np.float32)
