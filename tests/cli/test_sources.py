"""Directories, patterns, lists, several labels, hints and what exists before a model is loaded."""

from __future__ import annotations

import io
import sys

import numpy as np
import pytest
from PIL import Image

from bindplug.cli.lists import expand, read_lines
from bindplug.errors import InputError
from tests.cli.test_embed import read


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Pictures in a directory and a subdirectory, a note and a hidden file."""
    directory = tmp_path_factory.mktemp("folder")
    (directory / "deeper").mkdir()
    rng = np.random.default_rng(2)
    for name in ("b.png", "a.png", "c.jpg", "deeper/d.png"):
        Image.fromarray(rng.integers(0, 255, (32, 32, 3), dtype=np.uint8)).save(directory / name)
    (directory / "notes.txt").write_text("no picture")
    (directory / ".hidden").write_text("no picture")
    return directory


@pytest.mark.parametrize(
    ("recursive", "include", "names"),
    [
        (False, (), ["a.png", "b.png", "c.jpg", "notes.txt"]),
        (False, ("*.png",), ["a.png", "b.png"]),
        (False, ("*.png", "*.jpg"), ["a.png", "b.png", "c.jpg"]),
        (True, ("*.png",), ["a.png", "b.png", "deeper/d.png"]),
    ],
)
def test_a_directory_stands_for_its_files(folder, recursive, include, names):
    files = expand(str(folder), recursive=recursive, include=include)
    assert files == [str(folder / name) for name in names]


def test_a_pattern_stands_for_what_matches(folder, tmp_path):
    assert expand(str(folder / "*.png")) == [str(folder / "a.png"), str(folder / "b.png")]
    assert expand(str(folder / "**" / "*.png"))[-1].endswith("d.png")
    odd = tmp_path / "odd [1].png"
    odd.write_bytes(b"")
    assert expand(str(odd)) == [str(odd)], "a file of that very name is that file"
    assert expand(str(tmp_path / "absent.png")) == [str(tmp_path / "absent.png")]


def test_nothing_to_take_is_an_error_with_the_way_out(folder, tmp_path):
    with pytest.raises(InputError, match=r"no files named \*\.wav"):
        expand(str(folder), include=["*.wav"])
    with pytest.raises(InputError, match="--recursive"):
        expand(str(tmp_path))
    with pytest.raises(InputError, match="no file that matches"):
        expand(str(tmp_path / "*.wav"))


def test_embed_takes_a_directory(bindplug, model_directory, folder, tmp_path):
    arguments = ["embed", folder, "--modality", "image", "--model", model_directory]
    ran = bindplug(*arguments, "-o", tmp_path / "all.npz")
    assert ran.code == 1
    assert "notes.txt" in ran.err
    ran = bindplug(*arguments, "-o", tmp_path / "all.npz", "--on-error", "skip")
    assert ran.code == 3
    assert len(read(tmp_path / "all.npz")[0]) == 3
    ran = bindplug(*arguments, "-o", tmp_path / "png.npz", "--include", "*.png", "--recursive")
    assert ran.code == 0
    assert len(read(tmp_path / "png.npz")[0]) == 3


def test_classify_and_compare_take_directories(bindplug, model_directory, folder):
    common = ["--include", "*.png", "--model", model_directory, "--json"]
    ran = bindplug("classify", folder, "--modality", "image", "--labels", "a,b", *common)
    assert [item["source"][-5:] for item in ran.json["files"]] == ["a.png", "b.png"]
    ran = bindplug("compare", "--image", folder, "--text", "a", *common)
    assert [item["modality"] for item in ran.json["items"]] == ["image", "image", "text"]


def test_labels_accumulate(bindplug, model_directory, folder, tmp_path):
    more = tmp_path / "labels.txt"
    more.write_text("# classes of weather\nrain\n\nsnow\n", encoding="utf-8-sig")
    ran = bindplug(
        "classify", folder / "a.png", "--modality", "image", "--labels", "a dog", "--labels", "a car,a bus",
        "--labels-file", more, "--model", model_directory, "--json",
    )  # fmt: skip
    assert ran.json["labels"] == ["a dog", "a car", "a bus", "rain", "snow"]


def test_a_single_class_warns(bindplug, model_directory, folder):
    arguments = [
        "classify",
        folder / "a.png",
        "--modality",
        "image",
        "--labels",
        "a dog",
        "--model",
        model_directory,
    ]
    ran = bindplug(*arguments)
    assert ran.code == 0
    assert "only class" in ran.err
    assert "only class" not in bindplug(*arguments, "--quiet").err


def test_lists_come_from_standard_input(bindplug, model_directory, folder, monkeypatch, tmp_path):
    lines = f"\ufeff# pictures\nimage\t{folder / 'a.png'}\ntext\ta dog\n"
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(lines.encode())))
    ran = bindplug("embed", "--from-list", "-", "-o", tmp_path / "out.npz", "--model", model_directory)
    assert ran.code == 0
    assert read(tmp_path / "out.npz")[0] == [str(folder / "a.png"), "a dog"]


def test_lines_are_numbered_as_in_the_file(tmp_path):
    path = tmp_path / "list.txt"
    path.write_bytes(b"\xef\xbb\xbfone\r\n# no item\r\n\r\ntwo")
    assert read_lines(str(path)) == [(1, "one"), (4, "two")]
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match=r"list\.txt"):
        read_lines(str(path))


def test_a_text_that_names_a_file_gets_a_hint(bindplug, model_directory, folder, files):
    ran = bindplug("compare", "--text", files["audio"], "--text", "b", "--model", model_directory)
    assert ran.code == 0
    assert "is the name of a file" in ran.err
    assert (
        "is the name"
        not in bindplug("compare", "--text", "a.b", "--text", "b", "--model", model_directory).err
    )


@pytest.mark.parametrize(
    "command",
    [
        ("compare", "--text", "a", "--image", "absent.png"),
        ("classify", "absent.png", "--modality", "image", "--labels", "a,b"),
        ("embed", "absent.png", "--modality", "image", "-o", "x.npz"),
        ("detect", "absent.png", "--text", "a"),
        ("generate", "--audio", "absent.png", "-o", "x.png"),
    ],
)
def test_a_missing_file_is_told_before_a_model_is_loaded(bindplug, command, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("bindplug.models.load", lambda *a, **k: pytest.fail("a model was loaded"))
    ran = bindplug(*command)
    assert ran.code == 1
    assert "absent.png" in ran.err
    assert "--on-error" not in ran.err or command[0] in ("embed", "classify")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("option", "named"),
    [
        ("depth.preset=foo", "metric"),
        ("depth.unit=furlong", "unit"),
        ("depth.unit=0", "unit"),
        ("depth.focal=-1", "focal"),
        ("audio.clips=0", "clips"),
        ("audio.channel=nine", "channel"),
        ("audio.channel=-9", "channel"),
        ("video.clips=0", "clips"),
        ("imu.clips=none", "clips"),
        ("imu.sample_rate=-5", "sample_rate"),
        ("imu.time_unit=fortnight", "time_unit"),
        ("thermal.range=hot", "range"),
    ],
)
def test_a_wrong_option_value_is_told_before_a_model_is_loaded(bindplug, files, option, named, monkeypatch):
    monkeypatch.setattr("bindplug.models.load", lambda *a, **k: pytest.fail("a model was loaded"))
    modality = option.partition(".")[0]
    source = files.get(modality, files["image"])
    ran = bindplug("compare", f"--{modality}", source, "--text", "a", "-O", option)
    assert ran.code == 1
    assert ran.err.count("\n") == 1
    assert named in ran.err


def test_an_output_that_is_one_of_the_inputs_is_refused(bindplug, model_directory, tmp_path):
    depth = tmp_path / "depth.npz"
    np.savez(depth, depth=np.ones((32, 32), np.float32))
    before = depth.read_bytes()
    ran = bindplug("embed", "--depth", depth, "-o", depth, "--overwrite", "--model", model_directory)
    assert ran.code == 1
    assert f"{depth}: one of the files to read; expected another file" in ran.err
    assert depth.read_bytes() == before


@pytest.mark.parametrize("command", ["embed", "classify"])
def test_a_dash_among_files_is_a_list_on_standard_input(
    bindplug, model_directory, files, tmp_path, monkeypatch, command
):
    lines = f"# pictures\n{files['image']}\n{files['other']}\n".encode()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(lines)))
    more = {"embed": ("-o", tmp_path / "out.npz"), "classify": ("--labels", "a,b")}[command]
    ran = bindplug(command, "-", "--modality", "image", *more, "--model", model_directory, "--json")
    assert ran.code == 0, ran.err
    if command == "embed":
        assert read(tmp_path / "out.npz")[0] == [str(files["image"]), str(files["other"])]
    else:
        assert [file["source"] for file in ran.json["files"]] == [str(files["image"]), str(files["other"])]
