"""Windows of recordings: their spans, and that each is read as if it had been cut out."""

from __future__ import annotations

import wave

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bindplug import audio, image, imu, text, video
from bindplug.errors import InputError, InputNote, OptionError
from bindplug.imagebind import ImageBind
from bindplug.inputs import make_preprocess
from bindplug.inputs.clips import window_count, window_span
from tests.small import SMALL


@given(st.floats(0.01, 500), st.floats(0.01, 50), st.floats(0.01, 50))
def test_windows_cover_the_recording_from_start_to_end(duration_s, seconds, hop):
    spans = [window_span(i, duration_s, seconds, hop) for i in range(window_count(duration_s, seconds, hop))]
    assert spans[0][0] == 0
    assert spans[-1][1] == pytest.approx(duration_s)
    assert all(start >= 0 and end <= duration_s + 1e-9 for start, end in spans)
    assert len({round(end - start, 6) for start, end in spans}) == 1
    steps = np.diff([start for start, _ in spans])
    assert (steps > 0).all()
    assert np.allclose(steps[:-1], hop)
    assert (steps <= hop + 1e-9).all()


@pytest.mark.parametrize(
    ("duration_s", "seconds", "hop", "spans"),
    [
        (5, 2, 1, [(0, 2), (1, 3), (2, 4), (3, 5)]),
        (5.5, 2, 2, [(0, 2), (2, 4), (3.5, 5.5)]),
        (1.5, 2, 1, [(0, 1.5)]),
        (2, 2, 1, [(0, 2)]),
        (0.3, 0.1, 0.1, [(0, 0.1), (0.1, 0.2), (0.2, 0.3)]),
    ],
)
def test_spans(duration_s, seconds, hop, spans):
    count = window_count(duration_s, seconds, hop)
    assert [window_span(i, duration_s, seconds, hop) for i in range(count)] == [
        pytest.approx(s) for s in spans
    ]


@pytest.fixture
def recording(tmp_path):
    """Seven seconds of noise whose loudness rises."""
    path = tmp_path / "long.wav"
    noise = np.random.default_rng(0).normal(0, np.linspace(100, 9000, 7 * 16_000)).clip(-32768, 32767)
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", ""))
        file.writeframes(noise.astype("<i2").tobytes())
    return path


def test_a_window_is_a_query_for_its_stretch(recording):
    windows = list((2 * audio(recording, channel="mix")).windows(seconds=2, hop=1.5))
    assert [window.terms[0][1].span for window in windows] == [(0, 2), (1.5, 3.5), (3, 5), (4.5, 6.5), (5, 7)]
    assert windows[1] == 2 * audio(recording, channel="mix", start=1.5, end=3.5)
    assert audio(recording).terms[0][1].span is None
    part = audio(recording, start=3, end=6)
    assert [w.terms[0][1].span for w in part.windows(seconds=2)] == [(3, 5), (4, 6)]


def test_windows_are_embedded_as_the_stretches_they_are(recording):
    torch.manual_seed(0)
    model = ImageBind(SMALL, ["audio"]).eval()
    windows = list(audio(recording).windows(seconds=2, hop=1))
    rows = model.embed(windows, batch_size=6)
    with wave.open(str(recording)) as file:
        samples = np.frombuffer(file.readframes(-1), "<i2").astype(np.float32) / 32768
    cut = [samples[int(a * 16_000) : int(b * 16_000)] for a, b in (w.terms[0][1].span for w in windows)]
    expected = model.embed([audio(part, sample_rate=16_000) for part in cut], batch_size=6)
    torch.testing.assert_close(rows, expected, atol=1e-5, rtol=0)
    assert (rows[:-1] - rows[1:]).norm(dim=1).min() > 1e-4


def test_the_length_is_read_when_the_first_window_is_taken(tmp_path):
    windows = audio(tmp_path / "absent.wav").windows(seconds=2)
    with pytest.raises(InputError, match=r"absent\.wav: no such file"):
        next(windows)


def test_windows_of_videos_and_motion():
    frames = np.zeros((50, 8, 8, 3), np.uint8)
    spans = [w.terms[0][1].span for w in video(frames, fps=10).windows(seconds=2, hop=2)]
    assert spans == [(0, 2), (2, 4), (3, 5)]
    motion = imu(np.zeros((6, 1000)), sample_rate=100)
    assert [w.terms[0][1].span for w in motion.windows(seconds=5)] == [(0, 5), (5, 10)]


def test_a_motion_window_holds_nothing_of_what_follows():
    """Two seconds of a preset of five: the rest repeats the window's last sample, not the recording."""
    reader = make_preprocess()["imu"]
    rising = np.tile(np.arange(4000.0) / 100, (6, 1)) + 3
    with pytest.warns(InputNote, match=r"3\.00 s after the recording's end"):
        out = reader(rising, sample_rate=400, start=2, end=4)
    cut = rising[:, 800:1600]
    with pytest.warns(InputNote):
        torch.testing.assert_close(out, reader(cut, sample_rate=400))
    assert reader.duration(rising, sample_rate=400, acc_unit="m/s^2") == 10
    with pytest.raises(InputError, match="lasts beyond"):
        reader(rising, sample_rate=400, start=11)


def test_a_motion_log_is_parsed_once_for_its_windows(tmp_path, monkeypatch):
    from bindplug.inputs.imu import reader as imu_reader

    path = tmp_path / "walk.csv"
    times = np.arange(3000) / 200
    lines = [
        f"{t:.4f}," + ",".join(f"{np.sin(3 * t + axis) + 9.81 * (axis == 2):.4f}" for axis in range(6))
        for t in times
    ]
    path.write_text(
        "\n".join(
            [
                "time_s,acc_x (m/s^2),acc_y (m/s^2),acc_z (m/s^2),gyro_x (rad/s),gyro_y (rad/s),gyro_z (rad/s)",
                *lines,
            ]
        )
    )
    reads = []
    original = imu_reader.read_tables
    monkeypatch.setattr(imu_reader, "read_tables", lambda *args: reads.append(args) or original(*args))
    reader = make_preprocess()["imu"]
    windows = list(imu(path).windows(seconds=5))
    assert len(windows) == 3
    outs = [reader(w.terms[0][1].source, **w.terms[0][1].options) for w in windows]
    assert len(reads) == 1
    assert not torch.equal(outs[0], outs[1])


@pytest.mark.parametrize(
    "query", [text("a"), image("a.png"), audio("a.wav") + text("rain"), audio("a.wav") + audio("b.wav")]
)
def test_what_is_not_one_recording_has_no_windows(query):
    with pytest.raises(InputError, match="one sound, video or motion log"):
        query.windows(seconds=2)


@pytest.mark.parametrize("lengths", [{"seconds": 0}, {"seconds": -1}, {"seconds": 2, "hop": 0},
                                     {"seconds": float("nan")}, {"seconds": "2"}, {"seconds": True}])  # fmt: skip
def test_lengths_are_positive_numbers(lengths):
    with pytest.raises(OptionError, match="positive number of seconds"):
        audio("a.wav").windows(**lengths)
