"""From a log's table to the accelerometer's and the gyroscope's samples in m/s^2 and rad/s, with their times."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from bindplug.errors import InputError
from bindplug.inputs.imu.cells import BLANK_CELLS
from bindplug.inputs.imu.clocks import Clock, read_clock
from bindplug.inputs.imu.columns import (
    ACCELEROMETER,
    CHANNELS,
    CLOCK,
    GRAVITY,
    GYROSCOPE,
    PREFIXES,
    Table,
    Triple,
)
from bindplug.inputs.imu.grid import FEW_SAMPLES, Track, even_track, even_values
from bindplug.inputs.imu.names import ColumnName
from bindplug.inputs.imu.options import SignalOptions
from bindplug.inputs.imu.rows_by_sensor import tables_by_sensor
from bindplug.inputs.imu.scales import (
    FEW_M_S2,
    axis_scales,
    check_range,
    median_length,
    notes_on_magnitudes,
    unit_of_gravity,
)
from bindplug.inputs.imu.sensor_logs import Tables

RATE_TOLERANCE = 0.05
LEAST_OVERLAP = 0.5
MANY_BLANKS = 0.05
_STATED_RATE = re.compile(
    r"(?:update|sampl\w*|output|data)[ _]*(?:rate|frequency)\W*([\d.]+)\s*(?:hz)?", re.IGNORECASE
)


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
    table_notes = [note for table in tables.values() for note in table.notes]
    if "" in tables and tables[""].sensor_column:
        tables = tables_by_sensor(tables[""], name)
    if GRAVITY in tables and options.acc_unit is None:
        options = _with_unit_of_gravity(tables, options, name)
    if "" in tables:
        signals = _signals(tables[""], (ACCELEROMETER, GYROSCOPE), options, name)
    else:
        missing = [sensor for sensor in (ACCELEROMETER, GYROSCOPE) if sensor not in tables]
        if missing:
            problem = f"files of the {' and the '.join(tables)} alone"
            remedy = 'Give both: {"accelerometer": "a.csv", "gyroscope": "g.csv"}.'
            raise InputError(
                name, found=problem, expected="the accelerometer's and the gyroscope's", remedy=remedy
            )
        signals = [
            _signals(tables[sensor], (sensor,), options, tables[sensor].source or name)[0]
            for sensor in (ACCELEROMETER, GYROSCOPE)
        ]
        _check_start(signals, name)
    tracks = [_track(signal, options, name) for signal in signals]
    notes = table_notes + [note for signal in signals for note in signal.notes]
    if "" not in tables and GRAVITY in tables:
        tracks[0] = _with_gravity(tracks[0], tables[GRAVITY], options, notes, name)
    notes += [note for track in tracks for note in track.notes]
    for signal, track in zip(signals, tracks, strict=True):
        check_range(signal.sensor, track.values, name)
    # An array's units are its caller's word; a log may come from an app that takes gravity out without saying so.
    if "" not in tables or not tables[""].units_are_given:
        magnitude = median_length(tracks[0].values)
        if magnitude < FEW_M_S2:
            notes.append(
                f"acceleration without gravity (median {magnitude:.2f} m/s^2), where the network was trained with it"
            )
    notes += notes_on_magnitudes(tracks, tables)
    notes += _overlap_notes(tracks, name)
    return tracks, list(dict.fromkeys(notes))


def _check_start(signals: list[Signal], name: str) -> None:
    """Refuse two files of which one alone has a clock, or that have none and differ in length: who began when?"""
    without = [signal.sensor for signal in signals if signal.clock is None]
    lengths = [signal.values.shape[1] for signal in signals]
    if len(without) == 1:
        problem = f"a clock in one file, and none for the {without[0]}"
        remedy = "Pass ignore_clock=True and sample_rate= if both began at one time."
        raise InputError(name, found=problem, expected="a clock in both files", remedy=remedy)
    if without and max(lengths) > 1.02 * min(lengths) + FEW_SAMPLES:
        problem = (
            f"{lengths[0]} samples of the accelerometer and {lengths[1]} of the gyroscope, without clocks"
        )
        raise InputError(name, found=problem, expected="clocks, or as many samples of both")


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
            # Both sensors of one log mostly share rows and clock, which is then read once.
            any_rate = options.sample_rate is not None
            clocks[key] = read_clock(
                table, candidates, rows, time_unit=options.time_unit, any_rate=any_rate, name=name
            )
        clock, notes = clocks[key], []
        if not rows.all():
            notes.append(f"{rows.size - int(rows.sum())} of {rows.size} rows have no values of the {sensor}")
        triple = triples[sensor]
        scales = axis_scales(sensor, triple, table, raw, options, clock, triples, name)
        values = raw[sensor][:, rows] * scales[:, None]  # (3, T) of the sensor's own rows
        gravity = triples.get(GRAVITY)
        if sensor == ACCELEROMETER and triple.gravity_free and gravity is not None:
            factor = axis_scales(GRAVITY, gravity, table, raw, options, clock, triples, name)
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
        channels = {f"{PREFIXES[sensor]}_{axis}" for sensor in sensors for axis in "xyz"}
        if absent and any(options.columns.get(key) in absent for key in channels | {CLOCK}):
            problem = f"no column named {', '.join(map(repr, absent))} (columns: {_name_list(table.names)})"
            raise InputError(name, found=problem, expected="the columns that columns= names")
    triples: dict[str, Triple] = {}
    missing: list[str] = []
    for sensor in sensors:
        triple, rivals = table.matches.best(sensor)
        if rivals:
            problem = f"two columns of one meaning ({', '.join(map(repr, rivals[:6]))})"
            remedy = "Choose: columns={'acc_x': ..., 'acc_y': ..., 'acc_z': ..., 'gyro_x': ..., ...}."
            raise InputError(name, found=problem, expected="one column for each axis", remedy=remedy)
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
    problem = f"no column for {', '.join(missing)} (columns: {_name_list(table.names)})"
    remedy = "Name them: columns={'gyro_x': 'its column', ...}, three of a sensor."
    if any("rotation" in column.lower() and "alpha" in column.lower() for column in table.names):
        remedy = "Browsers differ in the axes of alpha, beta and gamma. " + remedy
    elif all(channel.startswith("gyro") for channel in missing) or all(c.startswith("acc") for c in missing):
        remedy = (
            'If they are in a file of their own, give both: {"accelerometer": ..., "gyroscope": ...}. '
            + remedy
        )
    return InputError(name, found=problem, expected=f"the six axes {', '.join(CHANNELS)}", remedy=remedy)


def _name_list(names: tuple[str, ...]) -> str:
    text = ", ".join(names[:24]) or "none"
    return text + (f", ... {len(names)} in all" if len(names) > 24 else "")


def _own_rows(
    sensor: str, present: dict[str, np.ndarray], table: Table, clocks: list[ColumnName], name: str
) -> np.ndarray:
    """The rows that are samples of a sensor, (T,) bool.

    All are, but blank ones without a time; in a log whose rows hold one sensor each, those of this sensor.
    """
    own = present[sensor]
    cells = [table.columns[clock.name] for clock in clocks]
    if any(times.shape != own.shape for times in cells):
        problem = f"{[len(times) for times in cells]} times for {own.size} samples"
        raise InputError(name, found=problem, expected="a time for each sample")
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
        problem = f"a clock of {track.rate_hz:.1f} samples a second"
        raise InputError(name, found=problem, expected=f"the stated sample_rate={rate}")
    return track


def _with_unit_of_gravity(tables: Tables, options: SignalOptions, name: str) -> SignalOptions:
    """The options with the accelerometer's unit, where only the length of gravity in a log of its own tells it."""
    triple, gravity = (tables[sensor].matches.best(sensor)[0] for sensor in (ACCELEROMETER, GRAVITY))
    if triple is None or gravity is None:
        return options
    texts = [tables[s].unit_of(t.axes["x"]) for s, t in ((ACCELEROMETER, triple), (GRAVITY, gravity))]
    values = np.stack([tables[GRAVITY].columns[gravity.axes[axis].name] for axis in "xyz"])
    unit = unit_of_gravity(values)
    return replace(options, acc_unit=unit) if texts == [None, None] and unit is not None else options


def _with_gravity(track: Track, table: Table, options: SignalOptions, notes: list[str], name: str) -> Track:
    """Add gravity from a log of its own to acceleration without it."""
    if median_length(track.values) > FEW_M_S2:
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
        problem = f"an accelerometer from {spans[0]} and a gyroscope from {spans[1]}"
        remedy = "Name clocks of one origin: columns={'time': ...}."
        raise InputError(name, found=problem, expected="two sensors recorded at one time", remedy=remedy)
    # A few samples more of one sensor are usual and not worth a remark.
    alone_s = max(max(ends) - min(ends), max(starts) - min(starts))
    if alone_s > max(0.1, 0.02 * both_s):
        return [f"{alone_s:.2f} s that only one of the sensors recorded left out"]
    return []
