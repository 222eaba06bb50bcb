"""Pairs of webdataset shards."""

from __future__ import annotations

import io
import tarfile

import pytest
import torch

from bindplug.errors import InputError
from bindplug.inputs import AudioPreprocess, ImagePreprocess
from bindplug.training import open_pairs
from bindplug.training.pair_samples import SampleReader, read_picture
from bindplug.training.pair_sources import ShardMember
from tests.training.pair_files import (
    add_member,
    picture,
    picture_bytes,
    sound_bytes,
    write_shards,
)


def test_shards_are_named_by_braces_patterns_lists_and_files(tmp_path):
    folder = write_shards(tmp_path / "shards")
    (tmp_path / "list.txt").write_text("shards/shard-000.tar\nshards/shard-001.tar\n", encoding="utf-8")
    for source in (f"{folder}/shard-{{000..001}}.tar", f"{folder}/shard-*.tar", str(tmp_path / "list.txt")):
        assert len(open_pairs(source, "audio")) == 4
    assert len(open_pairs(folder / "shard-000.tar", "audio")) == 2


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


def test_members_of_one_name_need_not_lie_side_by_side(tmp_path):
    """As ``tar`` writes a folder; two of one ending are a doubt, wherever they lie."""
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        for name in ("b.png", "a.png", "c.png", "a.wav", "c.wav", "b.wav", "c.png"):
            seed = "abc".index(name[0])
            add_member(archive, name, picture_bytes(seed) if name.endswith("png") else sound_bytes(seed))
    pairs = open_pairs(tmp_path / "a.tar", "audio")
    members = [(item.anchor.member, item.sample.member) for item in pairs]
    assert members == [("b.png", "b.wav"), ("a.png", "a.wav")]
    assert [problem.reason for problem in pairs.problems] == ["two members png of one name"]
    torch.testing.assert_close(read_picture(pairs[1], ImagePreprocess()), ImagePreprocess()(picture(0)))


def test_of_a_huge_member_only_what_is_asked_for_is_read(tmp_path):
    size = 1 << 40  # a file with a hole takes no room
    with (tmp_path / "a.tar").open("wb") as file:
        file.seek(512)
        file.write(sound_bytes(0))
        file.truncate(512 + size)
    member = ShardMember(str(tmp_path / "a.tar"), "a.wav", 512, size)
    with member.open() as part:
        assert part.read(4) == b"RIFF"
        assert part.seek(-10, 2) == size - 10
        assert part.read() == bytes(10)
        assert (part.tell(), part.name) == (size, "a.wav")
    with pytest.raises(InputError, match="not cut off"):
        ShardMember(str(tmp_path / "a.tar"), "a.wav", 1024, size).open()
    reader = SampleReader("audio", AudioPreprocess())
    write_shards(tmp_path / "shards")
    item = open_pairs(tmp_path / "shards", "audio")[0]
    torch.testing.assert_close(reader.read(item, 3), AudioPreprocess()(sound_bytes(0)))


def test_a_folder_with_compressed_shards_is_refused(tmp_path):
    folder = write_shards(tmp_path)
    (folder / "shard-002.tar.gz").write_bytes(b"-")
    with pytest.raises(InputError, match=r"shard-002.*Unpack the compression"):
        open_pairs(folder, "audio")
