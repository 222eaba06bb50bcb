"""Files of depth: EXR by channel, arrays by name, text, and what is refused with a way out."""

from __future__ import annotations

import io
import struct
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from bindplug.errors import InputError, InputNote, MissingDependency
from bindplug.inputs import DepthPreprocess

OpenEXR = pytest.importorskip("OpenEXR")
preprocess = DepthPreprocess()
ROWS, COLUMNS = np.mgrid[:60, :80]
SCENE_M = (2 + 1.5 * COLUMNS / 80 + 0.5 * np.sin(ROWS / 10)).astype(np.float32)
COLOR = np.random.default_rng(0).random(SCENE_M.shape, dtype=np.float32)
ONES = np.ones_like(SCENE_M)


@pytest.fixture
def exr(tmp_path):
    def write(channels, compression=OpenEXR.ZIP_COMPRESSION, **header):
        path = tmp_path / "depth.exr"
        header = {"compression": compression, "type": OpenEXR.scanlineimage, **header}
        OpenEXR.File(header, channels).write(str(path))
        return path

    return write


@pytest.mark.parametrize(
    "channels",
    [
        {"Z": SCENE_M}, {"V": SCENE_M}, {"Y": SCENE_M}, {"R": SCENE_M}, {"depth.Z": SCENE_M}, {"Depth.V": SCENE_M},
        {"ViewLayer.Depth.Z": SCENE_M}, {"R": SCENE_M, "G": SCENE_M, "B": SCENE_M}, {"Y": SCENE_M, "A": ONES},
        {"R": COLOR, "G": COLOR / 2, "B": COLOR / 4, "A": ONES, "Z": SCENE_M},
        {"ViewLayer.Combined.R": COLOR, "ViewLayer.Combined.G": COLOR / 2, "ViewLayer.Combined.B": COLOR / 4,
         "ViewLayer.Depth.Z": SCENE_M, "ViewLayer.Mist.Z": COLOR, "ViewLayer.Normal.X": COLOR,
         "ViewLayer.Normal.Y": COLOR, "ViewLayer.Normal.Z": -COLOR},
        {"R": COLOR, "G": COLOR / 2, "B": COLOR / 4, "SceneDepth.R": SCENE_M, "SceneDepth.G": SCENE_M,
         "SceneDepth.B": SCENE_M},
        {"left.Z": SCENE_M}, {"Z": SCENE_M, "ZBack": 2 * SCENE_M},
        {"R": COLOR, "G": COLOR, "B": COLOR, "depth": SCENE_M},
    ],
)  # fmt: skip
def test_exr_depth_channel_by_name(exr, channels):
    path = exr(channels)
    assert np.array_equal(preprocess.read(path).values, SCENE_M)
    assert np.array_equal(preprocess.read(path.read_bytes()).values, SCENE_M)
    with path.open("rb") as file:
        assert np.array_equal(preprocess.read(file).values, SCENE_M)


@pytest.mark.parametrize("name", ["ZIP", "ZIPS", "PIZ", "RLE", "NO", "PXR24", "DWAA", "DWAB", "B44", "B44A"])
def test_exr_compressions_and_types(exr, name):
    compression = getattr(OpenEXR, f"{name}_COMPRESSION")
    tolerance = {"PXR24": 1e-4, "DWAA": 0.02, "DWAB": 0.02, "B44": 0.02, "B44A": 0.02}.get(name, 0)
    half = SCENE_M.astype(np.float16)
    for values in (SCENE_M, half):
        read = preprocess.read(exr({"Z": values}, compression)).values
        limit = tolerance if name in ("DWAA", "DWAB") or (values is half) == (name != "PXR24") else 0
        assert np.abs(read - values.astype(np.float32)).max() <= limit
    counts = (SCENE_M * 1000).astype(np.uint32)
    assert np.array_equal(
        preprocess.read(exr({"Z": counts}, compression)).values, (counts / 1000).astype(np.float32)
    )


def test_exr_background_and_unit(exr):
    far = SCENE_M.copy()
    far[:3] = 1e10
    assert preprocess.read(exr({"Z": far})).holes == 3 * 80
    half = (SCENE_M * 100).astype(np.float16)
    half[:3] = 65504
    depth = preprocess.read(exr({"Z": half}), unit="unreal")
    assert depth.holes == 3 * 80
    assert np.abs(depth.values[3:] - SCENE_M[3:]).max() < 0.002
    with pytest.raises(InputError, match=r"median depth of 27.*unit='mm' or 'cm'"):
        preprocess.read(exr({"Z": SCENE_M * 100}))


def test_exr_several_channels_and_parts(exr, tmp_path):
    two = {"left.Z": SCENE_M, "right.Z": 2 * SCENE_M}
    with pytest.raises(InputError, match=r"several channels.*left.Z, right.Z.*channel='left.Z'"):
        preprocess.read(exr(two))
    assert np.array_equal(preprocess.read(exr(two), channel="right.Z").values, 2 * SCENE_M)
    with pytest.raises(InputError, match=r"no channel 'middle.Z' \(left.Z, right.Z\)"):
        preprocess.read(exr(two), channel="middle.Z")
    path = tmp_path / "parts.exr"
    parts = [
        OpenEXR.Part({"type": OpenEXR.scanlineimage}, {"R": COLOR, "G": COLOR, "B": COLOR / 2}, "beauty"),
        OpenEXR.Part(
            {"type": OpenEXR.tiledimage, "tiles": OpenEXR.TileDescription()}, {"Z": SCENE_M}, "depth"
        ),
    ]
    OpenEXR.File(parts).write(str(path))
    assert np.array_equal(preprocess.read(path).values, SCENE_M)
    assert np.array_equal(preprocess.read(path, channel="depth.Z").values, SCENE_M)


@pytest.mark.parametrize(
    ("channels", "message"),
    [
        ({"R": COLOR, "G": COLOR / 2, "B": COLOR / 4}, "in color.*false colors"),
        ({"Mist.Z": COLOR}, r"without a depth channel \(Mist.Z\)"),
        ({"Normal.X": COLOR, "Normal.Y": COLOR, "Normal.Z": COLOR}, "without a depth channel"),
        ({"X": COLOR, "Y": COLOR, "Z": COLOR}, "without a depth channel"),
        ({"U": COLOR, "V": COLOR}, "without a depth channel"),
        ({"A": COLOR}, "without a depth channel"),
    ],
)
def test_exr_without_depth(exr, channels, message):
    with pytest.raises(InputError, match=message):
        preprocess.read(exr(channels))


def test_exr_windows_and_damage(exr):
    window = {"dataWindow": ((10, 5), (89, 64)), "displayWindow": ((0, 0), (99, 69))}
    with pytest.warns(InputNote, match="31% of the pixels"):
        depth = preprocess.read(exr({"Z": SCENE_M}, **window))
    assert depth.values.shape == (70, 100)
    assert np.array_equal(depth.values[5:65, 10:90], SCENE_M)
    assert depth.holes == 7000 - 4800
    data = exr({"Z": SCENE_M}).read_bytes()
    for damaged in (data[:40], data[: len(data) // 2], data[:200] + bytes(200) + data[400:]):
        with pytest.raises(InputError, match="EXR"):
            preprocess.read(damaged)


def test_exr_bindings_print_nothing(exr, capfd):
    data = exr({"Z": SCENE_M}, OpenEXR.PIZ_COMPRESSION).read_bytes()

    def read(part):
        with pytest.raises(InputError, match="EXR that cannot be read"):
            preprocess.read(data[: int(part * len(data))])

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(read, [0.4, 0.5, 0.6, 0.7] * 4))
    print("mine")
    assert capfd.readouterr() == ("mine\n", "")


def test_exr_needs_the_extra(exr, monkeypatch):
    path = exr({"Z": SCENE_M})

    def absent(name):
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    monkeypatch.setattr("importlib.import_module", absent)
    with pytest.raises(MissingDependency, match=r'OpenEXR: pip install "bindplug\[depth\]"'):
        preprocess.read(path)
    with pytest.raises(MissingDependency, match=r'scipy.ndimage.*pip install "bindplug\[depth\]"'):
        preprocess.read(np.where(COLUMNS == 0, 0, SCENE_M))


def saved(write, *arguments, **arrays):
    buffer = io.BytesIO()
    write(buffer, *arguments, **arrays)
    return buffer.getvalue()


def test_npz():
    confidence = np.ones_like(SCENE_M)
    for arrays in ({"depth": SCENE_M}, {"x": SCENE_M}, {"depth": SCENE_M, "confidence": confidence},
                   {"Depth_Map": SCENE_M, "rgb": np.zeros((60, 80, 3)), "K": np.eye(3)}):  # fmt: skip
        assert np.array_equal(preprocess.read(saved(np.savez, **arrays)).values, SCENE_M)
    both = saved(np.savez, near=SCENE_M, far=2 * SCENE_M)
    with pytest.raises(InputError, match=r"2 arrays \(near, far\).*channel="):
        preprocess.read(both)
    with pytest.raises(InputError, match="no array 'middle'"):
        preprocess.read(both, channel="middle")
    assert np.array_equal(preprocess.read(both, channel="far").values, 2 * SCENE_M)
    with pytest.warns(InputNote, match="'mask' is not applied; pass it as mask="):
        preprocess.read(saved(np.savez, depth=SCENE_M, mask=confidence))
    in_name = saved(np.savez, depth_mm=(SCENE_M * 1000).astype(np.uint16))
    assert np.abs(preprocess.read(in_name).values - SCENE_M).max() < 0.0011


def test_mat(tmp_path):
    savemat = pytest.importorskip("scipy.io").savemat
    assert np.array_equal(preprocess.read(saved(savemat, {"depth": SCENE_M})).values, SCENE_M)
    two = saved(savemat, {"depths": SCENE_M, "rawDepths": 2 * SCENE_M})
    assert np.array_equal(preprocess.read(two).values, SCENE_M)
    assert np.array_equal(preprocess.read(two, channel="rawDepths").values, 2 * SCENE_M)
    path = tmp_path / "nyu.mat"
    path.write_bytes(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(512) + b"\x89HDF\r\n\x1a\n" + bytes(500))
    with pytest.raises(InputError, match="h5py"):
        preprocess.read(path)
    with pytest.raises(InputError, match="a damaged MATLAB file"):
        preprocess.read(saved(savemat, {"depth": SCENE_M})[:300])


def test_sintel_and_color_pfm():
    sintel = struct.pack("<fii", 202021.25, 80, 60) + SCENE_M.tobytes()
    assert np.array_equal(preprocess.read(sintel).values, SCENE_M)
    with pytest.raises(InputError, match="of 19200 bytes"):
        preprocess.read(sintel[:-4])
    three = np.repeat(SCENE_M[::-1, :, None], 3, axis=2).astype(">f4").tobytes()
    assert np.array_equal(preprocess.read(b"PF\n80 60\n1.0\n" + three).values, SCENE_M)


def encoded(array, form, **options):
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, form, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("form", ["PNG", "TIFF"])
def test_exif_orientation(form):
    counts = (SCENE_M * 1000).round().astype(np.uint16)
    exif = Image.Exif()
    exif[0x0112] = 6
    options = {"exif": exif.tobytes()} if form == "PNG" else {"tiffinfo": {274: 6}}
    data = encoded(counts, form, **options)
    assert np.array_equal(preprocess.read(data).values, np.rot90(counts, -1) / np.float32(1000))
    if form == "PNG":
        assert preprocess.read(data, exif=False).values.shape == (60, 80)


def test_grey_in_three_channels_for_relative():
    ramp = np.repeat(np.tile(np.arange(0, 240, 3, dtype=np.uint8), (60, 1))[..., None], 3, axis=2)
    assert preprocess.read(encoded(ramp, "PNG"), preset="relative").values.max() == 237
    with pytest.raises(InputError, match=r"8-bit grey.*preset='relative'"):
        preprocess.read(encoded(ramp, "PNG"))


@pytest.mark.parametrize(
    ("head", "message"),
    [
        (b"\x89HDF\r\n\x1a\n", "HDF5.*h5py.*hypersim"), (b"\x1aE\xdf\xa3", "Matroska"), (b"#ROSBAG V2.0", "ROS bag"),
        (b"ply\nformat ascii 1.0", "point cloud"), (b"\x1f\x8b", "gzip"),
    ],
)  # fmt: skip
def test_containers_are_refused_with_a_remedy(head, message):
    with pytest.raises(InputError, match=message):
        preprocess.read(head + bytes(100))


def test_files_without_a_header(tmp_path):
    path = tmp_path / "depth.raw"
    path.write_bytes((SCENE_M * 1000).astype("<u2").tobytes())
    with pytest.raises(InputError, match=r"without a header.*numpy.fromfile"):
        preprocess.read(path)


def test_axes_of_length_one():
    for shape in ((1, 60, 80), (60, 80, 1), (1, 1, 60, 80), (1, 60, 80, 1)):
        assert np.array_equal(preprocess.read(SCENE_M.reshape(shape)).values, SCENE_M)


@pytest.mark.filterwarnings("ignore::bindplug.errors.InputNote")
def test_masked_pixels_are_holes():
    masked = np.ma.masked_array(SCENE_M, mask=ROWS < 12)
    depth = preprocess.read(masked, unit="m")
    assert depth.holes == 12 * 80
    np.testing.assert_array_equal(depth.values[12:], SCENE_M[12:])
    with pytest.raises(InputError, match=r"masked array of type int64.*filled"):
        preprocess.read(masked.astype(np.int64), unit="m")


@pytest.mark.parametrize("array", ["disparity", "inverse_depth", "inv"])
def test_arrays_named_after_disparity_are_noted(array):
    buffer = io.BytesIO()
    np.savez(buffer, **{array: 1 / SCENE_M})
    with pytest.warns(InputNote, match="name says disparity"):
        preprocess(buffer.getvalue())
