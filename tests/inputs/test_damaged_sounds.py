"""Sounds that are damaged in the middle, or joined, or of no stated length: all that can be decoded is read."""

from __future__ import annotations

import io
import warnings

import numpy as np
import pytest
import soundfile

from bindplug.errors import InputError, InputNote
from bindplug.inputs import AudioPreprocess, VideoPreprocess, flacs
from bindplug.inputs.soundfiles import open_sound, read_sound

pytest.importorskip("av")
RATE_HZ = 16_000
SECONDS = 6
T = np.arange(RATE_HZ * SECONDS) / RATE_HZ
SWEEP = (0.3 * np.sin(2 * np.pi * (300 * T + 100 * T**2))).astype(np.float32)  # 300 to 1500 Hz
preprocess = AudioPreprocess()


def encoded(form, samples=SWEEP, rate=RATE_HZ, subtype=None):
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, format=form, subtype=subtype)
    return buffer.getvalue()


def read_with_notes(data):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        samples, rate = read_sound(data)
    return samples[0], rate, "; ".join(str(item.message) for item in caught)


def pitch_at(samples, rate, seconds):
    part = samples[int((seconds - 0.1) * rate) : int((seconds + 0.1) * rate)]
    return int(np.abs(np.fft.rfft(part * np.hanning(part.size), 1 << 16)).argmax()) * rate / (1 << 16)


def with_damage(data, count, at=0.5):
    """``count`` bytes from the middle on replaced by noise."""
    place = int(at * len(data))
    noise = np.random.default_rng(0).integers(0, 256, count, np.uint8).tobytes()
    return data[:place] + noise + data[place + count :]


@pytest.mark.parametrize(("form", "count"), [("MP3", 1500), ("FLAC", 500), ("FLAC", 6000)])
def test_sound_after_a_damaged_place_is_read(form, count):
    samples, rate, notes = read_with_notes(with_damage(encoded(form), count))
    assert "damaged places were passed over" in notes
    assert 4 < samples.size / rate <= 6
    lost_s = SECONDS - samples.size / rate
    assert pitch_at(samples, rate, 2) == pytest.approx(700, abs=20)
    assert pitch_at(samples, rate, 5.5 - lost_s) == pytest.approx(1400, abs=30)


def test_frames_that_an_mp3_decoder_leaves_out_are_noted():
    samples, rate, notes = read_with_notes(with_damage(encoded("MP3"), 500))
    assert 5 < samples.size / rate < 5.8
    assert f"{samples.size / rate:.2f} of 6.00 s could be decoded; the rest is damaged or missing" in notes
    assert pitch_at(samples, rate, 5) == pytest.approx(1400, abs=30)
    whole, rate, notes = read_with_notes(encoded("MP3"))
    assert (whole.size / rate, notes) == (pytest.approx(SECONDS, abs=0.01), "")


def test_sound_after_a_damaged_place_of_a_container_is_read(make_sound):
    data = make_sound(SWEEP, RATE_HZ, "adts", "aac")
    samples, rate, notes = read_with_notes(with_damage(data, 600))
    assert "1 damaged places were passed over; what they held is missing" in notes
    assert 5.5 < samples.size / rate < 6.2
    assert pitch_at(samples, rate, 2) == pytest.approx(700, abs=20)  # AAC begins with a frame of silence
    assert np.abs(samples[-RATE_HZ:]).max() > 0.2


def test_more_damage_than_is_passed_over_ends_the_sound(make_sound, monkeypatch):
    data = make_sound(SWEEP, RATE_HZ, "adts", "aac")
    monkeypatch.setattr("bindplug.inputs.tracks.MOST_FAULTS", 0)
    samples, rate, notes = read_with_notes(with_damage(data, 600))
    assert "decoding ends early" in notes
    assert 2.5 < samples.size / rate < 3.3


def test_windows_after_damage_line_up():
    data = with_damage(encoded("FLAC"), 500)
    with open_sound(data) as sound:
        whole = sound.read(0, sound.length)
        assert whole.shape[1] == sound.length
        assert np.array_equal(sound.read(70_000, 75_000), whole[:, 70_000:75_000])


def test_damage_without_pyav_ends_the_sound_or_names_the_way_out(monkeypatch):
    monkeypatch.setattr("bindplug.inputs.soundfiles.has_av", lambda: False)
    samples, rate, notes = read_with_notes(with_damage(encoded("FLAC"), 500))
    assert "decoding ends early" in notes
    assert 2.5 < samples.size / rate < 3.5
    with pytest.raises(InputError, match=r"damaged MP3 data, of which nothing .* ffmpeg -i FILE new\.wav"):
        preprocess(with_damage(encoded("MP3"), 3000))


def joined_flacs():
    first, second = encoded("FLAC"), encoded("FLAC", SWEEP[::-1].copy())
    slow = encoded("FLAC", SWEEP[::-2].copy(), RATE_HZ // 2)
    return {
        "two": first + second,
        "another rate": first + slow,
        "tagged": first + b"TAG" + bytes(125) + second,
    }


@pytest.mark.parametrize("kind", joined_flacs())
def test_joined_flacs_are_read_to_their_end(kind):
    samples, rate, notes = read_with_notes(joined_flacs()[kind])
    assert (samples.size, rate) == (2 * SWEEP.size, RATE_HZ)
    assert [pitch_at(samples, rate, at) for at in (1, 5, 7, 11)] == pytest.approx(
        [500, 1300, 1300, 500], abs=5
    )
    assert ("each part was resampled" in notes) == (kind == "another rate")


def test_where_flacs_begin(monkeypatch):
    """Marks are found across the pieces in which a file is looked through, and a name alone is no mark."""
    monkeypatch.setattr(flacs, "PIECE_BYTES", 11)
    data = (
        b"\0\0\0" + flacs.STREAM_MARKS[0] + bytes(50) + b"fLaC" + bytes(9) + flacs.STREAM_MARKS[1] + bytes(20)
    )
    views = flacs.joined_flacs(io.BytesIO(data), 3)
    assert [(view.start, view.stop) for view in views] == [(3, 74), (74, len(data))]
    assert flacs.joined_flacs(io.BytesIO(data[:70]), 3) == []


def without_length(data):
    """A FLAC as encoders write it to a pipe: the number of samples and the checksum are 0."""
    head = bytearray(data)
    head[21] &= 0xF0
    head[22:42] = bytes(20)
    return bytes(head)


def test_flacs_of_no_stated_length_are_read_to_their_end():
    data = without_length(encoded("FLAC"))
    assert soundfile.info(io.BytesIO(data)).frames > 1 << 62
    samples, rate, notes = read_with_notes(data)
    assert (samples.size, rate, notes) == (SWEEP.size, RATE_HZ, "")
    np.testing.assert_allclose(samples, SWEEP, atol=1e-4)
    twice = read_with_notes(data + data)[0]
    assert twice.size == 2 * SWEEP.size


def test_codecs_in_which_no_place_can_be_sought_go_to_pyav():
    """GSM 6.10, as telephone systems record it."""
    low = SWEEP[::2].copy()
    data = encoded("WAV", low, 8000, "GSM610")
    samples, rate, _ = read_with_notes(data)
    assert rate == 8000
    assert samples.size / rate == pytest.approx(SECONDS, abs=0.05)
    assert pitch_at(samples, rate, 3) == pytest.approx(900, abs=5)
    assert preprocess(data).isfinite().all()


def test_the_second_of_two_joined_mp4s_is_noted(make_sound, make_video):
    data = make_sound(SWEEP, RATE_HZ, "ipod", "aac")
    assert read_with_notes(data)[2] == ""
    assert "bytes of another recording follow the first one" in read_with_notes(data + data)[2]
    video = make_video([10] * 20)
    with pytest.warns(InputNote, match="of another recording follow"):
        VideoPreprocess()(video + video)


def test_joined_sounds_of_which_none_can_be_decoded_are_called_by_their_file(tmp_path):
    path = tmp_path / "joined.flac"
    data = encoded("FLAC")
    path.write_bytes(data[:100] + data[:100])
    with pytest.raises(InputError, match=r"joined\.flac: "):
        preprocess(path)
