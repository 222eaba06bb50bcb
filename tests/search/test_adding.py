"""Files added, updated and removed: nothing is lost, doubled or stale."""

import os
import shutil

import numpy as np
import pytest

from bindplug import audio, image, text
from bindplug.errors import InputError, OptionError, SpaceMismatch
from bindplug.space import EmbeddingSpace
from bindplug_search import open_index
from tests.search.content import UNREADABLE, ContentEncoder, write_files, write_sound


def rows_of(index):
    """For the path, kind and span of each row its vector."""
    by_key = {}
    for vectors, rows in index.store.batches():
        for vector, row in zip(vectors, rows, strict=True):
            assert row.key not in by_key, f"{row.key} is there twice"
            by_key[row.key] = vector
    return by_key


def assert_is_of(index, encoder, paths, kind="image"):
    """The index has one row for each file, that of its content now."""
    rows = rows_of(index)
    assert sorted(path for path, _, _ in rows) == sorted(str(path) for path in paths)
    expected = encoder.embed([image(str(path)) for path in paths]).numpy()
    actual = np.stack([rows[str(path), kind, None] for path in paths])
    np.testing.assert_allclose(actual, expected, atol=1e-6)


@pytest.fixture
def library(tmp_path):
    write_files(tmp_path / "library", 7)
    return tmp_path / "library"


def test_a_folder_is_added_once(index, encoder, library):
    first = index.add_folder(library, {"image": "*.png"}, save_every=3)
    assert (first.added, first.rows, first.unchanged) == (7, 7, 0)
    assert_is_of(index, encoder, sorted(library.iterdir()))
    again = index.add_folder(library, {"image": "*.png"})
    assert (again.added, again.rows, again.unchanged) == (0, 0, 7)
    assert len(index) == 7


def test_an_update_notices_changed_new_and_removed_files(index, encoder, library):
    index.add_folder(library, {"image": "*.png"})
    paths = sorted(library.iterdir())
    paths[0].unlink()
    paths[1].write_bytes(b"other content")
    write_files(library / "inner", 2)
    (library / "other.txt").write_text("of no pattern")
    report = index.update()
    assert (report.added, report.changed, report.removed, report.unchanged) == (2, 1, 1, 5)
    assert_is_of(index, encoder, [*paths[1:], *sorted((library / "inner").iterdir())])
    quiet = index.update()
    assert (quiet.added, quiet.changed, quiet.removed, quiet.rows) == (0, 0, 0, 0)


def test_a_change_that_keeps_size_and_time_is_noticed(index, encoder, library):
    index.add_folder(library, {"image": "*.png"})
    path = sorted(library.iterdir())[0]
    before = path.stat()
    path.write_bytes(path.read_bytes()[::-1])
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert index.update().changed == 1
    assert_is_of(index, encoder, sorted(library.iterdir()))


def test_a_touched_file_is_not_embedded_again(index, library, monkeypatch):
    index.add_folder(library, {"image": "*.png"})
    for path in library.iterdir():
        path.touch()
    monkeypatch.setattr(index, "_load", lambda _: pytest.fail("the model is loaded"))
    index._model = None
    report = index.update()
    assert (report.unchanged, report.changed, report.rows) == (7, 0, 7)  # rows get the new times
    assert index.update().rows == 0


def test_files_of_a_folder_that_is_not_mounted_stay(index, library):
    index.add_folder(library, {"image": "*.png"})
    shutil.rmtree(library)
    report = index.update()
    assert (report.removed, len(report.absent), len(index)) == (0, 7, 7)
    assert report.skipped == [{"source": str(library), "modality": "", "reason": "no such folder"}]
    library.mkdir()  # an empty mount point
    assert index.update().removed == 0
    assert index.update(prune=True).removed == 7
    assert len(index) == 0


def test_a_folder_that_could_not_be_added_is_not_remembered(index, library, encoder):
    index.add([text("a dog")], metadata={"year": 2021})
    embed, encoder.embed_with_report = (
        encoder.embed_with_report,
        None,
    )  # not called before metadata was checked
    with pytest.raises(InputError, match="'old'; expected numbers, as in the other rows"):
        index.add_folder(library, {"image": "*.png"}, metadata={"year": "old"})
    assert index.update().added == 0
    encoder.embed_with_report = embed
    index.add_folder(library, {"image": "*[0-3].png"}, metadata={"year": 2022})
    before = open_index(index.store.path).store.manifest.folders
    (library / "00000.wav").write_bytes(UNREADABLE)
    for _ in range(2):
        with pytest.raises(InputError):
            index.add_folder(library, {"audio": "*.wav"})
        assert open_index(index.store.path).store.manifest.folders == before
    assert index.update().skipped == []


def test_a_folder_that_is_gone_is_told_once_and_forgotten_when_it_is_pruned(index, library):
    index.add_folder(library, {"image": "*.png"})
    index.add_folder(library, {"image": "*0.png"})
    shutil.rmtree(library)
    assert len(index.update().skipped) == 1
    report = index.update(prune=True)
    assert (report.removed, report.skipped, index.info().details["folders"]) == (7, [], [])
    assert index.update().skipped == []


def test_a_file_matches_the_pattern_that_spells_out_more(index, tmp_path):
    folder = tmp_path / "mixed"
    write_files(folder, 2)
    (folder / "room_depth.png").write_bytes(b"depth")
    (folder / ".hidden.png").write_bytes(b"hidden")
    report = index.add_folder(folder, {"image": ["*.png", "*.jpg"], "depth": "*_depth.png"})
    assert report.unmatched == ["*.jpg"]
    assert dict(index.info().kinds) == {"depth": 1, "image": 2}
    with pytest.raises(InputError, match="one kind for a file"):
        index.add_folder(folder, {"image": "*.png", "thermal": "*.png"})
    with pytest.raises(InputError, match="no file that matches"):
        index.add_folder(folder, {"audio": "*.wav"})


def test_an_index_inside_its_folder_is_not_listed(tmp_path, index, encoder):
    write_files(tmp_path, 2)
    index.add_folder(tmp_path, {"image": "*"})
    assert_is_of(index, encoder, sorted(tmp_path.glob("*.png")))


def test_a_bad_file_stops_or_is_left_out_and_read_again_later(index, encoder, library):
    bad = library / "bad.png"
    bad.write_bytes(UNREADABLE)
    with pytest.raises(InputError, match="damage"):
        index.add_folder(library, {"image": "*.png"}, save_every=2)
    report = index.add_folder(library, {"image": "*.png"}, on_error="skip")
    assert [(s["source"], s["modality"]) for s in report.skipped] == [(str(bad), "image")]
    assert "damage" in report.skipped[0]["reason"]
    assert len(index) == 7
    bad.write_bytes(b"mended")
    assert index.update().added == 1
    assert_is_of(index, encoder, sorted(library.iterdir()))


def test_a_file_that_became_bad_keeps_its_rows(index, library):
    index.add_folder(library, {"image": "*.png"})
    bad = sorted(library.iterdir())[0]
    bad.write_bytes(UNREADABLE)
    report = index.update()
    assert [skip["source"] for skip in report.skipped] == [str(bad)]
    assert len(index) == 7
    with pytest.raises(InputError, match="damage"):
        index.update(on_error="raise")


def test_files_that_vanish_between_listing_and_reading(index, encoder, library, monkeypatch):
    from bindplug_search import file_index

    def list_and_remove(*arguments, **options):
        listing = list_folder(*arguments, **options)
        (library / "00003.png").unlink()
        return listing

    list_folder = file_index.list_folder
    monkeypatch.setattr(file_index, "list_folder", list_and_remove)
    report = index.add_folder(library, {"image": "*.png"}, on_error="skip")
    assert [(s["source"]) for s in report.skipped] == [str(library / "00003.png")]
    assert "vanished" in report.skipped[0]["reason"]
    assert_is_of(index, encoder, sorted(library.iterdir()))
    monkeypatch.undo()
    gone = image(library / "never.png")
    with pytest.raises(InputError, match="vanished between listing and reading"):
        index.add([gone])


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_named_pipe_is_not_waited_for(index, encoder, library):
    index.add_folder(library, {"image": "*.png"})
    os.mkfifo(library / "pipe.png")
    report = index.update()
    assert [skip["source"] for skip in report.skipped] == [str(library / "pipe.png")]
    assert "no regular file" in report.skipped[0]["reason"]
    (library / "00001.png").unlink()
    os.mkfifo(library / "00001.png")  # a file of the index that became one
    assert len(index.update().skipped) == 2
    with pytest.raises(InputError, match=r"no regular file.*--on-error skip"):
        index.add([image(library / "pipe.png")])


def test_a_file_that_changes_while_it_is_read_is_read_again_by_the_next_update(
    index, encoder, library, monkeypatch
):
    embed = encoder.embed_with_report
    path = library / "00002.png"

    def change_after(*arguments, **options):
        embedded = embed(*arguments, **options)
        path.write_bytes(b"changed meanwhile")
        return embedded

    monkeypatch.setattr(encoder, "embed_with_report", change_after)
    index.add_folder(library, {"image": "*.png"})
    monkeypatch.undo()
    assert index.update().changed == 1
    assert_is_of(index, encoder, sorted(library.iterdir()))


def test_windows_of_recordings(index, tmp_path):
    sound = write_sound(tmp_path / "long.wav", 5.0)
    report = index.add([audio(sound), text("a dog")], windows=2.0, hop=1.0)
    spans = [(0.0, 2.0), (1.0, 3.0), (2.0, 4.0), (3.0, 5.0)]
    assert (report.added, report.rows) == (2, 5)
    assert sorted(span for _, kind, span in rows_of(index) if kind == "audio") == spans
    best = index.search(audio(sound, start=1.0, end=3.0), 5)
    assert [(match.path, match.span) for match in best] == [(str(sound), (1.0, 3.0)), ("a dog", None)]
    every = index.search(audio(sound, start=1.0, end=3.0), 9, all_windows=True)
    assert len(every) == 5
    assert every[0].score == pytest.approx(1.0)
    write_sound(sound, 3.0)  # fewer windows: those of before are gone
    assert index.update().changed == 1
    assert sorted(span for _, kind, span in rows_of(index) if kind == "audio") == spans[:2]
    index.add([audio(sound)])  # whole
    assert [span for _, kind, span in rows_of(index) if kind == "audio"] == [None]
    with pytest.raises(OptionError, match="hop needs windows"):
        index.add([audio(sound)], hop=1.0)


def test_enough_files_are_given_where_one_has_many_windows(index, tmp_path):
    long = write_sound(tmp_path / "long.wav", 20.0)
    index.add([audio(long)], windows=1.0, hop=0.5)
    index.add([text(f"sentence {number}") for number in range(5)])
    query = sum(audio(long, start=s / 2, end=s / 2 + 1.0) for s in range(20))
    assert len({match.path for match in index.search(query, 6)}) == 6


def test_metadata_is_joined_kept_and_changed(index, library, tmp_path):
    table = tmp_path / "meta.csv"
    table.write_text(
        "path,place,year,code\nlibrary/00000.png,garden,2020,007\nlibrary/00001.png,,2021.5,1\nno.png,x,1,2\n"
    )
    report = index.add_folder(library, {"image": "*.png"}, metadata={"owner": "me"}, metadata_file=table)
    assert report.unjoined == ["no.png"]
    metadata = {match.path[-9:]: dict(match.metadata) for match in index.search(text("anything"), 9)}
    assert metadata["00000.png"] == {"owner": "me", "place": "garden", "year": 2020.0, "code": "007"}
    assert metadata["00001.png"] == {"owner": "me", "year": 2021.5, "code": "1"}
    assert [m.path[-9:] for m in index.search(text("x"), where={"place": "garden"})] == ["00000.png"]
    assert [m.path[-9:] for m in index.search(text("x"), where=["year > 2020"])] == ["00001.png"]
    report = index.add_folder(library, {"image": "*.png"}, metadata={"owner": "you"})
    assert (report.unchanged, report.rows) == (7, 7)  # written anew, not embedded anew
    (library / "00000.png").write_bytes(b"other")
    index.update()
    (match,) = index.search(text("x"), where={"place": "garden", "owner": "you"})
    assert match.metadata["year"] == 2020.0
    assert len(index) == 7


def test_metadata_of_paths_that_begin_in_a_relative_folder(index, library, tmp_path, monkeypatch):
    table = tmp_path / "tables" / "meta.csv"
    table.parent.mkdir()
    table.write_text("path,place\n00000.png,garden\n")
    monkeypatch.chdir(tmp_path)
    report = index.add_folder("library", {"image": "*.png"}, metadata_file="tables/meta.csv")
    assert report.unjoined == []
    (match,) = index.search(text("x"), where={"place": "garden"})
    assert match.path == str(library / "00000.png")


def test_a_value_that_a_table_has_no_longer_is_dropped(index, library, tmp_path):
    table = tmp_path / "meta.csv"
    table.write_text("path,seen,year\nlibrary/00000.png,true,2020\nlibrary/00001.png,,\n")
    index.add_folder(library, {"image": "*.png"}, metadata={"year": 2000}, metadata_file=table)
    assert len(index.search(text("x"), where={"seen": True})) == 1
    assert (
        len(index.search(text("x"), where={"year": 2000})) == 6
    )  # empty in a table: the value for all files
    table.write_text("path,seen,place\nlibrary/00000.png,,garden\nlibrary/00001.png,true,\n")
    report = index.add_folder(library, {"image": "*.png"}, metadata_file=table)
    assert (report.unchanged, report.rows) == (7, 2)
    (match,) = index.search(text("x"), where={"seen": True})
    assert match.path.endswith("00001.png")
    (match,) = index.search(text("x"), where={"place": "garden"})
    assert dict(match.metadata) == {"year": 2000.0, "place": "garden"}  # the table has no year any longer
    index.add(image(library / "00000.png"), metadata={"place": None})
    assert index.info().details["metadata"] == ["seen", "year"]
    with pytest.raises(InputError, match="no row with that metadata"):
        index.search(text("x"), where={"place": "garden"})


def test_sentences_are_kept(index):
    assert index.add([text("a dog"), text("a cat")]).added == 2
    assert index.add([text("a dog")]).unchanged == 1
    assert index.search(text("a cat"), 1)[0].path == "a cat"
    assert index.update().unchanged == 2


@pytest.mark.parametrize(
    "query", [image("a.png") + text("b"), 2 * image("a.png"), image(np.zeros((4, 4, 3), np.uint8)), "a.png"]
)
def test_only_single_files_are_added(index, query):
    with pytest.raises(InputError, match="one file or sentence"):
        index.add([query])


def test_a_model_of_another_space_is_refused_with_the_command_for_a_bridge(index, tmp_path, library):
    index.add([text("a dog")])
    other = ContentEncoder(space=EmbeddingSpace("test:other", 8))
    foreign = open_index(tmp_path / "library.lance", model=other)
    with pytest.raises(SpaceMismatch, match="bindplug bridge fit --source"):
        foreign.search(text("a dog"))
    with pytest.raises(SpaceMismatch, match="bridge"):
        foreign.add([text("a cat")])
    assert len(index) == 1


def test_an_index_without_a_model_asks_for_one(index, tmp_path):
    index.add([text("a dog")])
    with pytest.raises(InputError, match="model="):
        open_index(tmp_path / "library.lance").search(text("a dog"))


def test_two_writers_exclude_each_other(index, tmp_path, encoder):
    other = open_index(tmp_path / "library.lance", model=encoder)
    with index.store.writing(), pytest.raises(InputError, match="another process writing"):
        other.add([text("a dog")])
    assert other.add([text("a dog")]).added == 1
    assert len(index) == 1  # a reader sees what another has committed


def test_cut_offs_leave_out_what_is_no_match(index, encoder, tmp_path):
    import bindplug as bp

    sentences = [text(f"sentence {number}") for number in range(40)]
    index.add(sentences)
    absent = [text(f"absent {number}") for number in range(60)]
    limits = bp.cutoffs(encoder, known=[text("sentence 3")], absent=absent, fpr=0.05)
    limits.save(tmp_path / "cutoffs.json")
    threshold = limits.threshold("text", "text")
    every = index.search(text("sentence 3"), 40)
    expected = [match for match in every if match.score > threshold]
    assert 0 < len(expected) < 40
    assert index.search(text("sentence 3"), 40, cutoffs=limits) == expected
    assert index.search(text("sentence 3"), 40, cutoffs=tmp_path / "cutoffs.json") == expected
    with pytest.raises(InputError, match="For sums use min_score"):
        index.search(text("a") + text("b"), cutoffs=limits)
    assert [match.score for match in index.search(text("sentence 3"), 40, min_score=0.5)] == [
        match.score for match in every if match.score >= 0.5
    ]
