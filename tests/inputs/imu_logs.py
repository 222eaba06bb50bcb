"""Motion logs as loggers write them, all of one motion: 8 s; acceleration in m/s^2 with gravity, rotation in rad/s."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from datetime import datetime, timedelta, timezone

import numpy as np

G = 9.80665
DEG = 180 / np.pi
SECONDS = 8.0
EPOCH_S = 1_709_294_400  # 2024-03-01 12:00:00 UTC
GRAVITY = np.array([[0.0], [0.0], [G]])


def motion(t: np.ndarray) -> np.ndarray:
    """The truth at times ``t`` (T,): (6, T)."""
    turns = 2 * np.pi * t
    return np.stack(
        [1.5 * np.sin(1.1 * turns), 0.7 * np.cos(0.6 * turns), G + 2 * np.sin(1.9 * turns),
         0.8 * np.sin(0.9 * turns), 0.5 * np.cos(1.3 * turns), 0.3 * np.sin(0.5 * turns)]
    )  # fmt: skip


def times(hz: float, seconds: float = SECONDS) -> np.ndarray:
    return np.arange(round(hz * seconds)) / hz


def number(value: object) -> str:
    return value if isinstance(value, str) else str(value) if isinstance(value, int) else f"{value:.6f}"


def log(header, columns, sep=",", decimal=".", before=(), after=(), end="\n", encoding="utf-8", trailing=""):
    """A text log: lines ``before``, the header, lines ``after`` it, then rows of ``columns``."""
    lines = [*before, *([header] if header is not None else []), *after]
    for row in zip(*columns, strict=True):
        cells = [cell if isinstance(cell, str) else number(cell).replace(".", decimal) for cell in row]
        lines.append(sep.join(cells) + trailing)
    return (end.join(lines) + end).encode(encoding)


def integers(values: np.ndarray) -> list[int]:
    return [int(value) for value in np.round(values)]


def nanoseconds(t: np.ndarray) -> list[int]:
    return [EPOCH_S * 10**9 + round(v * 1e9) for v in t]


def written(t: np.ndarray, form: str, cut: int | None = -3) -> list[str]:
    start = datetime.fromtimestamp(EPOCH_S, timezone.utc)
    return [(start + timedelta(seconds=float(v))).strftime(form)[:cut] for v in t]


def constant(value: object, t: np.ndarray) -> list[object]:
    return [value] * len(t)


def euroc():
    t = times(200)
    x = motion(t)
    header = (
        "#timestamp [ns],w_RS_S_x [rad s^-1],w_RS_S_y [rad s^-1],w_RS_S_z [rad s^-1],"
        "a_RS_S_x [m s^-2],a_RS_S_y [m s^-2],a_RS_S_z [m s^-2]"
    )
    return log(header, [nanoseconds(t), *x[3:], *x[:3]])


def _ros(header, t, stamp_columns, order=None):
    x = motion(t)
    filler = {name: constant(0.0, t) for name in header.split(",")}
    filler |= stamp_columns
    for name in filler:
        for sensor, rows in (("angular_velocity", x[3:]), ("linear_acceleration", x[:3])):
            for axis, row in zip("xyz", rows, strict=True):
                if name.endswith((f"{sensor}.{axis}", f"{sensor}/{axis}")):
                    filler[name] = row
    return log(header, [filler[name] for name in header.split(",")])


def rostopic():
    t = times(100)
    covariance = ",".join(f"field.angular_velocity_covariance{i}" for i in range(9))
    header = (
        "%time,field.header.seq,field.header.stamp,field.header.frame_id,field.orientation.x,field.orientation.y,"
        "field.orientation.z,field.orientation.w,field.orientation_covariance0,field.angular_velocity.x,"
        f"field.angular_velocity.y,field.angular_velocity.z,{covariance},field.linear_acceleration.x,"
        "field.linear_acceleration.y,field.linear_acceleration.z,field.linear_acceleration_covariance0"
    )
    arrival = np.array(nanoseconds(t)) + np.random.default_rng(0).integers(0, 3_000_000, t.size)
    stamps = {"%time": [int(v) for v in arrival], "field.header.stamp": nanoseconds(t),
              "field.header.frame_id": constant("imu_link", t)}  # fmt: skip
    return _ros(header, t, stamps)


def rostopic_without_stamps():
    t = times(100)
    header = (
        "%time,field.header.stamp,field.angular_velocity.x,field.angular_velocity.y,field.angular_velocity.z,"
        "field.linear_acceleration.x,field.linear_acceleration.y,field.linear_acceleration.z"
    )
    return _ros(header, t, {"%time": nanoseconds(t), "field.header.stamp": constant(0, t)})


def bagpy():
    t = times(100)
    header = (
        "Time,header.seq,header.stamp.secs,header.stamp.nsecs,header.frame_id,orientation.x,orientation.y,"
        "orientation.z,orientation.w,orientation_covariance_0,angular_velocity.x,angular_velocity.y,"
        "angular_velocity.z,angular_velocity_covariance_0,linear_acceleration.x,linear_acceleration.y,"
        "linear_acceleration.z,linear_acceleration_covariance_0"
    )
    stamps = nanoseconds(t)
    return _ros(header, t, {
        "Time": [EPOCH_S + v + 0.002 for v in t], "header.frame_id": constant("imu", t),
        "header.stamp.secs": [v // 10**9 for v in stamps], "header.stamp.nsecs": [v % 10**9 for v in stamps],
    })  # fmt: skip


def plotjuggler():
    t = times(100)
    topic = "/imu/data_raw"
    fields = [f"{sensor}/{axis}" for sensor in ("angular_velocity", "linear_acceleration") for axis in "xyz"]
    header = ",".join(["__time", f"{topic}/header/stamp", *(f"{topic}/{name}" for name in fields)])
    stamps = [f"{EPOCH_S + v:.6f}" for v in t]
    return _ros(header, t, {"__time": stamps, f"{topic}/header/stamp": stamps})


def phyphox(sep=",", decimal="."):
    t = times(100)
    names = [
        "Time (s)",
        *(f"Acceleration {a} (m/s^2)" for a in "xyz"),
        *(f"Gyroscope {a} (rad/s)" for a in "xyz"),
    ]
    header = sep.join(f'"{name}"' for name in names)
    cells = [[f"{v:.9E}".replace(".", decimal) for v in row] for row in [t, *motion(t)]]
    return log(header, cells, sep)


def phyphox_zip():
    t = times(100)
    x = motion(t)
    files = {
        "Accelerometer.csv": log(
            ",".join(["Time (s)", *(f"Acceleration {a} (m/s^2)" for a in "xyz")]), [t, *x[:3]]
        ),
        "Gyroscope.csv": log(",".join(["Time (s)", *(f"Gyroscope {a} (rad/s)" for a in "xyz")]), [t, *x[3:]]),
        "meta/device.csv": b"property,value\nversion,1.1.9\n",
        "meta/time.csv": b"event,experiment time,system time\nSTART,0,1709294400\n",
    }
    return zip_of(files)


def physics_toolbox(clock="seconds"):
    t = times(100)
    x = motion(t)
    stamps = t if clock == "seconds" else written(t, "%Y-%m-%d %H:%M:%S.%f", -2)
    header = "time,gFx,gFy,gFz,TgF,ax,ay,az,wx,wy,wz,Bx,By,Bz,Azimuth,Pitch,Roll"
    total = np.linalg.norm(x[:3], axis=0) / G
    return log(header, [stamps, *(x[:3] / G), total, *(x[:3] - GRAVITY), *x[3:], *np.full((6, t.size), 12.0)])


def physics_toolbox_g_force():
    t = times(100)
    x = motion(t)
    return log("time;gFx;gFy;gFz;wx;wy;wz", [t, *(x[:3] / G), *x[3:]], ";", ",")


def _sensor_logger(rows, t):
    return log("time,seconds_elapsed,z,y,x", [nanoseconds(t), t, *rows[::-1]])


def sensor_logger_two_files():
    t, u = times(100), times(200)
    return {
        "accelerometer": _sensor_logger(motion(t)[:3], t),
        "gyroscope": _sensor_logger(motion(u)[3:], u),
    }


def sensor_logger_with_gravity():
    t = times(100)
    x = motion(t)
    return {
        "accelerometer": _sensor_logger(x[:3] - GRAVITY, t),
        "gravity": _sensor_logger(np.repeat(GRAVITY, t.size, 1), t),
        "gyroscope": _sensor_logger(x[3:], t),
    }


def zip_of(files):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def sensor_logger_zip(total=True):
    t = times(100)
    x = motion(t)
    files = {
        "Metadata.csv": b"version,device name,recording epoch time,standardisation\n3,phone,1709294400000,true\n",
        "Annotation.csv": b"time,seconds_elapsed,text\n",
        "Accelerometer.csv": _sensor_logger(x[:3] - GRAVITY, t),
        "Gravity.csv": _sensor_logger(np.repeat(GRAVITY, t.size, 1), t),
        "Gyroscope.csv": _sensor_logger(x[3:], t),
        "Orientation.csv": log("time,seconds_elapsed,qz,qy,qx,qw,roll,pitch,yaw",
                               [nanoseconds(t), t, *np.zeros((7, t.size))]),
    }  # fmt: skip
    if total:
        files["TotalAcceleration.csv"] = _sensor_logger(x[:3], t)
    return zip_of(files)


def sensor_logger_json():
    t = times(100)
    x = motion(t)
    rows: list[dict[str, object]] = [{"sensor": "Metadata", "version": "3", "device name": "phone"}]
    for sensor, values in (
        ("TotalAcceleration", x[:3]),
        ("Accelerometer", x[:3] - GRAVITY),
        ("Gyroscope", x[3:]),
    ):
        rows += [
            {
                "sensor": sensor,
                "time": str(stamp),
                "seconds_elapsed": str(v),
                "z": str(z),
                "y": str(y),
                "x": str(x_),
            }
            for stamp, v, (x_, y, z) in zip(nanoseconds(t), t, values.T.tolist(), strict=True)
        ]
    return json.dumps(rows).encode()


def sensor_logger_pushed():
    t = times(100)
    x = motion(t)
    payload = [
        {"name": name, "time": stamp, "values": dict(zip("xyz", row, strict=True)), "accuracy": 3}
        for stamp, acc, gyro in zip(nanoseconds(t), x[:3].T.tolist(), x[3:].T.tolist(), strict=True)
        for name, row in (("totalacceleration", acc), ("gyroscope", gyro))
    ]
    return json.dumps({"messageId": 1, "sessionId": "s", "deviceId": "d", "payload": payload}).encode()


def sensor_log(sep=","):
    t = times(100)
    x = motion(t)
    names = ["loggingTime(txt)", "loggingSample(N)", "locationTimestamp_since1970(s)", "locationLatitude(WGS84)",
             "accelerometerTimestamp_sinceReboot(s)", *(f"accelerometerAcceleration{a}(G)" for a in "XYZ"),
             "gyroTimestamp_sinceReboot(s)", *(f"gyroRotation{a}(rad/s)" for a in "XYZ"), "motionYaw(rad)",
             *(f"motionRotationRate{a}(rad/s)" for a in "XYZ"), *(f"motionUserAcceleration{a}(G)" for a in "XYZ"),
             "motionQuaternionX(R)", *(f"motionGravity{a}(G)" for a in "XYZ")]  # fmt: skip
    header = sep.join(names)
    stamps = [stamp + " +0100" for stamp in written(t, "%Y-%m-%d %H:%M:%S.%f")]
    columns = [
        stamps, list(range(t.size)), constant(0.0, t), constant(48.1, t), 51_234.5 + t, *(x[:3] / G),
        51_234.5 + t, *x[3:], constant(0.1, t), *(x[3:] + 0.01), *((x[:3] - GRAVITY) / G), constant(0.0, t),
        *np.repeat(GRAVITY / G, t.size, 1),
    ]  # fmt: skip
    return log(header, columns, sep)


def andro_sensor(encoding="utf-8"):
    t = times(100)
    x = motion(t)
    header = (
        "ACCELEROMETER X (m/s²);ACCELEROMETER Y (m/s²);ACCELEROMETER Z (m/s²);GRAVITY X (m/s²);GRAVITY Y (m/s²);"
        "GRAVITY Z (m/s²);LINEAR ACCELERATION X (m/s²);LINEAR ACCELERATION Y (m/s²);LINEAR ACCELERATION Z (m/s²);"
        "GYROSCOPE X (rad/s);GYROSCOPE Y (rad/s);GYROSCOPE Z (rad/s);LIGHT (lux);MAGNETIC FIELD X (µT);"
        "ORIENTATION Z (azimuth °);Time since start in ms ;YYYY-MO-DD HH-MI-SS_SSS"
    )
    columns = [
        *x[:3], *np.repeat(GRAVITY, t.size, 1), *(x[:3] - GRAVITY), *x[3:], *np.zeros((3, t.size)),
        integers(t * 1000), written(t, "%Y-%m-%d %H:%M:%S:%f"),
    ]  # fmt: skip
    return log(header, columns, ";", encoding=encoding)


def motion_sense():
    t = times(50)
    x = motion(t)
    header = (
        ",attitude.roll,attitude.pitch,attitude.yaw,gravity.x,gravity.y,gravity.z,rotationRate.x,rotationRate.y,"
        "rotationRate.z,userAcceleration.x,userAcceleration.y,userAcceleration.z"
    )
    columns = [list(range(t.size)), *np.zeros((3, t.size)), *np.repeat(GRAVITY / G, t.size, 1), *x[3:],
               *((x[:3] - GRAVITY) / G)]  # fmt: skip
    return log(header, columns)


def device_motion():
    t = times(60)
    x = motion(t)
    rows = [
        {"timeStamp": v * 1000, "interval": 16.67,
         "acceleration": dict(zip("xyz", (acc - GRAVITY[:, 0]).tolist(), strict=True)),
         "accelerationIncludingGravity": dict(zip("xyz", acc.tolist(), strict=True)),
         "rotationRate (deg/s)": dict(zip("xyz", (gyro * DEG).tolist(), strict=True))}
        for v, acc, gyro in zip(t.tolist(), x[:3].T, x[3:].T, strict=True)
    ]  # fmt: skip
    return json.dumps(rows).encode()


def xsens_dot(
    before=("DeviceTag:,DOT 03", "FirmwareVersion:,2.0.0", "OutputRate:,60Hz", "StartTime:,2024-03-01"),
):
    t = times(60)
    x = motion(t)
    header = (
        "PacketCounter,SampleTimeFine,Euler_X,Euler_Y,Euler_Z,FreeAcc_X,FreeAcc_Y,FreeAcc_Z,Acc_X,Acc_Y,Acc_Z,"
        "Gyr_X,Gyr_Y,Gyr_Z,Status"
    )
    columns = [list(range(t.size)), integers(192_856_375 + t * 1e6), *np.zeros((3, t.size)), *(x[:3] - GRAVITY),
               *x[:3], *(x[3:] * DEG), constant(0, t)]  # fmt: skip
    return log(header, columns, before=before)


def movella_dot():
    return xsens_dot(
        (
            "sep=,",
            "DeviceTag:,Movella DOT",
            "AppVersion:,2023.6",
            "OutputRate:,60Hz",
            "FilterProfile:,General",
        )
    )


def xsens_mtw(clock=True):
    t = times(100)
    x = motion(t)
    before = ("// Start Time: Unknown", "// Update Rate: 100.0Hz", "// Filter Profile: human (46.1)",
              "// Option Flags: Orientation Smoother Disabled")  # fmt: skip
    stamp = ["SampleTimeFine"] if clock else []
    header = "\t".join(["PacketCounter", *stamp, *(f"Acc_{a}" for a in "XYZ"), *(f"Gyr_{a}" for a in "XYZ")])
    ticks = [integers(4_294_967_000 % 2**32 + t * 1e4)] if clock else []
    wrapped = [[tick % 2**32 for tick in column] for column in ticks]
    return log(header, [list(range(t.size)), *wrapped, *x], "\t", before=before)


def wit_motion_old():
    t = times(100)
    x = motion(t)
    header = "address\tTime(s)\tax(g)\tay(g)\taz(g)\twx(deg/s)\twy(deg/s)\twz(deg/s)\tAngleX(deg)\tAngleY(deg)\tT(°)"
    columns = [constant("0x50", t), t, *(x[:3] / G), *(x[3:] * DEG), *np.zeros((3, t.size))]
    return log(header, columns, "\t", before=("StartTime：2024-03-01 12:00:00.000",))


def wit_motion_new():
    t = times(100)
    x = motion(t)
    header = (
        "Time,DeviceName,Chip Time(),Acceleration X(g),Acceleration Y(g),Acceleration Z(g),Angular velocity X(°/s),"
        "Angular velocity Y(°/s),Angular velocity Z(°/s),Angle X(°),Angle Y(°),Angle Z(°),Magnetic field X(ʯt),"
        "Temperature(℃),Quaternions 0()"
    )
    columns = [
        written(t, "%H:%M:%S.%f"), constant("WT901BLE(D1:5C)", t), written(t, "%Y-%m-%d %H:%M:%S:%f"), *(x[:3] / G),
        *(x[3:] * DEG), *np.zeros((6, t.size)),
    ]  # fmt: skip
    return log(header, columns)


def wit_motion_short():
    t = times(100)
    x = motion(t)
    names = [
        "DeviceName",
        "time",
        *(f"Acc{a}(g)" for a in "XYZ"),
        *(f"As{a}(°/s)" for a in "XYZ"),
        "AngleX(°)",
        "HX(uT)",
    ]
    columns = [
        constant("WTSDCL", t),
        written(t, "%H:%M:%S.%f"),
        *(x[:3] / G),
        *(x[3:] * DEG),
        *np.zeros((2, t.size)),
    ]
    return log(",".join(names), columns)


def shimmer(sep="\t"):
    t = times(102.4)
    x = motion(t)
    names = ["Timestamp_Unix_CAL", *(f"Accel_LN_{a}_CAL" for a in "XYZ"), *(f"Accel_WR_{a}_CAL" for a in "XYZ"),
             *(f"Gyro_{a}_CAL" for a in "XYZ"), "Mag_X_CAL"]  # fmt: skip
    units = ["ms", *["m/(s^2)"] * 6, *["deg/s"] * 3, "local_flux"]
    columns = [
        [f"{EPOCH_S * 1000 + v * 1000:.3f}" for v in t],
        *x[:3],
        *(x[:3] + 0.5),
        *(x[3:] * DEG),
        constant(0.1, t),
    ]
    shown = r"\t" if sep == "\t" else sep
    return log(sep.join(f"Shimmer_5E4D_{n}" for n in names) + sep, columns, sep, before=(f"sep={shown}",),
               after=(sep.join(units) + sep,), trailing=sep)  # fmt: skip


def shimmer_four_rows():
    t = times(51.2)
    x = motion(t)
    names = ["Timestamp", *(f"Accelerometer {a}" for a in "XYZ"), *(f"Gyroscope {a}" for a in "XYZ")]
    header = "\t".join(names)
    after = ("\t".join(["CAL"] * 7), "\t".join(["mSecs", *["m/(sec^2)"] * 3, *["deg/sec"] * 3]))
    return log(
        header, [t * 1000, *x[:3], *(x[3:] * DEG)], "\t", before=("\t".join(["Shimmer"] * 7),), after=after
    )


def gopro(quoted=True):
    t = times(200)
    x = motion(t)
    names = ["cts", "date", *(f"Accelerometer ({a}) [m/s²]" for a in "zxy"), "temperature [°C]",
             *(f"Gyroscope ({a}) [rad/s]" for a in "zxy")]  # fmt: skip
    header = ",".join(f'"{name}"' if quoted else name for name in names)
    stamps = [stamp + "Z" for stamp in written(t, "%Y-%m-%dT%H:%M:%S.%f")]
    return log(header, [t * 1000, stamps, *x[[2, 0, 1]], constant(41.2, t), *x[[5, 3, 4]]])


def gopro_two_files():
    t, u = times(200), times(400)
    x, y = motion(t)[:3], motion(u)[3:]
    return {
        "accelerometer": log("cts,date,Accelerometer (z) [m/s2],Accelerometer (x) [m/s2],Accelerometer (y) [m/s2]",
                             [t * 1000, constant("2024-03-01T12:00:00.000Z", t), *x[[2, 0, 1]]]),
        "gyroscope": log("cts,date,Gyroscope (z) [rad/s],Gyroscope (x) [rad/s],Gyroscope (y) [rad/s]",
                         [u * 1000, constant("2024-03-01T12:00:00.000Z", u), *y[[2, 0, 1]]]),
    }  # fmt: skip


def ego4d():
    t = times(198)
    x = motion(t)
    header = "component_idx,component_timestamp_ms,canonical_timestamp_ms,gyro_x,gyro_y,gyro_z,accl_x,accl_y,accl_z"
    canonical = ["" if v < 0.4 else f"{v * 1000 - 400:.3f}" for v in t]
    return log(header, [constant(0, t), t * 1000, canonical, *x[3:], *x[:3]])


def x_io():
    t = times(100)
    x = motion(t)
    names = [
        "Timestamp (us)",
        *(f"Gyroscope {a} (deg/s)" for a in "XYZ"),
        *(f"Accelerometer {a} (g)" for a in "XYZ"),
    ]
    header = ",".join(names)
    return log(header, [integers(t * 1e6), *(x[3:] * DEG), *(x[:3] / G)])


def metawear():
    t = times(100)
    x = motion(t)
    clocks = [[int(v // 10**6) for v in nanoseconds(t)], written(t, "%Y-%m-%dT%H:%M:%S.%f"), t]
    head = "epoch (ms),time (-13:00),elapsed (s)"
    return {
        "accelerometer": log(f"{head},x-axis (g),y-axis (g),z-axis (g)", [*clocks, *(x[:3] / G)]),
        "gyroscope": log(f"{head},x-axis (deg/s),y-axis (deg/s),z-axis (deg/s)", [*clocks, *(x[3:] * DEG)]),
    }


def merged_events():
    """One reading a row: those of the other sensor are blank, and the gyroscope's first comes 5 ms later."""
    t = times(200)
    x = motion(t - t[1])
    own = np.arange(t.size) % 2 == 0
    cells = [[number(v) if mine else "" for v, mine in zip(row, mask, strict=True)]
             for row, mask in zip(x, [own] * 3 + [~own] * 3, strict=True)]  # fmt: skip
    return log("timestamp_ms,acc_x,acc_y,acc_z,gyro_x,gyro_y,gyro_z", [t * 1000, *cells])


PLAIN = "time,acc_x,acc_y,acc_z,gyro_x,gyro_y,gyro_z"


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


Builder = Callable[[], object]
LOGS: dict[str, tuple[Builder, dict[str, object]]] = {
    "EuRoC and TUM-VI": (euroc, {}),
    "rostopic echo -p": (rostopic, {}),
    "rostopic echo -p, stamps unset": (rostopic_without_stamps, {}),
    "ROS bagpy": (bagpy, {}),
    "ROS PlotJuggler": (plotjuggler, {}),
    "phyphox comma": (phyphox, {}),
    "phyphox tab": (lambda: phyphox("\t"), {}),
    "phyphox semicolon": (lambda: phyphox(";"), {}),
    "phyphox tab, decimal comma": (lambda: phyphox("\t", ","), {}),
    "phyphox semicolon, decimal comma": (lambda: phyphox(";", ","), {}),
    "phyphox zip": (phyphox_zip, {}),
    "Physics Toolbox": (physics_toolbox, {}),
    "Physics Toolbox, written times": (lambda: physics_toolbox("written"), {}),
    "Physics Toolbox, g-force": (physics_toolbox_g_force, {}),
    "Sensor Logger, two files": (sensor_logger_two_files, {}),
    "Sensor Logger, three files": (sensor_logger_with_gravity, {}),
    "Sensor Logger zip": (sensor_logger_zip, {}),
    "Sensor Logger zip, gravity apart": (lambda: sensor_logger_zip(total=False), {}),
    "Sensor Logger JSON": (sensor_logger_json, {}),
    "Sensor Logger, pushed": (sensor_logger_pushed, {}),
    "SensorLog": (sensor_log, {}),
    "SensorLog, semicolon": (lambda: sensor_log(";"), {}),
    "AndroSensor": (andro_sensor, {}),
    "AndroSensor, cp1252": (lambda: andro_sensor("cp1252"), {}),
    "MotionSense": (motion_sense, {"sample_rate": 50}),
    "DeviceMotion JSON": (device_motion, {}),
    "Xsens DOT": (xsens_dot, {}),
    "Movella DOT": (movella_dot, {}),
    "Xsens MTw": (xsens_mtw, {}),
    "Xsens MTw without clock": (lambda: xsens_mtw(clock=False), {}),
    "WitMotion MiniIMU": (wit_motion_old, {}),
    "WitMotion": (wit_motion_new, {}),
    "WitMotion, short names": (wit_motion_short, {}),
    "Shimmer Consensys, tab": (shimmer, {}),
    "Shimmer Consensys, comma": (lambda: shimmer(","), {}),
    "Shimmer, four rows": (shimmer_four_rows, {}),
    "GoPro GPMF": (gopro, {}),
    "GoPro GPMF, two files": (gopro_two_files, {}),
    "Ego4D, blank stamps": (ego4d, {}),
    "x-io Fusion": (x_io, {}),
    "MetaWear": (metawear, {}),
    "merged events": (merged_events, {}),
    "trailing commas": (trailing_commas, {}),
    "spaces": (lambda: plain(sep=" "), {}),
    "semicolons, decimal commas, UTF-16": (semicolons_and_commas, {}),
    "whole numbers first": (whole_numbers_first, {}),
    "blank row": (blank_row, {}),
    "axes in brackets": (brackets, {}),
    "byte order mark, CRLF": (lambda: plain(encoding="utf-8-sig", end="\r\n"), {}),
}
"""By the name that stands in the documentation's table: what builds the log, and the options it is read with."""
