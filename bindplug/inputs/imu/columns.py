"""Which columns of a motion log are the accelerometer's, the gyroscope's and the clock's."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from bindplug.inputs.imu.names import (
    ACCELERATION_WORDS,
    CLOCK_WORDS,
    GRAVITY_WORDS,
    GYROSCOPE_WORDS,
    RAW_WORDS,
    ColumnName,
    parse_name,
    word_set,
)
from bindplug.inputs.imu.units import ACCELERATION, TIME, TURN_RATE, parse_unit

ACCELEROMETER, GYROSCOPE, GRAVITY, CLOCK = "accelerometer", "gyroscope", "gravity", "time"
SENSORS = (ACCELEROMETER, GYROSCOPE, GRAVITY)
CHANNELS = ("acc_x", "acc_y", "acc_z", "gyro_x", "gyro_y", "gyro_z")
"""The network's order: accelerometer, then gyroscope. Source: the wording of the ImageBind paper."""
PREFIXES = {ACCELEROMETER: "acc", GYROSCOPE: "gyro", GRAVITY: "gravity"}


_GYROSCOPE_PAIRS = frozenset(
    {("angular", "velocity"), ("angular", "velocities"), ("angular", "rate"), ("angular", "speed"),
     ("ang", "vel"), ("ang", "velocity"), ("rotation", "rate"), ("rotational", "velocity"),
     ("rotation", "speed"), ("turn", "rate")}
)  # fmt: skip
_GRAVITY_FREE_WORDS = word_set(
    "linear lin linearacceleration linacc linacce user useracceleration free body freeacc lineare nogravity"
)
_OTHER_WORDS = word_set(
    "mag magn magnetometer magnetic magnetfeld quat quaternion euler angle angles attitude orientation ori roll pitch "
    "yaw heading gps location cov covariance std stdev var variance bias err error offset noise mean avg min max "
    "median delta dv dq diff derivative jerk abs absolute norm magnitude temp temperature cmd command target setpoint "
    "ref reference pressure baro position pos velocity vel speed displacement integral confidence accuracy status"
)
"""Words of columns beside the six: other sensors, and statistics of these."""
_CLOCK_RANKS = (
    "datetime index", "seconds elapsed", "elapsed", "chip time", "header stamp",
    "canonical timestamp", "sample time fine", "timestamp", "time stamp", "time", "t",
    "time since start", "timestamp unix", "timestamp shimmer", "accelerometer timestamp since reboot", "unix time",
    "epoch", "utime", "unix timestamp", "sensor time", "sensor timestamp", "component timestamp", "cts", "stamp",
    "logging time", "date time", "datetime", "date",
)  # fmt: skip
"""Clock names by preference; of two that can be read the earlier is used."""
_OTHER_CLOCKS = word_set("location gps altimeter pedometer activity battery exposure zone")


@dataclass
class Triple:
    """The x, y and z columns of one sensor.

    Attributes:
        sensor: ``"accelerometer"``, ``"gyroscope"`` or ``"gravity"``.
        words: what their names share.
        axes: the parsed name by axis.
        gravity_free: whether the names say that gravity was taken out.
        rank: lower is preferred.
        duplicates: pairs of column names that mean the same axis.
    """

    sensor: str
    words: tuple[str, ...]
    gravity_free: bool
    rank: int
    axes: dict[str, ColumnName] = field(default_factory=dict)
    duplicates: list[tuple[str, str]] = field(default_factory=list)

    @property
    def is_complete(self) -> bool:
        """Whether all three axes are there."""
        return len(self.axes) == 3


@dataclass(frozen=True)
class Columns:
    """The columns of a log that matter, best first within each sensor.

    Attributes:
        triples: by sensor.
        clocks: candidates for the clock, best first.
    """

    triples: dict[str, list[Triple]]
    clocks: list[ColumnName]

    @property
    def names(self) -> list[str]:
        """Every column that some role refers to."""
        axes = [
            axis.name for group in self.triples.values() for triple in group for axis in triple.axes.values()
        ]
        return axes + [clock.name for clock in self.clocks]

    def clocks_of(self, sensor: str) -> list[ColumnName]:
        """Clock candidates for a sensor: its own, if each of the two has one; else those of no sensor first."""
        owners = [(_owner(clock), clock) for clock in self.clocks]
        if {ACCELEROMETER, GYROSCOPE} <= {owner for owner, _ in owners}:
            own = [clock for owner, clock in owners if owner == sensor]
            return own + [clock for owner, clock in owners if owner is None]
        return [clock for _, clock in owners]

    @property
    def channel_count(self) -> int:
        """How many columns are axes of a sensor."""
        return sum(len(triple.axes) for group in self.triples.values() for triple in group)

    def best(self, sensor: str) -> tuple[Triple | None, list[str]]:
        """The preferred complete triple of ``sensor``, and the names that are as good (an ambiguity)."""
        complete = [triple for triple in self.triples.get(sensor, []) if triple.is_complete]
        if not complete:
            return None, []
        first = complete[0]
        rivals = [name for pair in first.duplicates for name in pair]
        for other in complete[1:]:
            if (other.rank, other.gravity_free) == (first.rank, first.gravity_free):
                rivals += [first.axes["x"].name, other.axes["x"].name]
        return first, list(dict.fromkeys(rivals))


def match_columns(
    names: Iterable[str], sensor: str | None = None, choice: Mapping[str, str] | None = None
) -> Columns:
    """Find sensors and clocks among column names.

    Args:
        names: the header.
        sensor: whose log this is; then columns that are called ``x``, ``y`` and ``z`` alone are its axes.
        choice: columns by channel (``acc_x`` ... ``gyro_z``, ``time``) that the caller names.
    """
    names = list(names)
    columns = _match_by_name(names, sensor)
    by_channel = {key: name for key, name in (choice or {}).items() if name in names}
    for part, prefix in ((ACCELEROMETER, "acc"), (GYROSCOPE, "gyro")):
        axes = {
            axis: parse_name(by_channel[f"{prefix}_{axis}"])
            for axis in "xyz"
            if f"{prefix}_{axis}" in by_channel
        }
        if axes:
            first = next(iter(axes.values()))
            role = _sensor_of(first, part) if first.axis else None
            columns.triples[part] = [Triple(part, first.words, bool(role and role[1]), -1, axes)]
    if CLOCK in by_channel:
        columns.clocks[:] = [parse_name(by_channel[CLOCK])]
    return columns


def _match_by_name(names: list[str], sensor: str | None) -> Columns:
    parsed = [parse_name(name) for name in names]
    triples: dict[str, dict[tuple[str, ...], Triple]] = {}
    clocks: list[tuple[int, ColumnName]] = []
    for column in parsed:
        role = _sensor_of(column, sensor) if column.axis and not _is_time_of_axis(column) else None
        if role is None:
            rank = _clock_rank(column)
            if rank is not None:
                clocks.append((rank, column))
            continue
        counts = ("raw",) if (column.unit or "").lower() in RAW_WORDS else ()
        # Units are not part of the key: loggers spell them differently on each axis.
        key = (*column.words, *sorted(column.qualifiers), *counts)
        group = triples.setdefault(role[0], {})
        triple = group.setdefault(key, Triple(role[0], column.words, role[1], _rank_of(column)))
        assert column.axis is not None
        if column.axis in triple.axes:
            triple.duplicates.append((triple.axes[column.axis].name, column.name))
        else:
            triple.axes[column.axis] = column
    ordered = {name: sorted(group.values(), key=lambda t: t.rank) for name, group in triples.items()}
    return Columns(_without_rivals(ordered), [column for _, column in sorted(clocks, key=lambda c: c[0])])


def _is_time_of_axis(column: ColumnName) -> bool:
    """Whether a column with an axis is the clock of that axis, as Delsys' ``X[s]`` and ``ACC X Time Series (s)``."""
    parsed = parse_unit(column.unit or "")
    return parsed is not None and parsed.kind == TIME and (not column.words or "time" in column.name.lower())


def _sensor_of(column: ColumnName, sensor: str | None) -> tuple[str, bool] | None:
    """Which sensor a column with an axis belongs to, and whether gravity is taken out."""
    words = list(column.words)
    plain = [
        word for word in words if word not in ("attr", "value", "values", "data", "sensor", "measurement")
    ]
    if not plain and sensor is None:
        # MbientLab: "x-axis (g)" beside "x-axis (deg/s)"
        parsed = parse_unit(column.unit or "")
        sensor = {ACCELERATION: ACCELEROMETER, TURN_RATE: GYROSCOPE}.get(parsed.kind) if parsed else None
    if not plain:
        return (sensor, "gravity-free" in column.qualifiers) if sensor else None
    present = set(words)
    if present & _OTHER_WORDS - {"velocity", "vel", "speed"}:
        return None
    turning = bool(present & GYROSCOPE_WORDS) or any(pair in _GYROSCOPE_PAIRS for pair in pairwise(words))
    if present & {"velocity", "vel", "speed"} and not turning:
        return None
    free = "gravity-free" in column.qualifiers or bool(present & _GRAVITY_FREE_WORDS)
    moving = bool(present & ACCELERATION_WORDS) or bool(
        present & {"linearacceleration", "useracceleration", "linacc", "linacce", "freeacc"}
    )
    if turning:
        return None if moving else (GYROSCOPE, False)
    if moving:
        return ACCELEROMETER, free and "including" not in present
    if present & GRAVITY_WORDS:
        return GRAVITY, False
    words = [word for word in words if word not in ("imu", "raw", "data")]
    if words and (len(words) == 1 or set(words[1:]) <= {"rs", "s"}):  # EuRoC: a_RS_S_x
        # WitMotion: AsX; OpenIMU: rateX
        turning_words = dict.fromkeys(("w", "g", "as", "rate"), GYROSCOPE)
        sensors = {"a": ACCELEROMETER, **turning_words}
        return (sensors[words[0]], False) if words[0] in sensors else None
    return None


def _rank_of(column: ColumnName) -> int:
    """Preference among several triples of one sensor; equal ranks are an ambiguity."""
    words = set(column.words)
    rank = 0
    rank += 8 * ("uncalibrated" in column.qualifiers or (column.unit or "").lower() in RAW_WORDS)
    rank += 4 * bool(words & {"wr", "wide"}) + 2 * bool(words & {"motion"}) + 16 * bool(words & {"g"})
    return rank + bool(words & {"raw", "data"})


def _without_rivals(triples: dict[str, list[Triple]]) -> dict[str, list[Triple]]:
    """Put acceleration with gravity first; where g-forces are logged, bare ``ax`` is without gravity."""
    group = triples.get(ACCELEROMETER, [])
    if any(triple.words == ("gforce",) or "including" in triple.words for triple in group):
        for triple in group:  # Physics Toolbox: gFx beside ax; DeviceMotion: accelerationIncludingGravity
            triple.gravity_free |= triple.words in (("a",), ("acceleration",))
    turning = triples.get(GYROSCOPE, [])
    if group and all(triple.gravity_free for triple in group) and turning:  # ROS: REP 145 keeps gravity in
        for triple in group:
            angular = {"angular", "angularvelocity"} & set(turning[0].words)
            triple.gravity_free &= not (angular and {"linear", "linearacceleration"} & set(triple.words))
    triples[ACCELEROMETER] = sorted(group, key=lambda triple: (triple.gravity_free, triple.rank))
    return triples


def _clock_rank(column: ColumnName) -> int | None:
    words = [word for word in column.words if word not in ("field", "raw", "imu", "data")]
    if column.axis and _is_time_of_axis(column):
        return len(_CLOCK_RANKS) + 1
    if not set(words) & (CLOCK_WORDS | {"t"}) or set(words) & _OTHER_CLOCKS:
        return None
    text = " ".join(words)
    if text in _CLOCK_RANKS:
        return _CLOCK_RANKS.index(text)
    if not set(words) & CLOCK_WORDS:
        return None
    return len(_CLOCK_RANKS) + len(words)


def _owner(clock: ColumnName) -> str | None:
    """The sensor whose name is among a clock's words."""
    words = set(clock.words)
    if words & ACCELERATION_WORDS:
        return ACCELEROMETER
    return GYROSCOPE if words & GYROSCOPE_WORDS else None


@dataclass(frozen=True)
class Table:
    """The columns of a log that matter, before units and clocks are understood.

    Attributes:
        columns: by name, (T,): float64 of the axes; numbers, texts or dates of the clocks.
        matches: which of them is what.
        names: every column of the log, for error messages.
        units: texts of a row of units, by column name.
        preamble: lines before the header.
        units_are_given: whether units are stated by the interface (arrays) and not by a file.
        raw_units: whether the log says that its units depend on the device.
        source: the file's name for errors, where a recording is several.
        sensor_column: the column that names each row's sensor; ``""`` where columns do.
        notes: repairs made while reading.
    """

    columns: Mapping[str, np.ndarray]
    matches: Columns
    names: tuple[str, ...]
    units: Mapping[str, str] = field(default_factory=dict)
    preamble: tuple[str, ...] = ()
    units_are_given: bool = False
    raw_units: bool = False
    source: str = ""
    sensor_column: str = ""
    notes: tuple[str, ...] = ()

    def unit_of(self, column: ColumnName) -> str | None:
        """The text of a column's unit, from its name or the row of units."""
        return column.unit if column.unit is not None else self.units.get(column.name)
