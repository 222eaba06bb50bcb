"""Motion logs of robots, drones and data sets."""

from __future__ import annotations

import json

import numpy as np

from tests.inputs.imu_logs import EPOCH_S, GRAVITY, Logs, constant, log, motion, nanoseconds, times


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


def ego4d():
    t = times(198)
    x = motion(t)
    header = "component_idx,component_timestamp_ms,canonical_timestamp_ms,gyro_x,gyro_y,gyro_z,accl_x,accl_y,accl_z"
    canonical = ["" if v < 0.4 else f"{v * 1000 - 400:.3f}" for v in t]
    return log(header, [constant(0, t), t * 1000, canonical, *x[3:], *x[:3]])


def rosbag_to_csv():
    """The axes of each field follow its name; their names repeat."""
    t = times(100)
    x = motion(t)
    header = (
        "rosbagTimestamp,header,seq,stamp,secs,nsecs,frame_id,orientation,x,y,z,w,orientation_covariance,"
        "angular_velocity,x,y,z,angular_velocity_covariance,linear_acceleration,x,y,z,linear_acceleration_covariance"
    )
    stamps, blank = nanoseconds(t), constant("", t)
    columns = [
        stamps, blank, list(range(t.size)), blank, [v // 10**9 for v in stamps], [v % 10**9 for v in stamps],
        constant("imu", t), blank, *np.zeros((4, t.size)), constant('"[0.0, 0.0]"', t), blank, *x[3:],
        constant('"[0.0]"', t), blank, *x[:3], constant('"[0.0]"', t),
    ]  # fmt: skip
    return log(header, columns)


def project_aria():
    t = times(100)
    axes = [f"{sensor}_{axis}" for sensor in ("accel_msec2", "gyro_radsec") for axis in "xyz"]
    return log(
        ",".join(["timestamp_ns", *axes, "temperature_c"]), [nanoseconds(t), *motion(t), constant(30.0, t)]
    )


def ridi():
    t = times(200)
    x = motion(t)
    names = [
        "",
        "time",
        *(f"{word}_{a}" for word in ("gyro", "acce", "linacce", "grav", "magnet") for a in "xyz"),
    ]
    columns = [list(range(t.size)), nanoseconds(t), *x[3:], *x[:3], *(x[:3] - GRAVITY),
               *np.repeat(GRAVITY, t.size, 1), *np.zeros((3, t.size))]  # fmt: skip
    return log(",".join(names), columns)


def nuscenes():
    t = times(100)
    rows = [
        {
            "linear_accel": row[:3],
            "rotation_rate": row[3:],
            "q": [1, 0, 0, 0],
            "utime": EPOCH_S * 10**6 + round(at * 1e6),
        }
        for at, row in zip(t, motion(t).T.tolist(), strict=True)
    ]
    return json.dumps(rows).encode()


ROBOTS: Logs = {
    "EuRoC and TUM-VI": (euroc, {}),
    "rostopic echo -p": (rostopic, {}),
    "rostopic echo -p, stamps unset": (rostopic_without_stamps, {}),
    "ROS bagpy": (bagpy, {}),
    "ROS PlotJuggler": (plotjuggler, {}),
    "Ego4D, blank stamps": (ego4d, {}),
    "ROS rosbag_to_csv": (rosbag_to_csv, {}),
    "Project Aria": (project_aria, {}),
    "RIDI": (ridi, {}),
    "nuScenes": (nuscenes, {}),
}
