"""Sounds as people have them: odd formats, joined and cut files, changing rates, wrong scales, long recordings."""

from __future__ import annotations

import io
import os
import struct
import subprocess
import sys
import threading

import numpy as np
import pytest
import soundfile
import torch

from bindplug.errors import InputError, InputNote, MissingDependency, OptionError
from bindplug.inputs import AudioPreprocess, containers, soundfiles, tracks
from bindplug.inputs import audio as audio_module
from bindplug.inputs.decoder_messages import decoder_messages
from bindplug.inputs.optional import import_optional
from bindplug.inputs.resample import resample
from bindplug.inputs.soundfiles import open_sound, read_sound
from bindplug.inputs.sounds import SamplesInMemory

preprocess = AudioPreprocess()
RATE = 16_000


def tone(seconds, hertz=440, rate=RATE):
    return (0.3 * np.sin(2 * np.pi * hertz * np.arange(int(seconds * rate)) / rate)).astype(np.float32)


def wav(samples, rate=RATE, form="WAV", **options):
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, format=form, **options)
    return buffer.getvalue()


def pitch(samples, rate):
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return int(spectrum.argmax()) * rate / len(samples)


@pytest.mark.parametrize(
    ("form", "codec"),
    [("ac3", "ac3"), ("wv", "wavpack"), ("tta", "tta"), ("ipod", "aac"), ("adts", "aac"), ("matroska", "flac"),
     ("wav", "pcm_s64le"), ("caf", "adpcm_ima_qt")],
)  # fmt: skip
def test_what_libsndfile_does_not_open_goes_to_pyav(make_sound, form, codec):
    rate = 48_000 if codec == "ac3" else RATE
    samples, read_rate = read_sound(make_sound(tone(3, rate=rate), rate, form, codec))
    assert read_rate == rate
    assert samples.shape[1] / rate == pytest.approx(3, abs=0.2)
    assert pitch(samples[0, rate : 2 * rate], rate) == pytest.approx(440, abs=2)
    assert np.abs(samples[0, rate : 2 * rate]).max() == pytest.approx(0.3, abs=0.05)


def test_without_pyav_the_remedy_names_the_extra_and_the_job_goes_on(make_sound, monkeypatch):
    data = make_sound(tone(1), RATE, "ipod", "aac")
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(InputError, match=r'pip install "bindplug\[video\]"'):
        preprocess(data)
    assert preprocess.batch([data, wav(tone(1))], on_error="skip").kept == [1]


def test_an_old_pyav_is_refused(monkeypatch):
    import av

    monkeypatch.setattr(av, "__version__", "17.0.1")
    with pytest.raises(MissingDependency, match=r"too old: 17\.0\.1, needs 17\.1"):
        containers.import_av("somebody")
    monkeypatch.setattr(av, "__version__", "17.1.0")
    assert containers.import_av("somebody") is av


def test_a_package_without_a_version_is_below_any_minimum():
    with pytest.raises(MissingDependency, match="unknown release, needs 1"):
        import_optional("wave", "x", "y", minimum="1")


def test_a_sound_whose_rate_changes_is_resampled_piece_by_piece(make_sound):
    """Two AAC streams joined, as radio recordings are: 440 Hz at 44.1 kHz, then 2000 Hz at 22.05 kHz."""
    data = make_sound(tone(3, 440, 44_100), 44_100, "adts", "aac")
    data += make_sound(tone(3, 2000, 22_050), 22_050, "adts", "aac")
    with pytest.warns(InputNote, match="44100 Hz x 1, 22050 Hz x 1"):
        samples, rate = read_sound(data)
    assert rate == 44_100
    assert samples.shape[1] / rate == pytest.approx(6, abs=0.3)
    assert pitch(samples[0, rate : 2 * rate], rate) == pytest.approx(440, abs=2)
    assert pitch(samples[0, 4 * rate : 5 * rate], rate) == pytest.approx(2000, abs=2)


def test_joined_mp3s_are_read_to_their_end():
    parts = [wav(tone(2, hertz), form="MP3") for hertz in (440, 1000, 2000)]
    samples, rate = read_sound(b"".join(parts))
    lengths = [read_sound(part)[0].shape[1] for part in parts]
    assert samples.shape[1] == sum(lengths)
    for place, hertz in enumerate((440, 1000, 2000)):
        middle = sum(lengths[:place]) + lengths[place] // 2
        assert pitch(samples[0, middle - 8000 : middle + 8000], rate) == pytest.approx(hertz, abs=2)
    assert read_sound(parts[0] + b"TAG" + bytes(125))[0].shape[1] == lengths[0]
    tagged = b"ID3\x04\0\0\0\0\0\x0a" + bytes(10)
    assert read_sound(parts[0] + tagged + parts[1])[0].shape[1] == lengths[0] + lengths[1]
    assert read_sound(tagged * 2 + parts[0] + parts[1])[0].shape[1] == lengths[0] + lengths[1]


def test_mp3s_that_do_not_state_their_length_are_read_to_their_end():
    pytest.importorskip("av")
    noise = np.random.default_rng(0).normal(0, 0.2, 4 * RATE).astype(np.float32)
    samples = np.concatenate([noise, tone(4)])
    data = wav(samples, form="MP3", bitrate_mode="VARIABLE", compression_level=0.2)
    unmarked = data.replace(b"Xing", b"____").replace(b"Info", b"____")
    assert unmarked != data
    with open_sound(unmarked) as sound:
        assert sound.length / sound.rate_hz == pytest.approx(8, abs=0.2)
        out = sound.read(0, sound.length)
    assert pitch(out[0, -3 * RATE : -RATE], RATE) == pytest.approx(440, abs=2)


def test_faults_of_an_mp3_are_a_note_and_not_on_the_screen(capfd):
    data = bytearray(wav(np.random.default_rng(0).standard_normal(80_000) * 0.1, form="MP3"))
    for place in np.random.default_rng(4).integers(3000, len(data), 12):
        data[place] ^= 0x55
    with pytest.warns(InputNote, match="its decoder reported"):
        preprocess(bytes(data))
    assert capfd.readouterr().err == ""


def test_other_lines_on_stderr_are_passed_on(capfd):
    code = "[src/libmpg123/layer3.c:1] error: bad\nNote: Trying to resync...\nreading 3/7\nTIFFReadDirectory: odd\n"
    with decoder_messages() as messages:
        os.write(2, code.encode())
    assert capfd.readouterr().err == "reading 3/7\n"
    assert len(messages) == 3
    os.write(2, b"after\n")
    assert capfd.readouterr().err == "after\n"


def test_messages_of_two_threads_are_nobodys():
    inside, done = threading.Barrier(2), threading.Barrier(2)
    counts = []

    def decode():
        with decoder_messages() as messages:
            inside.wait(60)
            os.write(2, b"TIFFReadDirectory: odd\n")
            done.wait(60)
        counts.append(len(messages))

    threads = [threading.Thread(target=decode) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert counts == [0, 0]


def test_a_playlist_opens_no_other_file(tmp_path, make_video):
    """FFmpeg's concat format names files; a recording must not make the reader open them."""
    (tmp_path / "secret.mp4").write_bytes(make_video([0] * 10, sound=tone(1)))
    playlist = b"ffconcat version 1.0\nfile secret.mp4\n"
    code = (
        "import sys; from bindplug.inputs import make_preprocess as m; from bindplug.errors import InputError\n"
        "for kind in ('audio', 'video'):\n"
        "    try: m()[kind](sys.stdin.buffer.read() if kind == 'audio' else open('list.txt', 'rb').read())\n"
        "    except InputError: print('refused')"
    )
    (tmp_path / "list.txt").write_bytes(playlist)
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, input=playlist, capture_output=True, check=True
    )
    assert done.stdout.split() == [b"refused", b"refused"]


def test_float_files_in_the_range_of_integers_are_refused_until_their_scale_is_stated():
    sound = tone(2)
    unscaled = wav(sound * 32768, subtype="FLOAT")
    for source, options in ((unscaled, {}), (sound * 32768, {"sample_rate": RATE})):
        with pytest.raises(InputError, match=r"float samples up to 98.*full_scale=32768"):
            preprocess(source, **options)
        out = preprocess(source, full_scale=32768, **options)
        torch.testing.assert_close(out, preprocess(sound, sample_rate=RATE), atol=1e-3, rtol=0)
    for bits in (24, 32):
        with pytest.raises(InputError, match=f"full_scale={2 ** (bits - 1)} if they are {bits}-bit numbers"):
            preprocess(sound * 2.0 ** (bits - 1), sample_rate=RATE)
    with pytest.raises(InputError, match="1e\\+30"):
        preprocess(wav(np.full(2000, 1e30, np.float32), subtype="FLOAT"))
    for scale in (0, -1, float("nan")):
        with pytest.raises(OptionError, match="full_scale"):
            preprocess(unscaled, full_scale=scale)


def test_a_rate_of_one_hertz_asks_for_no_memory():
    data = bytearray(wav(np.zeros(1_000_000, np.int16)))
    data[24:28] = struct.pack("<I", 1)
    with pytest.raises(InputError, match=r"sound at 1 Hz; expected at least 40 Hz.*header damaged"):
        preprocess(bytes(data))
    data[24:28] = struct.pack("<I", 40)
    assert preprocess.duration(bytes(data)) == 25_000
    with pytest.raises(InputError, match="samples after resampling; expected at most"):
        preprocess(np.ones((40, 80_000), np.float32), sample_rate=1)


def test_the_longest_sound_is_ten_days(monkeypatch):
    monkeypatch.setattr("bindplug.inputs.audio.LONGEST_SOUND_S", 24_000.0)
    data = bytearray(wav(np.zeros(1_000_000, np.int16)))
    data[24:28] = struct.pack("<I", 40)
    with pytest.raises(InputError, match=r"25,000 s of sound; .*the rate in its header"):
        preprocess(bytes(data))


def test_a_wav_of_many_channels_is_refused():
    with pytest.raises(InputError, match="100 channels; expected at most 64"):
        preprocess(wav(np.zeros((50, 100), np.int16)))


def test_silence_is_remarked():
    sound, silence = tone(1), np.zeros(RATE, np.float32)
    with pytest.warns(InputNote, match="every sample is 0"):
        preprocess(silence, sample_rate=RATE)
    with pytest.warns(InputNote, match="channel='mix' hears them all"):
        preprocess(np.stack([silence, sound]), sample_rate=RATE)
    with pytest.warns(InputNote, match="cancel when mixed"):
        preprocess(wav(np.stack([sound, -sound], 1)), channel="mix")


@pytest.mark.parametrize("rate", [RATE, 44_100, 22_050, 48_000, 8000, 12_345])
@pytest.mark.parametrize("channels", [1, 2])
def test_of_long_sounds_only_the_clips_are_read_with_the_same_numbers(rate, channels, rng, monkeypatch):
    data = wav((0.1 * rng.standard_normal((11 * rate + 17, channels))).astype(np.float32), rate)
    expected = preprocess.read(data)
    read = []
    original = soundfiles._SoundFile.read
    monkeypatch.setattr(
        soundfiles._SoundFile, "read", lambda self, a, b: read.append(b - a) or original(self, a, b)
    )
    monkeypatch.setattr(audio_module, "WHOLE_SAMPLES", 0)
    clips = preprocess.read(data)
    torch.testing.assert_close(clips.waveforms, expected.waveforms, atol=2e-6, rtol=0)
    assert clips.duration_s == expected.duration_s
    assert len(read) == 3
    assert sum(read) < 9 * rate  # a period of 12345 Hz against 16 kHz is a second long


TRACKS = [("matroska", "flac"), ("adts", "aac"), ("mpegts", "mp2"), ("tta", "tta"), ("ipod", "aac")]


@pytest.mark.parametrize(("form", "codec"), TRACKS)
def test_long_tracks_of_containers_are_read_in_part(make_sound, monkeypatch, form, codec):
    """Decoders begin with silence or with nothing after a seek, so that the first 2000 samples may differ."""
    data = make_sound(tone(30), RATE, form, codec)
    whole, rate = read_sound(data)
    monkeypatch.setattr(tracks, "WHOLE_SAMPLES", 0)
    monkeypatch.setattr(tracks, "DECODE_ON_S", 2)
    monkeypatch.setattr(tracks, "KEPT_S", 2)
    with open_sound(data) as sound:
        assert isinstance(sound, tracks.Track)
        assert sound.length == pytest.approx(whole.shape[1], abs=0.15 * rate)
        stretches = [(0, 5000), (4000, 9000), (20 * rate, 21 * rate), (1000, 9500), (29 * rate, 40 * rate)]
        for start, stop in stretches:
            part, expected = sound.read(start, stop)[:, 2000:], whole[:, start + 2000 : stop]
            size = min(part.shape[1], expected.shape[1])
            assert size > min(stop, whole.shape[1]) - start - 2000 - 0.15 * rate
            np.testing.assert_allclose(part[:, :size], expected[:, :size], atol=1e-3)
            assert sum(samples.shape[1] for _, samples in sound.buffer) < 6 * rate


def test_start_and_end_choose_a_stretch(tmp_path):
    path = tmp_path / "a.wav"
    sound = np.concatenate([tone(3, 300), tone(3, 3000)])
    path.write_bytes(wav(sound))
    for start, end in ((0, 2), (1.5, 4.25), (4, None), (None, 2.5)):
        first, last = int((start or 0) * RATE), int((end or 6) * RATE)
        written = torch.from_numpy(soundfile.read(path, dtype="float32")[0][first:last])
        expected = preprocess(written, sample_rate=RATE)
        torch.testing.assert_close(preprocess(path, start=start, end=end), expected, atol=1e-4, rtol=0)
        array = torch.from_numpy(soundfile.read(path, dtype="float32")[0])
        assert torch.equal(preprocess(array, sample_rate=RATE, start=start, end=end), expected)
    assert preprocess.duration(path) == 6
    assert preprocess.duration(sound, sample_rate=RATE, channel="mix") == 6
    with pytest.raises(InputError, match=r"a recording of 6\.000 s"):
        preprocess(path, start=6)
    for start, end in ((-1, 2), (2, 2), (3, 1), (float("nan"), 2)):
        with pytest.raises(OptionError, match="0 <= start < end"):
            preprocess(path, start=start, end=end)


def test_reading_stretches_leaves_the_file_open_once(tmp_path, monkeypatch):
    opened = []
    original = soundfiles.open_sound
    monkeypatch.setattr(
        soundfiles.shared_sounds, "opener", lambda source: opened.append(source) or original(source)
    )
    paths = [tmp_path / f"{i}.wav" for i in range(6)]
    for path in paths:
        path.write_bytes(wav(tone(2)))
    for start in (0, 0.5, 1):
        preprocess(paths[0], start=start, end=start + 0.5)
    assert len(opened) == 1
    for path in paths:
        preprocess(path, end=1)
    assert len(opened) == 6
    assert len(soundfiles.shared_sounds._entries) == 4
    preprocess(paths[0], end=1)
    assert len(opened) == 7, "the oldest had been closed"
    paths[0].write_bytes(wav(tone(3)))
    assert preprocess.duration(paths[0]) == 3, "a file that changed is opened anew"
    soundfiles.shared_sounds.close()


def test_resampled_parts_line_up(rng):
    sound = torch.from_numpy(rng.standard_normal((2, 20_000)).astype(np.float32))
    whole = resample(sound, 11_025, RATE)
    part = audio_module.SoundPart(SamplesInMemory(sound.numpy(), 11_025), 0, 20_000, "first", 1.0, "x")
    for start in (0, 1, 777, 15_000):
        expected = whole[:, start : start + 3000]
        torch.testing.assert_close(
            part.resampled(start, 3000)[:, : expected.shape[1]], expected, atol=1e-5, rtol=0
        )
