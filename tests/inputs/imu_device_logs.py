"""Motion logs of sensors that are worn, and of cameras."""

from __future__ import annotations

import json

import numpy as np

from tests.inputs.imu_logs import (
    DEG,
    EPOCH_S,
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
)


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
    label = r"\t" if sep == "\t" else sep
    return log(sep.join(f"Shimmer_5E4D_{n}" for n in names) + sep, columns, sep, before=(f"sep={label}",),
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


def delsys(form="new"):
    """Delsys Trigno: each axis has a clock of its own, called as the axis or alike."""
    t = times(148)
    x = motion(t)
    names, columns = [], []
    for sensor, unit, rows in (("ACC", "G", x[:3] / G), ("GYRO", "deg/s", x[3:] * DEG)):
        for axis, row in zip("XYZ", rows, strict=True):
            names += ["X[s]", f"Avanti sensor 1: {sensor}.{axis} 1[{unit}]"] if form == "old" else [
                f"{sensor} {axis} Time Series (s)", f"{sensor} {axis} ({unit})"]  # fmt: skip
            columns += [t, row]
    return log(",".join(names), columns)


def axivity():
    t = times(100)
    x = motion(t)
    names = ["Time", *(f"Accel-{a} (g)" for a in "XYZ"), *(f"Gyro-{a} (d/s)" for a in "XYZ")]
    return log(",".join(names), [written(t, "%Y-%m-%d %H:%M:%S.%f"), *(x[:3] / G), *(x[3:] * DEG)])


def actigraph():
    t = times(100)
    x = motion(t)
    before = (
        "------------ Data File Created By ActiGraph GT9X Link ActiLife v6.13.3 date format M/d/yyyy at 100 Hz -----",
        "Serial Number: TAS1D48140206", "Start Time 12:00:00", "Start Date 3/1/2024",
    )  # fmt: skip
    names = [
        "Timestamp",
        *(f"Accelerometer {a}" for a in "XYZ"),
        "Temperature",
        *(f"Gyroscope {a}" for a in "XYZ"),
    ]
    stamps = [f"{stamp}0000" for stamp in written(t, "%Y-%m-%dT%H:%M:%S.%f")]
    columns = [stamps, *(x[:3] / G), constant(25.1, t), *(x[3:] * DEG)]
    return log(",".join(names), columns, before=before)


def edge_impulse():
    t = times(100)
    x = motion(t)
    units = dict.fromkeys(("accX", "accY", "accZ"), "m/s2") | dict.fromkeys(("gyrX", "gyrY", "gyrZ"), "dps")
    payload = {
        "device_type": "ARDUINO_NANO33BLE", "interval_ms": 10,
        "sensors": [{"name": name, "units": unit} for name, unit in units.items()],
        "values": np.concatenate([x[:3], x[3:] * DEG]).T.tolist(),
    }  # fmt: skip
    return json.dumps(
        {"protected": {"ver": "v1", "alg": "HS256"}, "signature": "0", "payload": payload}
    ).encode()


def gopro_json():
    t, u = times(200), times(400)
    streams = {}
    for key, name, unit, v, rows in (("ACCL", "Accelerometer", "m/s2", t, motion(t)[:3]),
                                     ("GYRO", "Gyroscope", "rad/s", u, motion(u)[3:])):  # fmt: skip
        samples = [
            {"value": row, "cts": 1000 * at}
            for at, row in zip(v.tolist(), rows[[2, 0, 1]].T.tolist(), strict=True)
        ]
        streams[key] = {"samples": samples, "name": f"{name} (z,x,y)", "units": unit}
    return json.dumps(
        {"1": {"streams": streams, "device name": "Hero8 Black"}, "frames/second": 29.97}
    ).encode()


DEVICES: Logs = {
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
    "x-io Fusion": (x_io, {}),
    "MetaWear": (metawear, {}),
    "Delsys Trigno": (delsys, {}),
    "Delsys EMGworks": (lambda: delsys("old"), {}),
    "Axivity AX6": (axivity, {}),
    "ActiGraph GT9X": (actigraph, {"acc_unit": "g", "gyro_unit": "deg/s"}),
    "Edge Impulse": (edge_impulse, {}),
    "GoPro telemetry": (gopro_json, {}),
}
