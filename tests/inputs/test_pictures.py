"""Opening pictures: all their bits, upright, complete, and nothing that another program would have to run."""

from __future__ import annotations

import builtins
import io
import os
import struct
import zlib

import numpy as np
import pytest
from PIL import EpsImagePlugin, Image, ImageOps, TiffImagePlugin, features

from bindplug.errors import InputError, InputNote, MissingDependency
from bindplug.inputs import ImagePreprocess
from bindplug.inputs.pictures import open_picture, read_raster, upright

preprocess = ImagePreprocess()
RNG = np.random.default_rng(5)
RGB = RNG.integers(1, 256, (48, 64, 3), dtype=np.uint8)
DEEP = RNG.integers(0, 65536, (12, 9, 4), dtype=np.uint16)


def encoded(array, form="PNG", **options):
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, form, **options)
    return buffer.getvalue()


def png_chunk(kind, body):
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def sixteen_bit_png(array, color_type, extra=b""):
    height, width = array.shape[:2]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in array)
    header = struct.pack(">IIBBBBB", width, height, 16, color_type, 0, 0, 0)
    chunks = png_chunk(b"IHDR", header) + extra + png_chunk(b"IDAT", zlib.compress(rows))
    return b"\x89PNG\r\n\x1a\n" + chunks + png_chunk(b"IEND", b"")


def taller(data, rows):
    """A PNG whose header declares another number of rows, its checksum right."""
    header = data[16:20] + struct.pack(">I", rows) + data[24:29]
    return data[:8] + png_chunk(b"IHDR", header) + data[33:]


def with_tag(data, tag, value):
    """A little-endian TIFF with the first value of one tag replaced."""
    data = bytearray(data)
    start = struct.unpack("<I", data[4:8])[0]
    for entry in range(struct.unpack("<H", data[start : start + 2])[0]):
        place = start + 2 + 12 * entry
        name, kind = struct.unpack("<HH", data[place : place + 4])
        if name == tag:
            data[place + 8 : place + 12] = struct.pack("<I" if kind == 4 else "<Hxx", value)
    return bytes(data)


@pytest.mark.parametrize(("color_type", "channels"), [(2, [0, 1, 2]), (4, [0, 3]), (6, [0, 1, 2, 3])])
def test_16_bit_channels_keep_all_bits(color_type, channels):
    raster = read_raster(sixteen_bit_png(DEEP[..., channels], color_type), "a picture")
    expected = DEEP[..., 0] if color_type == 4 else DEEP[..., :3]
    assert raster.values.dtype == np.uint16
    assert np.array_equal(raster.values, expected)
    assert (raster.valid is None) == (color_type == 2)
    if raster.valid is not None:
        assert np.array_equal(raster.valid, DEEP[..., 3] > 0)


def test_what_a_file_calls_transparent_is_not_valid():
    plane = DEEP[..., 0]
    data = sixteen_bit_png(plane[..., None], 0, png_chunk(b"tRNS", struct.pack(">H", plane[3, 4])))
    raster = read_raster(data, "a picture")
    assert np.array_equal(raster.values, plane)
    assert np.array_equal(raster.valid, plane != plane[3, 4])
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[42113] = "-32767"  # GDAL's no-data value
    heights = plane.astype(np.float32)
    heights[2, 2] = -32767
    raster = read_raster(encoded(heights, "TIFF", tiffinfo=tags), "a picture")
    assert np.argwhere(~raster.valid).tolist() == [[2, 2]]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(RGB, exif=exif.tobytes())
    expected = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))))
    assert np.array_equal(upright(RGB, orientation), expected)
    assert np.array_equal(read_raster(data, "a picture").values, expected)
    assert np.array_equal(read_raster(data, "a picture", exif=False).values, RGB)


@pytest.mark.parametrize("array", [RGB, RGB[..., 0], DEEP[..., 0], DEEP[..., 0].astype(np.float32)])
@pytest.mark.parametrize("compression", [None, "tiff_lzw", "tiff_adobe_deflate", "packbits"])
def test_tiff_that_declares_more_rows_than_it_stores(array, compression, capfd):
    data = encoded(array, "TIFF", **({"compression": compression} if compression else {}))
    assert read_raster(data, "a picture").values.shape == array.shape
    for damaged in (with_tag(data, 257, 480), with_tag(with_tag(data, 257, 480), 278, 480)):
        with pytest.raises(InputError, match=r"declares 480 rows|damaged picture"):
            preprocess(damaged)
    assert capfd.readouterr().err == ""


def tiled_tiff(array, rows, side=16):
    """A grey 16-bit TIFF of tiles, which declares ``rows`` rows and stores the array's."""
    height, width = array.shape
    tiles = [
        array[top : top + side, left : left + side].astype("<u2").tobytes()
        for top in range(0, height, side)
        for left in range(0, width, side)
    ]
    body, first = b"".join(tiles), 8
    offsets = struct.pack(f"<{len(tiles)}I", *(first + sum(map(len, tiles[:i])) for i in range(len(tiles))))
    sizes = struct.pack(f"<{len(tiles)}I", *map(len, tiles))
    at = first + len(body)
    tags = [
        (256, 4, 1, width), (257, 4, 1, rows), (258, 3, 1, 16), (259, 3, 1, 1), (262, 3, 1, 1), (277, 3, 1, 1),
        (322, 3, 1, side), (323, 3, 1, side), (324, 4, len(tiles), at), (325, 4, len(tiles), at + len(offsets)),
    ]  # fmt: skip
    entries = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    directory = struct.pack("<H", len(tags)) + entries + struct.pack("<I", 0)
    return b"II*\0" + struct.pack("<I", at + 2 * len(offsets)) + body + offsets + sizes + directory


def test_tiff_of_tiles():
    plane = RNG.integers(1, 65536, (48, 64), dtype=np.uint16)
    assert np.array_equal(read_raster(tiled_tiff(plane, 48), "a picture").values, plane)
    with pytest.raises(InputError, match="declares 480 rows in 120 tiles and stores 12"):
        read_raster(tiled_tiff(plane, 480), "a picture")


def test_preview_of_a_raw_camera_file_is_noted():
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[254] = 1
    with pytest.warns(InputNote, match="a preview of 64x48 pixels"):
        preprocess(encoded(RGB, "TIFF", tiffinfo=tags))


def test_tiff_strips_outside_the_file():
    data = encoded(RGB, "TIFF")
    with pytest.raises(InputError, match="beyond the end of the file"):
        preprocess(with_tag(data, 273, len(data)))
    with pytest.raises(InputError, match="empty strips"):
        preprocess(with_tag(data, 279, 0))
    jpeg = encoded(RGB, "TIFF", compression="jpeg")
    with pytest.raises(InputError, match=r"last strip declares 480 rows and stores 48"):
        preprocess(with_tag(with_tag(jpeg, 257, 480), 278, 480))


@pytest.mark.parametrize("array", [RGB, RGB[..., 0], DEEP[..., 0]])
def test_png_that_declares_more_rows_than_it_stores(array):
    with pytest.raises(InputError, match="declares 480 rows and stores"):
        preprocess(taller(encoded(array), 480))
    with pytest.raises(InputError, match="declares 480 rows and stores"):
        read_raster(taller(sixteen_bit_png(DEEP[..., :3], 2), 480), "a picture")


def test_gif_that_declares_more_rows_than_it_stores():
    data = bytearray(encoded(RGB[..., 0], "GIF"))
    place = data.find(b",\0\0\0\0")
    for offset in (8, place + 7):
        data[offset : offset + 2] = struct.pack("<H", 480)
    with pytest.raises(InputError, match="damaged picture"):
        preprocess(bytes(data))


@pytest.mark.parametrize("array", [RGB, RGB[..., 0]])
def test_jpeg_that_declares_more_rows_than_it_stores_is_noted(array):
    data = bytearray(encoded(array, "JPEG"))
    place = data.find(b"\xff\xc0")
    data[place + 5 : place + 7] = struct.pack(">H", 480)
    with pytest.warns(InputNote, match=r"the last 4\d\d rows are mid-grey"):
        preprocess(bytes(data))
    preprocess(encoded(np.full_like(array, 128), "JPEG"))


def test_complete_png_with_a_black_last_row_is_read():
    black = RGB.copy()
    black[-1] = 0
    for data in (
        encoded(black),
        encoded(black[..., 0]),
        encoded(black[..., 0] // 200),
        encoded(black[..., 0] > 200),
    ):
        assert open_picture(data, "a picture").size == (64, 48)


def test_what_libtiff_prints_goes_into_the_error(capfd):
    data = encoded(RGB, "TIFF", compression="tiff_lzw")
    with pytest.raises(InputError, match=r"damaged picture.*LZWDecode"):
        preprocess(with_tag(with_tag(data, 257, 49), 278, 49))
    os.write(2, b"mine")
    assert capfd.readouterr().err == "mine"


@pytest.mark.parametrize(
    "head", [b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", b"\xc5\xd0\xd3\xc6" + bytes(60)]
)
def test_postscript_reaches_no_interpreter(head, monkeypatch):
    def run(*args, **options):
        raise AssertionError("Ghostscript was called")

    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", run)
    with pytest.raises(InputError, match=r"outside interpreter.*PNG"):
        preprocess(head)
    if head.startswith(b"%"):
        with pytest.raises(InputError, match=r"outside interpreter.*PNG"):
            preprocess(Image.open(io.BytesIO(head)))


@pytest.mark.parametrize("size", [(8_000_000, 1), (1, 8_000_000)])
def test_a_strip_that_would_grow_without_bounds(size):
    with pytest.raises(InputError, match=r"8000000.*scaled to 224.*Crop it"):
        preprocess(encoded(np.ones(size, bool)))


def test_heic(monkeypatch):
    pillow_heif = pytest.importorskip("pillow_heif")
    pixels = np.zeros((64, 96, 3), np.uint8)
    pixels[:, :48] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # the stored left side is the top
    buffer = io.BytesIO()
    pillow_heif.from_pillow(Image.fromarray(pixels)).save(buffer, exif=exif.tobytes())
    picture = preprocess.read(buffer.getvalue())
    assert picture.size == (64, 96)
    shown = np.asarray(picture)
    assert shown[:40].min() > 200
    assert shown[-40:].max() < 50
    with pytest.raises(InputError, match=r"damaged|decoded"):
        preprocess(buffer.getvalue()[:300])

    real_import = builtins.__import__

    def absent(name, *args, **options):
        if name == "pillow_heif":
            raise ModuleNotFoundError("No module named 'pillow_heif'", name="pillow_heif")
        return real_import(name, *args, **options)

    monkeypatch.setattr("importlib.import_module", absent)
    with pytest.raises(MissingDependency, match=r'pip install "bindplug\[heif\]"'):
        preprocess(buffer.getvalue())


@pytest.mark.skipif(not features.check("avif"), reason="this Pillow is older than 11.3 or built without AVIF")
def test_avif():
    data = encoded(np.full((64, 96, 3), (200, 30, 60), np.uint8), "AVIF")
    assert np.abs(np.asarray(preprocess.read(data)).astype(int) - (200, 30, 60)).max() < 8
    with pytest.raises(InputError, match="AVIF"):
        preprocess(data[: len(data) // 2])


@pytest.mark.parametrize("maxval", [256, 2047, 4095, 10000, 40000, 65534, 65535])
@pytest.mark.parametrize("plain", [False, True])
def test_16_bit_pgm_keeps_its_numbers_whatever_its_maxval(maxval, plain):
    stored = np.linspace(0, maxval, 300).round().astype(np.uint16).reshape(15, 20)
    header = f"{'P2' if plain else 'P5'}\n20 15\n{maxval}\n".encode()
    body = " ".join(map(str, stored.ravel())).encode() if plain else stored.astype(">u2").tobytes()
    assert np.array_equal(read_raster(header + body, "a picture").values, stored)


@pytest.mark.parametrize("form", ["GIF", "WEBP", "PNG"])
@pytest.mark.filterwarnings("ignore::bindplug.errors.InputNote")
def test_moving_pictures_by_path(tmp_path, form):
    red, blue = (Image.new("RGB", (64, 48), color) for color in ("red", "blue"))
    path = tmp_path / f"moving.{form.lower()}"
    red.save(path, form, save_all=True, append_images=[blue, red], duration=100)
    for source in (path, path.read_bytes()):
        picture = preprocess.read(source)
        assert np.abs(np.asarray(picture).astype(int) - (255, 0, 0)).max() < 6


def test_the_transparent_color_of_a_png_is_white():
    plain = encoded(np.full((48, 64, 3), (200, 40, 40), np.uint8))
    body = struct.pack(">HHH", 200, 40, 40)
    data = plain[:33] + png_chunk(b"tRNS", body) + plain[33:]
    assert np.asarray(preprocess.read(data)).min() == 255
    assert np.asarray(preprocess.read(data, alpha="drop"))[0, 0].tolist() == [200, 40, 40]


def tiff_of(data, **tags):
    """A TIFF of one strip; shorts by tag number (``t262=0``), several values behind the directory."""
    entries = {256: 8, 257: 8, 259: 1, 273: 8, 278: 8, 279: len(data)} | {
        int(key[1:]): value for key, value in tags.items()
    }
    behind = 8 + len(data) + 2 + 12 * len(entries) + 4
    directory, values = struct.pack("<H", len(entries)), b""
    for tag, value in sorted(entries.items()):
        if isinstance(value, tuple):
            directory += struct.pack("<HHII", tag, 3, len(value), behind + len(values))
            values += struct.pack(f"<{len(value)}H", *value)
        else:
            directory += struct.pack("<HHIHH", tag, 3, 1, value, 0)
    return b"II*\0" + struct.pack("<I", 8 + len(data)) + data + directory + bytes(4) + values


@pytest.mark.parametrize(("bits", "scale"), [(8, 1), (16, 257)])
@pytest.mark.parametrize("photometric", [0, 1])
def test_tiffs_in_which_zero_is_white(bits, scale, photometric):
    grey = np.arange(64, dtype=np.uint16).reshape(8, 8) * 4
    data = (grey * scale).astype(f"<u{bits // 8}").tobytes()
    out = np.asarray(preprocess.read(tiff_of(data, t258=bits, t262=photometric, t277=1)))[..., 0]
    np.testing.assert_array_equal(out, grey if photometric else 255 - grey)


def test_tiffs_that_pillow_decodes_wrongly_are_refused():
    planes = np.zeros((3, 8, 8), "<u2").tobytes()
    strips = {"t273": (8, 136, 264), "t279": (128,) * 3}
    with pytest.raises(InputError, match="3 channels of 16 bits in planes of their own"):
        preprocess(tiff_of(planes, t258=(16,) * 3, t262=2, t277=3, t284=2, **strips))
    with pytest.raises(InputError, match="signed 8-bit integers"):
        preprocess(tiff_of(bytes(64), t258=8, t262=1, t277=1, t339=2))
