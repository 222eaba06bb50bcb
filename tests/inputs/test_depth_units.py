"""What stored depth is taken for: stated units, conventions, and what is refused or doubted without one."""

from __future__ import annotations

import io
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bindplug.cli.sources import parse_reader_options
from bindplug.errors import InputError, InputNote
from bindplug.inputs import DepthPreprocess
from bindplug.inputs.depth import CONVENTIONS
from bindplug.inputs.depth.units import parse_unit, restore_rotated_bits

preprocess = DepthPreprocess()
ROWS, COLUMNS = np.mgrid[:120, :160]
SCENE_M = (2 + 1.5 * COLUMNS / 160 + 0.5 * np.sin(ROWS / 20)).astype(np.float32)
FAR_M = (5 + 40 * ROWS / 120).astype(np.float32)
DOCS = Path(__file__).parents[2] / "docs" / "reference" / "inputs.md"


def png(counts):
    buffer = io.BytesIO()
    Image.fromarray(np.round(counts).astype(np.uint16)).save(buffer, "PNG")
    return buffer.getvalue()


def rotated(millimetres):
    millimetres = np.round(millimetres).astype(np.uint16)
    return (millimetres << 3 | millimetres >> 13).astype(np.uint16)


@pytest.mark.parametrize(
    ("unit", "counts"),
    [
        ("m", SCENE_M), ("cm", SCENE_M * 100), ("mm", SCENE_M * 1000), ("kitti", SCENE_M * 256),
        ("vkitti", SCENE_M * 100), ("tum", SCENE_M * 5000), ("icl_nuim", SCENE_M * 5000), ("ICL-NUIM", SCENE_M * 5000),
        ("scannet", SCENE_M * 1000), ("seven_scenes", SCENE_M * 1000), ("matterport", SCENE_M * 4000),
        ("replica", SCENE_M * 6553.5), ("taskonomy", SCENE_M * 512), ("ycb_video", SCENE_M * 10000),
        ("realsense", SCENE_M * 1000), ("realsense(0.00025)", SCENE_M * 4000), ("realsense_l515", SCENE_M * 4000),
        ("realsense_d405", SCENE_M * 10000), ("azure_kinect", SCENE_M * 1000), ("unreal", SCENE_M * 100),
        ("sun", rotated(SCENE_M * 1000)), ("sun3d", rotated(SCENE_M * 1000)), (0.0002, SCENE_M * 5000),
        ("0.0002", SCENE_M * 5000), (1, SCENE_M),
    ],
)  # fmt: skip
def test_stated_units(unit, counts):
    metres = preprocess.read(png(counts), unit=unit).values
    assert np.abs(metres - SCENE_M).max() <= 0.5 * parse_unit(unit).metres_per_count + 1e-6
    integers = np.round(counts).astype(np.int32)
    assert np.array_equal(preprocess.read(integers, unit=unit).values, metres)


@pytest.mark.parametrize("value", ["0.0002", "tum", "realsense(0.0002)"])
def test_units_on_the_command_line(value):
    options = parse_reader_options([f"depth.unit={value}"])["depth"]
    assert np.abs(preprocess.read(png(SCENE_M * 5000), **options).values - SCENE_M).max() < 0.0002


def test_all_conventions_are_documented_with_their_origin():
    text = DOCS.read_text(encoding="utf-8")
    assert len(CONVENTIONS) == 18
    for name, convention in CONVENTIONS.items():
        assert f"| `{name}` |" in text, name
        assert convention.origin


def test_rotation_is_undone_for_every_16_bit_value():
    every = np.arange(65536, dtype=np.uint16)
    assert np.array_equal(restore_rotated_bits(rotated(every)), every)


def test_hypersim_is_brought_from_the_ray_to_the_axis():
    focal = 886.81 * 160 / 1024
    across, down = (COLUMNS - 79.5) / focal, (ROWS - 59.5) / focal
    along_ray = SCENE_M * np.sqrt(1 + across**2 + down**2)
    assert np.abs(preprocess.read(along_ray, unit="hypersim").values - SCENE_M).max() < 1e-5
    with_focal = SCENE_M * np.sqrt(1 + (across**2 + down**2) / 4)
    assert np.abs(preprocess.read(with_focal, unit="hypersim", focal=2 * focal).values - SCENE_M).max() < 1e-5


INVERSE = 1 / SCENE_M
NORMALIZED = (INVERSE - INVERSE.min()) / np.ptp(INVERSE)


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        (rotated(SCENE_M * 1000), r"rotated left by three.*preset='sun_png'.*unit='sun'"),
        (rotated(FAR_M * 300), r"rotated left by three.*preset='sun_png'.*unit='sun'"),  # up to 13 m
        (NORMALIZED * 65535, r"nearly all of their range.*preset='relative'"),
        ((1 - NORMALIZED) * 65535, r"nearly all of their range.*preset='relative'"),
        (INVERSE / INVERSE.max() * 65535, r"nearly all of their range.*preset='relative'"),
        (np.round(NORMALIZED * 255) * 257, r"8-bit levels.*preset='relative'"),
        (np.round(NORMALIZED * 255) * 256, r"8-bit levels.*preset='relative'"),
        (np.round(SCENE_M * 1000).astype(np.uint16).byteswap(), r"bytes are in the wrong order.*byteswap"),
        (np.where(COLUMNS < 40, 2047, 400 + 4 * COLUMNS), r"raw disparity"),
        (np.where(INVERSE > 0.5, 65535, INVERSE * 90_000), r"beside areas of 65535.*preset='relative'"),
        (np.round(NORMALIZED * 4095), r"to exactly 4095, as normalized.*preset='relative'"),
        (np.round(NORMALIZED * 10_000), r"to exactly 10000, as normalized"),
    ],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore:.*hold no measurement")
def test_integers_that_are_no_millimetres_are_refused(counts, message):
    with pytest.raises(InputError, match=message):
        preprocess.read(png(counts))
    preprocess.read(png(counts), unit=0.00001)  # a stated unit ends the doubt
    preprocess.read(png(counts), preset="relative")


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        (SCENE_M * 10_000, r"a median depth of 27.5 m.*unit="),
        (FAR_M * 1000, r"a median depth of 24.8 m.*unit="),
        (SCENE_M * 10, r"a median depth of 0.027 m.*unit="),
        (SCENE_M * 100, r"all within 1 m .*unit='cm'"),
        (NORMALIZED * 9000, r"under 40 mm, nearer than any camera measures.*preset='relative'"),
        (np.round(SCENE_M * 300) * 5, r"multiple of 5.*unit='tum'"),
        (np.where((ROWS + COLUMNS) % 4, 0, SCENE_M * 1000), r"25% of the pixels are measured.*unit='kitti'"),
        (np.tile(SCENE_M * 1000, (4, 8))[:375, :1242], r"KITTI's size.*unit='kitti'"),
    ],
)
@pytest.mark.filterwarnings("ignore:.*beyond 6.25 m", "ignore:.*hold no measurement")
def test_integers_that_are_doubtful_are_noted(counts, message):
    with pytest.warns(InputNote, match=message):
        preprocess.read(png(counts))
    preprocess.read(png(counts), unit="mm", cap=100)


def test_plausible_millimetres_are_read_in_silence():
    outliers = SCENE_M * 1000
    outliers[:2, :40] = np.linspace(20_000, 65_000, 80).reshape(2, 40)  # as stereo cameras give them
    scattered = np.where((ROWS * 7 + COLUMNS * 3) % 23, SCENE_M * 1000, 65535)
    for counts in (scattered, np.where(SCENE_M > 3, 65535, SCENE_M * 1000)):  # 65535 is no data
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*hold no measurement")
            read = preprocess.read(png(counts)).values
        assert np.abs(read - counts / 1000)[counts < 65535].max() < 0.001
    for counts in (SCENE_M * 1000, outliers, np.full((9, 9), 2000), np.round(SCENE_M * 100) * 10):
        assert np.abs(preprocess.read(png(counts)).values - np.round(counts) / 1000).max() < 1e-5


def test_a_file_named_after_a_convention(tmp_path):
    (tmp_path / "kitti").mkdir()
    by_name, within = tmp_path / "vkitti_0001.png", tmp_path / "kitti" / "0001.png"
    for path in (by_name, within):
        path.write_bytes(png(SCENE_M * 1000))
    with pytest.raises(InputError, match=r"named after 'vkitti'.*unit='vkitti'"):
        preprocess.read(by_name)
    with pytest.warns(InputNote, match=r"folder named 'kitti'.*unit='kitti'"):
        preprocess.read(within)
    assert np.abs(preprocess.read(by_name, unit="mm").values - SCENE_M).max() < 0.001


def pfm(values):
    return b"Pf\n%d %d\n-1.0\n" % values.shape[::-1] + values[::-1].astype("<f4").tobytes()


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (NORMALIZED, r"exactly 0 to exactly 1.*preset='relative'"),
        (SCENE_M * 1000, r"a median depth of 27.. m.*unit='mm'.*preset='relative'"),
        (pfm(3000 * INVERSE), r"a median depth.*preset='relative'.*MiDaS"),
        (pfm(60 * INVERSE), r"a median depth of 22 m.*Middlebury"),
    ],
)
def test_floats_that_are_no_metres_are_refused(source, message):
    with pytest.raises(InputError, match=message):
        preprocess.read(source)
    preprocess.read(source, preset="relative")


def test_floats_that_are_doubtful_are_noted(tmp_path):
    path = tmp_path / "disp0.pfm"
    path.write_bytes(pfm(SCENE_M))
    for source, message in ((0.001 + 0.99 * NORMALIZED, "preset='relative'"), (path, "name says disparity"),
                            (SCENE_M / 100, "median depth of 0.027")):  # fmt: skip
        with pytest.warns(InputNote, match=message):
            preprocess.read(source)
        preprocess.read(source, unit="m")
    stored = io.BytesIO()
    np.save(stored, INVERSE)
    with pytest.warns(InputNote, match="all within 1 m; say preset='relative'"):
        preprocess.read(stored.getvalue())
    preprocess.read(SCENE_M / 10)  # an array's unit is its caller's word
