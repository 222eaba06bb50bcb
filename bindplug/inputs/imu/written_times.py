"""Times that a motion log writes out: ISO with or without a zone, hours and minutes, dates day or month first.

pandas parses them; what is here brings the loggers' spellings into forms that it reads.
"""

from __future__ import annotations

import re
from datetime import timezone
from types import ModuleType
from typing import Any

import numpy as np

from bindplug.errors import InputError
from bindplug.inputs.optional import import_optional

_COLON_FRACTION = r"(\d{1,2}:\d{2}:\d{2})[:,_](\d+)"
_HOURS = re.compile(r"^\d{1,3}:\d{2}:\d{2}(\.\d+)?$")
_MINUTES = re.compile(r"^\d{1,3}:\d{2}\.\d+$")
_YEAR_FIRST = re.compile(r"^\d{4}[-/.]\d{1,2}[-/.]\d{1,2}")
_DAY_FIRST = re.compile(r"^\d{1,2}[-/.]\d{1,2}[-/.]\d{2,4}")
_ZONE = re.compile(r"(?:Z|UTC|GMT|:\d\d(?:\.\d+)? ?[+-]\d\d(?::?\d\d)?)(?:\[.*\])?$")
_ZONE_NAME = re.compile(r"(?<=[\d\]]) ?(?!AM|PM|am|pm)([A-Z][A-Za-z]{1,4}|[A-Z][A-Za-z]+/[A-Za-z_/]+)$")
"""A zone by its name: CET, Europe/Berlin."""
_ZONE_HOURS = r" ?(?:UTC|GMT)([+-])(\d{1,2})(?::?(\d\d))?$"
_DAY = r"^(?:[A-Z][a-z]{2,8},? +)?"
_MONTH = r"([A-Z][a-z]{2})[a-z]*\.?"
_NAMED_MONTHS = (
    (rf"{_DAY}(\d{{1,2}})[- ]{_MONTH}[- ](\d{{4}})[T, ]+(.*)$", (3, 2, 1, 4)),  # 01-Mar-2024 12:00:00
    (rf"{_DAY}{_MONTH} +(\d{{1,2}}),? +(\d{{4}})[, ]+(.*)$", (3, 1, 2, 4)),  # Mar 1, 2024 12:00:00
    (
        rf"{_DAY}{_MONTH} +(\d{{1,2}}) +([\d:.]+(?: [A-Z]+)?) +(\d{{4}})$",
        (4, 1, 2, 3),
    ),  # Fri Mar 1 12:00:00 CET 2024
)
"""Forms with the month's name, and where year, month, day and time stand in them."""
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_HALF_DAY = re.compile(r"^\d{1,2}:\d{2}:\d{2}(\.\d+)? ?[AaPp][Mm]$")


HOUR_S, HALF_DAY_S, DAY_S = 3600.0, 43_200.0, 86_400.0


def text_nanoseconds(
    cells: np.ndarray, column: str, name: str
) -> tuple[np.ndarray, tuple[tuple[float, str], ...]]:
    """Written times, parsed by pandas: ISO with or without zone, h:m:s, day-first dates.

    Returns:
        (T,) int64 nanoseconds, times with a zone as instants in UTC; and the seconds by which such times may go back
        though time goes on, with what happens there. Instants never do.

    Raises:
        InputError: they are in no form that is read, day and month cannot be told apart, or only some have a zone.
        MissingDependency: pandas is absent.
    """
    pandas = import_optional("pandas", "bindplug.inputs.imu", "imu")
    texts = _without_zone_name(
        _with_numeric_month(pandas.Series(cells.astype(object)).str.strip()), column, name
    )
    first = str(texts.iloc[0]) if len(texts) else ""
    try:
        parsed = _parse_text(pandas, texts)
    except (ValueError, OverflowError):
        parsed = None
    if parsed is None or parsed.isna().any():
        problem = f"a clock {column!r} whose texts are no times that are read (the first: {first[:40]!r})"
        remedy = "Write ISO times (2024-03-01T12:00:00.010Z), or pass ignore_clock=True and sample_rate=."
        raise InputError(name, found=problem, expected="numbers, ISO times or h:m:s", remedy=remedy)
    zones = texts.str.contains(_ZONE)
    if zones.any() and not zones.all():
        problem = f"a clock {column!r} of which {int(zones.sum())} of {len(zones)} times name their zone"
        remedy = "Write all with their zone, or all without."
        raise InputError(name, found=problem, expected="times of one form", remedy=remedy)
    kind = "timedelta64[ns]" if parsed.dtype.kind == "m" else "datetime64[ns]"
    nanoseconds: np.ndarray = parsed.to_numpy().astype(kind).astype(np.int64)
    return nanoseconds, () if zones.any() else _wraps(first)


def _with_numeric_month(texts: Any) -> Any:
    """Dates whose month is written out, year first."""
    first = str(texts.iloc[0]) if len(texts) else ""
    for form, places in _NAMED_MONTHS:
        match = re.match(form, first)
        if match and match.group(places[1]) in _MONTHS:

            def numeric(match: re.Match[str], places: tuple[int, ...] = places) -> str:
                year, month, day, time = (match.group(place) for place in places)
                number = _MONTHS.index(month) + 1 if month in _MONTHS else 0  # 0 is refused as no date
                return f"{year}-{number:02}-{int(day):02} {time}"

            return texts.str.replace(form, numeric, regex=True)
    return texts


def _without_zone_name(texts: Any, column: str, name: str) -> Any:
    """Times without the name of their zone, which is one for all and moves them alike; GMT+1 as an offset.

    Raises:
        InputError: they name several zones.
    """
    texts = texts.str.replace(
        _ZONE_HOURS, lambda match: f"{match[1]}{int(match[2]):02}:{match[3] or '00'}", regex=True
    )
    if not len(texts) or _ZONE.search(str(texts.iloc[0])):
        return texts
    zones = texts.str.extract(_ZONE_NAME, expand=False).dropna().unique()
    if not len(zones):
        return texts
    if len(zones) > 1:
        problem = f"a clock {column!r} whose times name several zones ({', '.join(map(str, zones[:4]))})"
        remedy = "Write offsets from UTC in place of names: 12:00:00.010+01:00."
        raise InputError(name, found=problem, expected="times of one zone", remedy=remedy)
    return texts.str.replace(_ZONE_NAME, "", regex=True)


def _wraps(first: str) -> tuple[tuple[float, str], ...]:
    """By how many seconds times like ``first``, which name no zone, go back, and what happens there."""
    if _MINUTES.match(first):
        return ((HOUR_S, "times without hours pass the full hour"),)
    if _HOURS.match(first) or _HALF_DAY.match(first):
        return (
            (HALF_DAY_S, "times of a twelve-hour clock pass twelve"),
            (DAY_S, "times without dates pass midnight"),
        )
    return ((HOUR_S, "local times go back by an hour, as at the end of summer time"),)


def _parse_text(pandas: ModuleType, texts: Any) -> Any:
    """A pandas Series of dates or durations, or ``None``."""
    series = texts.str.replace(_COLON_FRACTION, r"\1.\2", regex=True)
    first = str(series.iloc[0])
    if _HOURS.match(first):
        return pandas.to_timedelta(series)
    if _MINUTES.match(first):
        return pandas.to_timedelta("00:" + series)
    if _HALF_DAY.match(first):
        series = series.str.replace(r" ?([AaPp][Mm])$", r" \1", regex=True)
        return _with_format(pandas, series, "%I:%M:%S", " %p")
    zone = series.str.replace(r"\[.*\]$", "", regex=True).str.replace(r" ?(UTC|GMT|Z)$", "Z", regex=True)
    series = zone.str.replace(r" ([+-]\d\d:?\d\d)$", r"\1", regex=True)
    if _YEAR_FIRST.match(first):
        dates = series.str.replace(r"^(\d{4})[-/.](\d{1,2})[-/.](\d{1,2})[T _]+", r"\1-\2-\3 ", regex=True)
        dates = dates.str.replace(r"(?<!\d)(\d)(?=[- :])", r"0\1", regex=True)
        return pandas.to_datetime(dates, format="ISO8601", utc=True).dt.tz_localize(None)
    if not _DAY_FIRST.match(first):
        return pandas.to_datetime(series, format="ISO8601", utc=True).dt.tz_localize(None)
    series = series.str.replace(r"^(\d+)[-/.](\d+)[-/.](\d+)[T, _]+", r"\1-\2-\3 ", regex=True)
    year = "%Y" if re.match(r"^\d+-\d+-\d{4}", str(series.iloc[0])) else "%y"
    half = " %p" if re.search(r"[AaPp][Mm]$", str(series.iloc[0])) else ""
    hour = "%I" if half else "%H"
    readings = []
    for order in ("%d-%m-", "%m-%d-"):
        try:
            readings.append(_with_format(pandas, series, f"{order}{year} {hour}:%M:%S", half))
        except ValueError:
            continue
    if len(readings) == 2:
        one, other = (reading - reading.iloc[0] for reading in readings)
        if not one.equals(other):
            return None
    return readings[0] if readings else None


def _with_format(pandas: ModuleType, series: Any, form: str, end: str) -> Any:
    """Dates of one written form, with or without a fraction of the second."""
    has_fraction = series.str.contains(".", regex=False)
    if not has_fraction.all():
        whole = series.str.replace(r"(:\d\d)(?=[^:\d.]|$)", r"\1.0", regex=True)
        series = series.where(has_fraction, whole)
    return pandas.to_datetime(series, format=f"{form}.%f{end}")


def dates_of(values: np.ndarray) -> np.ndarray:
    """Objects with a ``timestamp()`` (Python's and pandas' date-times) as datetime64[ns] in UTC."""
    seconds = [
        (value if value.tzinfo else value.replace(tzinfo=timezone.utc)).timestamp() for value in values
    ]
    return (np.round(np.array(seconds) * 1e9)).astype(np.int64).astype("datetime64[ns]")
