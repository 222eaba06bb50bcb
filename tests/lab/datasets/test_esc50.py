"""ESC-50: folds, labels, and what is missing."""

from __future__ import annotations

import pytest

from bindplug.errors import InputError, OptionError
from bindplug_lab.datasets import MissingData
from bindplug_lab.tasks import load_task
from tests.lab.miniature import make_esc50


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("esc50")
    make_esc50(folder)
    return folder


def test_sounds_folds_and_labels(root):
    items = load_task("esc50").items(root)
    assert len(items) == 100
    assert items.class_names[4] == "door wood knock"
    place = items.ids.index("1-1004-A-4.wav")
    assert items.folds[place] == 1
    assert items.labels[place] == (4,)
    leaf = items.queries[place].terms[0][1]
    assert leaf.modality.value == "audio"
    assert leaf.source == root / "ESC-50-master" / "audio" / "1-1004-A-4.wav"
    assert set(items.folds) == {1, 2, 3, 4, 5}


def test_single_folds(root):
    items = load_task("esc50").with_options(folds=[1]).items(root)
    assert set(items.folds) == {1}
    assert len(items) == 25
    assert len(items.class_names) == 50
    with pytest.raises(OptionError, match="folds"):
        load_task("esc50").with_options(folds=[6]).items(root)


def test_missing_sounds_are_counted_and_named(tmp_path):
    folder = make_esc50(tmp_path)
    (folder / "audio" / "1-1004-A-4.wav").unlink()
    (folder / "audio" / "2-1001-A-1.wav").write_bytes(b"")  # half-downloaded
    with pytest.raises(
        MissingData, match=r"2 of 100 sounds missing or empty \(2-1001-A-1.wav, 1-1004-A-4.wav\)"
    ) as error:
        load_task("esc50").items(tmp_path)
    assert "https://github.com/karolpiczak/ESC-50" in str(error.value)
    assert "CC BY-NC" in str(error.value)
    items = load_task("esc50").items(tmp_path, allow_missing=True)
    assert (len(items), items.expected, items.missing_count) == (98, 100, 2)
    assert items.missing == ("2-1001-A-1.wav", "1-1004-A-4.wav")


def test_missing_table(tmp_path):
    with pytest.raises(MissingData, match=r"annotations missing.*meta/esc50.csv"):
        load_task("esc50").items(tmp_path)
    with pytest.raises(MissingData, match="no such folder"):
        load_task("esc50").items(tmp_path / "absent")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("1-1004-A-4.wav,1,4", "1-1004-A-4.wav,1,four", r"line 10: target = 'four'"),
        ("1-1004-A-4.wav,1,4,door_wood_knock", "1-1004-A-4.wav,1,4,knock", "a category for each target"),
        ("1-1004-A-4.wav,1,", "1-1004-A-4.wav,9,", "fold = '9'"),
        ("1-1004-A-4.wav", "2-1001-A-1.wav", "ids twice"),
        ("filename,fold", "file,fold", "no column 'filename'"),
        (",49,class_49", ",49,class_48", "'class_48' twice"),
    ],
)
def test_damaged_tables(tmp_path, old, new, message):
    table = make_esc50(tmp_path) / "meta" / "esc50.csv"
    text = table.read_text()
    assert old in text
    table.write_text(text.replace(old, new))
    with pytest.raises(InputError, match=message):
        load_task("esc50").items(tmp_path)


def test_too_few_classes(tmp_path):
    table = make_esc50(tmp_path) / "meta" / "esc50.csv"
    table.write_text("\n".join(table.read_text().splitlines()[:11]))
    with pytest.raises(InputError, match="5 classes; expected 50 classes"):
        load_task("esc50").items(tmp_path)
    assert len(load_task("esc50").with_options(classes=None).items(tmp_path)) == 10


def test_sounds_of_one_recording_are_resampled_together(root):
    items = load_task("esc50").items(root)
    assert items.clusters[items.ids.index("1-1004-A-4.wav")] == "1004"
    assert len(set(items.clusters)) == 50
    assert items.subset([0, 1]).clusters == items.clusters[:2]
