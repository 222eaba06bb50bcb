"""What a rendered world holds, as data."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Any

from bindplug.errors import InputError
from bindplug_toyworld import MOVING, NAMES

SENSORS = ("image", "depth", "thermal", "audio", "imu")
"""What can be rendered."""
_SPLITS = ("train", "eval", "calibration")
FORMAT_VERSION = 1


@dataclass(frozen=True)
class WorldSpec:
    """A set of scenes, and what is recorded of each.

    A scene has ``moments`` rows, one after another: row ``r`` is moment ``r % moments`` of scene ``r // moments``.
    All moments share the scene's place and light; with probability ``change`` another thing stands there.

    Args:
        split: ``"train"``, ``"eval"`` or ``"calibration"``. A seed is another scene in another split, so worlds of
            different splits never share a scene.
        start: seed of the first scene, 0 or more. Worlds of one split with disjoint seed ranges share no scene.
        count: number of scenes; the first things of consecutive scenes go round all things.
        sensors: of :data:`SENSORS`; ``"imu"`` restricts the things to those that move one, one a scene.
        side: height and width of images, depth and heat maps in pixels, 64 or more.
        things: things in a scene, 1 to 5.
        moments: recordings of a scene, 1 or more.
        change: probability, 0 to 1, that a moment after the first shows other things.
        near: whether image, depth and heat show a square around the first thing, 1.1 to 2 times its size, instead
            of the whole scene.
        captions: captions a row.
        pool: averaged mel bins and frames of sounds: 1 gives (128, 204), 2 gives (64, 102).
        seconds: length of a sound, which its two-second clip is taken from.

    Raises:
        InputError: a value is out of range.
    """

    split: str = "train"
    start: int = 0
    count: int = 1000
    sensors: tuple[str, ...] = ("image",)
    side: int = 96
    things: int = 1
    moments: int = 1
    change: float = 0.0
    near: bool = False
    captions: int = 0
    pool: int = 2
    seconds: float = 2.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "sensors", tuple(self.sensors))
        unknown = [sensor for sensor in self.sensors if sensor not in SENSORS]
        limits = {
            "split": (self.split in _SPLITS, f"one of {', '.join(_SPLITS)}"),
            "start": (self.start >= 0, "0 or more"),
            "count": (self.count >= 1, "1 or more"),
            "sensors": (not unknown, f"some of {', '.join(SENSORS)}"),
            "side": (self.side >= 64, "64 pixels or more"),
            "things": (1 <= self.things <= 5, "1 to 5"),
            "moments": (self.moments >= 1, "1 or more"),
            "change": (0 <= self.change <= 1, "a probability from 0 to 1"),
            "captions": (self.captions >= 0, "0 or more"),
            "pool": (self.pool in (1, 2, 4), "1, 2 or 4"),
            "seconds": (self.seconds > 0, "a positive number of seconds"),
        }
        for name, (holds, expected) in limits.items():
            if not holds:
                raise InputError(f"world: {name}", found=repr(getattr(self, name)), expected=expected)
        if "imu" in self.sensors and self.things > 1:
            raise InputError("world: imu", found=f"{self.things} things", expected="one thing a scene")

    @property
    def rows(self) -> int:
        """Recordings in all: ``count`` times ``moments``."""
        return self.count * self.moments

    @property
    def names(self) -> tuple[str, ...]:
        """The things that stand first in a scene, in turn."""
        return tuple(MOVING if "imu" in self.sensors else NAMES)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as the world's directory keeps them."""
        values = {"format_version": FORMAT_VERSION} | asdict(self) | {"sensors": list(self.sensors)}
        if not self.near:  # so that worlds from before there were near ones keep their keys
            del values["near"]
        return values

    @property
    def key(self) -> str:
        """A name for its directory: equal specifications have equal keys."""
        text = json.dumps(self.to_dict() | {"sensors": sorted(self.sensors)}, sort_keys=True)
        return f"{self.split}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"
