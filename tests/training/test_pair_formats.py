"""Every format of pairs gives the same rows, and what is wrong in one is listed."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch

from bindplug.errors import InputError, WeightsNotFound
from bindplug.inputs import AudioPreprocess, ImagePreprocess, ImuPreprocess
from bindplug.training import PairItem, cut_windows, open_pairs
from bindplug.training.pair_samples import SampleReader, read_picture
from tests.training.pair_files import (
    NAMES,
    add_member,
    data_set,
    picture,
    picture_bytes,
    sound,
    sound_bytes,
    write_dataset,
    write_folder,
    write_shards,
    write_sound,
    write_table,
)

FORMATS = ("folder", ".csv", ".tsv", ".jsonl", ".parquet", "shards", "dataset", "media.parquet")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("pairs") / "files").parent


def written(home: Path, format: str) -> Path:
    files = home / "files"
    if format == "folder":
        return files
    if format.startswith("."):
        return write_table(files, format)
    if format == "shards":
        return write_shards(home / "shards")
    folder = home / "dataset"
    if not folder.exists():
        write_dataset(folder)
    if format == "dataset":
        return folder
    import datasets

    file = home / "media" / "part-0.parquet"
    file.parent.mkdir(exist_ok=True)
    datasets.load_from_disk(str(folder)).to_parquet(file)
    return file.parent


@pytest.mark.parametrize("format", FORMATS)
def test_every_format_gives_the_same_inputs(home, format, monkeypatch):
    monkeypatch.setenv("HF_DATASETS_CACHE", str(home / "cache"))
    pairs = open_pairs(written(home, format), "audio")
    assert len(pairs) == len(NAMES)
    assert pairs.problems == []
    reader, pictures = SampleReader("audio", AudioPreprocess()), ImagePreprocess()
    for seed, item in enumerate(pairs):
        expected = AudioPreprocess()(home / "files" / f"{NAMES[seed]}.wav")
        torch.testing.assert_close(reader.read(item, 3), expected)
        torch.testing.assert_close(read_picture(item, pictures), pictures(picture(seed)))
        assert item.label == ("" if format == "folder" else NAMES[seed])


def test_shards_are_named_by_braces_patterns_lists_and_files(home):
    folder = write_shards(home / "shards")
    (home / "list.txt").write_text("shards/shard-000.tar\nshards/shard-001.tar\n", encoding="utf-8")
    for source in (f"{folder}/shard-{{000..001}}.tar", f"{folder}/shard-*.tar", str(home / "list.txt")):
        assert len(open_pairs(source, "audio")) == 4
    assert len(open_pairs(folder / "shard-000.tar", "audio")) == 2


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


def test_rows_of_a_table_that_are_wrong_are_listed(tmp_path):
    write_folder(tmp_path)
    lines = [
        "image,audio,start,end",
        "bell.png,bell.wav,0,1",
        "gone.png,crow.wav,,",
        "crow.png,,,",
        "crow.png,http://example.org/a.wav,,",
        "drum.png,drum.wav,2,1",
        "drum.png,drum.wav,soon,",
        "frog.png,frog.wav,,,extra",
        "frog.png,frog.wav,0.5,nan",
    ]
    file = tmp_path / "pairs.csv"
    file.write_text("\n".join(lines), encoding="utf-8-sig")
    pairs = open_pairs(file, "audio")
    assert [(item.start_s, item.end_s) for item in pairs] == [(0.0, 1.0)]
    reasons = " | ".join(problem.reason for problem in pairs.problems)
    for part in (
        "no such file",
        "nothing in the column audio",
        "the address",
        "no stretch",
        "'soon'",
        "5 cells",
        "'nan'",
    ):
        assert part in reasons
    assert len(pairs.problems) == len(lines) - 2


def test_columns_of_other_names(tmp_path):
    write_folder(tmp_path)
    file = tmp_path / "pairs.csv"
    file.write_text("Photo,clip,group\nbell.png,bell.wav,x\ncrow.png,crow.wav,x\n", encoding="utf-8")
    with pytest.raises(InputError, match="--column image=NAME"):
        open_pairs(file, "audio")
    pairs = open_pairs(file, "audio", columns={"image": "Photo", "audio": "clip"})
    assert [item.group for item in pairs] == ["x", "x"]
    with pytest.raises(InputError, match="no column 'sound'"):
        open_pairs(file, "audio", columns={"image": "Photo", "audio": "sound"})
    with pytest.raises(InputError, match="columns: depth"):
        open_pairs(file, "audio", columns={"depth": "Photo"})


def test_damaged_tables_and_tars_are_refused_in_words(tmp_path):
    for name, content in (("a.csv", b"\xff\xfe\x00"), ("a.parquet", b"PAR1"), ("a.tar", b"no tar" * 200)):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match="a\\."):
            open_pairs(tmp_path / name, "audio")
    (tmp_path / "a.tar.gz").write_bytes(b"-")
    with pytest.raises(InputError, match="compressed"):
        open_pairs(tmp_path / "a.tar.gz", "audio")
    for address in ("pipe:touch /owned; cat x.tar", "https://example.org/x.tar"):
        with pytest.raises((InputError, WeightsNotFound)):
            open_pairs(address, "audio")


def test_members_of_tars_never_leave_them(tmp_path, monkeypatch):
    """Traversal, links, devices and pickles are read as bytes or not at all."""
    monkeypatch.chdir(tmp_path)
    secret = tmp_path / "secret.png"
    secret.write_bytes(picture_bytes(3))
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        add_member(archive, "../../x.png", picture_bytes(0))
        add_member(archive, "../../x.wav", sound_bytes(0))
        link = tarfile.TarInfo("y.png")
        link.type, link.linkname = tarfile.SYMTYPE, str(secret)
        archive.addfile(link)
        add_member(archive, "y.wav", sound_bytes(1))
        add_member(archive, "z.png", picture_bytes(2))
        add_member(archive, "z.wav", b"cos\nsystem\n(S'touch owned'\ntR.")
        add_member(archive, "z.pyd", b"cos\nsystem\n(S'touch owned'\ntR.")
    before = sorted(path.name for path in tmp_path.rglob("*"))
    pairs = open_pairs(tmp_path / "a.tar", "audio")
    assert [item.name.rpartition(":")[2] for item in pairs] == ["../../x", "z"]
    assert any("never followed" in problem.reason for problem in pairs.problems)
    reader = SampleReader("audio", AudioPreprocess())
    assert reader.read(pairs[0]).shape == (1, 1, 128, 204)
    with pytest.raises(InputError):
        reader.read(pairs[1])
    assert sorted(path.name for path in tmp_path.rglob("*")) == before


def test_a_tar_that_breaks_off_gives_what_was_whole(tmp_path):
    write_shards(tmp_path)
    whole = (tmp_path / "shard-000.tar").read_bytes()
    (tmp_path / "shard-000.tar").write_bytes(whole[: len(whole) // 2 + 700])
    pairs = open_pairs(tmp_path / "shard-000.tar", "audio")
    assert len(pairs) >= 1
    assert pairs.problems


def test_cells_of_a_data_set_name_no_files_outside(tmp_path):
    import pyarrow.parquet as parquet

    outside = tmp_path / "outside.png"
    outside.write_bytes(picture_bytes(0))
    images = [{"bytes": None, "path": str(outside)}, {"bytes": None, "path": "../outside.png"}]
    table = data_set(images, [{"bytes": sound_bytes(0), "path": "a.wav"}] * 2)
    folder = tmp_path / "set"
    folder.mkdir()
    parquet.write_table(table.data.table, folder / "a.parquet")
    for item in open_pairs(folder, "audio"):
        with pytest.raises(InputError, match="a file inside"):
            item.anchor.open()


def test_splits_of_a_data_set(tmp_path):
    import datasets

    table = datasets.load_from_disk(str(write_dataset(tmp_path / "one")))
    both = datasets.DatasetDict(first=table, second=table.select([0]))
    both.save_to_disk(str(tmp_path / "two"))
    with pytest.raises(InputError, match="--split"):
        open_pairs(tmp_path / "two", "audio")
    assert len(open_pairs(tmp_path / "two", "audio", split="second")) == 1


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


def test_a_video_is_both_sides_and_gives_the_frame_of_its_moment(tmp_path):
    av = pytest.importorskip("av")
    file = tmp_path / "clip.mp4"
    with av.open(str(file), "w") as container:
        video = container.add_stream("mpeg4", rate=10)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        track = container.add_stream("aac", rate=RATE, layout="mono")
        for number in range(60):  # two seconds of each color
            pixels = np.zeros((48, 64, 3), np.uint8)
            pixels[..., number // 20] = 250
            container.mux(video.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(video.encode())
        samples = (sound(1, 6) / 32768).astype(np.float32)[None]
        chunk = av.AudioFrame.from_ndarray(samples, format="fltp", layout="mono")
        chunk.sample_rate, chunk.pts = RATE, 0
        container.mux(track.encode(chunk))
        container.mux(track.encode())
    pairs = cut_windows(open_pairs(tmp_path, "audio"), "audio")
    assert len(pairs) >= 3
    assert "cut into windows of 2 s" in pairs.notes[0]
    for item, channel in zip(pairs, range(3), strict=False):
        frame = read_picture(item, ImagePreprocess())
        assert int(frame.mean((1, 2)).argmax()) == channel
        assert item.start_s <= item.moment_s <= item.end_s
    assert SampleReader("audio", AudioPreprocess()).read(pairs[1]).shape == (1, 1, 128, 204)


RATE = 16000


def test_json_lines_of_another_kind_are_listed(tmp_path):
    write_folder(tmp_path)
    lines = [
        json.dumps({"image": "bell.png", "audio": "bell.wav"}),
        "[1]",
        "{",
        "[" * 5000,
        json.dumps({"image": 3, "audio": "bell.wav"}),
    ]
    (tmp_path / "pairs.jsonl").write_text("\n".join(lines), encoding="utf-8")
    pairs = open_pairs(tmp_path / "pairs.jsonl", "audio")
    assert len(pairs) == 1
    assert len(pairs.problems) == 4


def test_arrays_of_a_sense_of_ones_own(tmp_path):
    for seed, name in enumerate(NAMES):
        (tmp_path / f"{name}.png").write_bytes(picture_bytes(seed))
        np.save(tmp_path / f"{name}.npy", np.arange(6.0) + seed)
    np.save(tmp_path / "drum.npy", np.array([1.0, np.nan]))
    np.save(tmp_path / "frog.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    pairs = open_pairs(tmp_path, "sonar")
    reader = SampleReader("sonar", None)
    assert reader.read(pairs[1]).tolist() == [[1, 2, 3, 4, 5, 6]]
    for place, text in ((2, "NaN"), (3, "pickled")):
        with pytest.raises(InputError, match=text):
            reader.read(pairs[place])


def test_items_are_plain_data():
    stream = io.BytesIO()
    import pickle

    from bindplug.training.pair_items import FileSource

    item = PairItem(FileSource("a"), FileSource("b"), name="n", group="g")
    pickle.dump(item, stream)
    assert pickle.loads(stream.getvalue()) == item


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


def test_rows_of_json_lines_may_have_fields_that_the_first_row_lacks(tmp_path):
    folder = write_folder(tmp_path)
    rows = [
        {"image": "bell.png", "audio": "bell.wav"},
        {"image": "crow.png", "audio": "crow.wav", "start": 0.5, "end": 1.5, "label": "a crow"},
        {"audio": "drum.wav"},
    ]
    (folder / "pairs.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    pairs = open_pairs(folder / "pairs.jsonl", "audio")
    assert [(item.start_s, item.end_s, item.label) for item in pairs] == [
        (None, None, ""),
        (0.5, 1.5, "a crow"),
    ]
    assert [problem.kind for problem in pairs.problems] == ["unpaired"]


@pytest.mark.parametrize(
    "cells",
    [
        {"start": [1]},
        {"start": True},
        {"end": {"s": 1}},
        {"start": 10**400},
        {"start": -3.0},
        {"image": "~nobody-of-this-name/a.png"},
        {"image": "x" * 5000},
    ],
)
def test_cells_of_any_kind_are_listed_and_end_no_run(tmp_path, cells):
    folder = write_folder(tmp_path)
    rows = [{"image": "bell.png", "audio": "bell.wav"}, {"image": "crow.png", "audio": "crow.wav", **cells}]
    (folder / "pairs.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    pairs = open_pairs(folder / "pairs.jsonl", "audio")
    assert [Path(item.anchor.name).name for item in pairs] == ["bell.png"]
    assert len(pairs.problems) == 1


def test_two_columns_for_one_role_are_refused(tmp_path):
    (tmp_path / "pairs.csv").write_text("Image,IMAGE,audio\na.png,b.png,a.wav\n", encoding="utf-8")
    with pytest.raises(InputError, match="Image and IMAGE"):
        open_pairs(tmp_path / "pairs.csv", "audio")


def test_times_of_a_data_set_are_checked_as_those_of_a_table(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as parquet

    media = {"image": [picture_bytes(0)] * 4, "audio": [sound_bytes(0)] * 4}
    times = {"start": ["0.5", "-3", "nan", "soon"], "end": ["1", None, None, None]}
    parquet.write_table(pa.table(media | times), tmp_path / "pairs.parquet")
    pairs = open_pairs(tmp_path / "pairs.parquet", "audio")
    assert [(item.start_s, item.end_s) for item in pairs] == [(0.5, 1.0)]
    assert len(pairs.problems) == 3


@pytest.mark.parametrize(
    ("sense", "endings", "picture", "sample"),
    [
        ("thermal", ("png", "jpg"), "jpg", "png"),
        ("thermal", ("jpg", "png"), "jpg", "png"),
        ("depth", ("png", "jpg"), "jpg", "png"),
        ("depth", ("map.png", "rgb.png"), "rgb.png", "map.png"),
        ("depth", ("png", "depth.png"), "png", "depth.png"),
        ("audio", ("thumb.jpg", "jpg", "wav"), "jpg", "wav"),
        ("audio", ("jpg", "mp4", "wav"), "mp4", "wav"),
        ("depth", ("a.png", "b.png"), None, None),
        ("audio", ("jpg", "mp3", "wav"), None, None),
        ("audio", ("jpg", "jpg", "wav"), None, None),
    ],
)
def test_members_of_shards_are_told_apart_in_any_order(tmp_path, sense, endings, picture, sample):
    with tarfile.open(tmp_path / "shard.tar", "w") as archive:
        for ending in (*(f"0.{ending}" for ending in endings), "1.jpg", "1.wav", "1.npy"):
            archive.addfile(tarfile.TarInfo(ending), io.BytesIO())
    pairs = open_pairs(str(tmp_path / "shard.tar"), sense)
    sides = [
        (item.anchor.member, item.sample.member) for item in pairs if item.anchor.member.startswith("0.")
    ]
    assert sides == ([] if picture is None else [(f"0.{picture}", f"0.{sample}")])
    assert len(pairs.problems) == (picture is None)


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
