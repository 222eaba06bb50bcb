"""One's own data: folders of classes, tables of labels, tables of pairs."""

from __future__ import annotations

import numpy as np
import pytest

from bindplug.errors import InputError, InputNote, OptionError
from bindplug_lab.datasets import MissingData
from bindplug_lab.tasks import FewShotItems, load_task
from tests.lab.miniature import write_picture, write_sound, write_text

HEAD = """
name = "{name}"
title = "My data"
protocol = "{protocol}"
modalities = {modalities}
metrics = {metrics}
"""


def task_file(
    path, data, *, name="mine", protocol="zero_shot", modalities='["audio"]', metrics='["accuracy"]', more=""
):
    """A task of one's own in a TOML file."""
    head = HEAD.format(name=name, protocol=protocol, modalities=modalities, metrics=metrics)
    return write_text(path / f"{name}.toml", f"{head}\n[data]\n{data}\n{more}")


@pytest.fixture
def sounds(tmp_path):
    """Two classes of sounds in a train and a test folder."""
    for split in ("train", "test"):
        for name in ("dog_bark", "Rain"):
            for number in (1, 2):
                write_sound(tmp_path / "data" / split / name / f"{number}.WAV")
    return tmp_path


def test_a_folder_for_each_class(sounds, leaf):
    path = task_file(sounds, 'reader = "folder"\nmodality = "audio"\nsplit = "test"')
    items = load_task(path).items(sounds / "data")
    assert items.class_names == ("Rain", "dog bark")
    assert items.ids == ("Rain/1.WAV", "Rain/2.WAV", "dog_bark/1.WAV", "dog_bark/2.WAV")
    np.testing.assert_array_equal(items.label_array, [0, 0, 1, 1])
    assert leaf(items.queries[2]).source == sounds / "data" / "test" / "dog_bark" / "1.WAV"


def test_a_class_of_the_tasks_name_is_no_folder_of_data(sounds):
    data = 'reader = "folder"\nmodality = "audio"'
    path = task_file(sounds, data, name="rain")
    assert load_task(path).items(sounds / "data" / "test").class_names == ("Rain", "dog bark")
    path = task_file(sounds, data, name="rain", more="").rename(sounds / "named.toml")
    path.write_text(path.read_text().replace('title = "My data"', 'title = "My data"\nfolder = "test"'))
    assert load_task(path).items(sounds / "data").class_names == ("Rain", "dog bark")


def test_few_shot_from_folders(sounds):
    data = 'reader = "folder"\nmodality = "audio"\nsplit = "test"'
    path = task_file(sounds, data, protocol="few_shot", more='[support]\nsplit = "train"')
    task = load_task(path)
    items = task.items(sounds / "data")
    assert isinstance(items, FewShotItems)
    assert items.support.class_names == items.test.class_names == ("Rain", "dog bark")
    assert task.shots == (1, 2, 4, 8)
    write_sound(sounds / "data" / "train" / "wind" / "1.wav")
    with pytest.raises(InputError, match="classes that one side lacks: wind"):
        task.items(sounds / "data")


def test_reader_options_reach_the_reader(tmp_path, leaf):
    write_picture(tmp_path / "data" / "sofa" / "1.png", 100)
    data = 'reader = "folder"\nmodality = "depth"\nreader_options = { unit = "cm" }'
    path = task_file(tmp_path, data, modalities='["depth"]')
    assert dict(leaf(load_task(path).items(tmp_path / "data").queries[0]).options) == {"unit": "cm"}


def test_folders_that_are_wrong(sounds):
    root = sounds / "data" / "test"
    task = load_task(task_file(sounds, 'reader = "folder"\nmodality = "audio"'))
    with pytest.raises(MissingData, match="1 of 5 files missing or empty"):
        task.with_options(count=5).items(root)
    with pytest.raises(MissingData, match="no folder 'wind'"):
        task.with_options(classes=["wind", "Rain", "dog_bark"]).items(root)
    with pytest.raises(InputError, match="a folder 'dog_bark'; expected listed classes only"):
        task.with_options(classes=["Rain"]).items(root)
    with pytest.raises(OptionError, match="modality = 'sound'"):
        task.with_options(modality="sound").items(root)
    with pytest.raises(MissingData, match="no such folder"):
        task.with_options(split="val").items(root)
    write_text(root / "Rain" / "notes.docx", "x")
    with pytest.warns(InputNote, match="1 files that are no audio left out, as 'Rain/notes.docx'"):
        assert len(task.items(root)) == 4
    (root / "Rain" / "notes.docx").unlink()
    (root / "wind").mkdir()
    with pytest.raises(MissingData, match="no audio files"):
        task.items(root)


@pytest.fixture
def table(tmp_path):
    """A table as spreadsheets save it: a byte order mark, Windows line ends, quoted commas, names in mixed case."""
    for name in ("a.wav", "b.wav", "sub/c.wav"):
        write_sound(tmp_path / "clips" / name)
    text = (
        "\ufeffPath,Label,Fold,Split,Begin,End\r\n"
        'a.wav,"dog, big",1,test,0,0.05\r\n'
        "b.wav, rain ,2,test,0.01,0.05\r\n"
        "\r\n"
        "sub\\c.wav,rain,2,train,0,0.1\r\n"
    )
    write_text(tmp_path / "labels.csv", text)
    return tmp_path


DATA = 'reader = "table"\nfile = "labels.csv"\nmodality = "audio"\nbase = "clips"\n'


def test_a_table_of_spreadsheets(table, leaf):
    task = load_task(task_file(table, DATA + 'fold = "fold"\nstart = "begin"\nend = "end"'))
    items = task.items(table)
    assert items.class_names == ("dog, big", "rain")
    assert items.labels == ((0,), (1,), (1,))
    assert items.folds == (1, 2, 2)
    assert items.ids[1] == "b.wav_0.01_0.05"
    assert dict(leaf(items.queries[1]).options) == {"start": 0.01, "end": 0.05}
    assert leaf(items.queries[2]).source == table / "clips" / "sub" / "c.wav"
    test = task.with_options(where={"split": "test"}).items(table)
    assert test.ids == items.ids[:2]
    assert test.class_names == items.class_names
    with pytest.raises(InputError, match=r"no row where \{'split': 'val'\}"):
        task.with_options(where={"split": "val"}).items(table)


def test_several_labels_and_a_class_list(table):
    write_text(table / "labels.csv", "path\tlabel\na.wav\tdog|rain\nb.wav\train\n")
    (table / "labels.csv").rename(table / "labels.tsv")
    data = DATA.replace(".csv", ".tsv") + 'separator = "|"\nclasses = ["rain", "wind", "dog"]'
    items = load_task(task_file(table, data, protocol="multi_label", metrics='["mAP"]')).items(table)
    assert items.labels == ((2, 0), (0,))
    task = load_task(
        task_file(table, data.replace('"dog"]', '"dogs"]'), protocol="multi_label", metrics='["mAP"]')
    )
    with pytest.raises(InputError, match=r"line 2: a label 'dog' that is no class.*The closest is 'dogs'"):
        task.items(table)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("b.wav, rain ", "b.wav,", "line 3: a blank 'label'"),
        ("a.wav", "b.wav", "ids twice"),
        ("Label", "Class", "no column 'label'"),
        ("1,test", "one,test", "fold = 'one'"),
        (",0.05\r\nb", "\r\nb", "line 2: 5 cells; expected 6 cells"),
        ('"dog, big"', "dog, big", "line 2: 7 cells.*in quotes"),
        ('"dog, big"', '"dog, big', "damaged CSV"),
        ("Split", "Label", "two columns 'label'"),
        ("Path,Label,Fold,Split,Begin,End\r\n", "", "no column 'path'"),
    ],
)
def test_tables_that_are_wrong(table, old, new, message):
    path = table / "labels.csv"
    text = path.read_bytes().decode()
    assert old in text
    path.write_bytes(text.replace(old, new).encode())
    with pytest.raises(InputError, match=message):
        load_task(task_file(table, DATA + 'fold = "fold"')).items(table)


def test_tables_in_other_encodings(table):
    path = table / "labels.csv"
    text = path.read_text(encoding="utf-8-sig")
    path.write_bytes(text.encode("utf-16"))
    assert len(load_task(task_file(table, DATA)).items(table)) == 3
    path.write_bytes(text.replace("rain", "Regenguß").encode("latin-1"))
    with pytest.raises(InputError, match="not UTF-8, in line 3"):
        load_task(task_file(table, DATA)).items(table)
    path.write_bytes(b"\xef\xbb\xbf \r\n")
    with pytest.raises(InputError, match=r"no rows|empty file"):
        load_task(task_file(table, DATA)).items(table)
    path.write_bytes(b"path,label\n")
    with pytest.raises(InputError, match="no rows"):
        load_task(task_file(table, DATA)).items(table)
    path.write_bytes(b"path,label\na\0.wav,dog\n")
    with pytest.raises(InputError, match="bytes of zero"):
        load_task(task_file(table, DATA)).items(table)


PAIRS = """
reader = "pairs"
file = "pairs.csv"
left = [
    { modality = "image", column = "photo", weight = 0.5 },
    { modality = "audio", column = "sound", weight = 0.5 },
]
right = [{ modality = "image", column = "target" }]
"""


@pytest.fixture
def triples(tmp_path):
    """A picture and a sound that should find another picture."""
    for name in ("crane.png", "beach.png", "town.png"):
        write_picture(tmp_path / name)
    write_sound(tmp_path / "waves.wav")
    write_text(
        tmp_path / "pairs.csv",
        "photo,sound,target\ncrane.png,waves.wav,beach.png\ncrane.png,waves.wav,town.png\ntown.png,waves.wav,beach.png\n",
    )
    options = {
        "protocol": "arithmetic_retrieval",
        "modalities": '["image", "audio"]',
        "metrics": '["recall@1"]',
    }
    return tmp_path, load_task(task_file(tmp_path, PAIRS, **options))


def test_arithmetic_retrieval(triples):
    root, task = triples
    items = task.items(root)
    assert items.left_ids == ("crane.png + waves.wav", "town.png + waves.wav")
    assert items.right_ids == ("beach.png", "town.png")
    assert items.matches == (frozenset({0, 1}), frozenset({0}))
    assert [(weight, leaf.modality.value) for weight, leaf in items.left[0].terms] == [
        (0.5, "image"),
        (0.5, "audio"),
    ]
    np.testing.assert_array_equal(items.match_matrix, [[True, True], [True, False]])
    assert items.left_name == "image+audio"


def test_pairs_that_are_missing_or_wrong(triples):
    root, task = triples
    with pytest.raises(OptionError, match="an unknown key 'colum'"):
        task.with_options(right=[{"modality": "image", "colum": "target"}]).items(root)
    with pytest.raises(OptionError, match="weight = 0"):
        task.with_options(right=[{"modality": "image", "column": "target", "weight": 0}]).items(root)
    with pytest.raises(OptionError, match="modality = 'photo'"):
        task.with_options(right=[{"modality": "photo", "column": "target"}]).items(root)
    with pytest.raises(InputError, match="no column 'aim'"):
        task.with_options(right=[{"modality": "image", "column": "aim"}]).items(root)
    (root / "town.png").unlink()
    with pytest.raises(
        MissingData, match=r"2 of 3 pairs missing or empty \(crane.png \+ waves.wav \+ town.png"
    ):
        task.items(root)
    items = task.items(root, allow_missing=True)
    assert (len(items), items.right_ids, items.missing_count) == (1, ("beach.png",), 1)
    with (root / "pairs.csv").open("a") as file:
        file.write("crane.png,waves.wav,beach.png\n")
    with pytest.raises(InputError, match="twice"):
        task.items(root, allow_missing=True)


def test_across_sensors(tmp_path):
    write_picture(tmp_path / "1.png", 100)
    write_sound(tmp_path / "1.wav")
    write_text(tmp_path / "pairs.csv", "heat,sound\n1.png,1.wav\n")
    data = (
        'reader = "pairs"\nfile = "pairs.csv"\nleft = [{ modality = "thermal", column = "heat" }]\n'
        'right = [{ modality = "audio", column = "sound" }]'
    )
    options = {"modalities": '["thermal", "audio"]', "metrics": '["recall@1", "recall@5"]'}
    items = load_task(task_file(tmp_path, data, protocol="cross_sensor_retrieval", **options)).items(tmp_path)
    assert (items.left_name, items.right_name) == ("thermal", "audio")


def test_a_reader_of_other_items_than_the_protocol_needs(triples, sounds):
    root, _ = triples
    path = task_file(root, PAIRS, name="other")
    with pytest.raises(InputError, match=r"PairedItems from the reader 'pairs'; expected LabeledItems"):
        load_task(path).items(root)
