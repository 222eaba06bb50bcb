"""What one unit of a motion log's columns is in m/s^2 or rad/s.

A unit comes from an option, from a column name, from a row of units or from what is known of the logger. Where none
of these says it, the default is taken only if the values can be nothing else.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

import numpy as np

from bindplug.errors import InputError
from bindplug.inputs.imu.clocks import Clock
from bindplug.inputs.imu.columns import ACCELEROMETER, GRAVITY, GYROSCOPE, Table, Triple
from bindplug.inputs.imu.consistency import rotation_factor
from bindplug.inputs.imu.grid import Track
from bindplug.inputs.imu.options import SignalOptions, option_scale
from bindplug.inputs.imu.sensor_logs import Tables
from bindplug.inputs.imu.units import ACCELERATION, STANDARD_GRAVITY, TURN_RATE, parse_unit

KINDS = {ACCELEROMETER: ACCELERATION, GYROSCOPE: TURN_RATE, GRAVITY: ACCELERATION}
OPTIONS = {ACCELEROMETER: "acc_unit", GYROSCOPE: "gyro_unit", GRAVITY: "acc_unit"}
EXAMPLES = {
    ACCELEROMETER: "acc_unit='m/s^2', 'g', 'mg', or a number of m/s^2 a count",
    GYROSCOPE: "gyro_unit='rad/s', 'deg/s', 'mdps', or a number of rad/s a count",
}
DEFAULTS = {ACCELEROMETER: "m/s^2", GYROSCOPE: "rad/s", GRAVITY: "m/s^2"}
LIKE_G = (0.8, 1.25)
"""Median magnitudes that are gravity in g."""
FEW_M_S2, MANY_M_S2 = 5.0, 50.0
"""Median magnitudes below which gravity is missing, and above which no person or vehicle is."""
MANY_RAD_S, FULL_SCALE_RAD_S = 6.0, 35.0
"""A median that is 340 degrees a second, and the usual full scale of 2000 degrees a second."""
RARE_PEAK_M_S2 = 2000.0
"""200 g, beyond the sensors of phones, cameras and watches."""
IMPOSSIBLE = {ACCELEROMETER: 2e5, GYROSCOPE: 1e4}
"""Magnitudes beyond every sensor, in m/s^2 and rad/s."""
DEGREE, DOUBTFUL_PART = math.pi / 180, 0.4
_RANGE = re.compile(r"\s*[±+-]?\s*\d")
"""A full scale in place of a unit: 250dps, +-2 g."""


def axis_scales(
    sensor: str,
    triple: Triple,
    table: Table,
    raw: Mapping[str, np.ndarray],
    options: SignalOptions,
    clock: Clock | None,
    triples: Mapping[str, Triple],
    name: str,
) -> np.ndarray:
    """What one unit of each axis is in m/s^2 or rad/s, (3,)."""
    choice = options.unit(sensor)
    if choice is not None:
        return np.full(3, option_scale(OPTIONS[sensor], choice, KINDS[sensor]))
    # A text that is there but not understood must not become the default.
    texts = [table.unit_of(triple.axes[axis]) for axis in "xyz"]
    if any(text is not None for text in texts):
        return np.array([_named_scale(sensor, text, texts, triple, name) for text in texts])
    unit = _logger_unit(sensor, triple, table, raw, clock, triples)
    if unit is not None:
        return np.full(3, option_scale(OPTIONS[sensor], unit, KINDS[sensor]))
    if not table.units_are_given:
        _refuse_doubt(sensor, triple, raw[sensor], table, triples, options, name)
    return np.ones(3)


def _named_scale(sensor: str, text: str | None, texts: list[str | None], triple: Triple, name: str) -> float:
    parsed = parse_unit(text) if text is not None and not _RANGE.match(text) else None
    if parsed is not None and parsed.kind == KINDS[sensor]:
        return parsed.scale
    column = triple.axes["xyz"[texts.index(text)]].name
    unit = (
        f"in {text!r}, which is no known unit of {KINDS[sensor]}"
        if text is not None
        else "without a unit beside others with one"
    )
    remedy = f"State it: {EXAMPLES.get(sensor, EXAMPLES[ACCELEROMETER])}."
    raise InputError(
        name,
        found=f"a column {column!r} {unit}",
        expected=f"{DEFAULTS[sensor]} or a multiple of it",
        remedy=remedy,
    )


def _logger_unit(
    sensor: str,
    triple: Triple,
    table: Table,
    raw: Mapping[str, np.ndarray],
    clock: Clock | None,
    triples: Mapping[str, Triple],
) -> str | None:
    """The unit by which a logger is known, where its column names carry none."""
    if triple.words == ("gforce",):
        return "g"
    if GRAVITY in raw and sensor in (ACCELEROMETER, GRAVITY):
        unit = unit_of_gravity(raw[GRAVITY])
        if unit is not None and (sensor == GRAVITY or table.unit_of(triples[GRAVITY].axes["x"]) is None):
            return unit
    if sensor == GYROSCOPE:
        if _is_xsens_dot(table, clock):
            return "deg/s"
        beside = triples.get(ACCELEROMETER)
        if beside is not None and (beside.words == ("gforce",) or _is_core_motion(triple, triples)):
            return "rad/s"
    return None


def _is_xsens_dot(table: Table, clock: Clock | None) -> bool:
    """Xsens DOT logs microseconds and degrees per second; MTw and MTi log 10 kHz ticks and radians per second."""
    if clock is not None and "sampletimefine" in clock.name.lower().replace("_", "").replace(" ", ""):
        return clock.unit == "us"
    return any(line.lower().startswith(("devicetag", "measurement mode")) for line in table.preamble)


def _is_core_motion(triple: Triple, triples: Mapping[str, Triple]) -> bool:
    """Apple's rotationRate beside userAcceleration and gravity."""
    return triple.words[-2:] == ("rotation", "rate") and GRAVITY in triples


def _refuse_doubt(
    sensor: str,
    triple: Triple,
    values: np.ndarray,
    table: Table,
    triples: Mapping[str, Triple],
    options: SignalOptions,
    name: str,
) -> None:
    """Refuse values of no stated unit that can be other than m/s^2 or rad/s."""
    magnitude = median_length(values)
    columns = f"{triple.axes['x'].name!r} and its like, which name no unit"
    remedy = f"State it: {EXAMPLES.get(sensor, EXAMPLES[ACCELEROMETER])}."
    problem = ""
    if sensor != GYROSCOPE:
        if "user" in triple.words and GRAVITY not in triples:
            problem = f"{columns}: user acceleration is logged in g by some and in m/s^2 by others"
        elif table.raw_units:
            problem = f"{columns}, and metadata saying that units are as the device has them"
        elif LIKE_G[0] < magnitude < LIKE_G[1]:
            problem = f"{columns}: a median of {magnitude:.3g} looks like g"
        elif magnitude > MANY_M_S2:
            problem = f"{columns}: a median of {magnitude:.4g} is no acceleration in m/s^2 that people meet"
    else:
        # Not the maximum, so that a single wrong value does not refuse a whole log.
        with np.errstate(invalid="ignore"):
            peak = float(np.nanpercentile(np.linalg.norm(values, axis=0), 99.9))
        if magnitude > MANY_RAD_S or peak > FULL_SCALE_RAD_S:
            problem = (
                f"{columns}: a median of {magnitude:.3g} and a peak of {peak:.4g} look like degrees or counts"
            )
        elif triple.words == ("g",) and _is_steady_gravity(values):
            problem = f"{columns}: vectors of one length, {magnitude:.3g}, are gravity and no rotation"
        elif _acceleration_in_g(table, triples, options):
            problem = f"{columns}, beside acceleration in g, where rates are often in deg/s"
    if problem:
        raise InputError(name, found=problem, expected=f"a stated unit of {KINDS[sensor]}", remedy=remedy)


def _is_steady_gravity(values: np.ndarray) -> bool:
    lengths = np.linalg.norm(values, axis=0)
    return unit_of_gravity(values) is not None and float(np.nanstd(lengths)) < 0.01 * median_length(values)


def _acceleration_in_g(table: Table, triples: Mapping[str, Triple], options: SignalOptions) -> bool:
    triple = triples.get(ACCELEROMETER)
    if triple is None or options.acc_unit is not None:
        return False
    parsed = parse_unit(table.unit_of(triple.axes["x"]) or "")
    return parsed is not None and abs(parsed.scale / STANDARD_GRAVITY - 1) < 0.01


def median_length(values: np.ndarray) -> float:
    """The median length of vectors (3, T) without NaN."""
    with np.errstate(invalid="ignore", over="ignore"):
        lengths = np.sqrt((values * values).sum(axis=0))
    lengths = lengths[np.isfinite(lengths)]
    return float(np.median(lengths)) if lengths.size else 0.0


def notes_on_magnitudes(tracks: list[Track], tables: Tables) -> list[str]:
    """Magnitudes in stated units that suggest another unit."""
    acc, gyro = (median_length(track.values) for track in tracks)
    notes = []
    if LIKE_G[0] < acc < LIKE_G[1] and "" in tables and tables[""].units_are_given:
        notes.append(f"median acceleration {acc:.2f} m/s^2 looks like g; pass acc_unit='g' if it is")
    if acc > MANY_M_S2:
        notes.append(
            f"median acceleration {acc:.0f} m/s^2 is beyond people and vehicles; see acc_unit= if it is wrong"
        )
    peak = float(np.abs(tracks[0].values).max())
    if peak > RARE_PEAK_M_S2:
        notes.append(f"acceleration reaches {peak:.0f} m/s^2; are missing values written as numbers?")
    if gyro > FULL_SCALE_RAD_S:
        notes.append(f"median turn rate {gyro:.0f} rad/s looks like degrees; pass gyro_unit='deg/s' if it is")
    factor = rotation_factor(*tracks)
    if factor is not None and abs(factor / DEGREE - 1) < DOUBTFUL_PART:
        notes.append(
            "rates of turn that are 57 times what gravity's turns in the accelerometer show; pass gyro_unit='deg/s' if "
            "they are degrees a second"
        )
    elif factor is not None and abs(factor * DEGREE - 1) < DOUBTFUL_PART:
        notes.append(
            "rates of turn that are a 57th of what gravity's turns in the accelerometer show; pass gyro_unit='rad/s' "
            "if they are radians a second"
        )
    return notes


def check_range(sensor: str, values: np.ndarray, name: str) -> None:
    largest = float(np.abs(values).max())
    if not largest <= IMPOSSIBLE[sensor]:
        unit = DEFAULTS[sensor]
        remedy = f"State the unit: {EXAMPLES[sensor]}."
        problem = f"a value of {largest:.3g} {unit} on the {sensor}"
        raise InputError(
            name, found=problem, expected=f"at most {IMPOSSIBLE[sensor]:g} {unit}", remedy=remedy
        )


def unit_of_gravity(values: np.ndarray) -> str | None:
    """``"g"`` or ``"m/s^2"`` by the length of the vectors (3, T)."""
    length = median_length(values)
    units = (("g", 1.0), ("m/s^2", STANDARD_GRAVITY))
    return next((unit for unit, one in units if abs(length / one - 1) < 0.1), None)
