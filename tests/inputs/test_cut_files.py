"""Sounds and videos whose files break off: what is there is read, and that more was declared is noted."""

from __future__ import annotations

import io
import struct
import warnings

import numpy as np
import pytest

from bindplug.errors import InputError, InputNote
from bindplug.inputs import AudioPreprocess, VideoPreprocess
from bindplug.inputs.soundfiles import open_sound, read_sound

soundfile = pytest.importorskip("soundfile")
RATE_HZ = 16_000
SECONDS = 6
T = np.arange(RATE_HZ * SECONDS) / RATE_HZ
SWEEP = (0.3 * np.sin(2 * np.pi * 440 * T * (1 + T / 10))).astype(np.float32)
preprocess = AudioPreprocess()


def encoded(form, subtype=None):
    buffer = io.BytesIO()
    soundfile.write(buffer, SWEEP, RATE_HZ, format=form, subtype=subtype)
    return buffer.getvalue()


def read_with_notes(source, reader=preprocess):
    with warnings.catch_warnings(record=True) as notes:
        warnings.simplefilter("always")
        reading = reader.read(source)
    return reading, "; ".join(str(note.message) for note in notes)


@pytest.mark.parametrize("form", ["WAV", "WAVEX", "RF64", "W64", "AIFF", "AU", "CAF"])
def test_half_of_the_declared_data_is_noted(form):
    data = encoded(form)
    assert read_with_notes(data)[1] == ""
    half, note = read_with_notes(data[: len(data) // 2])
    share = float(note.split("holds ")[1].split("%")[0])
    assert "of the data that its header declares; what is there was read" in note
    assert 48 < share < 51
    assert half.duration_s == pytest.approx(SECONDS * share / 100, abs=0.02)
    samples = soundfile.read(io.BytesIO(data))[0]
    with pytest.warns(InputNote):
        part = read_sound(data[: len(data) // 2])[0][0]
    assert np.array_equal(part, samples[: part.size].astype(np.float32))


def test_headers_that_were_written_before_their_data_are_not_noted():
    """What streams to a pipe writes 0 or a largest value as the size of its data."""
    data = bytearray(encoded("WAV"))
    place = data.index(b"data") + 4
    for size in (0, 0xFFFFFFFF, 0x7FFFFFFF, 0x80000000):
        data[place : place + 4] = struct.pack("<I", size)
        reading, note = read_with_notes(bytes(data))
        assert (reading.duration_s, note) == (SECONDS, "")


@pytest.mark.parametrize("part", [0.999, 0.5, 0.2])
def test_a_flac_that_breaks_off_is_read_as_far_as_it_goes(part, monkeypatch):
    monkeypatch.setattr("bindplug.inputs.soundfiles.has_av", lambda: False)
    data = encoded("FLAC")
    reading, note = read_with_notes(data[: int(part * len(data))])
    assert f"decoding ends early, at {reading.duration_s:.2f} of 6.00 s; what came before was read" in note
    assert part - 0.05 < reading.duration_s / SECONDS < part + 0.05
    with pytest.warns(InputNote):
        samples = read_sound(data[: int(part * len(data))])[0][0]
    assert np.abs(samples - SWEEP[: samples.size]).max() < 1e-4


def test_after_a_flac_broke_off_its_beginning_can_be_read_again(monkeypatch):
    monkeypatch.setattr("bindplug.inputs.soundfiles.has_av", lambda: False)
    data = encoded("FLAC")
    with open_sound(data[: len(data) // 2]) as sound:
        whole = sound.read(0, sound.length)
        assert sound.length == whole.shape[1] < RATE_HZ * SECONDS
        assert np.array_equal(sound.read(4000, 9000), whole[:, 4000:9000])
    with pytest.raises(InputError, match="cannot be decoded"):
        preprocess.read(data[:60])


@pytest.mark.parametrize(("form", "subtype"), [("OGG", None), ("OGG", "OPUS")])
def test_an_ogg_without_its_last_page_is_noted(form, subtype):
    data = encoded(form, subtype)
    assert read_with_notes(data)[1] == ""
    assert "the file breaks off before its stream ends" in read_with_notes(data[: int(0.95 * len(data))])[1]


def test_an_mp3_that_counts_more_bytes_is_noted():
    data = encoded("MP3")
    reading, note = read_with_notes(data[: len(data) // 2])
    assert "holds 50.0% of the data" in note
    assert 2 < reading.duration_s < 3.1


def test_each_window_of_a_file_that_is_cut_has_the_note(tmp_path):
    path = tmp_path / "cut.wav"
    data = encoded("WAV")
    path.write_bytes(data[: len(data) // 2])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert preprocess.duration(path) == pytest.approx(3, abs=0.01)  # a look at the length says nothing
    for start in (0.0, 1.0):
        with pytest.warns(InputNote, match="of the data that its header declares"):
            preprocess.read(path, start=start, end=start + 2)


@pytest.mark.parametrize("form", ["matroska", "avi", "mp4"])
def test_videos_that_break_off_are_noted(form, make_cut_video):
    data = make_cut_video(form)
    whole, note = read_with_notes(data, VideoPreprocess())
    assert (whole.duration_s, note) == (8, "")
    cut, note = read_with_notes(data[: len(data) * 6 // 10], VideoPreprocess())
    assert "of the data that its header declares; what is there was read" in note
    assert 0 < cut.duration_s < 8
    assert np.abs(cut.frames[0].astype(int) - whole.frames[0]).max() < 12


@pytest.fixture(scope="module")
def make_cut_video():
    av = pytest.importorskip("av")

    def make(form):
        buffer = io.BytesIO()
        options = {"movflags": "frag_keyframe+empty_moov"} if form == "mp4" else {}
        rng = np.random.default_rng(0)
        with av.open(buffer, "w", format=form.split()[0], options=options) as container:
            stream = container.add_stream("mpeg4", rate=10)
            stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
            for index in range(80):
                pixels = np.full((64, 96, 3), 3 * index) + rng.integers(0, 9, (64, 96, 3))
                frame = av.VideoFrame.from_ndarray(pixels.astype(np.uint8), "rgb24")
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        return buffer.getvalue()

    return make


def test_an_mp4_whose_index_is_missing_has_a_remedy(make_cut_video):
    data = make_cut_video("mp4 whole")
    for reader in (preprocess, VideoPreprocess()):
        with pytest.raises(
            InputError, match="breaks off before the data that its header declares: copy it again"
        ):
            reader.read(data[: len(data) // 2])


@pytest.mark.parametrize(
    ("data", "remark"),
    [
        (encoded("WAV") * 2, "bytes of another sound follow the first one"),
        (
            encoded("WAV")[:40] + struct.pack("<I", SWEEP.size) + encoded("WAV")[44:],
            "96000 bytes after the sound that the header declares were not read",
        ),
        (encoded("WAV") + b"LIST" + struct.pack("<I", 4000) + bytes(4000), ""),
        (encoded("WAV") + bytes(4000), ""),
    ],
)
def test_sound_after_the_declared_data_of_a_wav_is_noted(data, remark):
    notes = read_with_notes(data)[1]
    assert remark in notes if remark else notes == ""


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
def test_chained_oggs_are_read_to_their_end(monkeypatch, subtype):
    pytest.importorskip("av")
    first = encoded("OGG", subtype)
    with open_sound(first) as sound:
        alone_s = sound.length / sound.rate_hz
    with open_sound(first + first) as sound:
        assert sound.length / sound.rate_hz == pytest.approx(2 * alone_s, abs=0.1)
    monkeypatch.setattr("bindplug.inputs.soundfiles.has_av", lambda: False)
    reading, notes = read_with_notes(first + first)
    assert reading.duration_s == pytest.approx(alone_s, abs=0.01)
    assert "the first of several sounds was read" in notes


def test_wav_files_of_unknown_codecs_are_refused():
    pytest.importorskip("av")
    half = struct.pack("<HHIIHH", 3, 1, RATE_HZ, 2 * RATE_HZ, 2, 16)
    data = SWEEP.astype("<f2").tobytes()
    body = b"WAVEfmt " + struct.pack("<I", 16) + half + b"data" + struct.pack("<I", len(data)) + data
    with pytest.raises(InputError, match="codec that FFmpeg does not know"):
        read_sound(b"RIFF" + struct.pack("<I", len(body)) + body)
