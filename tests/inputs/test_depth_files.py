"""Files of depth: EXR by channel, arrays by name, text, and what is refused with a way out."""

from __future__ import annotations

import gzip
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


def as_text(values, separator=",", decimal=".", form="%.4f"):
    return "\n".join(separator.join((form % v).replace(".", decimal) for v in row) for row in values)


@pytest.mark.parametrize(
    "text",
    [
        as_text(SCENE_M), as_text(SCENE_M, " "), as_text(SCENE_M, "  "), as_text(SCENE_M, "\t"), as_text(SCENE_M, ";"),
        as_text(SCENE_M, ";", ","), as_text(SCENE_M, "\t", ","), as_text(SCENE_M, " ", ","), as_text(SCENE_M, ", "),
        "depth in metres, 80x60\n\n" + as_text(SCENE_M), as_text(SCENE_M, ";", ",").replace("\n", ";\n"),
        "ncols 80\nnrows 60\nNODATA_value -9999\n" + as_text(SCENE_M, " "), "80 60\n" + as_text(SCENE_M, " "),
    ],
)  # fmt: skip
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_text(text, encoding, tmp_path):
    path = tmp_path / "depth.csv"
    path.write_bytes(text.encode(encoding))
    assert np.abs(preprocess.read(path).values - SCENE_M).max() < 1e-4


def test_text_labels_gaps_and_integers(tmp_path):
    path = tmp_path / "depth.csv"
    labelled = np.concatenate([np.arange(60)[:, None], SCENE_M], axis=1)
    path.write_text("," + ",".join(map(str, range(80))) + "\n" + as_text(labelled, form="%.7g"))
    with pytest.warns(InputNote, match="a first row and column that numbers the others"):
        assert np.abs(preprocess.read(path).values - SCENE_M).max() < 1e-4
    path.write_text(as_text(SCENE_M).replace("2.0000", "", 1).replace(as_text(SCENE_M)[:6], "nan", 1))
    assert preprocess.read(path).holes == 1
    path.write_text(as_text(SCENE_M * 1000, form="%.0f"))
    with pytest.raises(InputError, match=r"integers \(int64\) without a unit"):
        preprocess.read(path)
    assert np.abs(preprocess.read(path, unit="mm").values - SCENE_M).max() < 0.001


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (as_text(SCENE_M[:, :3]), "60 lines of 3 columns.*Points"),
        (as_text(SCENE_M[:3]), "3 lines"),
        (as_text(SCENE_M) + "\n1.0,2.0", "line 61: 2 columns, before 80"),
        (as_text(SCENE_M) + "\n" + ",".join(["end"] * 80), "line 61: words"),
        ("no numbers at all", "1 lines"),
        ("seven eight nine ten\n" * 4 + "a b c d e f g h\n" * 9, "0 rows of 8 numbers"),
    ],
)
def test_bad_text(text, message, tmp_path):
    path = tmp_path / "depth.txt"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        preprocess.read(path)


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


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('"' + "7\n" * 70_000, "70,000 lines of text; expected at most 65,536.*projected"),
        ('"' + "7," * 1_100_000 + "\n7", "characters in a line"),
        ('"0.1,0.2,9.8\n' * 40_000, "40000 lines of 3 columns"),
    ],
)
def test_text_is_bounded_before_it_is_parsed(text, message, tmp_path, monkeypatch):
    def parse(fields):
        raise AssertionError("parsed")

    monkeypatch.setattr("bindplug.inputs.arrayfiles._numbers", parse)
    path = tmp_path / "quote.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        preprocess.read(path)


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


@pytest.mark.parametrize("ending", ["", ","])
@pytest.mark.filterwarnings("ignore::bindplug.errors.InputNote")
def test_blank_rows_and_cells_of_text_are_holes(tmp_path, ending):
    holes = (ROWS < 5) | (COLUMNS == 79) & (ROWS < 55) | (ROWS == 30)
    lines = [
        ",".join("" if hole else f"{value:.5f}" for value, hole in zip(*row, strict=True)) + ending
        for row in zip(SCENE_M, holes, strict=True)
    ]
    path = tmp_path / "depth.csv"
    path.write_text("\n".join(lines))
    depth = preprocess.read(path, unit="m")
    assert depth.values.shape == SCENE_M.shape
    assert depth.holes == holes.sum()
    np.testing.assert_allclose(depth.values[~holes], SCENE_M[~holes], atol=1e-5)


def test_numbers_of_another_width_before_the_map_are_refused(tmp_path):
    path = tmp_path / "depth.csv"
    rows = [",".join(f"{value:.4f}" for value in row) for row in SCENE_M]
    path.write_text("\n".join([",".join(rows[0].split(",")[:50]), *rows[1:]]))
    with pytest.raises(InputError, match="line 1: 50 columns, later 80"):
        preprocess.read(path)


def quoted(values, separator):
    return "\n".join(separator.join(f'"{value:.4f}"'.replace(".", ",") for value in row) for row in values)


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_decimal_commas_within_quotes(separator, tmp_path):
    path = tmp_path / "depth.csv"
    path.write_text(quoted(SCENE_M, separator))
    np.testing.assert_allclose(preprocess.read(path, unit="m").values, SCENE_M, atol=1e-4)


@pytest.mark.parametrize("ending", [",", ",,", ",,,"])
def test_blank_columns_at_the_end_are_left_out(ending, tmp_path):
    path = tmp_path / "depth.csv"
    path.write_text("\n".join(line + ending for line in as_text(SCENE_M).splitlines()))
    depth = preprocess.read(path)
    assert depth.values.shape == SCENE_M.shape
    assert depth.holes == 0


def test_the_first_of_several_text_maps_is_read(tmp_path):
    path = tmp_path / "depth.csv"
    path.write_text("\n\n".join(as_text(values) for values in (SCENE_M, SCENE_M + 1, SCENE_M + 2)))
    with pytest.warns(InputNote, match="the first of 3 maps was read"):
        depth = preprocess.read(path)
    np.testing.assert_allclose(depth.values, SCENE_M, atol=1e-4)
    lines = as_text(SCENE_M).splitlines()
    path.write_text("\n".join([*lines[:20], "", *lines[20:]]))  # a stray blank line divides nothing
    np.testing.assert_allclose(preprocess.read(path).values, SCENE_M, atol=1e-4)
    path.write_text("\n\n".join(lines))
    np.testing.assert_allclose(preprocess.read(path).values, SCENE_M, atol=1e-4)


def test_packed_maps(tmp_path):
    buffer = io.BytesIO()
    np.save(buffer, SCENE_M)
    for name, data in (
        ("a.csv.gz", as_text(SCENE_M).encode()),
        ("b.npy.gz", buffer.getvalue()),
        ("c.gz", buffer.getvalue()),
    ):
        path = tmp_path / name
        path.write_bytes(gzip.compress(data))
        for source in (path, path.read_bytes()):
            np.testing.assert_allclose(preprocess.read(source).values, SCENE_M, atol=1e-4)
    path.write_bytes(gzip.compress(data)[:-20])
    with pytest.raises(InputError, match=r"c\.gz: a damaged gzip file"):
        preprocess.read(path)
    path.write_bytes(gzip.compress(b"words"))
    with pytest.raises(InputError, match=r"c\.gz: a gzip file of no array and no numbers"):
        preprocess.read(path)


def test_a_packed_map_is_bounded(tmp_path, monkeypatch):
    path = tmp_path / "depth.csv.gz"
    path.write_bytes(gzip.compress(b"0," * (1 << 22)))
    monkeypatch.setattr("bindplug.inputs.gzipped.MOST_UNPACKED_BYTES", 1 << 22)
    with pytest.raises(InputError, match="bytes or more unpacked"):
        preprocess.read(path)


def test_text_is_known_without_a_name():
    heading = "Emissivity: 0.95\nUnits: m\n\n"
    np.testing.assert_allclose(
        preprocess.read((heading + as_text(SCENE_M)).encode()).values, SCENE_M, atol=1e-4
    )
    for data in (
        b"words and no numbers\n" * 30,
        b"<html>1,2,3,4,5,6,7,8,9</html>",
        b'{"a": [1, 2, 3, 4, 5, 6, 7, 8, 9]}',
    ):
        with pytest.raises(InputError, match=r"no picture format|a web page"):
            preprocess.read(data)


def test_fields_with_units_are_shown_in_the_error(tmp_path):
    path = tmp_path / "depth.csv"
    path.write_text("\n".join(",".join(f"{value:.2f}m" for value in row) for row in SCENE_M))
    with pytest.raises(InputError, match=r"whose fields are as '\d\.\d\dm'"):
        preprocess.read(path)
