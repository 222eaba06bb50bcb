"""Motion logs in layouts that differ in spelling: units without separators, indices for axes, other languages."""

from __future__ import annotations

import gzip
import json

import numpy as np

from tests.inputs.imu_logs import DEG, G, Logs, integers, log, motion, number, times, zip_of

T = times(100)
X = motion(T)


def suffixes(form="{}_{axis}_{unit}", axes="xyz"):
    sensors = (("acc", "mps2"), ("gyro", "radps"))
    names = [form.format(sensor, axis=axis, unit=unit) for sensor, unit in sensors for axis in axes]
    return log(",".join(["timestamp_ms", *names]), [integers(T * 1000), *X])


def px4(form="{}[{}]"):
    gyroscope = [form.format("gyro_rad", axis) for axis in range(3)]
    accelerometer = [form.format("accelerometer_m_s2", axis) for axis in range(3)]
    names = ["timestamp", *gyroscope, "gyro_integral_dt", "accelerometer_timestamp_relative", *accelerometer]
    filler = [5000] * T.size
    return log(",".join(names), [integers(T * 1e6), *X[3:], filler, [0] * T.size, *X[:3]])


def open_imu(unit="g"):
    scale = G if unit == "g" else 1.0
    names = ["timeCntr", "time (s)", *(f"accel{a}_{unit}" for a in "XYZ"), *(f"rate{a}_dps" for a in "XYZ")]
    return log(",".join(names), [list(range(T.size)), T, *(X[:3] / scale), *(X[3:] * DEG)])


def metawear_merged():
    axes = [f"{axis}-axis ({unit})" for unit in ("g", "deg/s") for axis in "xyz"]
    header = ",".join(["epoc (ms)", "elapsed (s)", *axes])
    return log(header, [integers(T * 1000), T, *(X[:3] / G), *(X[3:] * DEG)])


def sensors_in_rows(names=("accelerometer", "gyroscope"), header="timestamp_ms,sensor,x,y,z", others=True):
    """One reading a row, whose sensor a column names; the gyroscope's come 3 ms after the accelerometer's."""
    rows = [(t, names[0], *v) for t, v in zip(T, motion(T - 0.003)[:3].T, strict=True)]
    rows += [(t + 0.003, names[1], *v) for t, v in zip(T, X[3:].T, strict=True)]
    rows += [(t + 0.001, "magnetometer", 30.0, 1.0, -40.0) for t in T[::5]] if others else []
    lines = [f"{t * 1000:.3f},{name},{x:.6f},{y:.6f},{z:.6f}" for t, name, x, y, z in sorted(rows)]
    return "\n".join([header, *lines]).encode()


def repeated_headers():
    lines = suffixes().decode().splitlines()
    return "\n".join([*lines[:300], lines[0], *lines[300:600], lines[0], *lines[600:]]).encode()


def thousands():
    """Micro-g, thousandths of a degree a second, and milliseconds since 1970, with commas between thousands."""
    columns = [1.7e12 + T * 1000, *(X[:3] / G * 1e6), *(X[3:] * DEG * 1000)]
    header = "timestamp_ms,acc_x_ug,acc_y_ug,acc_z_ug,gyro_x_mdps,gyro_y_mdps,gyro_z_mdps"
    rows = [",".join(f'"{value:,.3f}"' for value in row) for row in zip(*columns, strict=True)]
    return "\n".join([header, *rows]).encode()


def points_between_thousands(marks=".,"):
    """As German spreadsheets write them, 1.234,5, or Swiss ones, 1'234.5."""
    columns = [T * 1000, *(X[:3] / G * 1e6), *(X[3:] * DEG * 1000)]
    header = "time_ms;acc_x_ug;acc_y_ug;acc_z_ug;gyro_x_mdps;gyro_y_mdps;gyro_z_mdps"
    swap = str.maketrans(",.", marks)
    rows = [";".join(f"{value:,.2f}".translate(swap) for value in row) for row in zip(*columns, strict=True)]
    return "\n".join([header, *rows]).encode()


def in_language(time, acceleration, rotation, sep=","):
    """Names with ``{}`` in place of the axis; acceleration in m/s^2, rotation in degrees a second."""
    names = [time, *(acceleration.format(axis) for axis in "XYZ"), *(rotation.format(axis) for axis in "XYZ")]
    return log(sep.join(names), [T, *X[:3], *(X[3:] * DEG)], sep=sep)


PLAIN = "time,acc_x,acc_y,acc_z,gyro_x,gyro_y,gyro_z"


def merged_events():
    """One reading a row: those of the other sensor are blank, and the gyroscope's first comes 5 ms later."""
    t = times(200)
    x = motion(t - t[1])
    own = np.arange(t.size) % 2 == 0
    cells = [[number(v) if mine else "" for v, mine in zip(row, mask, strict=True)]
             for row, mask in zip(x, [own] * 3 + [~own] * 3, strict=True)]  # fmt: skip
    return log("timestamp_ms,acc_x,acc_y,acc_z,gyro_x,gyro_y,gyro_z", [t * 1000, *cells])


def plain(**layout):
    t = times(100)
    sep = layout.get("sep", ",")
    return log(PLAIN.replace(",", sep), [t, *motion(t)], **layout)


def trailing_commas():
    t = times(100)
    return log(PLAIN, [t, *motion(t)], trailing=",")


def semicolons_and_commas():
    return plain(sep=";", decimal=",", encoding="utf-16", end="\r\n")


def whole_numbers_first():
    t = times(100)
    x = motion(t)
    rows = [[f"{v:.6f}".replace(".", ",") for v in row] for row in x]
    return log(PLAIN.replace("time", "time_ms").replace(",", ";"), [integers(t * 1000), *rows], ";")


def blank_row():
    t = times(100)
    cells = [[number(v) for v in row] for row in motion(t)]
    for row in cells:
        row[300] = "nan"
    return log(PLAIN, [t, *cells])


def brackets():
    t = times(100)
    x = motion(t)
    return log("Time [ms],acc(x),acc(y),acc(z),gyro[x],gyro[y],gyro[z]", [t * 1000, *x])


def levels():
    """Columns of two levels, as pandas writes them."""
    rows = [",acc,acc,acc,gyro,gyro,gyro", "time_s,x,y,z,x,y,z"]
    return log(rows[1], [T, *X], before=rows[:1])


ROWS = X.T.tolist()


def nested_rows(form):
    """JSON rows whose sensors are mappings or lists, alone or below other keys."""
    rows = [
        {"time_ms": 1000 * at, "accelerometer": row[:3], "gyroscope": row[3:], "quaternion": [1, 0, 0, 0]}
        if form == "lists"
        else {"time_ms": 1000 * at, "imu": {"acc": dict(zip("xyz", row[:3], strict=True)),
                                            "gyro": dict(zip("xyz", row[3:], strict=True))}}
        for at, row in zip(T.tolist(), ROWS, strict=True)
    ]  # fmt: skip
    return json.dumps({"session": {"device": "a", "events": [{"name": "start"}], "samples": rows}}).encode()


def nested_columns(form):
    x = [row.tolist() for row in X]
    sensors = {
        "lists": {"acc": X[:3].T.tolist(), "gyro": X[3:].T.tolist()},
        "mappings": {
            "acc": dict(zip("xyz", x[:3], strict=True)),
            "gyro": dict(zip("xyz", x[3:], strict=True)),
        },
    }
    return json.dumps({"time_s": T.tolist(), **sensors[form]}).encode()


def lists_by_sensor():
    rows = [
        {"timestamp": round(1000 * at), "sensor": sensor, "values": values}
        for at, row in zip(T.tolist(), ROWS, strict=True)
        for sensor, values in (("accelerometer", row[:3]), ("gyroscope", row[3:]))
    ]
    return json.dumps(rows).encode()


LAYOUTS: Logs = {
    "merged events": (merged_events, {}),
    "trailing commas": (trailing_commas, {}),
    "spaces": (lambda: plain(sep=" "), {}),
    "semicolons, decimal commas, UTF-16": (semicolons_and_commas, {}),
    "whole numbers first": (whole_numbers_first, {}),
    "blank row": (blank_row, {}),
    "axes in brackets": (brackets, {}),
    "byte order mark, CRLF": (lambda: plain(encoding="utf-8-sig", end="\r\n"), {}),
    "units without separators": (suffixes, {}),
    "units behind the axis": (lambda: suffixes("{}{axis}{unit}", "XYZ"), {}),
    "PX4 sensor_combined": (px4, {}),
    "PX4, PlotJuggler": (lambda: px4("sensor_combined/{}.0{}"), {}),
    "OpenIMU": (open_imu, {}),
    "OpenIMU, m/s²": (lambda: open_imu("mps2"), {}),
    "MetaWear, merged": (metawear_merged, {}),
    "rows by sensor": (sensors_in_rows, {}),
    "rows by sensor, Android": (
        lambda: sensors_in_rows(
            ("android.sensor.accelerometer", "android.sensor.gyroscope"), "time_ms,type,x,y,z"
        ),
        {},
    ),
    "repeated headers": (repeated_headers, {}),
    "commas between thousands": (thousands, {}),
    "apostrophes between thousands": (lambda: points_between_thousands("'."), {}),
    "points between thousands": (points_between_thousands, {}),
    "German": (
        lambda: in_language("Zeit [s]", "Beschleunigung {} (m/s²)", "Winkelgeschwindigkeit {} (°/s)", ";"),
        {},
    ),
    "French": (
        lambda: in_language("Temps (s)", "Accélération {} (m/s²)", "Vitesse angulaire {} (deg/s)", ";"),
        {},
    ),
    "Spanish": (lambda: in_language("Tiempo (s)", "Aceleración {} (m/s^2)", "Giroscopio {} (deg/s)"), {}),
    "Italian": (
        lambda: in_language("Tempo (s)", "Accelerazione {} (m/s^2)", "Velocità angolare {} (deg/s)"),
        {},
    ),
    "Portuguese": (lambda: in_language("Tempo (s)", "Aceleração {} (m/s^2)", "Giroscópio {} (deg/s)"), {}),
    "Japanese": (lambda: in_language("時間[s]", "加速度{}[m/s^2]", "角速度{}[deg/s]"), {}),
    "Japanese, axes first": (lambda: in_language("経過時間(s)", "{}軸加速度(m/s²)", "{}軸ジャイロ(dps)"), {}),
    "Japanese, Shift JIS": (
        lambda: in_language("時間[s]", "加速度{}[m/s^2]", "角速度{}[deg/s]").decode().encode("cp932"),
        {},
    ),
    "Chinese, GB 18030": (
        lambda: in_language("时间(s)", "加速度{}(m/s^2)", "陀螺仪{}(deg/s)").decode().encode("gb18030"),
        {},
    ),
    "Chinese": (lambda: in_language("时间(s)", "加速度{}(m/s²)", "陀螺仪{}(°/s)"), {}),
    "Korean": (lambda: in_language("시간(s)", "가속도 {}(m/s²)", "자이로 {}(deg/s)"), {}),
    "two levels of names": (levels, {}),
    "JSON rows of lists": (lambda: nested_rows("lists"), {}),
    "JSON rows of mappings": (lambda: nested_rows("mappings"), {}),
    "JSON columns of lists": (lambda: nested_columns("lists"), {}),
    "JSON columns of mappings": (lambda: nested_columns("mappings"), {}),
    "JSON rows by sensor": (lists_by_sensor, {}),
    "packed by gzip": (lambda: gzip.compress(plain()), {}),
    "JSON in a zip": (lambda: zip_of({"log.json": nested_rows("lists")}), {}),
}
