"""Which column is what: sensors, axes, gravity, and the caller's choice."""

from __future__ import annotations

import numpy as np
import pytest

from bindplug.errors import InputError, InputNote, OptionError
from bindplug.inputs import ImuPreprocess
from bindplug.inputs.imu.columns import CHANNELS, match_columns
from bindplug.inputs.imu.names import parse_name
from tests.inputs.imu_layouts import sensors_in_rows
from tests.inputs.imu_logs import EPOCH_S, GRAVITY, G, log, motion, nanoseconds, times, zip_of

preprocess = ImuPreprocess()
T = times(100)
X = motion(T)
LINEAR = X[:3] - GRAVITY
EXPECTED = preprocess(X, sample_rate=100).numpy()
CLOSE = {"atol": 2e-3, "rtol": 0}


@pytest.mark.parametrize(
    ("name", "words", "axis", "unit"),
    [
        ("Gyro X (deg/s)", ("gyro",), "x", "deg/s"),
        ("acc(y)", ("acc",), "y", None),
        ("accelerometerAccelerationZ(G)", ("accelerometer", "acceleration"), "z", "G"),
        ("a_RS_S_x [m s^-2]", ("a", "rs", "s"), "x", "m s^-2"),
        ("gFy", ("gforce",), "y", None),
        ("wz(deg/s)", ("w",), "z", "deg/s"),
        ("AsX(°/s)", ("as",), "x", "°/s"),
        ("millis", ("millis",), None, "millis"),
        ("ts", ("ts",), None, None),
        ("X-axis (g)", (), "x", "g"),
        ("Shimmer_B2C3_Accel_LN_X_CAL", ("shimmer", "b", "2", "c", "3", "accel", "ln"), "x", None),
        ("gyro_z_deg_s", ("gyro",), "z", "deg/s"),
        ("timestamp_ms", ("timestamp",), None, "ms"),
        ("Time since start in ms ", ("time", "since", "start"), None, "ms"),
        ("time (-13:00)", ("time",), None, None),
        ("loggingTime(txt)", ("logging", "time"), None, None),
        ("\ufeff#timestamp [ns]", ("timestamp",), None, "ns"),
    ],
)
def test_names_in_their_parts(name, words, axis, unit):
    parsed = parse_name(name)
    assert (parsed.words, parsed.axis, parsed.unit) == (words, axis, unit)


@pytest.mark.parametrize(
    "name",
    ["mag_x", "Magnetic field X(uT)", "orientation.x", "angular_velocity_covariance0", "acc_bias_x", "gyro_std_z",
     "Euler_X", "position.x", "velocity.x", "Angle X(°)", "delta_acc_y", "TgF", "Absolute acceleration (m/s^2)"],
)  # fmt: skip
def test_columns_of_other_things_are_no_axes(name):
    assert match_columns([name]).channel_count == 0


@pytest.mark.parametrize(
    "name", ["millis", "ts_ms", "ms", "epoch_ms", "unix_timestamp_ms", "TimeStamp (ms)", "uptime_ms_time"]
)
def test_names_of_clocks(name):
    columns = {name: T * 1000} | dict(zip(CHANNELS, X, strict=True))
    np.testing.assert_allclose(preprocess(columns).numpy(), EXPECTED, **CLOSE)


def test_missing_values_written_as_numbers_are_noted():
    acc = X[:3].copy()
    acc[2, 40] = -9999
    with pytest.warns(InputNote, match="are missing values written as numbers"):
        preprocess(frame(acc=acc, gyro=X[3:]))


def frame(**sensors):
    columns = {"time (s)": T}
    for name, rows in sensors.items():
        columns |= {f"{name.replace('_', ' ')} {axis}": row for axis, row in zip("xyz", rows, strict=True)}
    return columns


def test_acceleration_with_gravity_is_preferred_to_acceleration_without():
    for free in ("Linear_Acceleration", "user_acceleration", "FreeAcc", "body_acc"):
        source = frame(**{free: LINEAR}, Acceleration=X[:3], Gyroscope=X[3:])
        np.testing.assert_allclose(preprocess(source).numpy(), EXPECTED, **CLOSE)


def test_gravity_that_is_logged_apart_is_added_and_tells_the_unit():
    source = frame(userAcceleration=LINEAR / G, gravity=np.repeat(GRAVITY / G, T.size, 1), rotationRate=X[3:])
    with pytest.warns(InputNote, match="gravity, which is logged apart, was added"):
        window = preprocess(source)
    np.testing.assert_allclose(window.numpy(), EXPECTED, **CLOSE)


def test_acceleration_without_gravity_alone_is_noted():
    source = frame(Linear_Acceleration=LINEAR, Gyroscope=X[3:])
    with pytest.warns(InputNote, match="acceleration without gravity"):
        window = preprocess(source)
    expected = EXPECTED - np.concatenate([GRAVITY, 0 * GRAVITY])
    np.testing.assert_allclose(window.numpy(), expected, **CLOSE)


def test_user_acceleration_without_gravity_and_unit_is_refused():
    with pytest.raises(InputError, match="in g by some"):
        preprocess(frame(userAcceleration=LINEAR / G, Gyroscope=X[3:]))


def test_two_sensors_of_one_kind_are_refused_unless_chosen():
    source = frame(left_acc=X[:3], right_acc=X[:3] + 1, gyro=X[3:])
    with pytest.raises(InputError, match=r"two columns of one meaning.*columns="):
        preprocess(source)
    choice = {f"acc_{axis}": f"left acc {axis}" for axis in "xyz"}
    np.testing.assert_allclose(preprocess(source, columns=choice).numpy(), EXPECTED, **CLOSE)


def test_calibrated_columns_are_preferred_to_counts():
    counts = np.round(X[:3] / G * 16384)
    source = frame(acc=X[:3], gyro=X[3:]) | {
        f"acc_{axis}_raw": row for axis, row in zip("xyz", counts, strict=True)
    }
    np.testing.assert_allclose(preprocess(source).numpy(), EXPECTED, **CLOSE)


def test_the_rotation_of_browsers_is_refused_for_its_axes():
    source = frame(accelerationIncludingGravity=X[:3])
    source |= {
        f"rotationRate.{name}": row for name, row in zip(("alpha", "beta", "gamma"), X[3:], strict=True)
    }
    with pytest.raises(InputError, match=r"Browsers differ in the axes.*columns="):
        preprocess(source)
    choice = dict(
        zip(
            ("gyro_x", "gyro_y", "gyro_z"),
            (f"rotationRate.{n}" for n in ("alpha", "beta", "gamma")),
            strict=True,
        )
    )
    window = preprocess(source, columns=choice, gyro_unit="rad/s")
    np.testing.assert_allclose(window.numpy(), EXPECTED, **CLOSE)


def test_columns_by_name_in_order_for_logs_without_header():
    data = log(None, [T, *X[3:], *X[:3]])
    with pytest.raises(InputError, match=r"columns=\['time'"):
        preprocess(data)
    names = ["time", "gyro_x", "gyro_y", "gyro_z", "acc_x", "acc_y", "acc_z"]
    np.testing.assert_allclose(preprocess(data, columns=names).numpy(), EXPECTED, **CLOSE)
    array = np.column_stack([T, X[3:].T, X[:3].T])
    np.testing.assert_allclose(preprocess(array, columns=names).numpy(), EXPECTED, **CLOSE)
    with pytest.raises(InputError, match="no line of 5 numbers"):
        preprocess(data, columns=names[:5])


def test_a_column_that_is_not_there_is_named():
    with pytest.raises(InputError, match="no column named 'ax'"):
        preprocess(frame(acc=X[:3], gyro=X[3:]), columns={"acc_x": "ax", "acc_y": "acc y", "acc_z": "acc z"})


def accelerometer(t, rows, header="time,seconds_elapsed,z,y,x"):
    return log(header, [nanoseconds(t), t, *rows[::-1]])


def test_one_file_of_two_says_how_to_give_both(tmp_path):
    path = tmp_path / "Accelerometer.csv"
    path.write_bytes(accelerometer(T, X[:3]))
    with pytest.raises(InputError, match=r'Accelerometer.csv: one sensor.*"accelerometer": "a.csv"'):
        preprocess(path)
    with pytest.raises(InputError, match="files of the accelerometer alone"):
        preprocess({"accelerometer": path})


def test_two_files_that_were_not_recorded_together_are_refused(tmp_path):
    late = log("time (s),x,y,z", [T + 100, *X[3:]])
    with pytest.raises(InputError, match=r"accelerometer from 0.000 to 8.000 s and a gyroscope from 100.000"):
        preprocess({"accelerometer": log("time (s),x,y,z", [T, *X[:3]]), "gyroscope": late})


def test_files_of_different_rates_and_starts_are_aligned():
    fine = np.arange(2000) / 250 + 0.3
    files = {"accelerometer": log("time (s),x,y,z", [T, *X[:3]]),
             "gyroscope": log("time (s),x,y,z", [fine, *motion(fine)[3:]])}  # fmt: skip
    with pytest.warns(InputNote, match="0.30 s that only one of the sensors recorded"):
        window = preprocess(files).numpy()
    expected = motion(0.3 + np.arange(2000) / 400)
    assert np.abs(window - expected)[:, 60:1900].max() < 0.06


def test_two_files_without_a_common_start_are_refused():
    bare = {"accelerometer": log("x,y,z", [*X[:3]]), "gyroscope": log("x,y,z", [*X[3:]])}
    np.testing.assert_allclose(preprocess(bare, sample_rate=100).numpy(), EXPECTED, **CLOSE)
    one = bare | {"accelerometer": log("time (s),x,y,z", [T + 0.3, *X[:3]])}
    with pytest.raises(InputError, match="none for the gyroscope"):
        preprocess(one, sample_rate=100)
    np.testing.assert_allclose(preprocess(one, sample_rate=100, ignore_clock=True).numpy(), EXPECTED, **CLOSE)
    with pytest.raises(InputError, match="800 samples of the accelerometer and 700"):
        preprocess(bare | {"gyroscope": log("x,y,z", [*X[3:, :700]])}, sample_rate=100)


def test_the_file_of_a_unit_in_doubt_is_named(tmp_path):
    paths = {"accelerometer": tmp_path / "a.csv", "gyroscope": tmp_path / "g.csv"}
    paths["accelerometer"].write_bytes(log("time (s),x (g),y (g),z (g)", [T, *(X[:3] / G)]))
    paths["gyroscope"].write_bytes(log("time (s),x,y,z", [T, *(X[3:] * 57)]))
    with pytest.raises(InputError, match=r"g\.csv: 'x' and its like.*gyro_unit=") as error:
        preprocess(paths)
    assert "a.csv" not in str(error.value)


def test_a_typographic_minus_is_a_minus():
    data = log("time_s,acc_x,acc_y,acc_z,gyro_x,gyro_y,gyro_z", [T, *X]).decode()
    np.testing.assert_allclose(preprocess(data.replace("-", "\u2212").encode()).numpy(), EXPECTED, **CLOSE)


def test_paths_of_two_files_stand_in_errors(tmp_path):
    paths = {"accelerometer": tmp_path / "a.csv", "gyroscope": tmp_path / "g.csv"}
    paths["accelerometer"].write_bytes(log("time (s),x,y,z", [T, *X[:3]]))
    paths["gyroscope"].write_bytes(log("time (s),x,y", [T, *X[3:5]]))
    with pytest.raises(InputError, match=r"g\.csv"):
        preprocess(paths)


def test_units_of_a_gravity_file_hold_for_the_accelerometer_beside():
    files = {"accelerometer": log("time (s),x,y,z", [T, *(LINEAR / G)]),
             "gravity": log("time (s),x,y,z", [T, *np.repeat(GRAVITY / G, T.size, 1)]),
             "gyroscope": log("time (s),x,y,z", [T, *X[3:]])}  # fmt: skip
    with pytest.warns(InputNote, match="was added"):
        np.testing.assert_allclose(preprocess(files).numpy(), EXPECTED, **CLOSE)


def test_metadata_that_says_units_are_the_devices_own():
    files = {"Metadata.csv": b"version,standardisation\n3,false\n", "Accelerometer.csv": accelerometer(T, LINEAR / G),
             "Gyroscope.csv": accelerometer(T, X[3:])}  # fmt: skip
    with pytest.raises(InputError, match=r"units are as the device has them.*acc_unit="):
        preprocess(zip_of(files))


def test_two_clocks_of_one_name_that_differ_are_refused():
    header = "Time (s),acc_x,acc_y,acc_z,Time (s),gyro_x,gyro_y,gyro_z"
    with pytest.raises(InputError, match=r"two clocks named 'Time \(s\)' that differ"):
        preprocess(log(header, [T, *X[:3], T + 0.4, *X[3:]]))
    np.testing.assert_allclose(preprocess(log(header, [T, *X[:3], T, *X[3:]])).numpy(), EXPECTED, **CLOSE)


def test_clocks_of_each_sensor_are_its_own():
    header = "acc_time_s,acc_x,acc_y,acc_z,gyro_time_s,gyro_x,gyro_y,gyro_z"
    later = T + 0.004
    window = preprocess(log(header, [T, *X[:3], later, *motion(later)[3:]])).numpy()
    assert np.abs(window - motion(0.004 + np.arange(2000) / 400))[:, 60:1900].max() < 0.06


def test_data_frames_of_every_kind():
    pandas = pytest.importorskip("pandas")
    pyarrow = pytest.importorskip("pyarrow")
    named = {f"acc_{a}": X[i] for i, a in enumerate("xyz")} | {
        f"gyro_{a}": X[3 + i] for i, a in enumerate("xyz")
    }
    start = pandas.Timestamp(EPOCH_S, unit="s")
    stamps = {
        "naive": start + pandas.to_timedelta(T, unit="s"),
        "utc": (start + pandas.to_timedelta(T, unit="s")).tz_localize("UTC"),
        "zone": (start + pandas.to_timedelta(T, unit="s")).tz_localize("Europe/Berlin"),
        "duration": pandas.to_timedelta(T, unit="s"),
    }
    for times_ in stamps.values():
        frame = pandas.DataFrame(named).assign(timestamp=times_)
        np.testing.assert_allclose(preprocess(frame).numpy(), EXPECTED, **CLOSE)
        np.testing.assert_allclose(preprocess(pyarrow.Table.from_pandas(frame)).numpy(), EXPECTED, **CLOSE)
    indexed = pandas.DataFrame(named, index=stamps["zone"])
    np.testing.assert_allclose(preprocess(indexed).numpy(), EXPECTED, **CLOSE)
    objects = pandas.DataFrame(named).assign(timestamp=[stamp.to_pydatetime() for stamp in stamps["utc"]])
    np.testing.assert_allclose(preprocess(objects.astype({"timestamp": object})).numpy(), EXPECTED, **CLOSE)


@pytest.mark.parametrize(
    ("header", "row", "remedy"),
    [
        ("time,sensor,axis,value", "0.1,acc,x,9.8", "one value a row.*Pivot it: frame.pivot"),
        ("time,x,y,z,x,y,z", "0.1,1,2,3,4,5,6", "more than once.*order: columns=\\['time', 'acc_x'"),
        ("time,x,y,z", "0.1,1,2,3", "one sensor's axes.*Give both files"),
        ("aika,kiihtyvyys_1,kiihtyvyys_2", "0.1,1,2", "Name the columns: columns={'acc_x': 'its name'"),
    ],
)
def test_what_is_missing_has_the_remedy_that_fits(header, row, remedy):
    with pytest.raises(InputError, match=remedy):
        preprocess.read("\n".join([header, *[row] * 50]).encode())


def test_names_of_any_language_by_choice():
    """A header that is not understood is read by the names that the caller gives."""
    names = {
        "time": "aika",
        "acc_x": "k1",
        "acc_y": "k2",
        "acc_z": "k3",
        "gyro_x": "p1",
        "gyro_y": "p2",
        "gyro_z": "p3",
    }
    data = log(",".join(names.values()), [T, *X])
    assert np.allclose(preprocess(data, columns=names, time_unit="s").numpy(), EXPECTED, **CLOSE)


@pytest.mark.parametrize("values", [["imu"] * 40, [f"label {n}" for n in range(80)], ["acc", "acc"] * 40])
def test_rows_whose_sensors_are_unclear_are_refused(values):
    rows = [f"{at / 100},{value},1,2,9" for at, value in enumerate(values)]
    with pytest.raises(InputError, match=r"no log of the|different texts in the column 'sensor'"):
        preprocess.read("\n".join(["time_s,sensor,x,y,z", *rows]).encode())


def test_rows_by_sensor_of_a_data_frame():
    """As from a file: see the log "rows by sensor"."""
    lines = sensors_in_rows().decode().splitlines()
    cells = [line.split(",") for line in lines[1:]]
    columns = {name: [row[at] for row in cells] for at, name in enumerate(lines[0].split(","))}
    frame = {
        name: np.array(column, float if name != "sensor" else object) for name, column in columns.items()
    }
    assert np.array_equal(preprocess(frame).numpy(), preprocess(sensors_in_rows()).numpy())


@pytest.mark.parametrize("broken", ["{0},{1}", "12.5,0.1", "ERROR: sensor timeout"])
def test_a_few_broken_lines_are_left_out_where_there_is_a_clock(broken):
    columns = [T * 1000, *X]
    lines = log("time_ms,acc_x,acc_y,acc_z,gyro_x,gyro_y,gyro_z", columns).decode().splitlines()
    lines[300] = broken.format(lines[300], lines[301])
    with pytest.warns(InputNote, match="1 broken lines, without the header's 7 cells, left out"):
        out = preprocess("\n".join(lines).encode())
    assert np.abs(out.numpy() - EXPECTED)[:, 50:-50].max() < 0.3
    clockless = "\n".join(line.split(",", 1)[-1] for line in lines).encode()
    with pytest.raises(InputError, match="without the header's 6 cells"):
        preprocess(clockless, sample_rate=100)
    with pytest.raises(InputError, match="Take broken lines out"):
        preprocess("\n".join([*lines[:250], *["1,2"] * 50, *lines[300:]]).encode())


def test_one_column_for_two_channels_is_refused():
    data = log(None, [T, *X])
    with pytest.raises(OptionError, match="'acc_x' more than once"):
        preprocess(data, columns=["time", "acc_x", "acc_x", "acc_z", "gyro_x", "gyro_y", "gyro_z"])
    named = log("time,a,b,c,d,e,f", [T, *X])
    with pytest.raises(OptionError, match="'a' more than once"):
        preprocess(named, columns={"acc_x": "a", "acc_y": "a", "acc_z": "c"})
    with pytest.raises(InputError, match=r"none of which is an axis.*Call the axes acc_x"):
        preprocess(data, columns=["x"] * 7)
    wide = log(None, [T, *X, *X[:2]])
    names = ["time", "acc_x", "acc_y", "acc_z", "gyro_x", "gyro_y", "gyro_z", "other", "other"]
    np.testing.assert_allclose(preprocess(wide, columns=names).numpy(), EXPECTED, **CLOSE)


def test_repeated_axes_without_a_group_are_refused():
    for header in ("time,x,y,z,x,y,z", "time,left,x,y,z,right,x,y,z"):
        filler = [[0] * T.size] * header.count("t,")
        rows = [T, *filler[:1], *X[:3], *filler[1:], *X[3:]]
        with pytest.raises(InputError, match=r"x, y and z more than once.*columns="):
            preprocess(log(header, rows))


def test_a_unit_of_time_on_an_axis_that_is_no_clock_is_refused():
    with pytest.raises(InputError, match="in 'ms', which is no known unit of acceleration"):
        preprocess({"time (s)": T} | {f"acc {a} (ms)": row for a, row in zip("xyz", X[:3], strict=True)}
                   | {f"gyro {a} (rad/s)": row for a, row in zip("xyz", X[3:], strict=True)})  # fmt: skip
