"""Recordings of the senses benchmark: scenes of the toy world, through sensors worse than those of training.

Every number is drawn from generators seeded by the scene, so that a recording is the same wherever it is made.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

import bindplug
from bindplug import Query
from bindplug_toyworld import NAMES, Scene

Floats = NDArray[np.float32]

VERSION = 1
"""Enters every seed: another version has other scenes."""
SENSORS = ("image", "audio", "depth", "thermal", "imu")
SPLIT = "eval"

SOUND_SECONDS = 2.0
OTHER_SOUND_DB = (0.0, 12.0)
"""How much louder than another thing's sound, in decibels, the thing is heard."""
SOUND_NOISE_DB = (9.0, 21.0)
"""How much louder than white noise it is."""
DEPTH_CELL = 4
"""Pixels along each side that share one measured distance, as with a time-of-flight camera of 56 x 56."""
DEPTH_NOISE = (0.005, 0.03)
"""Standard deviation of a distance, as a share of it."""
HEAT_CELL = 3
"""Pixels along each side that share one measured temperature, as with a camera of 74 x 74."""
HEAT_NOISE_C = (0.05, 0.4)
"""Standard deviation of a temperature, in degrees Celsius."""
ACCELERATION_NOISE = (0.05, 0.3)
"""Standard deviation of an accelerometer's sample, in m/s^2."""
ROTATION_NOISE = (0.01, 0.05)
"""Standard deviation of a gyroscope's sample, in rad/s."""


@dataclass(frozen=True)
class Recording:
    """What one sensor recorded of one scene.

    Attributes:
        sensor: one of :data:`SENSORS`.
        seed: of the scene.
        things: names of the things in it.
    """

    sensor: str
    seed: int
    things: tuple[str, ...]

    @property
    def name(self) -> str:
        """An id, such as ``"audio-7000012"``."""
        return f"{self.sensor}-{self.seed}"

    def scene(self) -> Scene:
        """The scene."""
        return Scene(self.seed, SPLIT, self.things, seconds=SOUND_SECONDS)

    def rng(self) -> np.random.Generator:
        """The generator of this recording's noise."""
        return np.random.default_rng([VERSION, SENSORS.index(self.sensor), self.seed])

    def values(self) -> NDArray[Any]:
        """The recording as an array, as the sensor gives it.

        Returns:
            image (224, 224, 3) uint8; audio (32000,) float32 at 16 kHz; depth (224, 224) float32 in meters; thermal
            (222, 222) float32 in degrees Celsius; imu (6, 1000) float32 at 200 Hz in m/s^2 and rad/s.
        """
        return _RECORDERS[self.sensor](self.scene(), self.rng())


def query_of(recording: Recording) -> Query:
    """A recording as a query."""
    values = recording.values()
    makers: dict[str, Callable[[], Query]] = {
        "image": lambda: bindplug.image(values),
        "audio": lambda: bindplug.audio(values, sample_rate=Scene.sample_rate_hz),
        "depth": lambda: bindplug.depth(values, unit="m"),
        "thermal": lambda: bindplug.thermal(values, unit="celsius"),
        "imu": lambda: bindplug.imu(values, sample_rate=float(Scene.imu_rate_hz)),
    }
    return makers[recording.sensor]()


def sum_of(recordings: tuple[Recording, ...]) -> Query:
    """The sum of several recordings as one query."""
    first, *others = map(query_of, recordings)
    for other in others:
        first = first + other
    return first


def _image(scene: Scene, rng: np.random.Generator) -> NDArray[np.uint8]:
    return scene.pixels


def _audio(scene: Scene, rng: np.random.Generator) -> Floats:
    """The sound behind another thing's, in noise."""
    sound = scene.audio.astype(np.float64)
    others = [name for name in NAMES if name not in scene.labels]
    other = Scene(scene.seed, "train", (str(rng.choice(others)),), seconds=SOUND_SECONDS).audio
    mixture = (
        sound
        + _at(other, _power(sound), float(rng.uniform(*OTHER_SOUND_DB)))
        + _at(rng.standard_normal(len(sound)), _power(sound), float(rng.uniform(*SOUND_NOISE_DB)))
    )
    return (mixture / max(1.0, float(np.abs(mixture).max()))).astype(np.float32)


def _power(sound: NDArray[Any]) -> float:
    return float(np.mean(np.square(sound, dtype=np.float64)))


def _at(sound: NDArray[Any], power: float, decibels: float) -> NDArray[np.float64]:
    """``sound`` scaled to lie ``decibels`` below a power."""
    own = _power(sound)
    if own == 0.0:
        return np.zeros(len(sound))
    return sound.astype(np.float64) * np.sqrt(power / own / 10 ** (decibels / 10))


def _depth(scene: Scene, rng: np.random.Generator) -> Floats:
    """Fewer distances, each with noise that grows with it."""
    cells = _cells(scene.depth, DEPTH_CELL)
    noise = rng.standard_normal(cells.shape) * rng.uniform(*DEPTH_NOISE)
    return _enlarged(cells * (1 + noise).clip(0.5), DEPTH_CELL)


def _thermal(scene: Scene, rng: np.random.Generator) -> Floats:
    """Fewer temperatures, with noise."""
    heat = scene.thermal
    cells = _cells(
        heat[: heat.shape[0] // HEAT_CELL * HEAT_CELL, : heat.shape[1] // HEAT_CELL * HEAT_CELL], HEAT_CELL
    )
    return _enlarged(cells + rng.standard_normal(cells.shape) * rng.uniform(*HEAT_NOISE_C), HEAT_CELL)


def _cells(values: Floats, size: int) -> NDArray[np.float64]:
    """(H, W) -> (H / size, W / size), the mean of each cell."""
    rows, columns = (extent // size for extent in values.shape)
    # (rows, size, columns, size) -> (rows, columns)
    return values.reshape(rows, size, columns, size).mean(axis=(1, 3), dtype=np.float64)


def _enlarged(cells: NDArray[np.float64], size: int) -> Floats:
    return cells.repeat(size, axis=0).repeat(size, axis=1).astype(np.float32)


def _imu(scene: Scene, rng: np.random.Generator) -> Floats:
    """The motion with noise of cheap sensors."""
    motion = scene.imu
    assert motion is not None, "recordings of motion are of things that move"
    sigma = np.repeat([rng.uniform(*ACCELERATION_NOISE), rng.uniform(*ROTATION_NOISE)], 3)[:, None]
    return (motion + sigma * rng.standard_normal(motion.shape)).astype(np.float32)


_RECORDERS: dict[str, Callable[[Scene, np.random.Generator], NDArray[Any]]] = {
    "image": _image,
    "audio": _audio,
    "depth": _depth,
    "thermal": _thermal,
    "imu": _imu,
}
