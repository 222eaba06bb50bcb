"""The report's pictures: color maps, spectrograms, waveforms, motions."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from bindplug_toyworld.report import colors, pictures


def test_color_maps_run_from_end_to_end_and_grow_lighter():
    for stops in (colors.VIRIDIS, colors.INFERNO, colors.MAGMA):
        painted = colors.apply_colors(np.linspace(0, 1, 50), stops, 0, 1)
        assert tuple(painted[0]) == stops[0]
        assert tuple(painted[-1]) == stops[-1]
        light = painted @ np.array([0.2126, 0.7152, 0.0722])
        assert (np.diff(light) > 0).all()
    outside = colors.apply_colors(np.array([-5.0, 7.0]), colors.MAGMA, 0, 1)
    assert [tuple(color) for color in outside] == [colors.MAGMA[0], colors.MAGMA[-1]]


def test_near_is_bright_and_holes_are_grey(tmp_path):
    millimetres = np.full((40, 40), 5000, np.uint16)
    millimetres[:20] = 1000
    millimetres[0, 0] = 0
    Image.fromarray(millimetres).save(tmp_path / "depth.png")
    scaled = pictures.depth_picture(tmp_path / "depth.png")
    pixels = np.asarray(scaled.picture).astype(int)
    assert (scaled.low, scaled.high) == (1.0, 5.0)
    assert pixels[10, 10].sum() > pixels[30, 30].sum()
    assert tuple(pixels[0, 0]) == (128, 128, 128)


def test_heat_is_in_degrees_celsius(tmp_path):
    centikelvin = np.full((40, 40), 29315, np.uint16)
    centikelvin[:20] = 31015
    Image.fromarray(centikelvin).save(tmp_path / "thermal.tiff")
    scaled = pictures.thermal_picture(tmp_path / "thermal.tiff")
    assert (scaled.low, scaled.high) == pytest.approx((20, 37), abs=0.01)
    pixels = np.asarray(scaled.picture).astype(int)
    assert pixels[5, 5].sum() > pixels[35, 5].sum()


@pytest.mark.parametrize("hz", [200, 1000, 6000])
def test_a_tone_is_a_line_at_its_frequency(hz):
    samples = np.sin(2 * np.pi * hz * np.arange(16000) / 16000).astype(np.float32)
    pixels = np.asarray(pictures.spectrogram_picture(samples, 16000, 100, 96)).sum(axis=2)
    row = int(pixels[:, 20:80].mean(axis=1).argmax())
    low, high = (2595 * np.log10(1 + f / 700) for f in pictures.SPECTROGRAM_HZ)
    expected = 95 * (1 - (2595 * np.log10(1 + hz / 700) - low) / (high - low))
    assert row == pytest.approx(expected, abs=3)


def test_very_short_sounds_and_silence_can_be_drawn():
    for samples in (np.zeros(10, np.float32), np.zeros(0, np.float32)):
        assert pictures.spectrogram_picture(samples, 16000, 50, 20).size == (50, 20)
        assert pictures.waveform_picture(samples, 50, 20, (0, 0, 0)).size == (50, 20)


def test_extremes_keep_every_peak():
    series = np.zeros((2, 1000))
    series[0, 517], series[1, 3] = 9, -4
    thin = pictures.extremes(series, 20)
    assert thin.shape == (2, 40)
    assert thin[0].max() == 9
    assert thin[1].min() == -4


def test_motion_stays_within_its_frame():
    motion = np.random.default_rng(0).normal(size=(3, 500)) * 100
    points = np.array(pictures.motion_paths(motion, 300, 75))
    assert points.shape == (3, 300, 2)
    assert points[..., 0].min() >= 0
    assert points[..., 0].max() <= 300
    assert points[..., 1].min() >= 0
    assert points[..., 1].max() <= 75
