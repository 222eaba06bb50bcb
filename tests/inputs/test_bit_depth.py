"""Pictures of 9 to 64 bits a channel, pages beside the first, and PGM files given as PIL images."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
from PIL import Image

from bindplug.errors import InputError, InputNote
from bindplug.inputs import DepthPreprocess, ImagePreprocess, ThermalPreprocess, VideoPreprocess
from bindplug.inputs.tiff import count_pages

RAMP = np.arange(64 * 48).reshape(48, 64)
TWELVE_BITS = (RAMP + 1000).astype("<u2")
IN_EIGHT_BITS = TWELVE_BITS.astype(np.int64) * 255 // 4095
INTEGER, SIGNED, FLOAT = 1, 2, 3
image, depth, thermal = ImagePreprocess(), DepthPreprocess(), ThermalPreprocess()


def tiff(values, bits, kind=INTEGER, tags=()):
    """An uncompressed TIFF of one strip with such tags of one short each."""
    height, width, *channels = values.shape
    samples = channels[0] if channels else 1
    data = values.tobytes()
    short = [(259, 1), (262, 2 if samples > 1 else 1), (277, samples), (284, 1), *tags]
    entries = [(tag, 3, 1, struct.pack("<HH", value, 0)) for tag, value in short]
    entries += [(tag, 4, 1, struct.pack("<I", value)) for tag, value in
                ((256, width), (257, height), (278, height), (279, len(data)))]  # fmt: skip
    beyond = 8 + 2 + 12 * (len(entries) + 3) + 4
    for tag, value in ((258, bits), (339, kind)):
        if samples == 1:
            entries.append((tag, 3, 1, struct.pack("<HH", value, 0)))
        else:
            entries.append((tag, 3, samples, struct.pack("<I", beyond)))
            data = struct.pack(f"<{samples}H", *[value] * samples) + data
    # the values of both tags stand before the pixels, the last one first
    for at, entry in enumerate(entries):
        if samples > 1 and entry[0] == 258:
            entries[at] = (258, 3, samples, struct.pack("<I", beyond + 2 * samples))
    pixels = beyond + (4 * samples if samples > 1 else 0)
    entries.append((273, 4, 1, struct.pack("<I", pixels)))
    packed = b"".join(struct.pack("<HHI", *entry[:3]) + entry[3] for entry in sorted(entries))
    return b"II*\0" + struct.pack("<IH", 8, len(entries)) + packed + struct.pack("<I", 0) + data


def saved(picture, form, **options):
    buffer = io.BytesIO()
    picture.save(buffer, form, **options)
    return buffer.getvalue()


def pgm(values, maxval):
    return b"P5\n%d %d\n%d\n" % (*values.shape[::-1], maxval) + values.astype(">u2").tobytes()


def test_twelve_bits_that_a_tag_states_are_scaled():
    for tag in (281, 341):  # MaxSampleValue, SMaxSampleValue
        picture = image.read(tiff(TWELVE_BITS, 16, tags=[(tag, 4095)]))
        assert np.array_equal(np.asarray(picture)[..., 0], IN_EIGHT_BITS)


def test_a_largest_value_that_is_a_statistic_scales_nothing():
    bright = (RAMP * 21).astype("<u2")
    picture = image.read(tiff(bright, 16, tags=[(281, int(bright.max()))]))
    assert np.array_equal(np.asarray(picture)[..., 0], bright // 257)


@pytest.mark.parametrize(
    "source",
    [
        tiff(TWELVE_BITS, 16),
        saved(Image.fromarray(TWELVE_BITS), "PNG"),
        tiff(np.repeat(TWELVE_BITS[..., None], 3, axis=2), 16),
        Image.fromarray(TWELVE_BITS),
    ],
    ids=["TIFF", "PNG", "RGB TIFF", "PIL"],
)
def test_dark_pictures_of_sixteen_bits_are_noted(source):
    with pytest.warns(InputNote, match=r"uses [56]\.\d% of its range and is nearly black.*by 16"):
        picture = image.read(source)
    # Pillow keeps the upper byte of several channels
    assert np.abs(np.asarray(picture)[..., 0].astype(int) - TWELVE_BITS // 257).max() <= 1


def test_black_pictures_are_no_dark_ones():
    assert not np.asarray(image.read(saved(Image.fromarray(TWELVE_BITS * 0), "PNG"))).any()


@pytest.mark.parametrize(
    ("values", "bits", "kind", "pixels"),
    [
        (RAMP.astype("<f8"), 64, FLOAT, "1 channel of 64-bit floats"),
        (RAMP.astype("<f2"), 16, FLOAT, "1 channel of 16-bit floats"),
        (np.repeat(RAMP[..., None], 3, axis=2).astype("<f4"), 32, FLOAT, "3 channels of 32-bit floats"),
    ],
)
def test_pixels_that_pillow_does_not_read_are_described(values, bits, kind, pixels):
    for reader in (image, depth, thermal):
        with pytest.raises(InputError, match=rf"a TIFF with {pixels}.*tifffile\.imread"):
            reader.read(tiff(values, bits, kind))


@pytest.mark.parametrize("reader", [image, depth], ids=["image", "depth"])
def test_pages_after_the_first_are_noted(reader):
    pages = [Image.fromarray((3 * RAMP + 500 * page).astype(np.uint16)) for page in range(1, 4)]
    with pytest.warns(InputNote, match="the first of 3 pages was read"):
        reading = reader.read(saved(pages[0], "TIFF", save_all=True, append_images=pages[1:]))
    alone = reader.read(saved(pages[0], "TIFF"))
    assert np.array_equal(*(getattr(one, "values", one) for one in (reading, alone)))


def test_previews_are_no_pages():
    first, second = (Image.fromarray(np.full((8, 8), level, np.uint8)) for level in (9, 99))
    data = saved(first, "TIFF", save_all=True, append_images=[second])
    assert count_pages(io.BytesIO(data), 0) == 2
    place = int.from_bytes(data[4:8], "little")
    count = int.from_bytes(data[place : place + 2], "little")
    second_place = int.from_bytes(data[place + 2 + 12 * count :][:4], "little")
    # its first tag becomes the subfile type of a reduced picture
    changed = bytearray(data)
    changed[second_place + 2 : second_place + 14] = struct.pack("<HHII", 254, 4, 1, 1)
    assert count_pages(io.BytesIO(bytes(changed)), 0) == 1
    changed[place + 2 + 12 * count : place + 6 + 12 * count] = struct.pack("<I", place)
    assert count_pages(io.BytesIO(bytes(changed)), 0) == 1  # a directory that follows itself
    assert count_pages(io.BytesIO(data[: place + 20]), 0) == 0


def test_frames_after_the_first_are_noted():
    frames = [Image.new("RGB", (40, 40), color) for color in ("red", "blue")]
    data = saved(frames[0], "GIF", save_all=True, append_images=frames[1:], duration=500)
    with pytest.warns(InputNote, match="the first frame of a moving picture"):
        picture = image.read(data)
    assert picture.getpixel((3, 3)) == (255, 0, 0)
    assert VideoPreprocess().read(data).duration_s == 1.0


@pytest.mark.parametrize("maxval", [4095, 10_000, 65_535])
def test_a_pgm_as_a_pil_image_has_the_numbers_of_its_file(maxval, tmp_path):
    """Pillow scales 16-bit PGMs to 65535; the file's own numbers are millimetres."""
    data = pgm(TWELVE_BITS - 500, maxval)
    path = tmp_path / "depth.pgm"
    path.write_bytes(data)
    truth = (TWELVE_BITS - 500) / 1000
    loaded = Image.open(path)
    loaded.load()
    for source in (path, data, Image.open(io.BytesIO(data)), Image.open(path), loaded):
        assert np.allclose(depth.read(source).values, truth, atol=1e-6)
    forgotten = Image.open(io.BytesIO(data))
    forgotten.load()
    with pytest.raises(InputError, match=r"no longer known.*Give its path or bytes"):
        depth.read(forgotten)


def test_a_png_as_a_pil_image_has_the_numbers_of_its_file():
    data = saved(Image.fromarray(TWELVE_BITS), "PNG")
    for source in (data, Image.open(io.BytesIO(data)), Image.open(io.BytesIO(data)).convert("I")):
        assert np.allclose(depth.read(source).values, TWELVE_BITS / 1000, atol=1e-6)


@pytest.mark.parametrize(
    ("values", "text"),
    [
        (TWELVE_BITS, "16-bit values that are not SUN RGB-D's rotated bits"),
        (np.full((40, 40), 1234, np.uint16), "16-bit values that are not SUN RGB-D's rotated bits"),
        (TWELVE_BITS.astype(np.float32), "floats, which no file of SUN RGB-D holds"),
    ],
)
def test_sun_png_of_other_values_is_noted(values, text):
    with pytest.warns(
        InputNote, match=f"{text}: preset='sun_png' makes a wrong disparity of them; preset='metric'"
    ):
        depth.read(values, preset="sun_png")


def test_sun_png_of_its_own_bits_is_not_noted():
    rotated = (TWELVE_BITS << 3) | (TWELVE_BITS >> 13)
    assert depth.read(rotated, preset="sun_png").preset == "sun_png"


def test_signed_sixteen_bits_end_at_32767():
    """As scanners and scientific tools write them; taken as unsigned, they would be half as bright."""
    bright = (TWELVE_BITS * 8).astype(np.int16)
    picture = image.read(tiff(bright, 16, SIGNED))
    np.testing.assert_allclose(np.asarray(picture)[..., 0], bright / 32767 * 255, atol=1)
    with pytest.warns(InputNote, match="nearly black"):
        image.read(tiff(TWELVE_BITS // 2, 16, SIGNED))
    with pytest.raises(InputError, match="integers from -1000"):
        image.read(tiff(bright - 9000, 16, SIGNED))


OTHERS = [
    (b"\x1f\x8b\x08" + bytes(60), r"a gzip file.*Unpack it first"),
    (b"%PDF-1.7\n", "a PDF document"),
    (b"\n<svg xmlns='http://www.w3.org/2000/svg'>", "an SVG drawing.*Render it"),
    (b"<!DOCTYPE html><title>404</title>", "a web page, as a failed download leaves it"),
    (b"\xff\x0a" + bytes(60), "a JPEG XL picture"),
    (b"#?RADIANCE\n", "a Radiance HDR picture"),
    (b"\x93NUMPY\x01\x00", r"a numpy file.*numpy\.load"),
    (b"II*\x00\x10\x00\x00\x00CR\x02\x00" + bytes(60), "a raw camera file.*Develop it"),
    (b"\0\0\0\x18ftypcrx " + bytes(60), "a raw camera file"),
    (b"\0\0\0\x18ftypisom" + bytes(60), "an MP4 or QuickTime file.*as a video"),
    (b"RIFF\x10\0\0\0WAVEfmt " + bytes(60), "a RIFF file that is no WebP"),
    (bytes(100), "in no picture format that Pillow knows"),
]


@pytest.mark.parametrize(("data", "message"), OTHERS)
def test_data_of_other_formats_is_called_by_its_name(data, message):
    with pytest.raises(InputError, match=message):
        image.read(data)
