"""Pairs of a folder by the names of its files."""

from __future__ import annotations

from pathlib import Path

import pytest

from bindplug.errors import InputError, WeightsNotFound
from bindplug.training import open_pairs
from tests.training.pair_files import (
    NAMES,
    picture_bytes,
    sound_bytes,
    write_folder,
)


def test_folders_pair_by_subfolder_by_ending_and_by_scene(tmp_path):
    for seed in range(2):
        for part in ("images", "audio", f"scene{seed}"):
            (tmp_path / part).mkdir(exist_ok=True)
        (tmp_path / "images" / f"a{seed}.png").write_bytes(picture_bytes(seed))
        (tmp_path / "audio" / f"a{seed}.wav").write_bytes(sound_bytes(seed))
        (tmp_path / f"b{seed}_rgb.png").write_bytes(picture_bytes(seed))
        (tmp_path / f"b{seed}_sound.wav").write_bytes(sound_bytes(seed))
        (tmp_path / f"scene{seed}" / "image.png").write_bytes(picture_bytes(seed))
        (tmp_path / f"scene{seed}" / "audio.wav").write_bytes(sound_bytes(seed))
    (tmp_path / ".hidden.wav").write_bytes(b"")
    pairs = open_pairs(tmp_path, "audio")
    assert [item.name for item in pairs] == ["a0", "a1", "b0", "b1", "scene0", "scene1"]
    assert pairs.problems == []


@pytest.mark.parametrize(
    ("sense", "anchor", "sample"),
    [
        ("audio", "video.mp4", "audio.wav"),
        ("imu", "video.mp4", "imu.csv"),
        ("depth", "image.png", "depth.png"),
        ("thermal", "image.png", "thermal.tiff"),
    ],
)
def test_a_folder_of_every_sense_pairs_each(tmp_path, sense, anchor, sample):
    folder = tmp_path / "scene"
    folder.mkdir()
    for name in (
        "image.png",
        "video.mp4",
        "audio.wav",
        "depth.png",
        "thermal.tiff",
        "imu.csv",
        "caption.txt",
    ):
        (folder / name).write_bytes(b"-")
    pairs = open_pairs(tmp_path, sense)
    assert [(item.anchor.name, item.sample.name) for item in pairs] == [
        (str(folder / anchor), str(folder / sample))
    ]
    assert pairs.problems == []


@pytest.mark.parametrize(
    ("names", "photo", "map_name"),
    [
        (("r.jpg", "r.png"), "r.jpg", "r.png"),
        (("r_rgb.png", "r_depth.png"), "r_rgb.png", "r_depth.png"),
        (("r.png", "r.npy"), "r.png", "r.npy"),
        (("rgb/r.png", "depth/r.png"), "rgb/r.png", "depth/r.png"),
        (("r.png", "r.tiff"), "r.png", "r.tiff"),
    ],
)
def test_pictures_and_depth_maps_are_told_apart(tmp_path, names, photo, map_name):
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"-")
    (item,) = open_pairs(tmp_path, "depth")
    assert (item.anchor.name, item.sample.name) == (str(tmp_path / photo), str(tmp_path / map_name))


def test_what_does_not_pair_is_listed_with_its_reason(tmp_path):
    write_folder(tmp_path, NAMES[:2])
    (tmp_path / "lone.png").write_bytes(picture_bytes(5))
    (tmp_path / "mute.wav").write_bytes(sound_bytes(5))
    (tmp_path / "bell.jpg").write_bytes(picture_bytes(6))
    pairs = open_pairs(tmp_path, "audio")
    assert [item.name for item in pairs] == ["crow"]
    reasons = {Path(problem.source).name: problem.reason for problem in pairs.problems}
    assert "several pictures of one name" in reasons["bell.jpg"]
    assert "no audio file" in reasons["lone.png"]
    assert "no picture or video" in reasons["mute.wav"]
    assert {problem.kind for problem in pairs.problems} == {"unpaired"}


def test_nothing_to_pair_is_an_error_that_names_the_sense_that_would(tmp_path):
    write_folder(tmp_path)
    with pytest.raises(InputError, match=r"no pair of a picture and depth.*--sense audio"):
        open_pairs(tmp_path, "depth")
    with pytest.raises(WeightsNotFound, match="no pairs at"):
        open_pairs(tmp_path / "absent", "audio")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no pair"):
        open_pairs(tmp_path / "empty", "audio")
    for sense in ("image", "text", "so nar", "a/b"):
        with pytest.raises(InputError, match="sense"):
            open_pairs(tmp_path, sense)
