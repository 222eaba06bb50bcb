"""Clocks: their unit, written times, wraps, shared stamps, bursts, gaps and stamps that are no times."""

from __future__ import annotations

import sys
from datetime import datetime, timedelta, timezone

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bindplug.errors import InputError, InputNote, MissingDependency
from bindplug.inputs import ImuPreprocess
from tests.inputs.imu_logs import EPOCH_S, integers, log, motion, nanoseconds, number, times, written

preprocess = ImuPreprocess()
T = times(100)
X = motion(T)
TRUTH = motion(np.arange(2000) / 400)
HEADER = "{},acc_x,acc_y,acc_z,gyro_x,gyro_y,gyro_z"
MS = integers(T * 1000)


def stamped(stamps, name="timestamp", values=X):
    """A log with these stamps: numbers as they are, texts as they stand."""
    return log(HEADER.format(name), [[str(stamp) for stamp in stamps], *values])


def error_of(window, truth=TRUTH):
    return np.abs(np.asarray(window) - truth)[:, 60:1900].max()


def read_quietly(source, **options):
    with pytest.warns(InputNote) as notes:
        reading = preprocess.read(source, **options)
    return reading, str(notes[0].message)


@pytest.mark.parametrize(
    ("name", "stamps"),
    [
        ("timestamp", [f"{EPOCH_S + v:.6f}" for v in T]),
        ("timestamp", [EPOCH_S * 1000 + v for v in MS]),
        ("timestamp", [EPOCH_S * 10**6 + v for v in integers(T * 1e6)]),
        ("timestamp", nanoseconds(T)),
        ("time", [f"{v:.4f}" for v in T]),
        ("time", MS),
        ("sensor_timestamp", [3 * 10**14 + v for v in integers(T * 1e9)]),
        ("time_min", [f"{v / 60:.9f}" for v in T]),
        ("Time (100us)", integers(T * 1e4)),
        ("Time [1/256 s]", [f"{v * 256:.3f}" for v in T]),
        ("t_us", integers(T * 1e6)),
    ],
)
def test_units(name, stamps):
    assert error_of(preprocess(stamped(stamps, name))) < 0.01


@pytest.mark.parametrize(
    ("hz", "scale", "units"), [(1000, 1e3, "s or 1000 Hz in ms"), (2000, 1e6, "ms or 2000 Hz in us")]
)
def test_two_plausible_units_are_refused(hz, scale, units):
    t = times(hz)
    data = stamped(integers(t * scale), "time", motion(t))
    with pytest.raises(InputError, match=rf"{units}.*time_unit="):
        preprocess(data)
    unit = {1e3: "ms", 1e6: "us"}[scale]
    assert error_of(preprocess(data, time_unit=unit)) < 0.01
    assert (
        error_of(
            preprocess(stamped([int(EPOCH_S * scale) + v for v in integers(t * scale)], "time", motion(t)))
        )
        < 0.01
    )


@given(st.floats(5.5, 4000), st.sampled_from([1.0, 1e3, 1e6, 1e9]), st.booleans())
@settings(max_examples=40, deadline=None)
@pytest.mark.filterwarnings("ignore::bindplug.errors.InputNote")
def test_a_clock_without_a_unit_is_read_right_or_refused(hz, scale, is_epoch):
    t = np.arange(40) / hz
    start = EPOCH_S if is_epoch else 0
    ticks = (
        np.array([int(start * scale) + round(v * scale) for v in t]) if scale > 1e3 else (start + t) * scale
    )
    columns = dict(zip(HEADER.format("time").split(","), [ticks, *motion(t)], strict=True))
    refusal = ""
    try:
        reading = preprocess.read(columns)
    except InputError as error:
        refusal = str(error)
    assert "time_unit=" in refusal if refusal else reading.recorded_hz == pytest.approx(hz, rel=0.02)


@pytest.mark.parametrize("name", ["time (ticks)", "time_counts", "timestamp [frames]"])
def test_a_clock_in_an_unknown_unit_is_refused(name):
    with pytest.raises(InputError, match=r"no unit of time that is known.*time_unit="):
        preprocess(stamped(MS, name))
    assert error_of(preprocess(stamped(MS, name), time_unit="ms")) < 0.01


def test_a_slow_clock_is_refused_unless_its_rate_is_stated():
    t = times(2, 20)
    data = stamped(integers(t * 1000), "time_ms", motion(t))
    with pytest.raises(InputError, match=r"2 samples a second.*sample_rate=2"):
        preprocess(data)
    assert preprocess.read(data, sample_rate=2).recorded_hz == pytest.approx(2)


@pytest.mark.parametrize(
    "stamps",
    [
        [f"{v}Z" for v in written(T, "%Y-%m-%dT%H:%M:%S.%f")],
        [f"{v}+01:00" for v in written(T, "%Y-%m-%dT%H:%M:%S.%f")],
        [f"{v} +0100" for v in written(T, "%Y-%m-%d %H:%M:%S.%f")],
        [f"{v} UTC" for v in written(T, "%Y-%m-%d %H:%M:%S.%f")],
        [v.rstrip("0").rstrip(".") for v in written(T, "%Y-%m-%dT%H:%M:%S.%f")],
        [v.replace("-03-01", "-3-1") for v in written(T, "%Y-%m-%d %H:%M:%S.%f")],
        written(T, "%Y/%m/%d %H:%M:%S.%f"),
        written(T, "%d.%m.%Y %H:%M:%S.%f"),
        [f"{v} PM" for v in written(T, "%m/%d/%Y %I:%M:%S.%f")],
        written(T, "%H:%M:%S.%f"),
        written(T, "%H:%M:%S:%f"),
        [f'"{v}"' for v in written(T, "%H:%M:%S,%f")],
        [v[3:] for v in written(T, "%H:%M:%S.%f")],
    ],
    ids=lambda stamps: stamps[1],
)
def test_written_times(stamps):
    pytest.importorskip("pandas")
    assert error_of(preprocess(stamped(stamps))) < 0.01


def test_day_and_month_that_cannot_be_told_apart_matter_only_at_midnight():
    pytest.importorskip("pandas")
    stamps = written(T + 43_196, "%d/%m/%Y %H:%M:%S.%f")  # 1 March to 2 March
    assert stamps[0][:5] != stamps[-1][:5]
    with pytest.raises(InputError, match="no times that are read"):
        preprocess(stamped(stamps))


@pytest.mark.parametrize("stamps", [["abc"] * 800, [*written(T, "%H:%M:%S.%f")[:-1], "oops"]])
def test_texts_that_are_no_times_are_refused(stamps):
    pytest.importorskip("pandas")
    with pytest.raises(InputError, match=r"no times that are read.*ignore_clock=True"):
        preprocess(stamped(stamps))
    assert error_of(preprocess(stamped(stamps), ignore_clock=True, sample_rate=100)) < 0.01


def test_written_times_without_pandas_name_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(MissingDependency, match=r"bindplug\[imu\]"):
        preprocess(stamped(written(T, "%H:%M:%S.%f")))
    assert error_of(preprocess(stamped(MS, "time_ms"))) < 0.01, "numbers need no extra"


@pytest.mark.parametrize(
    ("name", "stamps", "event"),
    [
        ("timestamp_us", [(v + 2**32 - 3_000_000) % 2**32 for v in integers(T * 1e6)],
         "a counter starts again after 4294967296 ticks"),
        ("timestamp", [(v + 2**32 - 3_000_000) % 2**32 for v in integers(T * 1e6)],
         "a counter starts again after 4294967296 ticks"),
        ("time_ms", [(v + 65_000) % 2**16 for v in MS], "a counter starts again after 65536 ticks"),
        ("time", written(T + 43_197, "%H:%M:%S.%f"), "times without dates pass midnight"),
        ("time", written(T + 3597, "%M:%S.%f"), "times without hours pass the full hour"),
        ("time", written(T - 3600 * (T > 3), "%Y-%m-%d %H:%M:%S.%f"),
         "local times go back by an hour, as at the end of summer time"),
    ],
)  # fmt: skip
def test_clocks_that_start_again_from_zero_are_continued(name, stamps, event):
    reading, note = read_quietly(stamped(stamps, name))
    assert note.endswith(f": {event}; the times were continued")
    assert error_of(reading.windows[0]) < 0.01


def in_zone(t, hours):
    """Times ``t`` as ISO texts, each in the zone of so many hours."""
    start = datetime(2024, 3, 31, 0, 59, 57, tzinfo=timezone.utc)
    return [
        (start + timedelta(seconds=float(second)))
        .astimezone(timezone(timedelta(hours=int(hour))))
        .isoformat("T", "milliseconds")
        for second, hour in zip(t, hours, strict=True)
    ]


def test_stamps_with_a_zone_are_instants():
    """A change of zone changes nothing; a clock that was set back or ahead by an hour is no such change."""
    summer = 1 + (T > 3)
    reading = preprocess.read(stamped(in_zone(T, summer), "time"))
    assert reading.notes == ()
    assert error_of(reading.windows[0]) < 0.01
    with pytest.raises(InputError, match="non-monotonic time: 1 steps backwards"):
        preprocess.read(stamped(in_zone(T - 3600 * (T > 3), summer), "time"))
    with pytest.raises(InputError, match=r"a gap of 3600\.01 s"):
        preprocess.read(stamped(in_zone(T + 3600 * (T > 3), summer), "time"))
    half = [text[: None if at % 2 else -6] for at, text in enumerate(in_zone(T, summer))]
    with pytest.raises(InputError, match="of which 400 of 800 times name their zone"):
        preprocess.read(stamped(half, "time"))


RNG = np.random.default_rng(5)
SIZES = [size for size in RNG.integers(7, 13, 90) if size]
GROUPS = np.repeat(np.arange(len(SIZES)), SIZES)[: T.size]
LAST_OF_GROUP = np.array([np.flatnonzero(group == GROUPS)[-1] for group in GROUPS])
BURSTS = np.repeat(np.arange(100) * 80.0, 8) + np.tile(np.arange(8.0), 100)
LATE = np.repeat(np.arange(100) * 80.0 + RNG.normal(0, 8, 100), 8) + np.tile(np.arange(8.0), 100)
SHARED = {
    "batches of ten": np.arange(T.size) // 10 * 100,
    "batches of other sizes, stamped on arrival": T[LAST_OF_GROUP] * 1000,
    "bursts": BURSTS,
    "bursts that arrive late": LATE,
    "pairs": np.repeat(np.arange(400) * 20.0, 2) + np.tile([0.0, 1.0], 400),
    "a timer of 64 Hz": T // (1 / 64) * (1000 / 64),
    "whole seconds from the middle of one": (T + 0.37) // 1 * 1000,
}


@pytest.mark.parametrize("kind", SHARED)
def test_samples_that_share_a_stamp_are_spread(kind):
    reading, note = read_quietly(stamped([f"{v:.3f}" for v in SHARED[kind]], "timestamp_ms"))
    assert "spread evenly over their intervals" in note
    exact = kind in ("batches of ten", "batches of other sizes, stamped on arrival", "bursts", "pairs")
    assert reading.recorded_hz == pytest.approx(100, rel=1e-6 if exact else 1e-3)
    assert reading.duplicates == 0
    assert error_of(reading.windows[0]) < 0.06


def test_two_stamps_tell_no_rate():
    stamps = [f"{np.float32(EPOCH_S + v):.1f}" for v in T + 60]  # float32 has steps of 128 s here
    assert len(set(stamps)) == 1
    stamps[400:] = [f"{EPOCH_S + 128:.1f}"] * 400
    with pytest.raises(InputError, match=r"800 samples on 2 time stamps.*ignore_clock=True"):
        preprocess(stamped(stamps))


def test_a_lost_batch_shifts_nothing():
    batches = np.arange(T.size) // 10 * 100
    keep = batches != 3000
    reading, note = read_quietly(stamped(list(batches[keep]), "timestamp_ms", X[:, keep]))
    ((start, length),) = reading.gaps
    assert (start, length) == (pytest.approx(2.99), pytest.approx(0.11))
    error = np.abs(reading.windows[0].numpy() - TRUTH)
    assert max(error[:, 60:1150].max(), error[:, 1300:1900].max()) < 0.02
    assert "1 gaps of 0.11 s" in note


def test_a_vibration_survives_batches():
    t = times(100, 20)
    wave = np.sin(2 * np.pi * 15 * t)
    still = np.stack([wave, 0 * t, 9.80665 + 0 * t, 0.5 * wave, 0 * t, 0 * t])
    reading, _ = read_quietly(stamped(integers(t // 0.1 * 100), "timestamp_ms", still))
    assert reading.windows[0, 0].std().item() == pytest.approx(0.707, abs=0.01)


def test_a_sensor_at_rest_on_a_coarse_clock_keeps_its_samples():
    still = np.repeat([[0.0], [0.0], [9.8], [0.0], [0.0], [0.0]], T.size, 1)
    reading, _ = read_quietly(stamped(list(np.arange(T.size) // 10 * 100), "timestamp_ms", still))
    assert reading.recorded_hz == pytest.approx(100)
    assert reading.duplicates == 0


def test_integers_beyond_64_bits_of_difference():
    stamps = [-(9 * 10**18), *(9 * 10**18 + v for v in integers(T[1:] * 1e9))]
    reading, note = read_quietly(stamped(stamps, "timestamp_ns"))
    assert "the times of the first 1 samples" in note
    assert reading.recorded_hz == pytest.approx(100, rel=1e-3)


def test_decimal_points_and_commas_in_one_log_are_refused():
    cells = [[number(v) for v in row] for row in X]
    cells[2][50] = "9,8"
    data = log(HEADER.format("time_ms").replace(",", ";"), [MS, *cells], ";")
    with pytest.raises(InputError, match="decimal points and decimal commas in one log"):
        preprocess(data)


@given(st.integers(2, 40), st.integers(0, 39), st.floats(20, 400))
@settings(max_examples=40, deadline=None)
def test_any_coarse_clock_gives_the_mean_rate(size, phase, hz):
    t = np.arange(size * 40) / hz
    quantum = size / hz
    stamps = np.floor((t + phase / hz) / quantum + 1e-9) * quantum
    reading, _ = read_quietly(stamped([f"{v:.6f}" for v in stamps], "time_s", motion(t)))
    assert reading.recorded_hz == pytest.approx(hz, rel=0.01)


@pytest.mark.parametrize("last", ["1e9", "1e11", "1e13", "1e16", "1e300"])
def test_a_last_stamp_far_away_is_left_out(last):
    reading, note = read_quietly(stamped([*MS[:-1], last], "timestamp_ms"))
    assert "the last 1 samples left out" in note
    assert error_of(reading.windows[0]) < 0.01


@pytest.mark.parametrize(("count", "stamp"), [(1, "0"), (3, "0"), (1, "-1e308"), (2, "-1e17")])
def test_first_stamps_far_away_are_put_before_the_others(count, stamp):
    stamps = [stamp] * count + [f"{EPOCH_S + v:.3f}" for v in T[count:]]
    reading, note = read_quietly(stamped(stamps))
    assert f"the times of the first {count} samples" in note
    assert error_of(reading.windows[0]) < 0.01


def test_a_gap_longer_than_the_recording_is_refused_or_cut():
    stamps = T + np.where(T >= 6, 1000, 0)
    data = stamped([f"{v:.3f}" for v in stamps], "time_s")
    with pytest.raises(InputError, match=r"a gap of 1000.01 s after sample 599.*long_gaps='cut'"):
        preprocess(data)
    reading, note = read_quietly(data, long_gaps="cut")
    assert "the last 200 samples left out" in note
    assert error_of(reading.windows[0]) < 0.01


def test_more_time_without_samples_than_with_is_refused():
    stamps = T + np.cumsum(RNG.random(T.size) < 0.03) * 0.5
    with pytest.raises(InputError, match=r"s without samples between.*ignore_clock=True"):
        preprocess(stamped([f"{v:.3f}" for v in stamps], "time_s"))


@pytest.mark.parametrize(
    ("place", "stamp", "message"),
    [(300, "", "1 time stamps that are no numbers"), (300, "nan", "1 time stamps that are no numbers"),
     (300, "inf", "1 time stamps that are no numbers"), (300, "0", "non-monotonic"), (300, "1e300", "non-monotonic"),
     (0, "1e300", "non-monotonic")],
)  # fmt: skip
def test_single_stamps_that_are_no_times(place, stamp, message):
    stamps = [f"{EPOCH_S + v:.3f}" for v in T]
    stamps[place] = stamp
    with pytest.raises(InputError, match=message):
        preprocess(stamped(stamps))


@pytest.mark.parametrize("stamp", ["0", "nan", "1e300", "2024-03-01"])
def test_stamps_that_are_all_alike_are_refused(stamp):
    with pytest.raises(InputError, match=r"never change|no numbers"):
        preprocess(stamped([stamp] * T.size))


def test_stamps_from_one_end_of_numbers_to_the_other():
    stamps = ["-1e308", *(f"{v:.3f}" for v in T[1:-1]), "1e308"]
    with pytest.raises(InputError, match="beyond any clock"):
        preprocess(stamped(stamps))


def holed(rows, columns=range(6)):
    cells = [[number(v) for v in row] for row in X]
    for column in columns:
        for row in rows:
            cells[column][row] = "nan"
    return log(HEADER.format("time_ms"), [MS, *cells])


def test_blank_rows_are_interpolated_in_short_runs():
    reading, note = read_quietly(holed([100, 300, 301, 302]))
    assert "4 rows that lack values interpolated" in note
    assert error_of(reading.windows[0]) < 0.3
    assert error_of(preprocess.read(holed([]), sample_rate=100).windows[0]) < 0.01
    with pytest.raises(InputError, match=r"12 of 2400 values NaN.*Up to 3 rows"):
        preprocess(holed(range(100, 104)))
    with pytest.raises(InputError, match="values NaN"):
        preprocess(holed(range(100, 600, 4)))


def test_blanks_at_the_start_are_cut_and_the_other_sensor_with_them():
    reading, note = read_quietly(holed(range(20), columns=(3, 4, 5)))
    assert "20 rows at the ends" in note
    assert "0.20 s that only one of the sensors recorded" in note
    assert error_of(reading.windows[0], motion(0.2 + np.arange(2000) / 400)) < 0.01


def test_a_clock_that_starts_again_is_told_from_lost_order():
    twice = np.concatenate([T[:400], T[:400]])
    with pytest.raises(
        InputError, match="The clock starts again there, as where logs were joined: split the file"
    ):
        preprocess.read(stamped([f"{v:.4f}" for v in twice], "time_s"))
