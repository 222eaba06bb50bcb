"""What a motion recording's columns are: which channel, in which unit, or which clock."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

CHANNELS = ("acc_x", "acc_y", "acc_z", "gyro_x", "gyro_y", "gyro_z")
"""The network's order: accelerometer, then gyroscope. Source: the wording of the ImageBind paper."""

ACCELEROMETERS = (
    "acc", "accel", "accl", "accelerometer", "acceleration", "accelerometeracceleration", "imuacc",
    "rawacc", "a", "linearacceleration",
)  # fmt: skip
GYROSCOPES = (
    "gyro", "gyr", "gyroscope", "gyrorotation", "rotationrate", "gyroscoperotation", "motionrotationrate",
    "angularvelocity", "angvel", "imugyro", "rawgyro", "omega", "w", "g",
)  # fmt: skip
"""Names by phone apps (phyphox, SensorLog, Physics Toolbox, Sensor Logger), Ego4D (``accl``), Xsens
(``Acc_X``, ``Gyr_X``) and ROS, without punctuation, case, unit and axis; earlier ones win."""
CLOCKS = (
    "canonicaltimestamp", "timestamp", "time", "t", "secondselapsed", "elapsed", "sampletimefine",
    "componenttimestamp", "accelerometertimestampsincereboot", "unixtime", "epoch", "sensortime",
)  # fmt: skip
PREFERRED_CLOCKS = ("secondselapsed",)

STANDARD_GRAVITY = 9.80665
ACC_UNITS = {"m/s^2": 1.0, "g": STANDARD_GRAVITY, "mg": STANDARD_GRAVITY / 1000}
GYRO_UNITS = {"rad/s": 1.0, "deg/s": float(np.pi / 180), "mdeg/s": float(np.pi / 180_000)}
TIME_UNITS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9, "100us": 1e-4}
SPELLINGS = {
    "m/s^2": "m/s^2", "m/s2": "m/s^2", "m/s²": "m/s^2", "m/s**2": "m/s^2", "ms-2": "m/s^2", "m s^-2": "m/s^2",
    "mps2": "m/s^2", "m/s/s": "m/s^2", "g": "g", "gs": "g", "mg": "mg",
    "rad/s": "rad/s", "rads": "rad/s", "rps": "rad/s", "rad s^-1": "rad/s", "rad/sec": "rad/s",
    "deg/s": "deg/s", "dps": "deg/s", "°/s": "deg/s", "degs": "deg/s", "deg/sec": "deg/s", "º/s": "deg/s",
    "degrees/s": "deg/s", "mdps": "mdeg/s", "mdeg/s": "mdeg/s",
    "s": "s", "sec": "s", "secs": "s", "second": "s", "seconds": "s", "ms": "ms", "msec": "ms",
    "millis": "ms", "milliseconds": "ms", "us": "us", "µs": "us", "μs": "us", "micros": "us",
    "microseconds": "us", "ns": "ns", "nanos": "ns", "nanoseconds": "ns",
}  # fmt: skip
BRACKETED = re.compile(r"[(\[{]\s*([^)\]}]*?)\s*[)\]}]")
TRAILING_UNIT = re.compile(r"[ _.-](mps2|mg|rads|rps|dps|degs|mdps|s|sec|seconds|ms|us|ns)$", re.IGNORECASE)


@dataclass(frozen=True)
class Column:
    """A column's place in the recording: its name in the file, its unit if the name tells."""

    name: str
    unit: str | None


@dataclass(frozen=True)
class Columns:
    """Which column is which: channel name to column, the clock if there is one, and what is missing."""

    channels: dict[str, Column]
    clock: Column | None
    missing: tuple[str, ...]
    ambiguous: tuple[str, ...]


def unit_spelling(text: str) -> str | None:
    """The unit that ``text`` spells, in our spelling; ``None`` if it spells none."""
    return SPELLINGS.get(" ".join(text.strip().lower().split()))


def match_columns(names: Iterable[str]) -> Columns:
    """Find the six channels and the clock among column names.

    Where a file has several accelerometers (raw, without gravity), the best-known name wins; two columns
    of one and the same name are reported as ambiguous.
    """
    ranked: dict[str, list[tuple[int, Column]]] = {}
    for name in names:
        stem, unit = _split_unit(name)
        role = _role_of(stem)
        if role is None:
            continue
        if stem == "sampletimefine":
            unit = "100us"
        ranked.setdefault(role[0], []).append((role[1], Column(name, unit)))
    chosen, ambiguous = {}, []
    for role_name, candidates in ranked.items():
        candidates.sort(key=lambda candidate: candidate[0])
        if len(candidates) > 1 and candidates[0][0] == candidates[1][0]:
            ambiguous.append(f"{role_name}: {candidates[0][1].name!r} and {candidates[1][1].name!r}")
        chosen[role_name] = candidates[0][1]
    missing = tuple(channel for channel in CHANNELS if channel not in chosen)
    clock = chosen.pop("clock", None)
    return Columns(chosen, clock, missing, tuple(ambiguous))


def _split_unit(name: str) -> tuple[str, str | None]:
    """``"Gyro X (deg/s)"`` to ``("gyrox", "deg/s")``."""
    bare, unit = name.strip().lstrip("\ufeff"), None
    for bracket in BRACKETED.findall(bare):
        unit = unit_spelling(bracket) or unit
    bare = BRACKETED.sub("", bare).strip()
    trailing = TRAILING_UNIT.search(bare)
    if unit is None and trailing:
        unit, bare = unit_spelling(trailing.group(1)), bare[: trailing.start()]
    return re.sub(r"[^a-z0-9]", "", bare.lower()), unit


def _role_of(stem: str) -> tuple[str, int] | None:
    """The role of a column's bare name, and how far down the list of names it stands."""
    for sensor, aliases in (("acc", ACCELEROMETERS), ("gyro", GYROSCOPES)):
        for axis in "xyz":
            for body in (stem.removesuffix(axis) if stem.endswith(axis) else None,
                         stem.removeprefix(axis) if stem.startswith(axis) else None):  # fmt: skip
                if body in aliases:
                    return f"{sensor}_{axis}", aliases.index(body)
    if stem in CLOCKS:
        return "clock", -1 if stem in PREFERRED_CLOCKS else CLOCKS.index(stem)
    return None
