"""Motion logs of apps on phones and in browsers."""

from __future__ import annotations

import json

import numpy as np

from tests.inputs.imu_logs import (
    DEG,
    GRAVITY,
    G,
    Logs,
    constant,
    integers,
    log,
    motion,
    nanoseconds,
    times,
    written,
    zip_of,
)


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


def polar_two_files():
    """Polar Sensor Logger: written times beside nanoseconds, axes by their letter and unit alone."""
    t = times(100)
    x = motion(t)
    clocks = [written(t, "%Y-%m-%dT%H:%M:%S.%f"), nanoseconds(t)]
    head = "Phone timestamp;sensor timestamp [ns]"
    return {
        "accelerometer": log(f"{head};X [mg];Y [mg];Z [mg]", [*clocks, *(x[:3] / G * 1000)], ";"),
        "gyroscope": log(f"{head};X [dps];Y [dps];Z [dps]", [*clocks, *(x[3:] * DEG)], ";"),
    }


def core_motion():
    t = times(100)
    x = motion(t)
    names = [
        "timestamp",
        *(f"{word}{a}" for word in ("userAcceleration", "gravity", "rotationRate") for a in "XYZ"),
    ]
    gravity = np.repeat(GRAVITY / G, t.size, 1)
    return log(",".join(names), [51_234.5 + t, *((x[:3] - GRAVITY) / G), *gravity, *x[3:]])


def matlab_times():
    """MATLAB Mobile's timetable written by writetimetable."""
    t = times(100)
    x = motion(t)
    names = ["Timestamp", *(f"Acceleration_{a}" for a in "XYZ"), *(f"AngularVelocity_{a}" for a in "XYZ")]
    return log(",".join(names), [written(t, "%d-%b-%Y %H:%M:%S.%f"), *x])


PHONES: Logs = {
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
    "Polar Sensor Logger": (polar_two_files, {}),
    "Core Motion": (core_motion, {}),
    "MATLAB Mobile": (matlab_times, {}),
}
