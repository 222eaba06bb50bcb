from __future__ import annotations

import io

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bindplug.errors import InputError, InputNote, MissingDependency
from bindplug.inputs import AudioPreprocess
from bindplug.inputs import audio as audio_module
from bindplug.inputs.filterbank import FRAME_SAMPLES

TOLERANCE = 1e-4
NAMES = ("short_0p5s_16k", "exact_2s_16k", "mono_5s_44k1", "stereo_3s_48k", "long_12s_22k05", "mono_1s_8k")
preprocess = AudioPreprocess()


def wav(samples, rate=16_000, form="WAV", **options):
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, format=form, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("name", NAMES)
def test_golden(golden, name):
    with np.load(golden / "golden_audio_transform.npz") as numbers:
        assert set(numbers.files) == set(NAMES)
        expected = numbers[name][0]
    out = preprocess(golden / f"{name}.wav")
    assert out.shape == (3, 1, 128, 204)
    assert np.abs(out.numpy() - expected).max() < TOLERANCE


def test_original_samples(reference):
    with np.load(reference / "golden_assets_transform.npz") as numbers:
        expected = numbers["audio"]
    for name, numbers in zip(("dog", "car", "bird"), expected, strict=True):
        out = preprocess(reference / "assets" / f"{name}_audio.wav")
        assert np.abs(out.numpy() - numbers).max() < TOLERANCE, name


@given(st.integers(FRAME_SAMPLES * 3, 70_000), st.sampled_from([8000, 16_000, 22_050, 44_100]))
@settings(max_examples=25)
def test_any_length_gives_finite_input(samples, rate):
    sound = np.random.default_rng(samples).standard_normal(samples).astype(np.float32)
    out = preprocess(sound, sample_rate=rate)
    assert out.shape == (3, 1, 128, 204)
    assert out.dtype == torch.float32
    assert out.isfinite().all()


@pytest.mark.parametrize("samples", [1, 2, 399])
def test_sounds_under_a_window_are_padded_with_a_note(samples):
    sound = np.full(samples, 0.1, np.float32)
    with pytest.warns(InputNote, match="ms of sound, padded with silence to 25 ms"):
        out = preprocess(sound, sample_rate=16_000)
    assert out.isfinite().all()


def test_batch_equals_one_by_one_in_a_single_filter_bank_call(rng, monkeypatch):
    sounds = [rng.standard_normal(n).astype(np.float32) for n in (400, 700, 8000, 32_000, 50_000)]
    singles = [preprocess(sound, sample_rate=16_000) for sound in sounds]
    calls = []
    original = audio_module.filter_banks
    monkeypatch.setattr(audio_module, "filter_banks", lambda x: calls.append(tuple(x.shape)) or original(x))
    batch = preprocess.batch(sounds, options={"sample_rate": 16_000})
    assert calls == [(1 + 1 + 1 + 1 + 3, 32_000)]  # short sounds once, the long one thrice
    torch.testing.assert_close(batch.stack(), torch.stack(singles), atol=TOLERANCE, rtol=0)


def test_items_of_a_batch_share_no_memory(rng):
    short = rng.standard_normal(8000).astype(np.float32)
    first, second = preprocess.batch([short, short], options={"sample_rate": 16_000}).items
    first[0] = 0
    assert not torch.equal(first[0], first[1])
    assert torch.equal(second[0], second[1])


def test_padding_is_normalized_silence():
    out = preprocess(np.ones(8000, np.float32), sample_rate=16_000)
    torch.testing.assert_close(out[..., 48:], torch.full((3, 1, 128, 156), 4.268 / 9.138))


def test_path_bytes_file_object_and_array_agree(golden):
    path = golden / "mono_1s_8k.wav"
    expected = preprocess(path)
    samples, rate = soundfile.read(path, dtype="float32")
    with path.open("rb") as file:
        others = [
            preprocess(str(path)), preprocess(path.read_bytes()), preprocess(file),
            preprocess(samples, sample_rate=rate), preprocess(torch.from_numpy(samples), sample_rate=rate),
            preprocess((samples * 32768).astype(np.int16), sample_rate=rate),
        ]  # fmt: skip
        assert not file.closed
    for other in others:
        torch.testing.assert_close(other, expected, atol=TOLERANCE, rtol=0)


def test_callers_array_is_left_alone(rng):
    samples = rng.standard_normal(50_000).astype(np.float32)
    before = samples.copy()
    preprocess(samples, sample_rate=16_000)
    assert np.array_equal(samples, before)


def test_channels(rng):
    left, right = rng.standard_normal((2, 16_000)).astype(np.float32)
    stereo = np.stack([left, right])
    first = preprocess(stereo, sample_rate=16_000)
    torch.testing.assert_close(first, preprocess(left, sample_rate=16_000), atol=1e-3, rtol=0)
    mixed = preprocess(stereo, sample_rate=16_000, channel="mix")
    expected = preprocess((left + right) / 2, sample_rate=16_000)
    torch.testing.assert_close(mixed, expected, atol=TOLERANCE, rtol=0)
    assert (mixed - first).abs().max() > 0.1


@pytest.mark.parametrize("form", ["FLAC", "OGG", "MP3"])
def test_compressed_formats(form, rng):
    tone = 0.5 * np.sin(np.arange(32_000) * 2 * np.pi * 440 / 16_000).astype(np.float32)
    out = preprocess(wav(tone, form=form))
    expected = preprocess(tone, sample_rate=16_000)
    assert int(out[0, 0, :, 50].argmax()) == int(expected[0, 0, :, 50].argmax())


def test_sound_track_of_a_video(make_video):
    tone = 0.5 * np.sin(np.arange(48_000) * 2 * np.pi * 440 / 16_000).astype(np.float32)
    out = preprocess(make_video([0] * 30, sound=tone))
    expected = preprocess(tone, sample_rate=16_000)
    assert int(out[1, 0, :, 50].argmax()) == int(expected[1, 0, :, 50].argmax())


def test_number_of_clips(rng):
    out = preprocess(rng.standard_normal(80_000).astype(np.float32), sample_rate=16_000, clips=5)
    assert out.shape == (5, 1, 128, 204)


@pytest.mark.parametrize(
    ("samples", "options", "message"),
    [
        (np.zeros(100, np.float32), {}, "sample_rate"),
        (np.zeros(100, np.float32), {"sample_rate": 0}, "positive whole number"),
        (np.zeros(0, np.float32), {"sample_rate": 16_000}, "zero samples"),
        (np.zeros((2, 0), np.float32), {"sample_rate": 16_000}, "zero samples"),
        (np.array([0, np.nan], np.float32), {"sample_rate": 16_000}, "1 of 2 samples NaN or infinite"),
        (np.array([0, np.inf], np.float32), {"sample_rate": 16_000}, "NaN or infinite"),
        (np.zeros((1000, 2), np.float32), {"sample_rate": 16_000}, "Transpose"),
        (np.zeros((2, 2, 2), np.float32), {"sample_rate": 16_000}, "shape"),
        (np.full(10, 3000.0, np.float32), {"sample_rate": 16_000}, "full scale 1"),
        (np.zeros(10, np.int64), {"sample_rate": 16_000}, "int16"),
        (np.zeros(10, complex), {"sample_rate": 16_000}, "float samples"),
        ([0.0, 1.0], {"sample_rate": 16_000}, "type list"),
    ],
)
def test_bad_arrays(samples, options, message):
    with pytest.raises(InputError, match=message):
        preprocess(samples, **options)


def test_bad_files(tmp_path, make_video, golden):
    whole = (golden / "mono_1s_8k.wav").read_bytes()
    text = tmp_path / "notes.wav"
    text.write_text("these are words, not sound, though the name says otherwise")
    cases = {
        text: "not sound",
        wav(np.zeros(0, np.float32)): "zero samples",
        make_video([0] * 10): "without a sound track",
        wav(np.array([0, np.nan, 1], np.float32), subtype="FLOAT"): "NaN",
        whole[:20]: "not sound",
        make_video([0] * 10, sound=np.zeros(16_000, np.float32))[:600]: "expected a sound file",
    }
    for source, message in cases.items():
        with pytest.raises(InputError, match=message):
            preprocess(source)
    with pytest.raises(InputError, match=r"notes\.wav"):
        preprocess(text)


def test_stated_rate_must_agree_with_the_file(golden):
    with pytest.raises(InputError, match="8000 Hz"):
        preprocess(golden / "mono_1s_8k.wav", sample_rate=16_000)


def test_missing_soundfile_names_the_extra(monkeypatch, golden):
    monkeypatch.setitem(__import__("sys").modules, "soundfile", None)
    with pytest.raises(MissingDependency, match=r"bindplug\[audio\]"):
        preprocess(golden / "mono_1s_8k.wav")


@pytest.mark.parametrize("options", [{"channel": "left"}, {"clips": 0}])
def test_bad_options(options):
    with pytest.raises(ValueError, match="expected"):
        preprocess(np.zeros(10, np.float32), sample_rate=16_000, **options)
