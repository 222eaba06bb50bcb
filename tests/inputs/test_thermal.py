from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from bindplug.errors import InputError
from bindplug.inputs import ThermalPreprocess

preprocess = ThermalPreprocess()
RAMP_C = np.tile(np.linspace(10, 40, 320, dtype=np.float32), (240, 1))


def encoded(picture, form="PNG"):
    buffer = io.BytesIO()
    (picture if isinstance(picture, Image.Image) else Image.fromarray(picture)).save(buffer, form)
    return buffer.getvalue()


def test_grey_is_divided_by_255_and_left_so():
    out = preprocess(np.full((300, 400), 51, np.uint8))
    assert out.shape == (1, 224, 224)
    torch.testing.assert_close(out, torch.full((1, 224, 224), 0.2))


def test_grey_pictures_follow_the_published_reproduction(rng):
    pixels = rng.integers(0, 256, (300, 400), dtype=np.uint8)
    resized = Image.fromarray(pixels).resize((298, 224), Image.Resampling.BICUBIC)
    expected = np.asarray(resized.crop((37, 0, 261, 224)), np.float32) / 255
    for source in (pixels, encoded(pixels), Image.fromarray(pixels), torch.from_numpy(pixels)):
        assert np.array_equal(preprocess(source)[0].numpy(), expected)
    color = preprocess(encoded(Image.fromarray(pixels).convert("RGB")))
    assert np.abs(color[0].numpy() - expected).max() < 0.01


def test_temperatures_fill_the_range_by_percentiles():
    out = preprocess(RAMP_C)
    assert out.min() >= 0
    assert out.max() <= 1
    low, high = preprocess.read(RAMP_C).window
    assert (low, high) == (pytest.approx(10.3, abs=0.05), pytest.approx(39.7, abs=0.05))


def test_range_is_in_celsius_whatever_is_stored(tmp_path):
    expected = preprocess(RAMP_C, range=(0, 50))
    assert expected.mean().item() == pytest.approx(0.5, abs=0.01)
    centikelvin = ((RAMP_C + 273.15) * 100).round().astype(np.uint16)
    path = tmp_path / "heat.npy"
    np.save(path, RAMP_C)
    for source, options in (
        (centikelvin, {}), (encoded(centikelvin, "TIFF"), {}), (encoded(centikelvin), {}), (path, {}),
        (encoded(RAMP_C, "TIFF"), {}), (RAMP_C + 273.15, {"unit": "kelvin"}), (torch.from_numpy(RAMP_C)[None], {}),
    ):  # fmt: skip
        torch.testing.assert_close(preprocess(source, range=(0, 50), **options), expected, atol=1e-3, rtol=0)


def test_counts_keep_their_own_range():
    counts = np.full((20, 20), 3000, np.uint16)
    out = preprocess(counts, unit="counts", range=(2000, 4000))
    torch.testing.assert_close(out, torch.full((1, 224, 224), 0.5))


def test_black_hot_is_inverted():
    for source in (RAMP_C, np.full((20, 20), 51, np.uint8)):
        torch.testing.assert_close(preprocess(source, polarity="black-hot"), 1 - preprocess(source))


def test_even_temperature_is_mid_grey():
    torch.testing.assert_close(
        preprocess(np.full((20, 20), 21.5, np.float32)), torch.full((1, 224, 224), 0.5)
    )


@given(st.floats(0.1, 50), st.floats(-200, 200), st.integers(0, 99))
@settings(max_examples=25)
def test_percentile_window_forgets_scale_and_offset(scale, offset, seed):
    heat = np.random.default_rng(seed).random((30, 40))
    torch.testing.assert_close(preprocess(scale * heat + offset), preprocess(heat), atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("source", "options", "message"),
    [
        (np.full((8, 8), np.nan, np.float32), {}, "64 of 64 pixels NaN"),
        (np.full((8, 8), np.inf, np.float32), {}, "infinite"),
        (np.zeros((8, 8), np.uint8), {"range": (0, 50)}, "carry no temperature"),
        (np.zeros((2, 8, 8), np.float32), {}, r"\(H, W\)"),
        (np.zeros((0, 8), np.float32), {}, "with pixels"),
        (b"words, not heat", {}, "no picture format"),
        (encoded(np.zeros((50, 50), np.uint8))[:60], {}, "damaged picture"),
        (3.0, {}, "type float"),
    ],
)
def test_bad_sources(source, options, message):
    with pytest.raises(InputError, match=message):
        preprocess(source, **options)


@pytest.mark.parametrize(
    "options",
    [
        {"polarity": "hot"},
        {"unit": "fahrenheit"},
        {"range": (5, 5)},
        {"percentiles": (9, 1)},
        {"preset": "flir"},
    ],
)
def test_bad_options(options):
    with pytest.raises(ValueError, match="expected"):
        preprocess(RAMP_C, **options)
