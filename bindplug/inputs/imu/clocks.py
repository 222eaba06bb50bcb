"""The clock of a motion log: which column it is, its unit, and its stamps in seconds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from bindplug.errors import InputError
from bindplug.inputs.imu.cells import number_marks, plain, with_point
from bindplug.inputs.imu.columns import Table
from bindplug.inputs.imu.names import ColumnName
from bindplug.inputs.imu.units import TIME, parse_unit
from bindplug.inputs.imu.written_times import text_nanoseconds

SLOWEST_HZ, FASTEST_HZ = 5.0, 20_000.0
"""Rates that a clock of a known unit may have; below, motion is lost, and above is no motion sensor."""
SLOWEST_GUESS_HZ, FASTEST_GUESS_HZ = 0.45, 4_500.0
"""Rates among which a clock's unit is looked for; it is taken only if one unit alone falls among them."""
MOST_WHOLE_SECONDS = 9_000_000_000
"""Seconds whose nanoseconds fit into 64 bits."""
EPOCH_S = (9.0e8, 4.2e9)
"""1998 to 2103, as seconds since 1970."""
GUESSED_UNITS = ("s", "ms", "us", "ns")
_SCALES = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}
XSENS_TICKS = ("100us", "us")
"""Units of Xsens' SampleTimeFine: 10 kHz ticks of MTw and MTi, microseconds of DOT."""
WRAPS = (2**16, 2**24, 2**31, 2**32)
"""Where counters start again from 0, in ticks."""


@dataclass(frozen=True)
class Clock:
    """A clock that was read.

    Attributes:
        seconds: (T,) float64 relative to ``origin_s``.
        origin_s: a stamp in the middle, in seconds.
        name: of its column.
        unit: as it was taken.
        notes: repairs.
    """

    seconds: np.ndarray
    origin_s: float
    name: str
    unit: str
    notes: tuple[str, ...] = ()


def read_clock(
    table: Table,
    candidates: list[ColumnName],
    rows: np.ndarray,
    *,
    time_unit: str | None,
    any_rate: bool,
    name: str,
) -> Clock | None:
    """The first candidate that can be read as a clock; ``None`` if there is no candidate.

    Args:
        table: the log.
        candidates: clock columns, best first.
        rows: (T,) bool, the rows that hold samples.
        time_unit: its unit, if the caller states it.
        any_rate: accept rates that are too slow or too fast for motion, because the caller states the rate.
        name: of the source, for errors.

    Raises:
        InputError: no candidate can be read; the error is about the best one.
    """
    failure: InputError | None = None
    for candidate in _joined_seconds(table, candidates):
        try:
            cells, column = candidate
            clock = _read(cells[rows], column, table, time_unit, any_rate, name)
        except InputError as error:
            failure = failure or error
            continue
        if failure is not None:
            note = f"clock {clock.name!r} used, as the preferred one cannot be ({failure.found})"
            return Clock(clock.seconds, clock.origin_s, clock.name, clock.unit, (note, *clock.notes))
        return clock
    if failure is not None:
        raise failure
    return None


def _joined_seconds(table: Table, candidates: list[ColumnName]) -> list[tuple[np.ndarray, ColumnName]]:
    """The candidates' cells; whole seconds beside their nanoseconds (ROS) make one clock."""
    units = {column.name: parse_unit(column.unit or "") for column in candidates}
    readings: list[tuple[np.ndarray, ColumnName]] = []
    used: set[str] = set()
    for column in candidates:
        cells, unit = table.columns[column.name], units[column.name]
        rest = next(
            (
                other
                for other in candidates
                if _words_beside_unit(other) == _words_beside_unit(column)
                and unit and unit.scale == 1 and (fine := units[other.name]) and fine.scale == 1e-9
            ),
            None,
        )  # fmt: skip
        if rest is not None:
            whole, part = (_exact(table.columns[c.name]) for c in (column, rest))
            small = whole is not None and whole.size and np.abs(whole).max() < MOST_WHOLE_SECONDS
            if (
                whole is not None
                and part is not None
                and small
                and whole.dtype.kind == part.dtype.kind == "i"
            ):
                ticks = whole * 1_000_000_000 + part
                readings.append((ticks, ColumnName(column.name, column.words, unit="ns")))
                used |= {column.name, rest.name}
        if column.name not in used:
            readings.append((cells, column))
    return readings


def _words_beside_unit(column: ColumnName) -> tuple[str, ...]:
    """A clock's words without its unit, which is all of ``secs`` and ``nsecs``."""
    return tuple(word for word in column.words if parse_unit(word) is None)


def _exact(cells: np.ndarray) -> np.ndarray | None:
    """Numbers of a column, whole ones as int64 so that nanoseconds since 1970 stay exact; ``None`` of texts."""
    if cells.dtype.kind in "iu":
        return cells.astype(np.int64)
    if cells.dtype.kind in "fb":
        return cells.astype(np.float64)
    if cells.dtype.kind not in "US":
        return None
    try:
        return cells.astype(np.int64)
    except (ValueError, OverflowError):
        pass
    try:
        return cells.astype(np.float64)
    except ValueError:
        pass
    blank = np.isin(np.char.lower(cells), ["", "nan", "null", "none", "na", "n/a", "-"])
    texts = [plain(cell) for cell in cells[~blank].tolist()]
    marks = number_marks(texts)
    if marks is None:
        return None
    filled = np.full(cells.shape, np.nan)
    try:
        filled[~blank] = np.array(with_point(texts, *marks), dtype=np.float64)
    except ValueError:
        return None
    return filled


def _read(
    cells: np.ndarray, column: ColumnName, table: Table, time_unit: str | None, any_rate: bool, name: str
) -> Clock:
    text_wraps: tuple[tuple[float, str], ...] = ()
    if cells.dtype.kind in "mM":
        ticks, unit, is_text = _from_dates(cells, name), "ns", True
    else:
        exact = _exact(cells)
        if exact is None:
            ticks, text_wraps = text_nanoseconds(cells, column.name, name)
            unit, is_text = "ns", True
        else:
            ticks, unit, is_text = exact, "", False
    if ticks.dtype.kind == "i" and ticks.size and np.abs(ticks.astype(np.float64)).max() > 4e18:
        ticks = ticks.astype(np.float64)  # differences would not fit into 64 bits
    _check_finite(ticks, name)
    if len(ticks) < 2:
        raise InputError(name, found=f"{len(ticks)} samples", expected="at least two samples")
    with np.errstate(over="ignore", invalid="ignore"):
        step = _step(ticks)
    if step == 0 or not np.isfinite(step):
        problem = (
            f"time stamps in {column.name!r} that {'never change' if step == 0 else 'are beyond any clock'}"
        )
        raise InputError(name, found=problem, expected="a clock that runs")
    if is_text:
        _check_rate(1e9 / step, "written times", any_rate, name)
    else:
        unit = _unit_of(ticks, step, column, table, time_unit, any_rate, name)
    scale = _scale(unit)
    with np.errstate(over="ignore", invalid="ignore"):
        # not the first stamp, which may be far off and leave no digits for the others
        origin = ticks[len(ticks) // 2]
        relative = (ticks - origin).astype(np.float64)
        span = float(relative.max() - relative.min())
    wraps = {wrap_s / scale: text for wrap_s, text in text_wraps}
    if not is_text:
        wraps = {float(wrap): f"a counter starts again after {wrap} ticks" for wrap in WRAPS}
    if not np.isfinite(span):
        raise InputError(
            name, found=f"time stamps in {column.name!r} beyond any clock", expected="a clock that runs"
        )
    relative, notes = _unwrap(relative, step, wraps)
    return Clock(relative * scale, float(origin) * scale, column.name, unit, notes)


def _scale(unit: str) -> float:
    parsed = parse_unit(unit)
    assert parsed is not None
    return parsed.scale


def _check_finite(ticks: np.ndarray, name: str) -> None:
    bad = int((~np.isfinite(ticks)).sum()) if ticks.dtype.kind == "f" else 0
    if bad:
        remedy = "Remove these rows, or pass ignore_clock=True and sample_rate= if samples are evenly spaced."
        problem = f"{bad} time stamps that are no numbers"
        raise InputError(name, found=problem, expected="a time for each sample", remedy=remedy)


def _step(ticks: np.ndarray) -> float:
    """The usual time from one sample to the next, in ticks: of samples that share a stamp, their part of it.

    Raises nothing; 0 if stamps never change.
    """
    changes = np.flatnonzero(np.diff(ticks) != 0)
    if not changes.size:
        return 0.0
    starts = np.concatenate([[0], changes + 1])
    counts = np.diff(np.append(starts, len(ticks)))[:-1]
    steps = np.abs(np.diff(ticks[starts].astype(np.float64)))
    shares = steps / counts  # (changes,): a stamp's interval to the next, by its samples
    return float(np.median(np.repeat(shares, counts)))


def _unit_of(
    ticks: np.ndarray,
    step: float,
    column: ColumnName,
    table: Table,
    time_unit: str | None,
    any_rate: bool,
    name: str,
) -> str:
    """The clock's unit: stated, named, or the only one that makes a plausible rate."""
    text = table.unit_of(column)
    if time_unit is not None:
        return _checked(time_unit, step, any_rate, name)
    if "".join(column.words) == "sampletimefine":
        plausible = [unit for unit in XSENS_TICKS if SLOWEST_HZ <= 1 / (step * _scale(unit)) <= 2000]
        if len(plausible) == 1:
            return plausible[0]
        raise _ambiguous(step, plausible, column, name)
    if column.words == ("cts",) and text is None:  # GoPro: milliseconds since the video's start
        text = "ms"
    if text is not None:
        parsed = parse_unit(text)
        if parsed is None or parsed.kind != TIME:
            problem = f"a clock {column.name!r} in {text!r}, which is no unit of time that is known"
            remedy = "State it: time_unit='ms', or '100us', '1/256 s' and so on."
            raise InputError(
                name, found=problem, expected="s, ms, us, ns or a multiple of them", remedy=remedy
            )
        return _checked(text, step, any_rate, name)
    plausible = [
        unit for unit in GUESSED_UNITS if SLOWEST_GUESS_HZ <= 1 / (step * _SCALES[unit]) <= FASTEST_GUESS_HZ
    ]
    # Of two plausible units the one that gives a date of our time is meant: 1.7e12 is milliseconds since 1970.
    middle = float(np.median(ticks))
    since_1970 = [unit for unit in plausible if EPOCH_S[0] <= middle * _SCALES[unit] <= EPOCH_S[1]]
    if len(since_1970) == 1:
        return _checked(since_1970[0], step, any_rate, name)
    if len(plausible) == 1:
        return _checked(plausible[0], step, any_rate, name)
    raise _ambiguous(step, plausible, column, name)


def _ambiguous(step: float, plausible: list[str], column: ColumnName, name: str) -> InputError:
    readings = " or ".join(f"{1 / (step * _scale(unit)):g} Hz in {unit}" for unit in plausible)
    problem = f"a clock {column.name!r} that names no unit, with a step of {step:g} ({readings or 'no plausible rate'})"
    remedy = "State the unit: time_unit='s', 'ms', 'us' or 'ns', say."
    return InputError(name, found=problem, expected="a clock of one plausible unit", remedy=remedy)


def _checked(unit: str, step: float, any_rate: bool, name: str) -> str:
    _check_rate(1 / (step * _scale(unit)), f"a clock in {unit}", any_rate, name)
    return unit


def _check_rate(rate: float, clock: str, any_rate: bool, name: str) -> None:
    if any_rate or SLOWEST_HZ <= rate <= FASTEST_HZ:
        return
    remedy = "Is the clock really in that unit? State it: time_unit='us', say."
    if SLOWEST_GUESS_HZ / 10 < rate < SLOWEST_HZ:
        remedy += f" Motion is lost at so low a rate; pass sample_rate={rate:.3g} to read it nevertheless."
    problem = f"{clock} of {rate:.3g} samples a second"
    expected = f"at least {SLOWEST_HZ:g} and at most {FASTEST_HZ:g} samples a second"
    raise InputError(name, found=problem, expected=expected, remedy=remedy)


def _unwrap(
    relative: np.ndarray, step: float, wraps: Mapping[float, str]
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Stamps that went back though time went on, continued.

    Args:
        relative: stamps (T,) in ticks.
        step: the usual step.
        wraps: by how many ticks stamps may go back, and what happens there.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        steps = np.diff(relative)
    backward = np.flatnonzero(steps < 0)
    if not backward.size:
        return relative, ()
    offsets = np.zeros_like(relative)
    counts: dict[float, int] = {}
    for at in backward:
        plausible = [wrap for wrap in wraps if 0 <= steps[at] + wrap <= 3 * step]
        if len(plausible) != 1:
            return relative, ()
        offsets[at + 1 :] += plausible[0]
        counts[plausible[0]] = counts.get(plausible[0], 0) + 1
    times = {wrap: f" ({count} times)" if count > 1 else "" for wrap, count in counts.items()}
    return relative + offsets, tuple(
        f"{wraps[wrap]}{times[wrap]}; the times were continued" for wrap in counts
    )


def _from_dates(cells: np.ndarray, name: str) -> np.ndarray:
    if np.isnat(cells).any():
        problem = f"{int(np.isnat(cells).sum())} time stamps that are no times"
        raise InputError(name, found=problem, expected="a time for each sample")
    kind = "datetime64[ns]" if cells.dtype.kind == "M" else "timedelta64[ns]"
    return cells.astype(kind).astype(np.int64)
