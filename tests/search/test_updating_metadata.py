"""What changes in a metadata table arrives in the rows with the next update, and nothing is embedded for it."""

import json

import pytest

from bindplug import audio, image, text
from bindplug.errors import InputError
from bindplug_search import open_index
from tests.search.content import UNREADABLE, write_files, write_sound


@pytest.fixture
def library(tmp_path):
    write_files(tmp_path / "library", 4)
    return tmp_path / "library"


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "meta.csv"
    path.write_text("path,place,year\nlibrary/00000.png,garden,2020\nlibrary/00001.png,street,2021\n")
    return path


def metadata_of(index):
    """For the name of each file, or each sentence, its metadata."""
    return {
        row.path.rpartition("/")[2]: dict(row.metadata) for _, rows in index.store.batches() for row in rows
    }


def forbid_embedding(index, monkeypatch):
    monkeypatch.setattr(index, "_load", lambda _: pytest.fail("the model is loaded"))
    index._model = None


def test_changed_new_and_removed_columns_arrive_without_embedding(index, library, table, monkeypatch):
    index.add_folder(library, {"image": "*.png"}, metadata_file=table)
    forbid_embedding(index, monkeypatch)
    table.write_text("path,place,owner\nlibrary/00000.png,meadow,me\nlibrary/00002.png,beach,you\n")
    report = index.update()
    assert (report.unchanged, report.metadata_changed, report.rows) == (4, 3, 3)
    assert metadata_of(index) == {
        "00000.png": {"place": "meadow", "owner": "me"},
        "00001.png": {},  # its row is gone
        "00002.png": {"place": "beach", "owner": "you"},
        "00003.png": {},
    }
    assert index.info().details["metadata"] == ["place", "owner"]  # the column year is gone
    quiet = index.update()
    assert (quiet.metadata_changed, quiet.rows) == (0, 0)


def test_a_column_comes_back_with_values_of_another_type(index, library, table):
    index.add_folder(library, {"image": "*.png"}, metadata_file=table)
    table.write_text("path,year\nlibrary/00000.png,unknown\n")
    with pytest.raises(InputError, match="expected numbers, as in the other rows"):
        index.update()
    table.write_text("path\nlibrary/00000.png\n")
    index.update()
    table.write_text("path,year\nlibrary/00000.png,unknown\n")
    index.update()
    assert metadata_of(index)["00000.png"] == {"year": "unknown"}


def test_what_was_set_otherwise_stays_unless_the_table_changes_it(index, library, table):
    index.add_folder(library, {"image": "*.png"}, metadata={"year": 1999}, metadata_file=table)
    index.add(image(library / "00000.png"), metadata={"place": "attic"})
    index.add(image(library / "00001.png"), metadata={"place": "attic"})
    table.write_text("path,place,year\nlibrary/00000.png,garden,\nlibrary/00001.png,harbor,2021\n")
    index.update()
    values = metadata_of(index)
    assert values["00000.png"] == {"place": "attic", "year": 1999.0}  # an empty cell: the value for all files
    assert values["00001.png"] == {"place": "harbor", "year": 2021.0}


def test_files_added_one_by_one_keep_to_their_table(index, library, table, tmp_path, monkeypatch):
    write_sound(tmp_path / "bark.wav", 5.0)
    table.write_text("path,place\nlibrary/00000.png,garden\na dog,kennel\n")
    sources = [image(library / "00000.png"), text("a dog"), audio(tmp_path / "bark.wav")]
    report = index.add(sources, metadata_file=table, windows=2.0)
    assert report.unjoined == []
    index.add(image(library / "00003.png"))  # not with the table
    forbid_embedding(index, monkeypatch)
    table.write_text("path,place\nlibrary/00000.png,meadow\nbark.wav,yard\nlibrary/00003.png,attic\n")
    assert index.update().metadata_changed == 3
    assert metadata_of(index) == {
        "00000.png": {"place": "meadow"},
        "a dog": {},
        "bark.wav": {"place": "yard"},
        "00003.png": {},
    }
    assert len(index) == 6  # three windows of the sound


def test_paths_of_a_table_are_looked_for_where_they_were_before(index, library, table, tmp_path, monkeypatch):
    moved = tmp_path / "tables" / "meta.csv"
    moved.parent.mkdir()
    table.rename(moved)
    monkeypatch.chdir(tmp_path)  # where the table's paths begin
    index.add_folder(library, {"image": "*.png"}, metadata_file=moved)
    index.add(image(library / "00001.png"), metadata_file=moved)
    before = metadata_of(index)
    monkeypatch.chdir("/")
    assert index.update().metadata_changed == 0
    assert metadata_of(index) == before
    moved.write_text("path,place\nlibrary/00001.png,harbor\n")
    index.update()
    assert metadata_of(index)["00001.png"] == {"place": "harbor"}


@pytest.mark.parametrize("damage", [None, "no,paths\n1,2\n"])
def test_a_table_that_cannot_be_read_is_told_and_the_rows_keep_their_metadata(index, library, table, damage):
    index.add_folder(library, {"image": "*.png"}, metadata_file=table)
    index.add(image(library / "00001.png"), metadata_file=table)
    before, content = metadata_of(index), table.read_text()
    table.unlink() if damage is None else table.write_text(damage)
    write_files(library, 1, start=9)
    report = index.update()
    assert (report.added, [skip["source"] for skip in report.skipped]) == (1, [str(table)])
    assert "keep their metadata" in report.skipped[0]["reason"]
    assert metadata_of(index) == {**before, "00009.png": {}}
    with pytest.raises(InputError, match=r"meta\.csv"):
        index.update(on_error="raise")
    table.write_text(content + "library/00009.png,roof,2024\n")
    report = index.update()
    assert (report.metadata_changed, report.skipped) == (1, [])
    assert metadata_of(index)["00009.png"] == {"place": "roof", "year": 2024.0}


def test_a_file_that_cannot_be_read_gets_its_metadata_later(index, library, table):
    index.add_folder(library, {"image": "*.png"}, metadata_file=table)
    bad = library / "00000.png"
    content = bad.read_bytes()
    bad.write_bytes(UNREADABLE)
    table.write_text(table.read_text().replace("garden", "meadow"))
    assert len(index.update().skipped) == 1
    bad.write_bytes(content)
    index.update()
    assert metadata_of(index)["00000.png"]["place"] == "meadow"


def test_a_run_that_ends_before_its_table_is_kept_joins_it_again(index, library, table, encoder, monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("bindplug_search.file_index._keep", interrupt)
        with pytest.raises(KeyboardInterrupt):
            index.add_folder(library, {"image": "*.png"}, metadata_file=table)
    table.write_text(table.read_text().replace("garden", "meadow"))
    index = open_index(index.store.path, model=encoder)
    index.update()
    assert metadata_of(index)["00000.png"] == {"place": "meadow", "year": 2020.0}
    table.write_text("path\nlibrary/00000.png\n")
    index.update()
    assert metadata_of(index)["00000.png"] == {}


def test_adding_again_drops_what_the_table_has_no_longer(index, library, table):
    index.add_folder(library, {"image": "*.png"}, metadata_file=table)
    index.add(image(library / "00000.png"), metadata={"seen": True})
    table.write_text("path,place\nlibrary/00000.png,meadow\n")
    index.add_folder(library, {"image": "*.png"}, metadata_file=table)
    assert metadata_of(index)["00000.png"] == {"place": "meadow", "seen": True}
    assert metadata_of(index)["00001.png"] == {}


def test_new_files_get_what_their_folder_was_given_before(index, library, table):
    index.add_folder(library, {"image": "*.png"}, metadata={"owner": "me"}, metadata_file=table)
    index.add_folder(library, {"image": "*.png"}, metadata={"seen": True})
    write_files(library, 1, start=8)
    table.write_text(table.read_text() + "library/00008.png,roof,2022\n")
    index.update()
    assert metadata_of(index)["00008.png"] == {"owner": "me", "seen": True, "place": "roof", "year": 2022.0}


def test_an_index_of_before_gets_the_whole_table(index, library, table):
    index.add_folder(library, {"image": "*.png"}, metadata_file=table)
    (record,) = index.store.path.glob("joined-*.json")
    assert len(json.loads(record.read_text())["files"]) == 4
    record.unlink()
    table.write_text("path,place\nlibrary/00000.png,meadow\n")
    index.update()
    values = metadata_of(index)
    assert values["00000.png"] == {
        "place": "meadow",
        "year": 2020.0,
    }  # nothing tells that year was the table's
    record.write_text("[damaged")
    assert index.update().metadata_changed == 0
