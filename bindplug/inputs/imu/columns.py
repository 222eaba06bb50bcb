"""Which columns of a motion log are the accelerometer's, the gyroscope's and the clock's."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from bindplug.inputs.imu.units import TIME, parse_unit

ACCELEROMETER, GYROSCOPE, GRAVITY, CLOCK = "accelerometer", "gyroscope", "gravity", "time"
SENSORS = (ACCELEROMETER, GYROSCOPE, GRAVITY)
CHANNELS = ("acc_x", "acc_y", "acc_z", "gyro_x", "gyro_y", "gyro_z")
"""The network's order: accelerometer, then gyroscope. Source: the wording of the ImageBind paper."""
PREFIXES = {ACCELEROMETER: "acc", GYROSCOPE: "gyro", GRAVITY: "gravity"}


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_ACCELERATION_WORDS = _words(
    "acc accel accels accl accelero accelerometer accelerometers acceleration accelerations rawacc imuacc "
    "beschleunigung accelerometeracceleration gf gforce"
)
_GYROSCOPE_WORDS = _words(
    "gyro gyr gyros gyroscope gyroscopes gyroskop omega rotationrate angularvelocity angularrate angvel "
    "rawgyro imugyro gyrorotation motionrotationrate gyroscoperotation"
)
_GYROSCOPE_PAIRS = frozenset(
    {("angular", "velocity"), ("angular", "velocities"), ("angular", "rate"), ("angular", "speed"),
     ("ang", "vel"), ("ang", "velocity"), ("rotation", "rate"), ("rotational", "velocity"),
     ("rotation", "speed"), ("turn", "rate")}
)  # fmt: skip
_GRAVITY_WORDS = frozenset({"gravity", "grav"})
_GRAVITY_FREE_WORDS = _words(
    "linear lin linearacceleration linacc user useracceleration free body freeacc lineare nogravity"
)
_OTHER_WORDS = _words(
    "mag magn magnetometer magnetic magnetfeld quat quaternion euler angle angles attitude orientation ori roll pitch "
    "yaw heading gps location cov covariance std stdev var variance bias err error offset noise mean avg min max "
    "median delta dv dq diff derivative jerk abs absolute norm magnitude temp temperature cmd command target setpoint "
    "ref reference pressure baro position pos velocity vel speed displacement integral confidence accuracy status"
)
"""Words of columns beside the six: other sensors, and statistics of these."""
_CALIBRATED = frozenset({"cal", "calibrated", "calib", "corrected"})
_UNCALIBRATED = frozenset({"uncal", "uncalibrated", "uncalib"})
_WEAK_WORDS = frozenset("awg")
"""Letters that name a sensor only where nothing else stands beside them."""
_SENSOR_WORDS = (
    _ACCELERATION_WORDS | _GYROSCOPE_WORDS | _GRAVITY_WORDS | _WEAK_WORDS | {"velocity", "vel", "rate"}
)
_PLAIN_ENDS = _CALIBRATED | _UNCALIBRATED | _words("filtered filt lp smoothed value values data")
"""Words after the axis that are no unit."""
_BARE_ANGLES = _words("deg degs degree degrees rad rads radian radians")
_RAW_WORDS = frozenset({"raw", "lsb", "lsbs", "count", "counts", "adc", "digit", "digits", "ticks", "int16"})
_PLAIN_BRACKETS = _words(
    "txt n utc gmt local unix epoch posix unixtime localtime since boot start reboot reset device system "
    "calibrated cal filtered smoothed low high noise wide range"
)
"""Words in brackets that are no unit and change nothing."""
_WITHOUT_GRAVITY = re.compile(r"(without|w/o|no|excluding|excl\.?|minus) ?(g|gravity)$", re.IGNORECASE)
_WITH_GRAVITY = re.compile(r"(with|including|incl\.?|plus) ?(g|gravity)$", re.IGNORECASE)
_ZONE = re.compile(r"(utc|gmt)?[+-]\d{1,2}:?\d{0,2}$", re.IGNORECASE)
_BRACKETED = re.compile(r"[(\[{]((?:[^()\[\]{}]|[(\[{][^()\[\]{}]*[)\]}])*)[)\]}]")
_WORD = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-zäöüß']+|[A-Z]+|\d+")
_G_FORCE = re.compile(r"^g[ _]?f(?:orce)?[ _.]?([xyz])$", re.IGNORECASE)
_CLOCK_RANKS = (
    "datetime index", "seconds elapsed", "elapsed", "chip time", "header stamp",
    "canonical timestamp", "sample time fine", "timestamp", "time stamp", "time", "t",
    "time since start", "timestamp unix", "timestamp shimmer", "accelerometer timestamp since reboot", "unix time",
    "epoch", "unix timestamp", "sensor time", "sensor timestamp", "component timestamp", "cts", "stamp",
    "logging time", "date time", "datetime", "date",
)  # fmt: skip
"""Clock names by preference; of two that can be read the earlier is used."""
_CLOCK_WORDS = _words(
    "timestamp timestamps time times elapsed stamp epoch cts date datetime zeit clock sampletimefine"
)
_OTHER_CLOCKS = _words("location gps altimeter pedometer activity battery exposure zone")


@dataclass(frozen=True)
class ColumnName:
    """A column's name in its parts.

    Attributes:
        name: as it stands in the file.
        words: lower case, without axis, unit and qualifiers.
        axis: ``"x"``, ``"y"``, ``"z"``, or ``None``.
        unit: the text of its unit, understood or not; ``None`` if the name has none.
        qualifiers: such as ``"calibrated"``, ``"raw"``, ``"gravity-free"``.
    """

    name: str
    words: tuple[str, ...]
    axis: str | None = None
    unit: str | None = None
    qualifiers: frozenset[str] = frozenset()


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
    names: Iterable[str], sensor: str | None = None, chosen: Mapping[str, str] | None = None
) -> Columns:
    """Find sensors and clocks among column names.

    Args:
        names: the header.
        sensor: whose log this is; then columns that are called ``x``, ``y`` and ``z`` alone are its axes.
        chosen: columns by channel (``acc_x`` ... ``gyro_z``, ``time``) that the caller names.
    """
    names = list(names)
    columns = _match_by_name(names, sensor)
    known = {key: name for key, name in (chosen or {}).items() if name in names}
    for part, prefix in ((ACCELEROMETER, "acc"), (GYROSCOPE, "gyro")):
        axes = {axis: parse_name(known[f"{prefix}_{axis}"]) for axis in "xyz" if f"{prefix}_{axis}" in known}
        if axes:
            first = next(iter(axes.values()))
            role = _sensor_of(first, part) if first.axis else None
            columns.triples[part] = [Triple(part, first.words, bool(role and role[1]), -1, axes)]
    if CLOCK in known:
        columns.clocks[:] = [parse_name(known[CLOCK])]
    return columns


def _match_by_name(names: list[str], sensor: str | None) -> Columns:
    parsed = [parse_name(name) for name in names]
    triples: dict[str, dict[tuple[str, ...], Triple]] = {}
    clocks: list[tuple[int, ColumnName]] = []
    for column in parsed:
        role = _sensor_of(column, sensor) if column.axis else None
        if role is None:
            rank = _clock_rank(column)
            if rank is not None:
                clocks.append((rank, column))
            continue
        counts = ("raw",) if (column.unit or "").lower() in _RAW_WORDS else ()
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


def parse_name(name: str) -> ColumnName:
    """``"Gyro X (deg/s)"`` to the words ``("gyro",)``, the axis ``"x"`` and the unit ``"deg/s"``."""
    bare = name.strip().strip("\ufeff\"'").strip().lstrip("#%").strip()
    qualifiers: set[str] = set()
    axis = unit = None
    for content in _BRACKETED.findall(bare):
        text = content.strip()
        if not text:
            continue
        if text.lower().removesuffix("-axis").removesuffix(" axis") in ("x", "y", "z"):
            axis = text[0].lower()
        elif _WITHOUT_GRAVITY.match(text):
            qualifiers.add("gravity-free")
        elif _WITH_GRAVITY.match(text) or _ZONE.match(text):
            continue
        elif _weight(text) > _weight(unit):
            unit = text
    bare = " ".join(_BRACKETED.sub(" ", bare).split()).strip(" ,;:_-./")
    force = _G_FORCE.match(bare)
    if force:
        return ColumnName(name, ("gforce",), force.group(1).lower(), unit, frozenset(qualifiers))
    spots = _split_words(bare)
    tail = len(spots)
    if axis is None:
        spots, axis, tail = _take_axis(spots)
    words, spelled = _take_unit(spots, bare, tail) if axis else _take_time_unit(spots, bare)
    unit = unit if unit is not None else spelled
    for group, qualifier in ((_CALIBRATED, "calibrated"), (_UNCALIBRATED, "uncalibrated")):
        if group & set(words):
            qualifiers.add(qualifier)
            words = [word for word in words if word not in group]
    return ColumnName(name, tuple(words), axis, unit, frozenset(qualifiers))


def _weight(bracket: str | None) -> int:
    """How much the text of a bracket says of a unit: raw counts most, then a known unit, then an unknown one."""
    if bracket is None:
        return 0
    words = {word.lower() for word in _WORD.findall(bracket)}
    if words & _RAW_WORDS:
        return 3
    if parse_unit(bracket):
        return 2
    return 0 if words <= _PLAIN_BRACKETS else 1


def _split_words(text: str) -> list[tuple[str, int]]:
    """The words of a name in lower case, split at punctuation and at capitals, and where each starts."""
    matches = _WORD.finditer(text)
    return [(m.group().lower(), m.start()) for m in matches if m.group().lower() not in ("axis", "achse")]


def _take_axis(words: list[tuple[str, int]]) -> tuple[list[tuple[str, int]], str | None, int]:
    """The words without the axis, the axis, and the index of the first word after it."""
    letters = [index for index, (word, _) in enumerate(words) if word in ("x", "y", "z")]
    if len(letters) == 1:
        (at,) = letters
        return words[:at] + words[at + 1 :], words[at][0], at
    if letters:
        return words, None, len(words)
    for at, (word, start) in enumerate(words):
        last, first = (word[:-1], word[-1:]), (word[1:], word[:1])  # "ax" and "accx", or "xacc"
        for (rest, letter), weak in ((last, _WEAK_WORDS), (first, frozenset())):
            if letter in ("x", "y", "z") and rest in _ACCELERATION_WORDS | _GYROSCOPE_WORDS | weak:
                return [*words[:at], (rest, start), *words[at + 1 :]], letter, at + 1
    return words, None, len(words)


def _take_unit(words: list[tuple[str, int]], text: str, tail: int) -> tuple[list[str], str | None]:
    """The words without a unit written among them, and the unit: ``acc_x_g``, ``gyro_x_deg_s``, ``time_ms``.

    Args:
        words: of the name, without the axis, and where they start in ``text``.
        text: the name without brackets.
        tail: index of the first word after the axis.
    """
    plain = [word for word, _ in words]
    sensor_ends = [at + 1 for at, word in enumerate(plain) if word in _SENSOR_WORDS]
    tail = max(tail, sensor_ends[-1]) if sensor_ends and tail == 0 else tail
    for at in range(max(1, tail), len(words)):
        spelled = text[words[at][1] :].strip()
        if any(
            parse_unit(form) for form in (spelled, spelled.replace("_", "/", 1), spelled.replace("_", " "))
        ):
            return plain[:at], spelled.replace("_", "/", 1) if parse_unit(spelled) is None else spelled
    rest = [word for word in plain[tail:] if word not in _PLAIN_ENDS]
    if rest and tail:
        return plain[:tail] + [word for word in plain[tail:] if word in _PLAIN_ENDS], " ".join(rest)
    for word in plain[1:]:  # in the middle: "acc_mg_x", "gyro_dps_x"
        parsed = parse_unit(word)
        if word in _BARE_ANGLES or (parsed and parsed.kind != TIME and word not in _GRAVITY_WORDS):
            return [other for other in plain if other != word], word
    return plain, None


def _take_time_unit(words: list[tuple[str, int]], text: str) -> tuple[list[str], str | None]:
    """As :func:`_take_unit` of a clock: ``time_ms``, ``seconds_elapsed``, ``time since start in ms``."""
    plain = [word for word, _ in words]
    for at in range(1, len(words)):
        parsed = parse_unit(text[words[at][1] :])
        if parsed and parsed.kind == TIME:
            return [word for word in plain[:at] if word != "in"], text[words[at][1] :]
    for word in plain:
        parsed = parse_unit(word) if len(word) > 1 else None
        if parsed and parsed.kind == TIME:
            return (plain if word == "seconds" else [other for other in plain if other != word]), word
    if len(plain) > 1 and plain[-1] in _RAW_WORDS:
        return plain[:-1], plain[-1]
    return plain, None


def _sensor_of(column: ColumnName, sensor: str | None) -> tuple[str, bool] | None:
    """Which sensor a column with an axis belongs to, and whether gravity is taken out."""
    words = list(column.words)
    plain = [
        word for word in words if word not in ("attr", "value", "values", "data", "sensor", "measurement")
    ]
    if not plain:
        return (sensor, "gravity-free" in column.qualifiers) if sensor else None
    present = set(words)
    if present & _OTHER_WORDS - {"velocity", "vel", "speed"}:
        return None
    turning = bool(present & _GYROSCOPE_WORDS) or any(pair in _GYROSCOPE_PAIRS for pair in pairwise(words))
    if present & {"velocity", "vel", "speed"} and not turning:
        return None
    free = "gravity-free" in column.qualifiers or bool(present & _GRAVITY_FREE_WORDS)
    moving = bool(present & _ACCELERATION_WORDS) or bool(
        present & {"linearacceleration", "useracceleration", "linacc", "freeacc"}
    )
    if turning:
        return None if moving else (GYROSCOPE, False)
    if moving:
        return ACCELEROMETER, free and "including" not in present
    if present & _GRAVITY_WORDS:
        return GRAVITY, False
    words = [word for word in words if word not in ("imu", "raw", "data")]
    if words and (len(words) == 1 or set(words[1:]) <= {"rs", "s"}):  # EuRoC: a_RS_S_x
        return {"a": (ACCELEROMETER, False), "w": (GYROSCOPE, False), "g": (GYROSCOPE, False)}.get(words[0])
    return None


def _rank_of(column: ColumnName) -> int:
    """Preference among several triples of one sensor; equal ranks are an ambiguity."""
    words = set(column.words)
    rank = 0
    rank += 8 * ("uncalibrated" in column.qualifiers or (column.unit or "").lower() in _RAW_WORDS)
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
    if not set(words) & (_CLOCK_WORDS | {"t"}) or set(words) & _OTHER_CLOCKS:
        return None
    joined = " ".join(words)
    if joined in _CLOCK_RANKS:
        return _CLOCK_RANKS.index(joined)
    if not set(words) & _CLOCK_WORDS:
        return None
    return len(_CLOCK_RANKS) + len(words)


def _owner(clock: ColumnName) -> str | None:
    """The sensor whose name is among a clock's words."""
    words = set(clock.words)
    if words & _ACCELERATION_WORDS:
        return ACCELEROMETER
    return GYROSCOPE if words & _GYROSCOPE_WORDS else None


@dataclass(frozen=True)
class Table:
    """The columns of a log that matter, before units and clocks are understood.

    Attributes:
        columns: by name, (T,): float64 of the axes; numbers, texts or dates of the clocks.
        matches: which of them is what.
        names: every column of the log, for error messages.
        units: texts of a row of units, by column name.
        preamble: lines before the header.
        stated: whether units are stated by the interface (arrays) and not by a file.
        raw_units: whether the log says that its units depend on the device.
    """

    columns: Mapping[str, np.ndarray]
    matches: Columns
    names: tuple[str, ...]
    units: Mapping[str, str] = field(default_factory=dict)
    preamble: tuple[str, ...] = ()
    stated: bool = False
    raw_units: bool = False

    def unit_of(self, column: ColumnName) -> str | None:
        """The text of a column's unit, from its name or the row of units."""
        return column.unit if column.unit is not None else self.units.get(column.name)
