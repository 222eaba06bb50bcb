from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image

from bindplug.errors import InputError
from bindplug.inputs import ImagePreprocess
from bindplug.inputs.image import MEAN, STD

preprocess = ImagePreprocess()


def encoded(picture, form="PNG", **options):
    buffer = io.BytesIO()
    picture.save(buffer, form, **options)
    return buffer.getvalue()


def flat(red, green, blue):
    color = torch.tensor([red, green, blue]) / 255
    return ((color - torch.tensor(MEAN)) / torch.tensor(STD))[:, None, None].expand(3, 224, 224)


def test_original_samples(reference):
    with np.load(reference / "golden_assets_transform.npz") as numbers:
        expected = numbers["vision"]
    for name, numbers in zip(("dog", "car", "bird"), expected, strict=True):
        out = preprocess(reference / "assets" / f"{name}_image.jpg", exif=False, alpha="drop")
        assert np.abs(out.numpy() - numbers).max() < 1e-4, name
        torch.testing.assert_close(preprocess(reference / "assets" / f"{name}_image.jpg"), out)


@pytest.mark.parametrize("size", [(300, 400), (400, 300), (224, 224), (50, 60), (1, 900), (225, 449)])
def test_any_size(size):
    out = preprocess(np.full((*size, 3), (10, 128, 250), np.uint8))
    torch.testing.assert_close(out, flat(10, 128, 250).contiguous())


def test_sources_agree(tmp_path, rng):
    pixels = rng.integers(0, 256, (260, 300, 3), dtype=np.uint8)
    picture = Image.fromarray(pixels)
    path = tmp_path / "picture.png"
    path.write_bytes(encoded(picture))
    expected = preprocess(picture)
    tensor = torch.from_numpy(pixels).permute(2, 0, 1)
    for source in (path, str(path), path.read_bytes(), io.BytesIO(path.read_bytes()), pixels,
                   pixels.astype(np.float32) / 255, tensor, tensor.float() / 255):  # fmt: skip
        assert torch.equal(preprocess(source), expected)


def test_exif_orientation_is_applied_unless_told_not_to():
    pixels = np.zeros((224, 224, 3), np.uint8)
    pixels[:112] = 255  # bright above
    exif = Image.Exif()
    exif[0x0112] = 3  # held upside down
    data = encoded(Image.fromarray(pixels), exif=exif.tobytes())
    assert preprocess(data)[0, 0, 0] < 0 < preprocess(data)[0, -1, 0]
    assert preprocess(data, exif=False)[0, 0, 0] > 0


def test_modes_become_rgb():
    red = Image.new("RGB", (230, 230), (255, 0, 0))
    expected = flat(255, 0, 0).contiguous()
    for picture in (red, red.convert("P"), red.convert("RGBA"), red.convert("CMYK")):
        torch.testing.assert_close(preprocess(picture), expected, atol=0.05, rtol=0)
    grey = flat(128, 128, 128).contiguous()
    deep = Image.fromarray(np.full((230, 230), 128 * 257, np.uint16))
    for picture in (
        Image.new("L", (230, 230), 128),
        deep,
        Image.fromarray(np.full((9, 9), 128 / 255, np.float32)),
    ):
        torch.testing.assert_close(preprocess(picture), grey)
    torch.testing.assert_close(preprocess(encoded(deep)), grey)
    white = preprocess(Image.new("1", (9, 9), 1))
    torch.testing.assert_close(white, flat(255, 255, 255).contiguous())


def test_alpha_is_laid_over_white_or_dropped():
    clear = Image.new("RGBA", (230, 230), (0, 0, 0, 0))
    torch.testing.assert_close(preprocess(clear), flat(255, 255, 255).contiguous())
    torch.testing.assert_close(preprocess(clear, alpha="drop"), flat(0, 0, 0).contiguous())


def test_callers_picture_is_left_alone():
    picture = Image.new("P", (300, 300))
    preprocess(picture)
    assert (picture.mode, picture.size) == ("P", (300, 300))


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (np.zeros((3, 300, 400), np.uint8), "channels last"),
        (np.zeros((2, 224, 224, 3), np.uint8), "One picture at a time"),
        (torch.zeros(224, 224, 3), "tensors first"),
        (np.zeros((0, 0, 3), np.uint8), "shape"),
        (np.full((8, 8, 3), 200.0, np.float32), "Divide by 255"),
        (np.full((8, 8, 3), np.nan, np.float32), "NaN"),
        (np.zeros((8, 8, 3), np.int64), "int64"),
        (Image.fromarray(np.full((8, 8), 300.0, np.float32)), "floats from 300"),
        (42, "type int"),
        (b"no picture at all", "no picture format"),
    ],
)
def test_bad_sources(source, message):
    with pytest.raises(InputError, match=message):
        preprocess(source)


def test_truncated_file_is_named(tmp_path, rng):
    data = encoded(Image.fromarray(rng.integers(0, 256, (99, 99, 3), dtype=np.uint8)), "JPEG")
    path = tmp_path / "cut.jpg"
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(InputError, match=r"cut\.jpg: a damaged picture"):
        preprocess(path)


def test_decompression_bomb_is_refused(monkeypatch):
    data = encoded(Image.new("L", (100, 100)))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(InputError, match="too large to decode"):
        preprocess(data)
