from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bindplug.errors import InputError, InputNote, MissingDependency
from bindplug.inputs import ImuPreprocess
from bindplug.inputs.imu import CHANNELS

preprocess = ImuPreprocess()
G = 9.80665
EXACT = {"atol": 1e-4, "rtol": 0}


def motion(seconds=5.0, rate=200.0):
    """Six channels that can be told apart: (6, T) and their times."""
    time = np.arange(round(seconds * rate)) / rate
    rows = [np.sin(2 * np.pi * (1 + k) * time) + (G if k == 2 else 0.1 * k) for k in range(6)]
    return np.stack(rows), time


def csv_of(columns):
    lines = [",".join(columns)]
    lines += [",".join(repr(float(value)) for value in row) for row in zip(*columns.values(), strict=True)]
    return "\n".join(lines).encode()


def table(values, time, names=CHANNELS, clock="timestamp_ms", scale=1000.0):
    return {clock: time * scale, **dict(zip(names, values, strict=True))}


VALUES, TIME = motion()
EXPECTED = preprocess(VALUES, sample_rate=200)


def test_shape_and_inner_values():
    assert EXPECTED.shape == (6, 2000)
    assert EXPECTED.dtype == torch.float32
    fine, _ = motion(rate=400.0)
    assert np.abs(EXPECTED.numpy() - fine)[:, 30:-30].max() < 2e-3


def test_time_first_arrays_are_transposed_never_reshaped():
    assert torch.equal(preprocess(VALUES.T, sample_rate=200), EXPECTED)
    assert torch.equal(preprocess(torch.from_numpy(VALUES.T.copy()), sample_rate=200), EXPECTED)
    reshaped = preprocess(VALUES.T.reshape(6, -1), sample_rate=200)
    assert (reshaped - EXPECTED).abs().max() > 1


def test_six_by_six_needs_its_layout():
    square = np.arange(36.0).reshape(6, 6)
    with pytest.raises(InputError, match="layout="):
        preprocess(square, sample_rate=2)
    with pytest.warns(InputNote, match="repeat its last sample"):
        first = preprocess(square, sample_rate=2, layout="channels_first")
    with pytest.warns(InputNote, match="repeat its last sample"):
        assert torch.equal(preprocess(square.T, sample_rate=2, layout="time_first"), first)


def test_accelerometer_comes_first_whatever_the_file_says():
    names = ("accl_x", "accl_y", "accl_z", "gyro_x", "gyro_y", "gyro_z")
    columns = table(VALUES, TIME, names, "canonical_timestamp_ms")
    ego4d = {key: columns[key] for key in ("canonical_timestamp_ms", *names[3:], *names[:3])}
    torch.testing.assert_close(preprocess(csv_of(ego4d)), EXPECTED, **EXACT)


@pytest.mark.parametrize(
    ("clock", "scale"),
    [("time", 1.0), ("time (s)", 1.0), ("t", 1e3), ("timestamp", 1e6), ("timestamp_ns", 1e9), ("Time [us]", 1e6),
     ("SampleTimeFine", 1e4), ("seconds_elapsed", 1.0)],
)  # fmt: skip
def test_clocks(clock, scale):
    torch.testing.assert_close(
        preprocess(csv_of(table(VALUES, TIME, clock=clock, scale=scale))), EXPECTED, **EXACT
    )


def test_nanoseconds_since_1970():
    columns = table(VALUES, TIME, clock="timestamp")
    columns["timestamp"] = 1_700_000_000_000_000_000 + (TIME * 1e9).astype(np.int64)
    torch.testing.assert_close(preprocess(columns), EXPECTED, atol=1e-2, rtol=0)


@pytest.mark.parametrize(
    "names",
    [
        ("Acc_X", "Acc_Y", "Acc_Z", "Gyr_X", "Gyr_Y", "Gyr_Z"),
        ("ax", "ay", "az", "wx", "wy", "wz"),
        ("ax", "ay", "az", "gx", "gy", "gz"),
        ("Acceleration x (m/s^2)", "Acceleration y (m/s^2)", "Acceleration z (m/s^2)",
         "Gyroscope x (rad/s)", "Gyroscope y (rad/s)", "Gyroscope z (rad/s)"),
        ("linear_acceleration.x", "linear_acceleration.y", "linear_acceleration.z",
         "angular_velocity.x", "angular_velocity.y", "angular_velocity.z"),
        ("accel_x_mps2", "accel_y_mps2", "accel_z_mps2", "gyro_x_rads", "gyro_y_rads", "gyro_z_rads"),
    ],
)  # fmt: skip
def test_names_of_common_loggers(names):
    torch.testing.assert_close(preprocess(csv_of(table(VALUES, TIME, names))), EXPECTED, **EXACT)


def test_units_by_name_and_by_option():
    scaled = np.concatenate([VALUES[:3] / G, np.rad2deg(VALUES[3:])])
    names = ("acc_x [g]", "acc_y [g]", "acc_z (G)", "gyro_x (deg/s)", "gyro_y (°/s)", "gyro_z_dps")
    torch.testing.assert_close(preprocess(table(scaled, TIME, names)), EXPECTED, **EXACT)
    plain = preprocess(scaled, sample_rate=200, acc_unit="g", gyro_unit="deg/s")
    torch.testing.assert_close(plain, EXPECTED, **EXACT)
    with pytest.warns(InputNote, match=r"acc_unit='g'.*gyro_unit"):
        preprocess.read(scaled, sample_rate=200)


def test_other_columns_are_ignored():
    columns = {
        "label": np.zeros(1000),
        "temperature": np.ones(1000),
        "mag_x": np.ones(1000),
        **table(VALUES, TIME),
    }
    torch.testing.assert_close(preprocess(csv_of(columns)), EXPECTED, **EXACT)


def test_semicolons_decimal_commas_and_a_preamble():
    text = csv_of(table(VALUES, TIME)).decode().replace(",", ";").replace(".", ",")
    torch.testing.assert_close(preprocess(b"# logger 3\r\n" + text.encode()), EXPECTED, **EXACT)
    torch.testing.assert_close(preprocess(text.encode("utf-16")), EXPECTED, **EXACT)


def test_files_agree(tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    import pyarrow

    columns = table(VALUES, TIME)
    parquet.write_table(pyarrow.table(columns), tmp_path / "motion.parquet")
    np.savez(tmp_path / "named.npz", **columns)
    np.savez(tmp_path / "stacked.npz", time_s=TIME, acc=VALUES[:3].T, gyro=VALUES[3:].T)
    np.save(tmp_path / "bare.npy", VALUES)
    (tmp_path / "motion.csv").write_bytes(csv_of(columns))
    torch.testing.assert_close(preprocess(tmp_path / "bare.npy", sample_rate=200), EXPECTED, **EXACT)
    paths = [path for path in sorted(tmp_path.iterdir()) if path.stem != "bare"]
    assert len(paths) == 4
    for path in paths:
        for source in (path, path.read_bytes(), io.BytesIO(path.read_bytes())):
            torch.testing.assert_close(preprocess(source), EXPECTED, **EXACT)


@given(st.floats(0.5, 40), st.sampled_from([100.0, 119.0, 200.0, 500.0, 1000.0]), st.floats(0.1, 5))
@settings(max_examples=30)
@pytest.mark.filterwarnings("ignore::bindplug.errors.InputNote")  # some amplitudes look like g
def test_a_planted_sine_keeps_frequency_and_amplitude(hertz, rate, amplitude):
    time = np.arange(round(6 * rate)) / rate
    values = np.tile(amplitude * np.sin(2 * np.pi * hertz * time), (6, 1))
    out = preprocess(values, sample_rate=rate).numpy()[0]
    expected = amplitude * np.sin(2 * np.pi * hertz * np.arange(2000) / 400)
    assert np.abs(out - expected)[150:].max() < 0.02 * amplitude  # phase kept too


def test_frequencies_beyond_the_presets_rate_are_filtered_out():
    time = np.arange(10_000) / 1000
    values = np.tile(0.5 * np.sin(2 * np.pi * 180 * time), (6, 1))
    out = preprocess(values, sample_rate=1000, preset="imu2clip_10s_200hz")
    assert out.shape == (6, 2000)
    assert out[:, 100:-100].abs().max() < 0.02


def test_constant_stays_constant():
    out = preprocess(np.tile(np.array([[0, 0, G, 0.1, 0, 0]]).T, 700), sample_rate=133)
    torch.testing.assert_close(out[2], torch.full((2000,), G))


def test_short_recordings_hold_their_last_sample():
    with pytest.warns(InputNote, match=r"4.00 s after the recording's end repeat its last sample"):
        read = preprocess.read(VALUES[:, :200], sample_rate=200)
    assert read.padded_s == pytest.approx(4.0)
    assert read.duration_s == pytest.approx(1.0)
    out = read.windows[0]
    assert out.shape == (6, 2000)
    assert torch.equal(out[:, 500], out[:, 1999])
    np.testing.assert_allclose(out[:, 1999].numpy(), VALUES[:, 199], atol=0.2)


def test_windows_of_long_recordings():
    long, _ = motion(seconds=17.0)
    everything = preprocess(long, sample_rate=200, clips="all")
    assert everything.shape == (3, 6, 2000)
    assert preprocess(long, sample_rate=200, clips="all", stride=2.5).shape == (5, 6, 2000)
    assert preprocess(long, sample_rate=200, clips=4).shape == (4, 6, 2000)
    torch.testing.assert_close(everything[0], preprocess(long, sample_rate=200))
    alone = preprocess(long[:, 1000:], sample_rate=200)
    with pytest.raises(InputError, match=r"windows.*longer stride="):
        preprocess(long, sample_rate=200, clips="all", stride=1e-9)
    torch.testing.assert_close(everything[1][:, 50:], alone[:, 50:], atol=2e-3, rtol=0)


def test_groupnorm2_normalizes_each_sensor():
    out = preprocess(VALUES, sample_rate=200, normalize="groupnorm2")
    for sensor in (out[:3], out[3:]):
        assert sensor.mean().item() == pytest.approx(0, abs=1e-4)
        assert sensor.var(unbiased=False).item() == pytest.approx(1, abs=1e-3)
    expected = torch.nn.GroupNorm(2, 6, affine=False)(EXPECTED[None])[0]
    torch.testing.assert_close(out, expected)


def test_rows_that_repeat_the_one_before_are_left_out_and_counted():
    repeated = np.repeat(np.arange(1000), np.where(np.arange(1000) % 100 == 7, 2, 1))
    with pytest.warns(InputNote, match="10 rows that repeat the one before"):
        read = preprocess.read(csv_of(table(VALUES[:, repeated], TIME[repeated])))
    assert read.duplicates == 10
    torch.testing.assert_close(read.windows[0], EXPECTED, **EXACT)


def test_gaps_are_bridged_and_reported():
    keep = (TIME < 2) | (TIME >= 2.5)
    with pytest.warns(InputNote, match="1 gaps of 0.5"):
        read = preprocess.read(csv_of(table(VALUES[:, keep], TIME[keep])))
    ((start, length),) = read.gaps
    assert (start, length) == (pytest.approx(1.995), pytest.approx(0.505))
    assert read.recorded_hz == pytest.approx(200)
    torch.testing.assert_close(read.windows[0][:, :700], EXPECTED[:, :700], atol=0.02, rtol=0)
    torch.testing.assert_close(read.windows[0][:, 1100:], EXPECTED[:, 1100:], atol=0.02, rtol=0)


def test_rounded_time_stamps_still_give_the_sensors_rate():
    values, time = motion(rate=400.0)
    read = preprocess.read(csv_of(table(values, np.floor(time * 1000) / 1000)))
    assert read.recorded_hz == pytest.approx(400, rel=1e-3)
    assert read.duplicates == 0


def test_time_that_runs_backwards_is_refused_unless_sorting_is_asked_for(rng):
    order = np.arange(1000)
    order[500:510] = order[500:510][::-1]
    data = csv_of(table(VALUES[:, order], TIME[order]))
    with pytest.raises(InputError, match=r"non-monotonic time.*9 steps.*sort=True"):
        preprocess(data)
    with pytest.warns(InputNote, match="sorted by time"):
        read = preprocess.read(data, sort=True)
    torch.testing.assert_close(read.windows[0], EXPECTED, **EXACT)


def columns_without(*missing):
    return csv_of({key: value for key, value in table(VALUES, TIME).items() if key not in missing})


@pytest.mark.parametrize(
    ("source", "options", "message"),
    [
        (columns_without("gyro_y", "gyro_z"), {}, "no column for gyro_y, gyro_z"),
        (columns_without("timestamp_ms"), {}, "sample_rate"),
        (csv_of(table(VALUES, TIME, scale=1.0)), {}, "Is the clock really in that unit"),
        (csv_of(table(VALUES, TIME, clock="time", scale=1e-6)), {}, "time_unit"),
        (csv_of(table(VALUES, 0 * TIME)), {}, "never change"),
        (csv_of(table(VALUES, np.where(TIME == 1, np.nan, TIME))), {}, "1 time stamps that are no numbers"),
        (csv_of(table(np.where(VALUES < -0.5, np.nan, VALUES), TIME)), {}, "NaN, infinite or blank"),
        (csv_of(table(VALUES, TIME)), {"sample_rate": 100}, "200.0 samples a second"),
        (csv_of(table(VALUES[:, :1], TIME[:1])), {}, "1 samples"),
        (csv_of(table(VALUES[:, :0], TIME[:0])), {}, "0 samples"),
        (csv_of({**table(VALUES, TIME), "Acc X": TIME}), {}, "two columns of one meaning"),
        (b"1,2,3\n4,5,6\n", {}, "header that names its columns"),
        (b"acc_x,acc_y\n1\n2\n3\n", {}, "without the header's 2 cells"),
        (b"\x00\x01\x02\x03" * 20, {}, "binary data"),
        (b"PAR1 and nothing more", {}, "damaged Parquet"),
        (np.zeros((5, 100)), {"sample_rate": 200}, r"shape \(5, 100\)"),
        (np.zeros(600), {"sample_rate": 200}, "shape"),
        (np.zeros((6, 100), complex), {"sample_rate": 200}, "complex"),
        (np.zeros((6, 0)), {"sample_rate": 200}, "0 samples"),
        (np.full((6, 100), np.inf), {"sample_rate": 200}, "300 of 300 values"),
        (np.zeros((6, 100)), {}, "no clock"),
        (np.zeros((6, 100)), {"sample_rate": 200, "layout": "time_first"}, "layout='time_first'"),
        ({"acc": np.zeros((9, 3)), "gyro": np.zeros((8, 3))}, {"sample_rate": 200}, "as many samples"),
        (42, {}, "type int"),
    ],
)  # fmt: skip
def test_bad_sources(source, options, message):
    with pytest.raises(InputError, match=message):
        preprocess(source, **options)


def test_error_names_the_file(tmp_path):
    path = tmp_path / "walk.csv"
    path.write_bytes(columns_without("acc_z"))
    with pytest.raises(InputError, match=r"walk\.csv: no column for acc_z"):
        preprocess(path)


def test_a_half_written_last_line_is_dropped():
    data = csv_of(table(VALUES, TIME))
    torch.testing.assert_close(preprocess(data + b"\n5000.0,1.0"), EXPECTED, **EXACT)


def test_missing_pyarrow_names_the_extra(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pyarrow.parquet", None)
    with pytest.raises(MissingDependency, match=r"bindplug\["):
        preprocess(b"PAR1....")


@pytest.mark.parametrize(
    "options",
    [{"preset": "fast"}, {"normalize": "batch"}, {"acc_unit": "ft"}, {"acc_unit": -1}, {"long_gaps": "x"},
     {"columns": "acc_x"}, {"columns": {"acc": "a"}}, {"gyro_unit": "turns"}, {"time_unit": "ticks"},
     {"layout": "x"}, {"clips": "last"}, {"clips": 0}, {"clips": "all", "stride": 0}],
)  # fmt: skip
def test_bad_options(options):
    with pytest.raises(ValueError, match="expected"):
        preprocess(VALUES, sample_rate=200, **options)
