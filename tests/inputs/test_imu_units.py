"""The grammar of units: every spelling that loggers use, and what must not be understood."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bindplug.errors import InputError
from bindplug.inputs import ImuPreprocess
from bindplug.inputs.imu.units import STANDARD_GRAVITY, parse_unit

G, DEG = STANDARD_GRAVITY, math.pi / 180
ACCELERATION = {
    "m/s^2": 1, "m/s²": 1, "m/s2": 1, "m/s**2": 1, "m/s/s": 1, "m s-2": 1, "m s^-2": 1, "m·s⁻²": 1, "m*s^-2": 1,
    "m.s-2": 1, "m/sec^2": 1, "m/sec²": 1, "meter/sec^2": 1, "meters/second^2": 1, "metres per second squared": 1,
    "meters per second per second": 1, "meters per square second": 1, "m/(s^2)": 1, "m/(s*s)": 1, "(m/s²)": 1,
    "mps2": 1, "ms-2": 1, "ms^-2": 1, "m s2": 1, "M/S^2": 1, "㎨": 1, "mÂ/sÂ²": 1,
    "g": G, "G": G, "gs": G, "g's": G, "g’s": G, "g0": G, "gravity": G, "g-force": G, "standard gravity": G,
    "mg": G / 1e3, "mG": G / 1e3, "milli-g": G / 1e3, "milli g": G / 1e3, "millig": G / 1e3, "µg": G / 1e6,
    "ug": G / 1e6, "micro-g": G / 1e6,
    "cm/s^2": 0.01, "cm/s²": 0.01, "mm/s^2": 0.001, "Gal": 0.01, "mGal": 1e-5, "ft/s^2": 0.3048,
}  # fmt: skip
TURN_RATE = {
    "rad/s": 1, "rad/sec": 1, "rad/second": 1, "radians/s": 1, "radians per second": 1, "rad·s⁻¹": 1, "rad s-1": 1,
    "rad s^-1": 1, "rad*s^-1": 1, "rad s^(-1)": 1, "rad/s^1": 1, "rads": 1, "rad / s": 1,
    "deg/s": DEG, "deg/sec": DEG, "°/s": DEG, "º/s": DEG, "˚/s": DEG, "°/sec": DEG, "degrees/s": DEG,
    "degrees/sec": DEG, "degree/s": DEG, "degrees per second": DEG, "deg s^-1": DEG, "deg*s^-1": DEG, "deg.s-1": DEG,
    "deg·s⁻¹": DEG, "°·s⁻¹": DEG, "dps": DEG, "DPS": DEG, "deg / s": DEG, "Â°/s": DEG,
    "mdps": DEG / 1e3, "mdeg/s": DEG / 1e3, "milli-degrees/second": DEG / 1e3, "mrad/s": 1e-3, "deg/min": DEG / 60,
    "deg/h": DEG / 3600, "deg/hr": DEG / 3600, "rpm": math.tau / 60, "rev/s": math.tau,
}  # fmt: skip
TIME = {
    "s": 1, "sec": 1, "secs": 1, "seconds": 1, "ms": 1e-3, "msec": 1e-3, "mSecs": 1e-3, "millisec": 1e-3,
    "milliseconds": 1e-3, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "usec": 1e-6, "µsec": 1e-6, "microseconds": 1e-6,
    "ns": 1e-9, "nsec": 1e-9, "nanosec": 1e-9, "min": 60, "minutes": 60, "h": 3600, "hours": 3600, "100us": 1e-4,
    "10 ms": 0.01, "1/256 s": 1 / 256,
}  # fmt: skip
NONE = [
    "", "LSB", "raw", "counts", "ticks", "adc", "no units", "a.u.", "rad", "deg", "°", "m", "m/s", "m/s^3", "s^2",
    "1/s", "Hz", "rps", "uT", "g/s", "g g", "g^2", "deg/s/s", "m/", "/s", "m//s", "per s", "(", ")", "m/(s", "m)s",
    "--", "m/s^", "m/s^2*100", "s^999999", "1e999 s", "0 s", "x", "10^-3 g", "°C", "%",
]  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "spelling", "scale"),
    [(kind, spelling, scale) for kind, group in
     (("acceleration", ACCELERATION), ("turn rate", TURN_RATE), ("time", TIME)) for spelling, scale in group.items()],
)  # fmt: skip
def test_spellings(kind, spelling, scale):
    unit = parse_unit(spelling)
    assert unit is not None
    assert unit.kind == kind
    assert unit.scale == pytest.approx(scale)


@pytest.mark.parametrize("text", NONE)
def test_no_units(text):
    assert parse_unit(text) is None


@given(st.text(alphabet="mskgradeg°/^*·.-+() 0123456789per²⁻¹'LSBµ", max_size=24))
def test_any_text_is_a_unit_or_none(text):
    unit = parse_unit(text)
    assert unit is None or (math.isfinite(unit.scale) and unit.scale > 0)


T = np.arange(1200) / 200
ACC = np.stack([np.sin(T), np.cos(T), G + np.sin(3 * T)])
GYRO = np.stack([np.sin(T), np.cos(2 * T), np.sin(3 * T)])
preprocess = ImuPreprocess()
EXPECTED = preprocess(np.concatenate([ACC, GYRO]), sample_rate=200).numpy()


def columns(acc_name, acc, gyro_name, gyro):
    columns = {"time (s)": T}
    for axis, a, g in zip("xyz", acc, gyro, strict=True):
        columns |= {acc_name.format(axis): a, gyro_name.format(axis): g}
    return columns


@pytest.mark.parametrize(
    ("acc_name", "acc_scale", "gyro_name", "gyro_scale"),
    [
        ("Accel {} (milli-g)", G / 1e3, "Gyro {} (°/sec)", DEG),
        ("acc_{}_g", G, "gyro_{}_dps", DEG),
        ("acc_{}_mg", G / 1e3, "gyro_{}_mdps", DEG / 1e3),
        ("accel_{}_m_s2", 1, "ang_vel_{}_deg_s", DEG),
        ("acc_mg_{}", G / 1e3, "gyro_dps_{}", DEG),
        ("{} Acceleration (cm/s²)", 0.01, "{}-axis gyro [deg s^-1]", DEG),
        ("Accel {}, m/s^2", 1, "Gyro {} rad/s", 1),
        ("AccX_{}".replace("X_", ""), 1, "Gyr{} [rad/s] (filtered)", 1),
    ],
)
def test_units_in_names_reach_the_values(acc_name, acc_scale, gyro_name, gyro_scale):
    source = columns(acc_name, ACC / acc_scale, gyro_name, GYRO / gyro_scale)
    np.testing.assert_allclose(preprocess(source).numpy(), EXPECTED, atol=1e-3)


@pytest.mark.parametrize(
    ("name", "unit"),
    [("Accel {} (LSB)", "LSB"), ("acc_{}_raw", "raw"), ("acc {} [counts]", "counts"), ("acc_{}_furlongs", "furlongs"),
     ("Accel {} (g/s)", "g/s"), ("Accel {} (±2g)", "±2g"), ("Accel {} (2g)", "2g"), ("acc_{} (rad/s)", "rad/s"),
     ("acc_{} (m/s^2) [raw]", "raw")],
)  # fmt: skip
def test_a_unit_that_is_not_understood_is_refused_and_an_option_settles_it(name, unit):
    source = columns(name, ACC / 0.5, "gyro_{} (rad/s)", GYRO)
    with pytest.raises(InputError, match=r"no known unit of acceleration.*acc_unit=") as error:
        preprocess(source)
    assert repr(unit) in str(error.value)
    np.testing.assert_allclose(preprocess(source, acc_unit=0.5).numpy(), EXPECTED, atol=1e-3)


@pytest.mark.parametrize(
    "name",
    [
        "Gyro {} (LSB)",
        "gyro_{}_raw",
        "gyro_deg_{}",
        "gyro_{}_rad",
        "Gyro {} (250dps)",
        "gyro_{} (g)",
        "gyro_{}_rps",
    ],
)
def test_the_same_of_the_gyroscope(name):
    source = columns("acc_{} [m/s^2]", ACC, name, GYRO / DEG)
    with pytest.raises(InputError, match=r"no known unit of turn rate.*gyro_unit="):
        preprocess(source)
    np.testing.assert_allclose(preprocess(source, gyro_unit="deg/s").numpy(), EXPECTED, atol=1e-3)


def test_a_row_of_units_that_is_not_understood_is_refused():
    header, units = "time,acc_x,acc_y,acc_z,gyro_x,gyro_y,gyro_z", "s,quux,quux,quux,[°/s],[°/s],[°/s]"
    rows = [",".join(f"{v:.6f}" for v in row) for row in zip(T, *ACC, *(GYRO / DEG), strict=True)]
    data = "\n".join([header, units, *rows]).encode()
    with pytest.raises(InputError, match="'quux', which is no known unit"):
        preprocess(data)
    np.testing.assert_allclose(preprocess(data, acc_unit="m/s^2").numpy(), EXPECTED, atol=1e-3)


def test_one_axis_without_a_unit_beside_others_is_refused():
    source = {"acc_x [g]": ACC[0] / G, "acc_y": ACC[1] / G, "acc_z [g]": ACC[2] / G, "time (s)": T,
              **{f"gyro_{axis} (rad/s)": row for axis, row in zip("xyz", GYRO, strict=True)}}  # fmt: skip
    with pytest.raises(InputError, match="'acc_y' without a unit beside others"):
        preprocess(source)


@pytest.mark.parametrize(
    ("acc", "gyro", "message"),
    [
        (ACC / G, GYRO, r"looks like g.*acc_unit="),
        (ACC / G * 1000, GYRO, r"no acceleration in m/s\^2 that people meet.*acc_unit="),
        (ACC / G * 16384, GYRO * 131 / DEG, r"acc_unit="),
        (ACC, GYRO / DEG, r"look like degrees or counts.*gyro_unit="),
        (ACC, 0.1 * GYRO * 1000, r"look like degrees or counts.*gyro_unit="),
    ],
)
def test_values_without_a_unit_that_can_be_another_are_refused(acc, gyro, message):
    with pytest.raises(InputError, match=message):
        preprocess(columns("acc_{}", acc, "gyro_{}", gyro))


def test_acceleration_in_g_puts_a_gyroscope_without_a_unit_in_doubt():
    source = columns("acc_{} (g)", ACC / G, "gyro_{}", GYRO)
    with pytest.raises(InputError, match=r"beside acceleration in g.*gyro_unit="):
        preprocess(source)
    np.testing.assert_allclose(preprocess(source, gyro_unit="rad/s").numpy(), EXPECTED, atol=1e-3)


def test_gravity_is_not_taken_for_rotation():
    still = {"gx": 0 * T, "gy": 0 * T, "gz": 1 + 0 * T}
    source = {"time (s)": T, **dict(zip(("ax", "ay", "az"), ACC, strict=True)), **still}
    with pytest.raises(InputError, match="are gravity and no rotation"):
        preprocess(source)


@pytest.mark.parametrize("value", [1e30, 1e6])
def test_values_beyond_every_sensor_are_refused(value):
    acc = ACC.copy()
    acc[1, 40] = value
    with pytest.raises(InputError, match="on the accelerometer"):
        preprocess(columns("acc_{} (m/s^2)", acc, "gyro_{} (rad/s)", GYRO))
