"""Recordings and videos cut into windows, and pairs that are held out together."""

from __future__ import annotations

import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch

from bindplug.errors import InputError
from bindplug.inputs import AudioPreprocess, ImagePreprocess, ImuPreprocess
from bindplug.training import cut_windows, open_pairs
from bindplug.training.pair_samples import SampleReader, read_picture
from tests.training.pair_files import (
    NAMES,
    picture_bytes,
    sound,
    write_folder,
    write_sound,
    write_video,
)


def test_a_long_sound_is_cut_into_windows_that_stay_together(tmp_path):
    write_folder(tmp_path, NAMES[:3])
    write_sound(tmp_path / "bell.wav", sound(0, 7))
    pairs = cut_windows(open_pairs(tmp_path, "audio"), "audio", seconds=2, hop=2.5)
    spans = [(item.start_s, item.end_s) for item in pairs if item.group == "bell"]
    assert spans == [(0, 2), (2.5, 4.5), (5, 7)]
    for seed in range(6):
        train, held = pairs.split(0.34, seed=seed)
        assert {item.group for item in train}.isdisjoint(item.group for item in held)
        assert len(train) + len(held) == len(pairs)
        assert held
    reader = SampleReader("audio", AudioPreprocess())
    bell = [item for item in pairs if item.group == "bell"]
    expected = AudioPreprocess()(tmp_path / "bell.wav", start=2.5, end=4.5, clips=1)
    torch.testing.assert_close(reader.read(bell[1]), expected)
    with pytest.raises(InputError, match="no length in time"):
        cut_windows(pairs, "depth", seconds=2)


def test_pairs_that_share_a_picture_or_a_sound_are_held_out_together(tmp_path):
    write_folder(tmp_path)
    rows = ["image,audio", "bell.png,bell.wav", "bell.png,crow.wav", "drum.png,crow.wav", "frog.png,frog.wav"]
    (tmp_path / "pairs.csv").write_text("\n".join(rows), encoding="utf-8")
    pairs = open_pairs(tmp_path / "pairs.csv", "audio")
    for seed in range(8):
        sizes = sorted(map(len, pairs.split(0.5, seed=seed)))
        assert sizes == [1, 3]
    one = pairs.with_items(list(pairs)[:2])
    with pytest.raises(InputError, match="--validation 0"):
        one.split(0.5)
    assert len(one.split(0)[0]) == 2


SPANS = [(0, 2), (2, 4), (4, 6)]


@pytest.mark.parametrize("ending", ["mp4", "mkv", "mov"])
@pytest.mark.parametrize("fps", [10, 0], ids=["even", "varying"])
def test_a_video_is_both_sides_and_gives_the_frame_of_its_moment(tmp_path, ending, fps):
    pytest.importorskip("av")
    write_video(tmp_path / f"clip.{ending}", fps=fps)
    pairs = cut_windows(open_pairs(tmp_path, "audio"), "audio")
    assert "cut into windows of 2 s" in pairs.notes[0]
    # an encoder's padding of 16 ms makes no window of its own
    assert [(item.start_s, item.end_s) for item in pairs] == SPANS
    for channel, item in enumerate(pairs):
        assert int(read_picture(item, ImagePreprocess()).mean((1, 2)).argmax()) == channel
        assert item.moment_s == 2 * channel + 1
    assert SampleReader("audio", AudioPreprocess()).read(pairs[1]).shape == (1, 1, 128, 204)


def test_the_tracks_of_a_video_share_one_clock(tmp_path):
    """A sound track that starts two seconds late is paired with the pictures from then on."""
    pytest.importorskip("av")
    write_video(tmp_path / "late.mkv", sound_s=4, sound_at_s=2)
    pairs = cut_windows(open_pairs(tmp_path, "audio"), "audio")
    assert [(item.start_s, item.end_s) for item in pairs] == SPANS[:2]
    channels = [int(read_picture(item, ImagePreprocess()).mean((1, 2)).argmax()) for item in pairs]
    assert channels == [1, 2]


def test_videos_are_cut_where_both_tracks_are(tmp_path):
    pytest.importorskip("av")
    write_video(tmp_path / "long.mp4", sound_s=10)
    write_video(tmp_path / "mute.mp4", sound_s=0)
    write_video(tmp_path / "apart.mkv", seconds=2, sound_s=2, sound_at_s=3)
    (tmp_path / "cut.mp4").write_bytes((tmp_path / "long.mp4").read_bytes()[:3000])
    pairs = cut_windows(open_pairs(tmp_path, "audio"), "audio")
    assert [(item.start_s, item.end_s) for item in pairs] == SPANS
    reasons = {Path(problem.source).name: problem.reason for problem in pairs.problems}
    assert "without a sound track" in reasons["mute.mp4"]
    assert "sound and pictures are of one time" in reasons["apart.mkv"]
    assert "breaks off" in reasons["cut.mp4"]
    assert len(reasons) == 3


def test_videos_of_tables_and_shards_are_cut_alike(tmp_path):
    pytest.importorskip("av")
    write_video(tmp_path / "a.mp4")
    (tmp_path / "pairs.csv").write_text("video,start,end\na.mp4,2,6\n", encoding="utf-8")
    with tarfile.open(tmp_path / "pairs.tar", "w") as archive:
        archive.add(tmp_path / "a.mp4", "0.mp4")
    for name, spans in (("pairs.csv", SPANS[1:]), ("pairs.tar", SPANS)):
        pairs = cut_windows(open_pairs(tmp_path / name, "audio"), "audio")
        assert [(item.start_s, item.end_s) for item in pairs] == spans
        frame = read_picture(pairs[-1], ImagePreprocess())
        assert int(frame.mean((1, 2)).argmax()) == 2
        assert SampleReader("audio", AudioPreprocess()).read(pairs[-1]).shape == (1, 1, 128, 204)


def test_motion_logs_of_different_rates_become_inputs_of_one_shape(tmp_path):
    for name, rate in (("bell", 100), ("crow", 210)):
        times = np.arange(6 * rate) / rate
        columns = [times, *(np.sin(times * (axis + 1)) for axis in range(6))]
        header = "time_s,acc_x,acc_y,acc_z,gyro_x,gyro_y,gyro_z"
        np.savetxt(
            tmp_path / f"{name}.csv", np.column_stack(columns), delimiter=",", header=header, comments=""
        )
        (tmp_path / f"{name}.png").write_bytes(picture_bytes(len(name)))
    reader = SampleReader("imu", ImuPreprocess())
    first, second = (reader.read(item) for item in open_pairs(tmp_path, "imu"))
    assert first.shape == second.shape == (1, 6, 2000)
    torch.testing.assert_close(first[..., 50:-50], second[..., 50:-50], atol=0.01, rtol=0)


@pytest.mark.parametrize("kind", ["folder", "shards"])
def test_copies_of_one_picture_or_sound_are_held_out_together(tmp_path, kind):
    names = tuple(f"n{index}" for index in range(8))
    folder = write_folder(tmp_path / "pairs", names)
    for copy, original in (("n1", "n0"), ("n2", "n0")):
        (folder / f"{copy}.png").write_bytes((folder / f"{original}.png").read_bytes())
    (folder / "n4.wav").write_bytes((folder / "n3.wav").read_bytes())
    (folder / "n5.png").unlink()
    (folder / "n5.png").symlink_to(folder / "n4.png")
    source = str(folder)
    if kind == "shards":
        source = str(tmp_path / "pairs.tar")
        with tarfile.open(source, "w", dereference=True) as archive:
            for file in sorted(folder.iterdir()):
                archive.add(file, file.name)
    pairs = open_pairs(source, "audio")
    sides = []
    for seed in range(8):
        _, held_out = pairs.split(0.4, seed=seed)
        held = {Path(item.sample.name.rpartition(":")[2]).stem for item in held_out}
        assert held & {"n0", "n1", "n2"} in (set(), {"n0", "n1", "n2"})
        assert held & {"n3", "n4", "n5"} in (set(), {"n3", "n4", "n5"})
        sides.append(frozenset(held))
    assert len(set(sides)) > 1
