from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from bindplug.errors import InputError, InputNote
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


@pytest.mark.parametrize(
    ("stored", "unit"),
    [
        (RAMP_C * 1.8 + 32, "fahrenheit"), (RAMP_C + 273.15, "kelvin"), ((RAMP_C + 273.15) * 10, "decikelvin"),
        ((RAMP_C + 273.15) * 100, "centikelvin"), (((RAMP_C + 273.15) / 0.04).astype(np.uint16), 0.04),
    ],
)  # fmt: skip
def test_stated_units(stored, unit):
    expected = preprocess(RAMP_C, range=(0, 50))
    torch.testing.assert_close(preprocess(stored, unit=unit, range=(0, 50)), expected, atol=2e-3, rtol=0)


@pytest.mark.parametrize(
    ("stored", "message"),
    [
        (RAMP_C + 273.15, r"look like Kelvin.*unit='kelvin'"),
        (np.linspace(0, 1, 400, dtype=np.float32).reshape(20, 20), r"look normalized.*unit='counts'"),
        (
            np.linspace(7000, 9000, 400).astype(np.uint16).reshape(20, 20),
            r"no hundredths of a kelvin.*unit='counts'",
        ),
        (
            np.linspace(1, 65000, 400).astype(np.uint16).reshape(20, 20),
            r"no hundredths of a kelvin.*unit='counts'",
        ),
    ],
)
def test_a_range_in_celsius_over_another_unit_is_refused(stored, message):
    with pytest.raises(InputError, match=message):
        preprocess.read(stored, range=(0, 40))
    preprocess.read(stored, range=(0.5, 40_000), unit="counts")
    if "normalized" not in message:
        with pytest.warns(InputNote, match=message):
            preprocess.read(stored)


def test_a_furnace_within_the_range_is_no_kelvin():
    heat = preprocess.read(RAMP_C * 4 + 210, range=(200, 400))
    assert (heat.values.min(), heat.values.max()) == (pytest.approx(0.25), pytest.approx(0.85))


def test_float_centikelvin_is_refused():
    with pytest.raises(InputError, match=r"median of 2.982e\+04.*unit='centikelvin'"):
        preprocess.read((RAMP_C + 273.15) * 100)


def test_nothing_within_the_range_is_noted():
    with pytest.warns(InputNote, match=r"outside range=\(100, 200\)"):
        preprocess.read(RAMP_C, range=(100, 200))


def no_data(value, dtype=np.float32, scale=1.0, offset=0.0):
    stored = ((RAMP_C + offset) * scale).astype(dtype)
    stored[:9] = value
    return stored


@pytest.mark.parametrize(
    ("stored", "options"),
    [
        (no_data(-9999), {}), (no_data(-10000), {}), (no_data(np.nan), {}), (no_data(np.inf), {}), (no_data(1e10), {}),
        (no_data(-300), {}), (no_data(0, np.uint16, 100, 273.15), {}), (no_data(65535, np.uint16, 100, 273.15), {}),
        (no_data(0, np.float32, 1, 273.15), {"unit": "kelvin"}), (no_data(-32768, np.int16, 10), {"unit": "counts"}),
    ],
)  # fmt: skip
def test_no_data_is_left_out_of_the_window(stored, options):
    heat = preprocess.read(stored, **options)
    clean = RAMP_C * 10 if options.get("unit") == "counts" else RAMP_C
    assert heat.holes == 9 * 320
    assert heat.window == pytest.approx(np.percentile(clean[9:], [1, 99]), abs=0.02 * float(np.ptp(clean)))
    assert np.array_equal(heat.values[:9], heat.values[9:10].repeat(9, axis=0))


def test_isolated_values_are_noted():
    stored = no_data(0, np.uint16, 10, 1000)
    with pytest.warns(InputNote, match="3.7% of the pixels are 0, far below all others"):
        assert preprocess.read(stored, unit="counts").holes == 9 * 320
    half = RAMP_C.copy()
    half[120:] = np.nan
    with pytest.warns(InputNote, match="50% of the pixels hold no measurement"):
        preprocess.read(half)


def iron(levels):
    """A palette from black over purple and orange to white."""
    red, green = (2 * levels.astype(int)).clip(0, 255), (2 * levels.astype(int) - 255).clip(0, 255)
    return np.stack([red, green, 128 - np.abs(levels.astype(int) - 128)], -1).astype(np.uint8)


LEVELS = np.tile(np.linspace(0, 255, 320).astype(np.uint8), (240, 1))


@pytest.mark.parametrize("form", ["PNG", "JPEG"])
def test_false_colors_are_refused(form):
    with pytest.raises(InputError, match=r"false colors.*radiometric.*white-hot"):
        preprocess(encoded(iron(LEVELS), form))
    marked = np.repeat(LEVELS[..., None], 3, axis=2)
    marked[100:110, 100:110] = (255, 0, 0)  # a spot meter's mark
    grey = preprocess(encoded(np.repeat(LEVELS[..., None], 3, axis=2), form))
    assert (preprocess(encoded(marked, form)) - grey).abs().mean() < 0.01


def test_dji(tmp_path):
    segment = b"\xff\xe3" + (65535).to_bytes(2, "big") + bytes(65533)
    for pixels, check in (
        (iron(LEVELS), pytest.raises(InputError, match=r"DJI's raw data.*Thermal SDK")),
        (LEVELS, pytest.warns(InputNote, match=r"not DJI's raw data.*Thermal SDK")),
    ):
        data = encoded(pixels, "JPEG")
        with check:
            preprocess.read(data[:2] + 2 * segment + data[2:])


@pytest.mark.parametrize("form", ["JPEG", "PNG", "TIFF"])
def test_exif_orientation(form):
    exif = Image.Exif()
    exif[0x0112] = 6
    buffer = io.BytesIO()
    options = {"tiffinfo": {274: 6}} if form == "TIFF" else {"exif": exif.tobytes()}
    Image.fromarray(LEVELS).save(buffer, form, **options)
    turned = preprocess.read(buffer.getvalue()).values
    assert turned.shape == (320, 240)
    assert turned[0].mean() < 10 < 240 < turned[-1].mean()


def test_text_of_temperatures(tmp_path):
    path = tmp_path / "seek.csv"
    rows = "\n".join(";".join(f"{value:.2f}".replace(".", ",") for value in row) for row in RAMP_C)
    path.write_text(f"Thermogram;320x240\nUnit;°C\n{rows}\n", encoding="utf-8")
    torch.testing.assert_close(preprocess(path), preprocess(RAMP_C), atol=1e-3, rtol=0)
    for heading in ("Unit;°F", "Temperature (F)", "Units;Temperature [F]", "in degrees Fahrenheit", "Unit;F"):
        path.write_text(f"{heading}\n{rows}\n", encoding="utf-8")
        with pytest.raises(InputError, match="unit='fahrenheit'"):
            preprocess(path)
        preprocess(path, unit="fahrenheit")
    for heading in ("File;FLIR0001.jpg", "Focus (mm);35", "Emissivity;0,95"):
        path.write_text(f"{heading}\n{rows}\n", encoding="utf-8")
        torch.testing.assert_close(preprocess(path), preprocess(RAMP_C), atol=1e-3, rtol=0)


def test_a_range_beside_all_temperatures_is_noted():
    with pytest.warns(InputNote, match=r"outside range=\(0, 40\); are they in another unit"):
        preprocess(RAMP_C * 1.8 + 132, range=(0, 40))


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
        {"unit": "rankine"},
        {"unit": -1},
        {"unit": True},
        {"range": (5, 5)},
        {"range": "0,40"},
        {"range": ("0", "40")},
        {"percentiles": (9, 1)},
        {"preset": "flir"},
    ],
)
def test_bad_options(options):
    with pytest.raises(ValueError, match="expected"):
        preprocess(RAMP_C, **options)


def test_a_blank_column_below_lines_of_words_is_no_data(tmp_path):
    rows = ["," + ",".join(f"{value:.3f}" for value in row) for row in RAMP_C[:60]]
    path = tmp_path / "frame.csv"
    path.write_text("\n".join(["Emissivity:,0.95", "", "Frame 1", ",,,,,,,,,,", *rows]))
    assert preprocess.read(path).values.shape == (60, 320)
