"""Any picture becomes the tensor the original saw."""

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from bindplug.errors import InputError
from bindplug_detic.options import checked_edges
from bindplug_detic.pictures import as_sources, read_picture, resized_size, to_tensor

GOLDEN = Path(__file__).parents[1] / "golden" / "detic"
RED = (200, 30, 10)


def encoded(picture, format, **options):
    buffer = io.BytesIO()
    picture.save(buffer, format, **options)
    return buffer.getvalue()


def test_resizing_gives_the_originals_pixels():
    golden = np.load(GOLDEN / "paste_and_resize.npz")
    pixels = to_tensor(read_picture(GOLDEN / "input_256x320.png"), (300, 332)).permute(1, 2, 0).numpy()
    assert pixels.shape == (266, 332, 3)
    np.testing.assert_array_equal(pixels[:8, -8:], golden["swinb_resized_corner"])
    assert pixels.sum(dtype=np.int64) == golden["swinb_resized_sum"]


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((256, 320), (800, 1000)),
        ((480, 640), (800, 1067)),
        ((640, 480), (1067, 800)),
        ((1000, 1000), (800, 800)),
        ((100, 1000), (133, 1333)),
        ((1, 1), (800, 800)),
        ((1, 100_000), (1, 1333)),
    ],
)
def test_resize_rule(size, expected):
    assert resized_size(size, 800, 1333) == expected


@settings(max_examples=80)
@given(st.integers(1, 20_000), st.integers(1, 20_000), st.integers(8, 900), st.integers(0, 600))
def test_resized_sides_keep_their_bounds_and_proportion(height, width, short, more):
    new = resized_size((height, width), short, short + more)
    assert min(new) <= short
    assert max(new) <= short + more
    assert short in new or max(new) == short + more
    assert abs(new[0] * width - new[1] * height) <= max(height, width)


@pytest.mark.parametrize("make", [
    lambda p: encoded(p, "PNG"), lambda p: io.BytesIO(encoded(p, "PNG")), lambda p: p, np.array,
    lambda p: torch.from_numpy(np.array(p)).permute(2, 0, 1), lambda p: np.array(p) / 255,
    lambda p: np.array(p).astype(np.uint16) * 257,
    lambda p: torch.from_numpy(np.array(p).astype(np.int32) * 257).to(torch.uint16).permute(2, 0, 1),
])  # fmt: skip
def test_every_kind_of_source_is_the_same_picture(make, picture):
    read = read_picture(make(picture))
    assert read.mode == "RGB"
    np.testing.assert_array_equal(np.array(read), np.array(picture))


def test_exif_orientation_turns_the_picture(tmp_path):
    exif = Image.Exif()
    exif[274] = 6  # the camera was held upright: turn a quarter clockwise
    Image.new("RGB", (40, 20)).save(tmp_path / "a.jpg", exif=exif)
    assert read_picture(tmp_path / "a.jpg").size == (20, 40)


@pytest.mark.parametrize("mode", ["CMYK", "L", "1", "P", "RGBA", "LA", "YCbCr", "HSV"])
def test_every_mode_becomes_rgb(mode):
    read = read_picture(Image.new("RGB", (7, 5), "white").convert(mode))
    assert (read.mode, read.size, read.getpixel((3, 3))) == ("RGB", (7, 5), (255, 255, 255))


def test_cmyk_jpeg_keeps_its_color():
    jpeg = encoded(Image.new("RGB", (16, 16), RED).convert("CMYK"), "JPEG", quality=95)
    np.testing.assert_allclose(read_picture(jpeg).getpixel((8, 8)), RED, atol=6)


def test_transparent_palette_becomes_white():
    palette = Image.new("P", (4, 4), 1)
    palette.putpalette([0, 0, 0, *RED])
    gif = encoded(palette, "GIF", transparency=1)
    assert read_picture(gif).getpixel((0, 0)) == (255, 255, 255)
    assert read_picture(encoded(palette, "GIF")).getpixel((0, 0)) == RED


def test_sixteen_bit_grey_is_scaled_not_clipped(tmp_path):
    grey = np.array([[0, 257 * 100, 65535]], np.uint16)
    Image.fromarray(grey).save(tmp_path / "deep.png")
    for source in (tmp_path / "deep.png", grey):
        assert np.array(read_picture(source))[0, :, 1].tolist() == [0, 100, 255]


@pytest.mark.parametrize("size", [(1, 1), (3, 2000), (2000, 3)])
def test_extreme_sizes_become_tensors(size):
    tensor = to_tensor(read_picture(Image.new("RGB", size)), (32, 64))
    assert tensor.shape[0] == 3
    assert min(tensor.shape) >= 1
    assert max(tensor.shape) <= 64
    assert tensor.dtype == torch.uint8


def test_corrupt_files_are_named(tmp_path):
    whole = encoded(Image.effect_noise((64, 64), 80).convert("RGB"), "PNG")
    (tmp_path / "cut.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.jpg").write_text("no picture")
    (tmp_path / "empty.png").touch()
    for name in ("cut.png", "text.jpg", "empty.png", "absent.png"):
        with pytest.raises(InputError, match=name):
            read_picture(tmp_path / name)


@pytest.mark.parametrize("source", [np.zeros((0, 5, 3), np.uint8), torch.zeros(2, 3, 5, 5), Image.new("RGB", (0, 4)),
                                    np.full((2, 2, 3), np.nan), np.full((2, 2, 3), 200.0), 5])  # fmt: skip
def test_what_is_no_picture_is_refused(source):
    with pytest.raises(InputError, match="expected"):
        read_picture(source)


def test_resize_option():
    assert checked_edges(None, (32, 64)) == (32, 64)
    assert checked_edges(False, (32, 64)) is None
    assert checked_edges((10, 20), (32, 64)) == (10, 20)
    for wrong in ((20, 10), (0, 5), 5, "large", (1.5, 3)):
        with pytest.raises(InputError, match=r"short edge, long edge"):
            checked_edges(wrong, (32, 64))


def test_one_picture_and_lists_are_told_apart():
    array = np.zeros((2, 2, 3), np.uint8)
    assert as_sources("a.png") == (["a.png"], True)
    assert as_sources(array)[1] is True
    assert as_sources(["a.png"]) == (["a.png"], False)
    assert as_sources(()) == ([], False)
    with pytest.raises(InputError, match="nothing"):
        as_sources(None)
