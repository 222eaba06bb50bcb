"""Files taken out of an index: by path, sentence, kind and metadata, or because they are gone."""

import os
import shutil
from pathlib import Path

import pytest

from bindplug import audio, image, text
from bindplug.errors import InputError, OptionError
from bindplug_search import open_index
from tests.search.content import write_files, write_sound


@pytest.fixture
def library(tmp_path, index):
    """A folder of five pictures, two of them below, that is in the index with a sound in windows and two sentences."""
    folder = tmp_path / "library"
    write_files(folder, 3)
    write_files(folder / "holiday", 2, start=10)
    index.add_folder(folder, {"image": "*.png"}, metadata={"place": "home"})
    index.add(audio(write_sound(tmp_path / "bark.wav", 5.0)), windows=2.0)
    index.add([text("a dog"), text("a cat")], metadata={"year": 2024})
    return folder


def names_in(index):
    return sorted({row.path.rpartition("/")[2] for _, rows in index.store.batches() for row in rows})


EVERY = ["00000.png", "00001.png", "00002.png", "00010.png", "00011.png", "a cat", "a dog", "bark.wav"]


@pytest.mark.parametrize(
    ("selection", "expected"),
    [
        ({"paths": "library/00001.png"}, ["00001.png"]),
        ({"paths": ["library/holiday"]}, ["00010.png", "00011.png"]),
        ({"paths": ["library/holiday/", "bark.wav"]}, ["00010.png", "00011.png", "bark.wav"]),
        ({"paths": "*1.png"}, ["00001.png", "00011.png"]),
        ({"paths": "library/*/*1.png"}, ["00011.png"]),
        ({"texts": "a dog"}, ["a dog"]),
        ({"texts": ["a dog"], "paths": "*0.png"}, ["00000.png", "00010.png", "a dog"]),
        ({"kind": ["text", "audio"]}, ["a cat", "a dog", "bark.wav"]),
        ({"paths": ".", "kind": "audio"}, ["bark.wav"]),
        ({"where": {"year": 2024}}, ["a cat", "a dog"]),
        ({"where": "place=home", "paths": "library/holiday"}, ["00010.png", "00011.png"]),
        ({"where": "place=elsewhere"}, []),
        ({"missing": True}, []),
    ],
)
def test_what_is_selected_goes_and_the_rest_stays(index, library, tmp_path, monkeypatch, selection, expected):
    monkeypatch.chdir(tmp_path)
    plan = index.remove(**selection, dry_run=True)
    assert names_in(index) == EVERY
    report = index.remove(**selection)
    assert [Path(file["path"]).name for file in report.removed] == sorted(
        expected, key=lambda name: next(file["path"] for file in plan.removed if file["path"].endswith(name))
    )
    assert (plan.removed, plan.rows, plan.dry_run) == (report.removed, report.rows, True)
    assert names_in(index) == [name for name in EVERY if name not in expected]
    assert report.rows == sum(3 if name == "bark.wav" else 1 for name in expected)  # all its windows


@pytest.mark.parametrize(
    ("selection", "message"),
    [
        ({"paths": ["library/00001.png", "library/never.png"]}, "no file of the index there.*--dry-run"),
        ({"paths": "*.jpg"}, "no file of the index there"),
        ({"paths": "a dog"}, "no file of the index there"),  # a sentence is no path
        ({"texts": ["a dog", "a horse"]}, "no such sentence"),
        ({"where": "color=red"}, "no row with that metadata"),
        ({"where": "year=old"}, "expected numbers"),
    ],
)
def test_nothing_goes_where_something_is_wrong(index, library, tmp_path, monkeypatch, selection, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=message):
        index.remove(**selection)
    assert names_in(index) == EVERY


def test_metadata_that_no_row_has_any_longer_is_gone(index, library):
    assert index.info().details["metadata"] == ["place", "year"]
    index.remove(kind="text")
    assert index.info().details["metadata"] == ["place"]


def test_something_has_to_be_said(index, library):
    with pytest.raises(OptionError, match="needs to know what"):
        index.remove()


def test_updates_leave_out_what_was_removed_until_it_is_added_again(index, library, encoder):
    report = index.remove([library / "00001.png", library / "holiday"])
    assert (report.left_out, report.folders) == (3, [])
    index = open_index(index.store.path, model=encoder)
    (library / "00001.png").write_bytes(b"other content")
    assert index.update().added == 0
    write_files(library, 1, start=5)
    assert index.update().added == 1
    assert index.add(image(library / "00001.png")).added == 1
    index.remove(library / "00001.png")
    assert index.update().added == 0
    assert index.add_folder(library, {"image": "*.png"}).added == 3  # the whole folder again
    assert index.update().added == 0
    assert [name for name in EVERY if name not in names_in(index)] == []


def test_a_folder_that_is_given_whole_is_forgotten(index, library, tmp_path):
    index.add_folder(tmp_path, {"audio": "*.wav"})
    assert index.remove(library, kind="image", dry_run=True).folders == []
    report = index.remove(library)
    assert (report.folders, report.left_out, len(report.removed)) == ([str(library)], 0, 5)
    assert index.info().details["folders"] == [str(tmp_path)]
    write_files(library, 1, start=7)
    assert index.update().added == 0
    with pytest.raises(InputError, match="no file of the index there"):
        index.remove(library)


def test_a_folder_without_rows_is_forgotten_too(index, library):
    index.remove("*.png")
    assert index.info().details["folders"] == [str(library)]
    report = index.remove(library)
    assert (report.removed, report.folders, index.info().details["folders"]) == ([], [str(library)], [])


def test_files_that_are_gone_are_removed_but_not_those_of_a_disk_that_may_be_away(index, library, tmp_path):
    (library / "00000.png").unlink()
    assert [file["path"] for file in index.remove(missing=True).removed] == [str(library / "00000.png")]
    (library / "00000.png").write_bytes(b"back")
    assert index.update().added == 1  # not left out: it was not removed on purpose
    away = tmp_path / "away"
    shutil.move(library, away)
    report = index.remove(missing=True)
    assert (report.removed, len(report.absent), len(names_in(index))) == ([], 5, 8)
    assert len(index.remove(library, missing=True).removed) == 5


def test_a_directory_that_cannot_be_looked_into_is_not_gone(index, library, monkeypatch):
    stat = os.lstat

    def refuse(path, *arguments, **options):
        if "holiday/" in str(path):
            raise PermissionError(13, "Permission denied", path)
        return stat(path, *arguments, **options)

    monkeypatch.setattr(os, "lstat", refuse)
    assert index.remove(missing=True).removed == []
    assert index.update().removed == 0


def test_a_literal_name_goes_before_a_pattern(index, tmp_path):
    (tmp_path / "a[1].png").write_bytes(b"one")
    (tmp_path / "a1.png").write_bytes(b"two")
    index.add([image(tmp_path / "a[1].png"), image(tmp_path / "a1.png")])
    report = index.remove(tmp_path / "a[1].png")
    assert [file["path"] for file in report.removed] == [str(tmp_path / "a[1].png")]


def test_a_kill_between_two_commits_is_mended_by_the_same_command(index, library, encoder, monkeypatch):
    delete = index.store.delete_files

    def delete_once(digests):
        delete(digests[:1])
        raise KeyboardInterrupt

    monkeypatch.setattr(index.store, "delete_files", delete_once)
    with pytest.raises(KeyboardInterrupt):
        index.remove(library / "holiday")
    index = open_index(index.store.path, model=encoder)
    assert len(names_in(index)) == 7
    assert index.update().added == 0  # the one that went does not come back
    assert len(index.remove(library / "holiday").removed) == 1
    assert index.update().added == 0


def test_metadata_of_a_table_is_forgotten_with_the_file(index, library, tmp_path):
    table = tmp_path / "meta.csv"
    table.write_text("path,seen\nlibrary/00000.png,true\n")
    index.add_folder(library, {"image": "*.png"}, metadata_file=table)
    index.remove(library / "00000.png")
    index.add(image(library / "00000.png"))
    index.update()
    assert [match.path for match in index.search(text("x"), where={"seen": True})] == [
        str(library / "00000.png")
    ]


def test_a_damaged_list_of_files_left_out_is_told(index, library):
    index.remove(library / "00000.png")
    (index.store.path / "left_out.json").write_text("{")
    with pytest.raises(InputError, match=r"left_out\.json.*Delete it"):
        index.update()


def test_the_command_lists_what_goes(bindplug, index, library, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    ran = bindplug("index", "remove", "library.lance", "--path", "*0.png", "--dry-run")
    assert ran.out.splitlines() == ["image\tlibrary/00000.png", "image\tlibrary/holiday/00010.png"]
    assert "2 files would be removed (2 rows)" in ran.err
    ran = bindplug("index", "remove", "library.lance", "--path", "*0.png", "--text", "a dog", "--json")
    assert [Path(file["path"]).name for file in ran.json["removed"]] == ["00000.png", "00010.png", "a dog"]
    assert (ran.json["rows"], ran.json["left_out"], ran.json["dry_run"]) == (3, 2, False)
    ran = bindplug("index", "remove", "library.lance", "--path", "library")
    assert "updates no longer look in" in ran.err.replace("\n", " ")
    assert bindplug("index", "remove", "library.lance", "--missing").err.count("nothing to remove") == 1
    ran = bindplug("index", "remove", "library.lance")
    assert (ran.code, "--path, --text, --kind" in ran.err) == (2, True)
    ran = bindplug("index", "remove", "library.lance", "--path", "never.png")
    assert (ran.code, "no file of the index there" in ran.err) == (1, True)
