"""JSON of motion logs that is refused, and written times with names of zones and months."""

from __future__ import annotations

import json

import numpy as np
import pytest

from bindplug.errors import InputError
from bindplug.inputs import ImuPreprocess
from tests.inputs.imu_device_logs import edge_impulse, gopro_json
from tests.inputs.imu_layouts import PLAIN
from tests.inputs.imu_logs import log, motion, times, written

preprocess = ImuPreprocess()
T = times(100)
X = motion(T)
EXPECTED = preprocess(X, sample_rate=100).numpy()
CLOSE = {"atol": 2e-3, "rtol": 0}


def test_a_list_of_lists_is_an_array():
    data = json.dumps(X.T.tolist()).encode()
    np.testing.assert_allclose(preprocess(data, sample_rate=100).numpy(), EXPECTED, **CLOSE)
    timed = json.dumps(np.column_stack([T, X.T]).tolist()).encode()
    np.testing.assert_allclose(preprocess(timed, columns=PLAIN.split(",")).numpy(), EXPECTED, **CLOSE)


def test_gopro_streams_that_do_not_state_their_axes_are_refused():
    data = gopro_json().replace(b" (z,x,y)", b"")
    with pytest.raises(InputError, match=r"does not state the order of its axes.*CSV"):
        preprocess(data)
    with pytest.raises(InputError, match="no log of the gyroscope"):
        preprocess(gopro_json().replace(b'"GYRO"', b'"OTHER"'))


def test_values_of_edge_impulse_that_fit_no_sensors_are_refused():
    loaded = json.loads(edge_impulse())
    loaded["payload"]["values"][5].pop()
    with pytest.raises(InputError, match="no log of the accelerometer"):
        preprocess(json.dumps(loaded).encode())


NO_LOGS = [
    3, "words", None, [], {}, [1, 2], [[1, 2], [3]], [["a"]], {"a": [{}]}, {"payload": 3}, {"x": {"streams": {}}},
    {"payload": {"interval_ms": 1, "sensors": [], "values": 3}},
]  # fmt: skip


@pytest.mark.parametrize("loaded", NO_LOGS)
def test_json_of_other_things_is_refused(loaded):
    with pytest.raises(InputError):
        preprocess(json.dumps(loaded).encode())


def test_frames_as_pandas_writes_them(tmp_path):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(dict(zip(PLAIN.split(","), [T, *X], strict=True)))
    path = tmp_path / "log.json"
    for orient in ("columns", "index", "split", "records", "table"):
        frame.to_json(path, orient=orient)
        if orient == "index":  # rows by their number: columns are called 0, 1, ...
            with pytest.raises(InputError, match="no column for acc_x"):
                preprocess(path)
            continue
        np.testing.assert_allclose(preprocess(path).numpy(), EXPECTED, **CLOSE)
    names = [("time", "s"), *(("acc", a) for a in "xyz"), *(("gyro", a) for a in "xyz")]
    levels = pandas.DataFrame(frame.to_numpy(), columns=pandas.MultiIndex.from_tuples(names))
    for index in (True, False):
        levels.to_csv(tmp_path / "log.csv", index=index)
        np.testing.assert_allclose(preprocess(tmp_path / "log.csv").numpy(), EXPECTED, **CLOSE)


def in_form(form, cut=-3):
    return log(PLAIN, [[f'"{stamp}"' for stamp in written(T, form, cut)], *X])


@pytest.mark.parametrize(
    "form",
    [
        "%Y-%m-%d %H:%M:%S.%f CET", "%Y-%m-%dT%H:%M:%S.%f PDT", "%H:%M:%S.%f EST", "%Y-%m-%d %H:%M:%S.%f Europe/Berlin",
        "%Y-%m-%d %H:%M:%S.%f America/Argentina/Buenos_Aires", "%Y-%m-%d %H:%M:%S.%f GMT+1",
        "%Y-%m-%d %H:%M:%S.%f UTC-05:30", "%Y-%m-%dT%H:%M:%S.%f+01:00[Europe/Berlin]", "%a %b %d %H:%M:%S.%f CET %Y",
        "%a %b %d %H:%M:%S.%f %Y", "%d-%b-%Y %H:%M:%S.%f", "%d %B %Y %H:%M:%S.%f", "%b %d, %Y %H:%M:%S.%f",
        "%a, %d %b %Y %H:%M:%S.%f GMT", "%m/%d/%Y %I:%M:%S.%f %p",
    ],
)  # fmt: skip
def test_written_times(form):
    np.testing.assert_allclose(preprocess(in_form(form, None)).numpy(), EXPECTED, **CLOSE)


def test_two_names_of_zones_are_refused():
    stamps = written(T, "%Y-%m-%d %H:%M:%S.%f")
    zones = ["CEST" if at < 4 else "CET" for at in T]
    data = log(PLAIN, [[f"{stamp} {zone}" for stamp, zone in zip(stamps, zones, strict=True)], *X])
    with pytest.raises(InputError, match=r"several zones \(CEST, CET\).*offsets from UTC"):
        preprocess(data)


def test_a_month_that_is_none_is_refused():
    with pytest.raises(InputError, match="no times that are read"):
        preprocess(in_form("%d-%b-%Y %H:%M:%S.%f").replace(b"Mar", b"Mrz", 700).replace(b"Mrz", b"Mar", 1))


def test_offsets_with_names_of_zones_are_instants():
    """GMT+1 before and GMT+2 after the change to summer time: no time is lost."""
    early, late = written(T[:400], "%H:%M:%S.%f"), written(T[400:] + 3600, "%H:%M:%S.%f")
    stamps = [f"2024-03-01 {s} GMT+1" for s in early] + [f"2024-03-01 {s} GMT+2" for s in late]
    np.testing.assert_allclose(preprocess(log(PLAIN, [stamps, *X])).numpy(), EXPECTED, **CLOSE)
