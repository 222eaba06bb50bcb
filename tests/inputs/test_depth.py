from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from bindplug.errors import InputError
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
    far = preprocess(encoded(flat(65_535, dtype=np.uint16)), preset="sun_png")
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


@given(st.floats(0.2, 5.5), st.floats(1.05, 4))
@settings(max_examples=25)
def test_disparity_falls_as_one_over_depth(depth_m, factor):
    near, far = (
        preprocess(flat(d, (24, 32)), focal=500).mean() * 0.0295 + 0.0418 for d in (depth_m, depth_m * factor)
    )
    if depth_m * factor * 8 < 50:
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


def test_exr():
    av = pytest.importorskip("av")
    metres = np.tile(np.linspace(0.5, 5, 64, dtype=np.float32), (48, 1))
    for kind, pixels in (
        ("grayf32le", metres),
        ("gbrpf32le", np.stack([metres, 0 * metres, 0 * metres], -1)),
    ):
        buffer = io.BytesIO()
        with av.open(buffer, "w", format="image2pipe") as container:
            stream = container.add_stream("exr", rate=1)
            stream.height, stream.width, stream.pix_fmt = 48, 64, kind
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format=kind)))
            container.mux(stream.encode())
        torch.testing.assert_close(preprocess(buffer.getvalue()), preprocess(metres))
        with pytest.raises(InputError, match="EXR that cannot be read"):
            preprocess(buffer.getvalue()[:40])


def test_holes_are_filled_and_counted():
    depth = flat(2.0)
    depth[10:20, 10:20] = 0
    depth[30, 30:34] = [np.nan, np.inf, -np.inf, -1]
    read = preprocess.read(depth)
    assert read.holes == 104
    assert read.hole_fraction == pytest.approx(104 / (480 * 640))
    torch.testing.assert_close(preprocess(depth), preprocess(flat(2.0)))
    assert np.isnan(depth[30, 30])  # the caller's array is left alone


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
        (encoded(np.zeros((30, 40, 3), np.uint8)), {}, "color picture"),
        (flat(1500, dtype=np.uint16), {}, "unit='mm'"),
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
    [{"preset": "nyu"}, {"unit": "feet"}, {"focal": 0}, {"baseline": -1}, {"preset": "sun_png", "unit": "m"}],
)
def test_bad_options(options):
    with pytest.raises(ValueError, match=r"expected|meaning"):
        preprocess(flat(2.0), **options)
