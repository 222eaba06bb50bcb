from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from bindplug.errors import InputError, InputNote
from bindplug.inputs import DepthPreprocess

preprocess = DepthPreprocess()


def encoded(array, form="PNG"):
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, form)
    return buffer.getvalue()


def npy(array):
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def normalized(disparity_px):
    return (min(disparity_px, 75.0) / 75.0 - 0.0418) / 0.0295


def flat(value, size=(480, 640), dtype=np.float32):
    return np.full(size, value, dtype)


RNG = np.random.default_rng(3)
RAMP_MM = np.tile(np.linspace(500, 5000, 640).round().astype(np.uint16), (480, 1))


def rotated(millimetres):
    return (millimetres << 3 | millimetres >> 13).astype(np.uint16)


def test_metric_numbers():
    out = preprocess(flat(2.0))
    assert out.shape == (1, 224, 224)
    assert out.dtype == torch.float32
    expected = normalized(0.075 * 518.86 / (8 * 2.0))
    torch.testing.assert_close(out, torch.full_like(out, expected))


def test_sun_png_numbers():
    raw = flat(16_000, dtype=np.uint16)  # 2 m in millimetres, rotated left by three bits
    out = preprocess(encoded(raw), preset="sun_png")
    torch.testing.assert_close(out, preprocess(flat(2.0)))
    far = preprocess(encoded(flat(65_528, dtype=np.uint16)), preset="sun_png")
    assert far.mean().item() == pytest.approx(normalized(0.075 * 518.86 / 50), rel=1e-4)


def test_disparity_numbers():
    out = preprocess(flat(3.0), preset="disparity")
    assert out.mean().item() == pytest.approx(normalized(3.0), rel=1e-4)
    assert preprocess(flat(400.0), preset="disparity").mean().item() == pytest.approx(
        normalized(75.0), rel=1e-4
    )


def test_relative_is_free_of_scale_and_offset(rng):
    inverse = rng.random((240, 320)).astype(np.float32) + 0.5
    out = preprocess(inverse, preset="relative")
    torch.testing.assert_close(preprocess(7 * inverse + 3, preset="relative"), out, atol=1e-3, rtol=0)
    assert preprocess(flat(1.0), preset="relative").isfinite().all()
    edge = np.tile(np.linspace(1, 2, 224, dtype=np.float32), (224, 1))
    near_far = preprocess(edge, preset="relative")
    assert near_far[0, 0, 0].item() == pytest.approx(normalized(75 * 0.0065), rel=1e-3)
    assert near_far[0, 0, -1].item() == pytest.approx(normalized(75 * 0.1297), rel=1e-3)


@given(st.floats(0.2, 1.5), st.floats(1.05, 4))
@settings(max_examples=25)
def test_disparity_falls_as_one_over_depth(depth_m, factor):
    near, far = (
        preprocess(flat(d, (24, 32)), focal=500).mean() * 0.0295 + 0.0418 for d in (depth_m, depth_m * factor)
    )
    if depth_m * factor < 6.25:
        assert (near / far).item() == pytest.approx(factor, rel=1e-3)
    assert near > far


def test_units_and_files_agree(tmp_path):
    metres = np.tile(np.linspace(0.5, 5, 640, dtype=np.float32), (480, 1))
    millimetres = (metres * 1000).round().astype(np.uint16)
    path = tmp_path / "depth.npy"
    np.save(path, metres)
    expected = preprocess(metres)
    archive = io.BytesIO()
    np.savez(archive, depth=metres)
    sources = [
        (path, {}), (npy(metres), {}), (archive.getvalue(), {}), (encoded(metres, "TIFF"), {}),
        (encoded(millimetres), {}), (encoded(millimetres, "TIFF"), {}), (Image.fromarray(millimetres), {}),
        (millimetres, {"unit": "mm"}), (metres * 100, {"unit": "cm"}), (torch.from_numpy(metres), {}),
        (torch.from_numpy(metres)[None], {}), (metres[..., None], {}), (metres.astype(np.float64), {"unit": "m"}),
    ]  # fmt: skip
    for source, options in sources:
        torch.testing.assert_close(preprocess(source, **options), expected, atol=0.01, rtol=0)


def test_holes_are_filled_and_counted():
    depth = flat(2.0)
    depth[10:20, 10:20] = 0
    depth[30, 30:34] = [np.nan, np.inf, -np.inf, -1]
    read = preprocess.read(depth)
    assert read.holes == 104
    assert read.hole_fraction == pytest.approx(104 / (480 * 640))
    torch.testing.assert_close(preprocess(depth), preprocess(flat(2.0)))
    assert np.isnan(depth[30, 30])  # the caller's array is left alone


def test_many_holes_are_noted():
    depth = flat(2.0)
    depth[:100] = np.nan
    with pytest.warns(InputNote, match="21% of the pixels hold no measurement"):
        assert preprocess.read(depth).holes == 100 * 640


@pytest.mark.parametrize(
    "stored",
    [
        np.array([[2, 0], [65535, 1]], np.uint16), np.array([[2, 0], [2**31 - 1, 1]], np.int32),
        np.array([[2, np.nan], [1e10, 1]], np.float32), np.array([[2, -9999], [np.inf, 1]], np.float64),
        np.array([[2, -1], [65535, 1]], np.float32), np.array([[2, np.inf], [65504, 1]], np.float16),
        np.array([[2, np.inf], [20_000, 1]], np.float32),
    ],
)  # fmt: skip
def test_values_that_are_no_data(stored):
    with pytest.warns(InputNote, match="50% of the pixels"):
        depth = preprocess.read(stored, unit="m")
    assert depth.holes == 2
    assert depth.values[0, 0] == 2
    assert depth.values[1, 1] == 1
    assert set(depth.values.ravel()) == {1, 2}


def test_no_measurement_is_lost_in_relative_maps():
    ramp = np.tile(np.arange(0, 65536, 256, dtype=np.uint16), (256, 1))
    ramp[:, -1] = 65535
    depth = preprocess.read(ramp, preset="relative")
    assert depth.holes == 0
    assert np.array_equal(depth.values, ramp.astype(np.float32))
    negative = preprocess.read(ramp.astype(np.float32) - 30_000, preset="relative")
    assert negative.values.min() == -30_000


def test_mask_excludes_pixels(tmp_path):
    depth = flat(2.0, (48, 64))
    depth[:, :4] = 9.0
    mask = np.ones((48, 64), np.uint8)
    mask[:, :4] = 0
    path = tmp_path / "depth_mask.npy"
    np.save(path, mask[..., None])
    for source in (mask, mask.astype(bool), path, encoded(mask * 255), torch.from_numpy(mask)):
        read = preprocess.read(depth, mask=source)
        assert read.holes == 4 * 48
        assert (read.values == 2).all()


def test_cap():
    ten = preprocess.read(flat(20.0), cap=24)
    assert preprocess.finish([ten])[0].mean().item() == pytest.approx(
        normalized(0.075 * 518.86 / 160), rel=1e-4
    )
    with pytest.warns(InputNote, match=r"more than half of the map is beyond 6.25 m.*cap="):
        plain = preprocess(flat(20.0))
    assert plain.mean().item() == pytest.approx(normalized(0.075 * 518.86 / 50), rel=1e-4)
    far = encoded(flat(65_000, dtype=np.uint16))  # 8.125 m
    capped = preprocess(far, preset="sun_png", cap=8)
    torch.testing.assert_close(capped, preprocess(flat(8.0), cap=8))


def test_sun_restored_is_the_reproduction():
    stored = encoded(rotated(RAMP_MM))
    out = preprocess(stored, preset="sun_restored")
    disparity = 0.075 * 518.86 / (RAMP_MM / 1000)
    expected = (disparity - 24.82) / 14.40
    read = preprocess.read(stored, preset="sun_restored")
    assert np.abs(read.values - RAMP_MM / 1000).max() < 1e-6
    assert out.min().item() == pytest.approx(expected[:, 80:560].min(), abs=0.05)
    for source, options in ((RAMP_MM / 1000, {}), (RAMP_MM, {"unit": "mm"}), (stored, {"unit": "sun"})):
        torch.testing.assert_close(
            preprocess(source, preset="sun_restored", **options), out, atol=1e-4, rtol=0
        )
    with pytest.warns(InputNote, match="beyond 8 m"):
        far = preprocess(flat(20.0), preset="sun_restored")
    assert far.mean().item() == pytest.approx((0.075 * 518.86 / 8 - 24.82) / 14.40, rel=1e-4)


def test_sun_png_notes_other_files():
    with pytest.warns(InputNote, match=r"not SUN RGB-D's rotated bits.*preset='metric'"):
        preprocess.read(encoded(RAMP_MM), preset="sun_png")


def test_presets_of_sun_agree_up_to_scale():
    """The stem forgets the scale, so what counts is where zero is: within 2 % of a deviation."""
    stored = encoded(rotated(RAMP_MM))
    stored_chain = preprocess(stored, preset="sun_png").double().flatten()
    restored = preprocess(stored, preset="sun_restored").double().flatten()
    slope = ((restored - restored.mean()) * (stored_chain - stored_chain.mean())).sum()
    slope /= (stored_chain - stored_chain.mean()).square().sum()
    offset = restored.mean() - slope * stored_chain.mean()
    assert slope.item() == pytest.approx(17.7 / 14.40, rel=1e-3)
    assert abs(offset.item()) < 0.02
    torch.testing.assert_close(preprocess(stored, unit="sun"), preprocess(stored, preset="sun_png"))


def test_focal_and_baseline():
    wide = preprocess(flat(2.0, (480, 1280)))
    torch.testing.assert_close(wide, preprocess(flat(2.0), focal=2 * 518.86))
    torch.testing.assert_close(preprocess(flat(2.0), baseline=0.15), wide)
    assert preprocess.read(flat(2.0, (240, 320))).focal_px == pytest.approx(518.86 / 2)


@pytest.mark.parametrize(
    ("source", "options", "message"),
    [
        (flat(0.0), {}, "no measured pixel"),
        (flat(np.nan), {}, "no measured pixel"),
        (encoded(flat(9, (30, 40), np.uint8)), {}, "8-bit grey.*16-bit millimetres"),
        (encoded(RNG.integers(0, 256, (30, 40, 3), np.uint8)), {}, "color picture"),
        (flat(1500, dtype=np.uint16), {}, "unit='mm'"),
        (-flat(2.0), {}, "no measured pixel.*Negate"),
        (RAMP_MM * 8, {}, "rotated left by three.*unit='sun'"),
        (encoded(RAMP_MM), {"preset": "sun_restored"}, "not SUN RGB-D's rotated bits.*unit='mm'"),
        (flat(2.0), {"mask": np.ones((3, 4), bool)}, r"a mask of shape \(3, 4\)"),
        (flat(2.0, (1, 3_000_000)), {}, "scaled to 224"),
        (flat(1500.0), {}, "median depth of 1500 m"),
        (np.zeros((2, 3, 4), np.float32), {}, r"\(H, W\)"),
        (np.zeros((0, 4), np.float32), {}, "with pixels"),
        (np.zeros((4, 4), complex), {}, "of numbers"),
        (b"neither array nor picture", {}, "no picture format"),
        (npy(flat(1.0))[:200], {}, "no readable numpy file"),
        (npy(np.array([{}], dtype=object)), {}, "no readable numpy file"),
        ([1.0], {}, "type list"),
    ],
)  # fmt: skip
def test_bad_sources(source, options, message):
    with pytest.raises(InputError, match=message):
        preprocess(source, **options)


def test_coarse_inverse_depth_is_allowed():
    ramp = np.tile(np.arange(256, dtype=np.uint8), (256, 1))
    assert preprocess(encoded(ramp), preset="relative").isfinite().all()


@pytest.mark.parametrize(
    "options",
    [
        {"preset": "nyu"},
        {"unit": "feet"},
        {"unit": 0},
        {"unit": True},
        {"unit": "1e999"},
        {"unit": "realsense(zero)"},
        {"focal": 0},
        {"focal": "wide"},
        {"cap": True},
        {"baseline": -1},
        {"cap": 0},
        {"cap": 8, "preset": "relative"},
        {"preset": "sun_png", "unit": "m"},
    ],
)
def test_bad_options(options):
    with pytest.raises(ValueError, match=r"expected|meaning|holds no lengths"):
        preprocess(flat(2.0), **options)
