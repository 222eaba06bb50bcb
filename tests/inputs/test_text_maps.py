"""Maps as text: separators, decimal commas, labels, blanks, several maps, packed files."""

from __future__ import annotations

import gzip
import io

import numpy as np
import pytest

from bindplug.errors import InputError, InputNote
from bindplug.inputs import DepthPreprocess

preprocess = DepthPreprocess()
ROWS, COLUMNS = np.mgrid[:60, :80]
SCENE_M = (2 + 1.5 * COLUMNS / 80 + 0.5 * np.sin(ROWS / 10)).astype(np.float32)


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
