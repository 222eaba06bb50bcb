"""The parts of a column's name in a motion log: its words, its axis, its unit, and remarks such as "calibrated"."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from bindplug.inputs.imu.languages import in_english
from bindplug.inputs.imu.units import TIME, parse_unit


def word_set(text: str) -> frozenset[str]:
    """The words of a text."""
    return frozenset(text.split())


ACCELERATION_WORDS = word_set(
    "acc acce accel accels accl accelero accelerometer accelerometers acceleration accelerations rawacc imuacc "
    "beschleunigung accelerometeracceleration gf gforce"
)
GYROSCOPE_WORDS = word_set(
    "gyro gyr gyros gyroscope gyroscopes gyroskop omega rotationrate angularvelocity angularrate angvel "
    "rawgyro imugyro gyrorotation motionrotationrate gyroscoperotation"
)
GRAVITY_WORDS = frozenset({"gravity", "grav"})
_CALIBRATED = frozenset({"cal", "calibrated", "calib", "corrected"})
_UNCALIBRATED = frozenset({"uncal", "uncalibrated", "uncalib"})
_WEAK_WORDS = frozenset({"a", "w", "g", "as"})
"""Letters that name a sensor only where nothing else stands beside them."""
_SENSOR_WORDS = (
    ACCELERATION_WORDS | GYROSCOPE_WORDS | GRAVITY_WORDS | _WEAK_WORDS | {"velocity", "vel", "rate"}
)
_PLAIN_ENDS = _CALIBRATED | _UNCALIBRATED | word_set("filtered filt lp smoothed value values data")
"""Words after the axis that are no unit."""
_BARE_ANGLES = word_set("deg degs degree degrees rad rads radian radians")
RAW_WORDS = frozenset({"raw", "lsb", "lsbs", "count", "counts", "adc", "digit", "digits", "ticks", "int16"})
_PLAIN_BRACKETS = word_set(
    "txt n utc gmt local unix epoch posix unixtime localtime since boot start reboot reset device system "
    "calibrated cal filtered smoothed low high noise wide range"
)
"""Words in brackets that are no unit and change nothing."""
_WITHOUT_GRAVITY = re.compile(
    r"(?<![a-z])(without|w/o|no|excluding|excl\.?|minus|ohne|sans|sin|senza|sem|zonder)[ _]?(g|gravity)(?![a-z])",
    re.IGNORECASE,
)
_WITH_GRAVITY = re.compile(
    r"(?<![a-z])(with|including|incl\.?|plus|mit|avec|con|com|met)[ _]?(g|gravity)(?![a-z])", re.IGNORECASE
)
_ZONE = re.compile(r"(utc|gmt)?[+-]\d{1,2}:?\d{0,2}$", re.IGNORECASE)
_BRACKETED = re.compile(r"[(\[{]((?:[^()\[\]{}]|[(\[{][^()\[\]{}]*[)\]}])*)[)\]}]")
_WORD = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-zäöüß']+|[A-Z]+|\d+")
_G_FORCE = re.compile(r"^g[ _]?f(?:orce)?[ _.]?([xyz])$", re.IGNORECASE)
_JOINED_UNIT = re.compile(r"(.*[a-z])([XYZ])([a-z]+\d?)$")
"""An axis with its unit behind it: gyroXradps."""
_INDICES = ("0", "1", "2")
"""Array indices in brackets that stand for x, y and z where no letter does."""
_PX4_INDEX = re.compile(r"(gyro_rad|accelerometer_m_s2)[.\[]0?([012])\]?$")
"""As ulog2csv and PlotJuggler write an array's columns."""
_PX4_GYROSCOPE = re.compile(r"(.*/)?gyro_rad[.\[]0?[012]\]?$")
"""Rates of turn in rad/s. Source: PX4's message sensor_combined."""
CLOCK_WORDS = word_set(
    "timestamp timestamps time times elapsed stamp tstamp ts epoch cts date datetime zeit clock sampletimefine "
    "millis micros nanos ms msec milliseconds us usec utime usecs microseconds ns nsec nsecs nanoseconds nanosec "
    "sec secs seconds msecs"
)


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


@lru_cache(maxsize=8192)
def parse_name(name: str) -> ColumnName:
    """``"Gyro X (deg/s)"`` to the words ``("gyro",)``, the axis ``"x"`` and the unit ``"deg/s"``."""
    bare = in_english(name.strip().strip("\ufeff\"'").strip().lstrip("#%").strip())
    bare = _PX4_INDEX.sub(r"\1[\2]", bare)
    unit_behind = _JOINED_UNIT.match(bare)
    if unit_behind and parse_unit(unit_behind[3]):
        bare = " ".join(unit_behind.groups())
    qualifiers: set[str] = set()
    axis = unit = indexed_axis = None
    for content in _BRACKETED.findall(bare):
        text = content.strip()
        if not text:
            continue
        if text.lower().removesuffix("-axis").removesuffix(" axis") in ("x", "y", "z"):
            axis = text[0].lower()
        elif text in _INDICES:
            indexed_axis = "xyz"[int(text)]
        elif _WITHOUT_GRAVITY.fullmatch(text):
            qualifiers.add("gravity-free")
        elif _WITH_GRAVITY.fullmatch(text) or _ZONE.match(text):
            continue
        elif _weight(text) > _weight(unit):
            unit = text
    bare = " ".join(_BRACKETED.sub(" ", bare).split()).strip(" ,;:_-./")
    if _WITHOUT_GRAVITY.search(bare):
        qualifiers.add("gravity-free")
        bare = " ".join(_WITHOUT_GRAVITY.sub(" ", bare).split())
    force = _G_FORCE.match(bare)
    if force:
        return ColumnName(name, ("gforce",), force.group(1).lower(), unit, frozenset(qualifiers))
    spots = _split_words(bare)
    tail = len(spots)
    if axis is None:
        spots, axis, tail = _take_axis(spots)
    else:
        tail = 0
    if axis is None and indexed_axis is not None:
        axis, tail = indexed_axis, 0
    words, spelled = _take_unit(spots, bare, tail) if axis else _take_time_unit(spots, bare)
    unit = unit if unit is not None else spelled
    if unit == "rad" and _PX4_GYROSCOPE.match(name.strip()):
        unit = "rad/s"
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
    if words & RAW_WORDS:
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
            if letter in ("x", "y", "z") and rest in ACCELERATION_WORDS | GYROSCOPE_WORDS | weak:
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
        for form in (spelled, spelled.replace("_", "/", 1), spelled.replace("_", " ")):
            if parse_unit(form):
                return plain[:at], form
    rest = [word for word in plain[tail:] if word not in _PLAIN_ENDS]
    if rest and tail:
        return plain[:tail] + [word for word in plain[tail:] if word in _PLAIN_ENDS], " ".join(rest)
    for word in plain[1:]:  # in the middle: "acc_mg_x", "gyro_dps_x"
        parsed = parse_unit(word)
        if word in _BARE_ANGLES or (parsed and parsed.kind != TIME and word not in GRAVITY_WORDS):
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
            rest = [other for other in plain if other != word]
            return (plain if word == "seconds" or not rest else rest), word
    if len(plain) > 1 and plain[-1] in RAW_WORDS:
        return plain[:-1], plain[-1]
    return plain, None
