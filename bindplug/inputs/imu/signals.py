"""From a log's table to the accelerometer's and the gyroscope's samples in m/s^2 and rad/s, with their times.

A unit comes from an option, from a column name, from a row of units or from what is known of the logger. Where none
of these says it, the default is taken only if the values can be nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from bindplug.errors import InputError, OptionError
from bindplug.inputs.imu.clocks import Clock, read_clock
from bindplug.inputs.imu.columns import (
    ACCELEROMETER,
    CHANNELS,
    CLOCK,
    GRAVITY,
    GYROSCOPE,
    PREFIXES,
    ColumnName,
    Table,
    Triple,
)
from bindplug.inputs.imu.files import ColumnChoice, Tables
from bindplug.inputs.imu.grid import Track, even_track, even_values
from bindplug.inputs.imu.text import BLANK_CELLS
from bindplug.inputs.imu.units import ACCELERATION, STANDARD_GRAVITY, TIME, TURN_RATE, parse_unit

UnitOption = str | float | None
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
IMPOSSIBLE = {ACCELEROMETER: 2e5, GYROSCOPE: 1e4}
"""Magnitudes beyond every sensor, in m/s^2 and rad/s."""
RATE_TOLERANCE = 0.05
LEAST_OVERLAP = 0.5
MANY_BLANKS = 0.05
_RANGE = re.compile(r"\s*[±+-]?\s*\d")
"""A full scale in place of a unit: 250dps, +-2 g."""
_STATED_RATE = re.compile(
    r"(?:update|sampl\w*|output|data)[ _]*(?:rate|frequency)\W*([\d.]+)\s*(?:hz)?", re.IGNORECASE
)


@dataclass(frozen=True)
class SignalOptions:
    """How the caller says a log is to be understood; see :meth:`bindplug.inputs.ImuPreprocess.read`."""

    acc_unit: UnitOption = None
    gyro_unit: UnitOption = None
    time_unit: str | None = None
    sample_rate: float | None = None
    columns: ColumnChoice = None
    sort: bool = False
    long_gaps: str = "refuse"
    ignore_clock: bool = False

    def __post_init__(self) -> None:
        for option, unit, kind in (
            ("acc_unit", self.acc_unit, ACCELERATION),
            ("gyro_unit", self.gyro_unit, TURN_RATE),
            ("time_unit", self.time_unit, TIME),
        ):
            if unit is not None:
                _option_scale(option, unit, kind)
        if isinstance(self.columns, Mapping):
            keys = (*CHANNELS, CLOCK)
            unknown = [key for key in self.columns if key not in keys]
            if unknown:
                raise OptionError(f"columns={dict(self.columns)!r}; expected keys among {', '.join(keys)}")
        elif isinstance(self.columns, str):
            raise OptionError(f"columns={self.columns!r}; expected a mapping by channel or a list of names")

    def unit(self, sensor: str) -> UnitOption:
        """The unit stated for a sensor."""
        return self.gyro_unit if sensor == GYROSCOPE else self.acc_unit


@dataclass
class Signal:
    """One sensor's samples as logged.

    Attributes:
        sensor: ``"accelerometer"`` or ``"gyroscope"``.
        values: (3, T) float64 in m/s^2 or rad/s, NaN where missing.
        clock: its times; ``None`` without one.
        rate_hz: as stated by the log itself, where it has no clock.
        notes: what a person should look at.
    """

    sensor: str
    values: np.ndarray
    clock: Clock | None
    rate_hz: float | None = None
    notes: list[str] = field(default_factory=list)


def read_tracks(tables: Tables, options: SignalOptions, name: str) -> tuple[list[Track], list[str]]:
    """The accelerometer's and the gyroscope's samples on even grids, and notes.

    Returns:
        Two tracks (3, T) in m/s^2 and rad/s whose times have the same origin.

    Raises:
        InputError: axes are missing or ambiguous, a unit or a clock is not understood or in doubt, the clocks of two
            files don't overlap, or samples can't be put on a grid.
    """
    if GRAVITY in tables and options.acc_unit is None:
        options = _with_unit_of_gravity(tables, options, name)
    if "" in tables:
        signals = _signals(tables[""], (ACCELEROMETER, GYROSCOPE), options, name)
    else:
        missing = [sensor for sensor in (ACCELEROMETER, GYROSCOPE) if sensor not in tables]
        if missing:
            found = f"files of the {' and the '.join(tables)} alone"
            remedy = 'Give both: {"accelerometer": "a.csv", "gyroscope": "g.csv"}.'
            raise InputError(
                name, found=found, expected="the accelerometer's and the gyroscope's", remedy=remedy
            )
        signals = [
            _signals(tables[sensor], (sensor,), options, name)[0] for sensor in (ACCELEROMETER, GYROSCOPE)
        ]
    tracks = [_track(signal, options, name) for signal in signals]
    notes = [note for signal in signals for note in signal.notes]
    if "" not in tables and GRAVITY in tables:
        tracks[0] = _with_gravity(tracks[0], tables[GRAVITY], options, notes, name)
    notes += [note for track in tracks for note in track.notes]
    for signal, track in zip(signals, tracks, strict=True):
        _check_range(signal.sensor, track.values, name)
    if "" not in tables or not tables[""].stated:
        magnitude = _magnitude(tracks[0].values)
        if magnitude < FEW_M_S2:
            notes.append(
                f"acceleration without gravity (median {magnitude:.2f} m/s^2), where the network was trained with it"
            )
    notes += _doubts_as_notes(tracks, tables)
    notes += _overlap_notes(tracks, name)
    return tracks, list(dict.fromkeys(notes))


def _signals(table: Table, sensors: tuple[str, ...], options: SignalOptions, name: str) -> list[Signal]:
    triples = _triples(table, sensors, options, name)
    raw = {
        sensor: np.stack([table.columns[triple.axes[axis].name] for axis in "xyz"])
        for sensor, triple in triples.items()
    }
    present = {sensor: np.isfinite(values).any(axis=0) for sensor, values in raw.items()}  # (T,) each
    signals = []
    clocks: dict[tuple[str, bytes], Clock | None] = {}
    for sensor in sensors:
        candidates = [] if options.ignore_clock else table.matches.clocks_of(sensor)
        rows = _own_rows(sensor, present, table, candidates, name)
        if rows.sum() < 2:
            raise InputError(name, found=f"{int(rows.sum())} samples", expected="at least two samples")
        key = (candidates[0].name if candidates else "", rows.tobytes())
        if key not in clocks:
            any_rate = options.sample_rate is not None
            clocks[key] = read_clock(
                table, candidates, rows, time_unit=options.time_unit, any_rate=any_rate, name=name
            )
        clock, notes = clocks[key], []
        if not rows.all():
            notes.append(f"{rows.size - int(rows.sum())} of {rows.size} rows have no values of the {sensor}")
        triple = triples[sensor]
        scales = _scales(sensor, triple, table, raw, options, clock, triples, name)
        values = raw[sensor][:, rows] * scales[:, None]
        gravity = triples.get(GRAVITY)
        if sensor == ACCELEROMETER and triple.gravity_free and gravity is not None:
            factor = _scales(GRAVITY, gravity, table, raw, options, clock, triples, name)
            values = values + raw[GRAVITY][:, rows] * factor[:, None]
            notes.append("gravity, which is logged apart, was added to the acceleration")
        rate = None if clock is not None else _preamble_rate(table)
        if clock is not None:
            notes += clock.notes
        signals.append(Signal(sensor, values, clock, rate, notes))
    return signals


def _triples(table: Table, sensors: tuple[str, ...], options: SignalOptions, name: str) -> dict[str, Triple]:
    """The columns of each sensor, and of gravity where acceleration is logged without it."""
    if isinstance(options.columns, Mapping):
        absent = [column for column in options.columns.values() if column not in table.names]
        wanted = {f"{PREFIXES[sensor]}_{axis}" for sensor in sensors for axis in "xyz"}
        if absent and any(options.columns.get(key) in absent for key in wanted | {CLOCK}):
            found = f"no column named {', '.join(map(repr, absent))} (columns: {_listed(table.names)})"
            raise InputError(name, found=found, expected="the columns that columns= names")
    triples: dict[str, Triple] = {}
    missing: list[str] = []
    for sensor in sensors:
        triple, rivals = table.matches.best(sensor)
        if rivals:
            found = f"two columns of one meaning ({', '.join(map(repr, rivals[:6]))})"
            remedy = "Choose: columns={'acc_x': ..., 'acc_y': ..., 'acc_z': ..., 'gyro_x': ..., ...}."
            raise InputError(name, found=found, expected="one column for each axis", remedy=remedy)
        if triple is None:
            there = {axis for group in table.matches.triples.get(sensor, []) for axis in group.axes}
            gone = [axis for axis in "xyz" if axis not in there] or list("xyz")
            missing += [f"{PREFIXES[sensor]}_{axis}" for axis in gone]
        else:
            triples[sensor] = triple
    if missing:
        raise _missing(table, missing, name)
    if ACCELEROMETER in triples and triples[ACCELEROMETER].gravity_free:
        gravity, rivals = table.matches.best(GRAVITY)
        if gravity is not None and not rivals:
            triples[GRAVITY] = gravity
    return triples


def _missing(table: Table, missing: list[str], name: str) -> InputError:
    found = f"no column for {', '.join(missing)} (columns: {_listed(table.names)})"
    remedy = "Name them: columns={'gyro_x': 'its column', ...}, three of a sensor."
    if any("rotation" in column.lower() and "alpha" in column.lower() for column in table.names):
        remedy = "Browsers differ in the axes of alpha, beta and gamma. " + remedy
    elif all(channel.startswith("gyro") for channel in missing) or all(c.startswith("acc") for c in missing):
        remedy = (
            'If they are in a file of their own, give both: {"accelerometer": ..., "gyroscope": ...}. '
            + remedy
        )
    return InputError(name, found=found, expected=f"the six axes {', '.join(CHANNELS)}", remedy=remedy)


def _listed(names: tuple[str, ...]) -> str:
    shown = ", ".join(names[:24]) or "none"
    return shown + (f", ... {len(names)} in all" if len(names) > 24 else "")


def _own_rows(
    sensor: str, present: dict[str, np.ndarray], table: Table, clocks: list[ColumnName], name: str
) -> np.ndarray:
    """The rows that are samples of a sensor, (T,) bool.

    All are, but blank ones without a time; in a log whose rows hold one sensor each, those of this sensor.
    """
    own = present[sensor]
    cells = [table.columns[clock.name] for clock in clocks]
    if any(times.shape != own.shape for times in cells):
        found = f"{[len(times) for times in cells]} times for {own.size} samples"
        raise InputError(name, found=found, expected="a time for each sample")
    anything = np.logical_or.reduce(list(present.values()))
    if clocks and (anything & ~own).sum() > MANY_BLANKS * max(1, anything.sum()):
        return own
    if not cells:
        return np.ones(own.shape, bool)
    return own | np.logical_or.reduce([~_is_blank(times) for times in cells])


def _is_blank(cells: np.ndarray) -> np.ndarray:
    if cells.dtype.kind == "U":
        return np.isin(np.char.lower(cells), list(BLANK_CELLS))
    return np.isnan(cells) if cells.dtype.kind == "f" else np.zeros(cells.shape, bool)


def _preamble_rate(table: Table) -> float | None:
    """The rate that a log's first lines state."""
    matches = [match for line in table.preamble if (match := _STATED_RATE.search(line))]
    rates = {float(match.group(1)) for match in matches if match.group(1).strip(".")}
    return rates.pop() if len(rates) == 1 and min(rates) > 0 else None


def _scales(
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
    stated = options.unit(sensor)
    if stated is not None:
        return np.full(3, _option_scale(OPTIONS[sensor], stated, KINDS[sensor]))
    texts = [table.unit_of(triple.axes[axis]) for axis in "xyz"]
    if any(text is not None for text in texts):
        return np.array([_named_scale(sensor, text, texts, triple, name) for text in texts])
    known = _known_unit(sensor, triple, table, raw, clock, triples)
    if known is not None:
        return np.full(3, _option_scale(OPTIONS[sensor], known, KINDS[sensor]))
    if not table.stated:
        _refuse_doubt(sensor, triple, raw[sensor], table, triples, options, name)
    return np.ones(3)


def _option_scale(option: str, unit: str | float, kind: str) -> float:
    if isinstance(unit, (int, float)) and not isinstance(unit, bool):
        if kind != TIME and np.isfinite(unit) and unit > 0:
            return float(unit)
    elif isinstance(unit, str) and (parsed := parse_unit(unit)) and parsed.kind == kind:
        return parsed.scale
    examples = {ACCELERATION: "'m/s^2', 'g', 'mg' or a positive number of m/s^2 a count",
                TURN_RATE: "'rad/s', 'deg/s', 'mdps' or a positive number of rad/s a count",
                TIME: "'s', 'ms', 'us', 'ns' or a multiple such as '100us'"}  # fmt: skip
    raise OptionError(f"{option}={unit!r}; expected a unit of {kind}: {examples[kind]}")


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


def _known_unit(
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
        unit = _unit_of_gravity(raw[GRAVITY])
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
    magnitude = _magnitude(values)
    columns = f"{triple.axes['x'].name!r} and its like, which name no unit"
    remedy = f"State it: {EXAMPLES.get(sensor, EXAMPLES[ACCELEROMETER])}."
    found = ""
    if sensor != GYROSCOPE:
        if "user" in triple.words and GRAVITY not in triples:
            found = f"{columns}: user acceleration is logged in g by some and in m/s^2 by others"
        elif table.raw_units:
            found = f"{columns}, and metadata saying that units are as the device has them"
        elif LIKE_G[0] < magnitude < LIKE_G[1]:
            found = f"{columns}: a median of {magnitude:.3g} looks like g"
        elif magnitude > MANY_M_S2:
            found = f"{columns}: a median of {magnitude:.4g} is no acceleration in m/s^2 that people meet"
    else:
        with np.errstate(invalid="ignore"):
            peak = float(np.nanpercentile(np.linalg.norm(values, axis=0), 99.9))
        if magnitude > MANY_RAD_S or peak > FULL_SCALE_RAD_S:
            found = (
                f"{columns}: a median of {magnitude:.3g} and a peak of {peak:.4g} look like degrees or counts"
            )
        elif triple.words == ("g",) and _is_steady_gravity(values):
            found = f"{columns}: vectors of one length, {magnitude:.3g}, are gravity and no rotation"
        elif _acceleration_in_g(table, triples, options):
            found = f"{columns}, beside acceleration in g, where rates are often in deg/s"
    if found:
        raise InputError(name, found=found, expected=f"a stated unit of {KINDS[sensor]}", remedy=remedy)


def _is_steady_gravity(values: np.ndarray) -> bool:
    lengths = np.linalg.norm(values, axis=0)
    return _unit_of_gravity(values) is not None and float(np.nanstd(lengths)) < 0.01 * _magnitude(values)


def _acceleration_in_g(table: Table, triples: Mapping[str, Triple], options: SignalOptions) -> bool:
    triple = triples.get(ACCELEROMETER)
    if triple is None or options.acc_unit is not None:
        return False
    parsed = parse_unit(table.unit_of(triple.axes["x"]) or "")
    return parsed is not None and abs(parsed.scale / STANDARD_GRAVITY - 1) < 0.01


def _magnitude(values: np.ndarray) -> float:
    """The median length of vectors (3, T) without NaN."""
    with np.errstate(invalid="ignore", over="ignore"):
        lengths = np.sqrt((values * values).sum(axis=0))
    lengths = lengths[np.isfinite(lengths)]
    return float(np.median(lengths)) if lengths.size else 0.0


def _doubts_as_notes(tracks: list[Track], tables: Tables) -> list[str]:
    """Magnitudes in stated units that suggest another unit."""
    acc, gyro = (_magnitude(track.values) for track in tracks)
    notes = []
    if LIKE_G[0] < acc < LIKE_G[1] and "" in tables and tables[""].stated:
        notes.append(f"median acceleration {acc:.2f} m/s^2 looks like g; pass acc_unit='g' if it is")
    if gyro > FULL_SCALE_RAD_S:
        notes.append(f"median turn rate {gyro:.0f} rad/s looks like degrees; pass gyro_unit='deg/s' if it is")
    return notes


def _check_range(sensor: str, values: np.ndarray, name: str) -> None:
    largest = float(np.abs(values).max())
    if not largest <= IMPOSSIBLE[sensor]:
        unit = DEFAULTS[sensor]
        remedy = f"State the unit: {EXAMPLES[sensor]}."
        found = f"a value of {largest:.3g} {unit} on the {sensor}"
        raise InputError(name, found=found, expected=f"at most {IMPOSSIBLE[sensor]:g} {unit}", remedy=remedy)


def _track(signal: Signal, options: SignalOptions, name: str) -> Track:
    rate = options.sample_rate
    if signal.clock is None:
        if rate is None and signal.rate_hz is not None:
            rate = signal.rate_hz
            signal.notes.append(f"sample rate of {rate:g} Hz taken from the log's first lines")
        if rate is None:
            remedy = "Give it: sample_rate=200, say; or name the clock: columns={'time': ...}."
            raise InputError(
                name, found="no clock", expected="a time column, or sample_rate in Hz", remedy=remedy
            )
        return even_values(signal.values, float(rate), name)
    track = even_track(
        signal.values, signal.clock.seconds, sort=options.sort, long_gaps=options.long_gaps,
        start_s=signal.clock.origin_s, name=name,
    )  # fmt: skip
    if rate is not None and abs(track.rate_hz / rate - 1) > RATE_TOLERANCE:
        found = f"a clock of {track.rate_hz:.1f} samples a second"
        raise InputError(name, found=found, expected=f"the stated sample_rate={rate}")
    return track


def _with_unit_of_gravity(tables: Tables, options: SignalOptions, name: str) -> SignalOptions:
    """The options with the accelerometer's unit, where only the length of gravity in a log of its own tells it."""
    triple, gravity = (tables[sensor].matches.best(sensor)[0] for sensor in (ACCELEROMETER, GRAVITY))
    if triple is None or gravity is None:
        return options
    texts = [tables[s].unit_of(t.axes["x"]) for s, t in ((ACCELEROMETER, triple), (GRAVITY, gravity))]
    values = np.stack([tables[GRAVITY].columns[gravity.axes[axis].name] for axis in "xyz"])
    unit = _unit_of_gravity(values)
    return replace(options, acc_unit=unit) if texts == [None, None] and unit is not None else options


def _unit_of_gravity(values: np.ndarray) -> str | None:
    """``"g"`` or ``"m/s^2"`` by the length of the vectors (3, T)."""
    length = _magnitude(values)
    units = (("g", 1.0), ("m/s^2", STANDARD_GRAVITY))
    return next((unit for unit, one in units if abs(length / one - 1) < 0.1), None)


def _with_gravity(track: Track, table: Table, options: SignalOptions, notes: list[str], name: str) -> Track:
    """Add gravity from a log of its own to acceleration without it."""
    if _magnitude(track.values) > FEW_M_S2:
        notes.append("gravity's log was not needed, as the acceleration includes it")
        return track
    (signal,) = _signals(table, (GRAVITY,), options, name)
    gravity = _track(signal, options, name)
    times = track.start_s + np.arange(track.values.shape[1]) / track.rate_hz
    own = gravity.start_s + np.arange(gravity.values.shape[1]) / gravity.rate_hz
    if min(times[-1], own[-1]) - max(times[0], own[0]) < 0.9 * (times[-1] - times[0]):
        raise InputError(
            name, found="a log of gravity at other times than the acceleration's", expected="logs of one time"
        )
    values = track.values + np.stack([np.interp(times, own, row) for row in gravity.values])
    notes.append("gravity, which is logged apart, was added to the acceleration")
    return Track(values, track.rate_hz, track.start_s, track.duplicates, track.gaps, track.notes)


def _overlap_notes(tracks: list[Track], name: str) -> list[str]:
    """Check that both sensors were recorded at one time; say how much was not.

    Raises:
        InputError: they overlap by less than half of the shorter one.
    """
    starts = [track.start_s for track in tracks]
    ends = [track.start_s + track.duration_s for track in tracks]
    both_s, shorter_s = min(ends) - max(starts), min(track.duration_s for track in tracks)
    if both_s < LEAST_OVERLAP * shorter_s:
        spans = [f"{start:.3f} to {end:.3f} s" for start, end in zip(starts, ends, strict=True)]
        found = f"an accelerometer from {spans[0]} and a gyroscope from {spans[1]}"
        remedy = "Name clocks of one origin: columns={'time': ...}."
        raise InputError(name, found=found, expected="two sensors recorded at one time", remedy=remedy)
    alone_s = max(max(ends) - min(ends), max(starts) - min(starts))
    if alone_s > max(0.1, 0.02 * both_s):
        return [f"{alone_s:.2f} s that only one of the sensors recorded left out"]
    return []
