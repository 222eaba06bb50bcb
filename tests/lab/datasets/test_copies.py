"""Copies of data sets as people have them: other downloaders' names, packed, unfinished, or of other tools."""

from __future__ import annotations

import shutil

import pytest

from bindplug.errors import InputError, InputNote
from bindplug_lab.datasets import MissingData
from bindplug_lab.datasets.folder import FileIndex
from bindplug_lab.tasks import load_task
from tests.lab.datasets.test_layouts import content
from tests.lab.miniature import make_imagenet, miniature_task, write_sound, write_text

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 12345\n"


@pytest.fixture
def copy(miniatures, tmp_path):
    """A copy of a miniature that may be changed."""
    return lambda name: shutil.copytree(miniatures(name), tmp_path / "copy")


def same(name, folder, miniatures):
    return content(miniature_task(name).items(folder)) == content(
        miniature_task(name).items(miniatures(name))
    )


# -- other layouts --------------------------------------------------------------------------------------------------


def test_esc50_of_kaggle(copy, miniatures):
    folder = copy("esc50")
    (folder / "meta" / "esc50.csv").rename(folder / "esc50.csv")
    (folder / "audio").rename(folder / "sounds")
    (folder / "audio").mkdir()
    (folder / "sounds").rename(folder / "audio" / "audio")
    for path in list((folder / "audio" / "audio").iterdir())[:3]:
        path.rename(path.with_suffix(".WAV"))
    assert same("esc50", folder, miniatures)


def test_imagenet_pictures_that_are_named_after_their_synset(tmp_path):
    expected = miniature_task("imagenet1k").items(make_imagenet(tmp_path / "a"))
    folder = make_imagenet(tmp_path / "b")
    for path in list((folder / "val").glob("*/*")):
        path.rename(folder / "val" / f"{path.stem}_{path.parent.name}.JPEG")
    for directory in list((folder / "val").glob("n*/")):
        directory.rmdir()
    items = miniature_task("imagenet1k").items(folder)
    assert sorted(items.labels) == sorted(expected.labels)
    (folder / "val" / "n01440764_9.JPEG").write_bytes(b"x")
    with pytest.raises(MissingData, match="labels of the pictures"):
        miniature_task("imagenet1k").items(folder)


def test_places_in_folders_of_their_class_and_in_capitals(copy, miniatures):
    folder = copy("places365")
    for number, path in enumerate(sorted((folder / "val_256").iterdir())):
        target = folder / "val_256" / "abc"[number] / path.with_suffix(".JPG").name
        target.parent.mkdir()
        path.rename(target)
    assert same("places365", folder, miniatures)


@pytest.mark.parametrize(
    ("name", "table", "header"),
    [
        ("audioset", "eval_segments.csv", "YTID,start_seconds,end_seconds,positive_labels"),
        ("vggsound", "vggsound.csv", "ytid,start seconds,label,train/test split"),
        ("vggsound", "vggsound.csv", "YTID,START,label,split"),
    ],
)
def test_a_first_line_may_name_the_columns(copy, miniatures, name, table, header):
    folder = copy(name)
    text = (folder / table).read_text()
    comments = [line for line in text.splitlines() if line.startswith("#")]
    rows = [line for line in text.splitlines() if not line.startswith("#")]
    for lines in ([header, *rows], [*comments, header, *rows]):
        write_text(folder / table, "\n".join(lines) + "\n")
        assert same(name, folder, miniatures)
    write_text(folder / table, "\n".join([header, header, *rows]) + "\n")
    with pytest.raises(InputError, match=r"start = |split = "):
        miniature_task(name).items(folder)


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("audiocaps", "dataset/test.csv", "csv_files_v1/test.csv"),
        ("clotho", "clotho_captions_evaluation.csv", "csv/clotho_captions_evaluation.csv"),
        ("clotho", "evaluation/Santa Motor.wav", "evaluation/Santa Motor.MP3"),
        ("kinetics400", "val/0wR5jVB-WPk_000417_000427.mp4", "val/0wR5jVB-WPk_000417_000427.mp4.webm"),
        ("kinetics400", "val/0wR5jVB-WPk_000417_000427.mp4", "val/0wR5jVB-WPk_000417_000427.MKV"),
        ("vggsound", "audio/---g-f_I2yQ_000001.wav", "audio/---g-f_I2yQ_000001.mp4.opus"),
        ("msrvtt", "videos/all/video9770.mp4", "videos/all/video9770.TS"),
    ],
    ids=lambda value: str(value).rpartition("/")[2],
)
def test_files_of_other_tools(copy, miniatures, name, old, new):
    folder = copy(name)
    (folder / new).parent.mkdir(exist_ok=True)
    (folder / old).rename(folder / new)
    assert same(name, folder, miniatures)


def test_msrvtt_annotations_of_kaggle(copy):
    folder = copy("msrvtt")
    (folder / "test_annotation").mkdir()
    (folder / "MSRVTT_data.json").rename(folder / "test_annotation" / "test_videodatainfo.json")
    assert len(load_task("msrvtt").with_options(split="test").items(folder).right_ids) == 3


def test_a_whole_file_goes_before_an_empty_one_of_a_likelier_format(tmp_path):
    (tmp_path / "a.wav").write_bytes(b"")
    write_text(tmp_path / "b.wav", POINTER)
    for name in ("a", "b"):
        write_sound(tmp_path / f"{name}.flac")
    index = FileIndex(tmp_path, (".wav", ".flac"))
    assert [index.get(name).name for name in ("a", "b")] == ["a.flac", "b.flac"]


# -- incomplete, and told why ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("evaluation.7z", r"Unpack evaluation\.7z\."),
        ("part_0.tar.gz", r"Unpack part_0\.tar\.gz\."),
        (
            "data/test-00000-of-00002.parquet",
            r"test-00000-of-00002\.parquet cannot be read here: write its items",
        ),
        ("rain.wav.part", r"Finish the download of rain\.wav\.part\."),
        ("a.zip.crdownload", r"Finish the download of a\.zip\.crdownload\."),
    ],
    ids=lambda value: value.rpartition("/")[2],
)
@pytest.mark.parametrize("lack", ["annotations", "sounds"])
def test_what_is_packed_or_unfinished_is_named(copy, file, message, lack):
    folder = copy("clotho")
    if lack == "annotations":
        (folder / "clotho_captions_evaluation.csv").unlink()
    else:
        (folder / "evaluation" / "Santa Motor.wav").unlink()
    write_text(folder / file, "...")
    with pytest.raises(MissingData, match=message) as error:
        miniature_task("clotho").items(folder)
    assert "zenodo.org" in str(error.value)


def test_several_archives_are_counted(copy):
    folder = copy("vggsound")
    shutil.rmtree(folder / "audio")
    for number in range(3):
        write_text(folder / f"vggsound_0{number}.tar.gz", "...")
    with pytest.raises(MissingData, match=r"Unpack vggsound_00\.tar\.gz and 2 more\."):
        miniature_task("vggsound").items(folder)


def test_pointers_of_git_lfs_are_no_files(copy):
    folder = copy("esc50")
    sound = next((folder / "audio").iterdir())
    write_text(sound, POINTER)
    with pytest.raises(MissingData, match=r"1 of 100 sounds missing or empty.*git lfs pull"):
        miniature_task("esc50").items(folder)
    assert miniature_task("esc50").items(folder, allow_missing=True).missing_count == 1
    write_text(folder / "meta" / "esc50.csv", POINTER)
    with pytest.raises(InputError, match=r"esc50\.csv: a pointer of Git LFS.*git lfs pull"):
        miniature_task("esc50").items(folder)


@pytest.mark.parametrize("mark", [";", "\t"])
def test_tables_with_other_separators_say_so(copy, mark):
    folder = copy("esc50")
    table = folder / "meta" / "esc50.csv"
    table.write_text(table.read_text().replace(",", mark))
    with pytest.raises(InputError, match=r"no column 'filename'.*parted by .*save it with ','"):
        miniature_task("esc50").items(folder)


def test_recordings_that_end_before_their_video_are_told_of(copy):
    folder = copy("ego4d")
    text = (folder / "ego4d.json").read_text()
    (folder / "ego4d.json").write_text(text.replace('"duration_sec": 8.0', '"duration_sec": 600.0'))
    with pytest.warns(
        InputNote, match=r"1 recordings are shorter than their videos, as bbbb-2 \(7 of 600 s\)"
    ):
        miniature_task("ego4d").items(folder)
