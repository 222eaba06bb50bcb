"""The sounds of the toy world: twenty things, each with its own voice, recorded with real nuisance."""

from __future__ import annotations

import math
from collections.abc import Callable
from types import MappingProxyType

import numpy as np

from bindplug.errors import InputError
from bindplug_toyworld.sounds import animals, surroundings, vehicles
from bindplug_toyworld.sounds.recording import record
from bindplug_toyworld.sounds.signals import SAMPLE_RATE_HZ, Signal, samples

__all__ = ["SAMPLE_RATE_HZ", "VOICES", "synthesise"]

VOICES: MappingProxyType[str, Callable[[np.random.Generator, int], Signal]] = MappingProxyType(
    {
        "dog": animals.dog,
        "cat": animals.cat,
        "bird": animals.bird,
        "cow": animals.cow,
        "frog": animals.frog,
        "bee": animals.bee,
        "horse": animals.horse,
        "car": vehicles.car,
        "train": vehicles.train,
        "ambulance": vehicles.ambulance,
        "helicopter": vehicles.helicopter,
        "boat": vehicles.boat,
        "bicycle": vehicles.bicycle,
        "walking": surroundings.walking,
        "running": surroundings.running,
        "bell": surroundings.bell,
        "drum": surroundings.drum,
        "clock": surroundings.clock,
        "rain": surroundings.rain,
        "fire": surroundings.fire,
    }
)
"""The dry voice of every thing that sounds: ``(rng, n) -> (n,)`` at 16 kHz, any level."""

_LONGEST_SECONDS = 600.0


def synthesise(thing: str, rng: np.random.Generator, seconds: float = 4.0) -> Signal:
    """A recording of one thing.

    Any two seconds of it hold enough to tell what it is: calls, steps and strikes recur faster. Pitch,
    tempo, level, onset, room, background noise and microphone are drawn from ``rng``, and equal generators
    give equal recordings.

    Args:
        thing: one of :data:`VOICES`.
        rng: source of chance; it advances.
        seconds: length, above 0 and up to 600.

    Returns:
        (N,) float32 in [-1, 1] at 16 kHz, N = ``seconds`` x 16000.

    Raises:
        InputError: the thing has no sound, or the length is out of range.
    """
    if thing not in VOICES:
        raise InputError(repr(thing), found="no thing with a sound", expected=f"one of {', '.join(VOICES)}")
    if not (math.isfinite(seconds) and 0 < seconds <= _LONGEST_SECONDS):
        raise InputError(
            f"seconds={seconds!r}",
            found="a length that cannot be rendered",
            expected=f"seconds above 0 and up to {_LONGEST_SECONDS:g}",
        )
    return record(VOICES[thing](rng, samples(seconds)), rng)
