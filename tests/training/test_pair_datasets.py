"""Pairs of Hugging Face data sets on this machine."""

from __future__ import annotations

import pytest
import torch

from bindplug.errors import InputError
from bindplug.inputs import ImagePreprocess
from bindplug.training import open_pairs
from bindplug.training.pair_samples import read_picture
from tests.training.pair_files import (
    NAMES,
    data_set,
    picture,
    picture_bytes,
    sound_bytes,
    write_dataset,
    write_folder,
)


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


def test_times_of_a_data_set_are_checked_as_those_of_a_table(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as parquet

    media = {"image": [picture_bytes(0)] * 4, "audio": [sound_bytes(0)] * 4}
    times = {"start": ["0.5", "-3", "nan", "soon"], "end": ["1", None, None, None]}
    parquet.write_table(pa.table(media | times), tmp_path / "pairs.parquet")
    pairs = open_pairs(tmp_path / "pairs.parquet", "audio")
    assert [(item.start_s, item.end_s) for item in pairs] == [(0.5, 1.0)]
    assert len(pairs.problems) == 3


def test_parquet_files_of_the_hub_are_not_mixed_across_splits(tmp_path):
    import datasets

    table = datasets.load_from_disk(str(write_dataset(tmp_path / "one")))
    folder = tmp_path / "clone"
    (folder / "data").mkdir(parents=True)
    (folder / "README.md").write_text("-", encoding="utf-8")
    for name, rows in (
        ("train-00000-of-00002", [0, 1]),
        ("train-00001-of-00002", [2]),
        ("test-00000-of-00001", [3]),
    ):
        table.select(rows).to_parquet(folder / "data" / f"{name}.parquet")
    assert [item.label for item in open_pairs(folder, "audio")] == list(NAMES[:3])
    assert [item.label for item in open_pairs(folder, "audio", split="test")] == [NAMES[3]]
    with pytest.raises(InputError, match=r"the splits .*and no dev"):
        open_pairs(folder, "audio", split="dev")
    with pytest.raises(InputError, match="without splits"):
        open_pairs(tmp_path / "one", "audio", split="dev")


@pytest.mark.parametrize("damage", ["no arrow", "cut arrow", "no state", "bad info"])
def test_a_damaged_data_set_is_refused_in_words(tmp_path, damage):
    folder = write_dataset(tmp_path / "one")
    (arrow,) = folder.glob("*.arrow")
    if damage == "no arrow":
        arrow.unlink()
    elif damage == "cut arrow":
        arrow.write_bytes(arrow.read_bytes()[:500])
    elif damage == "no state":
        (folder / "state.json").unlink()
    else:
        (folder / "dataset_info.json").write_text("{", encoding="utf-8")
    with pytest.raises(InputError, match="no readable data set"):
        open_pairs(folder, "audio")


def test_paths_in_cells_name_the_remedy(tmp_path):
    import datasets

    files = write_folder(tmp_path / "files")
    columns = {"image": [str(files / "bell.png")], "audio": [str(files / "bell.wav")]}
    table = datasets.Dataset.from_dict(columns)
    table.save_to_disk(str(tmp_path / "paths"))
    with pytest.raises(InputError, match=r"cast the column to datasets.Image\(\)"):
        open_pairs(tmp_path / "paths", "audio")[0].anchor.open()
    table = table.cast_column("image", datasets.Image()).cast_column("audio", datasets.Audio(decode=False))
    table.save_to_disk(str(tmp_path / "cast"))
    (item,) = open_pairs(tmp_path / "cast", "audio")
    torch.testing.assert_close(read_picture(item, ImagePreprocess()), ImagePreprocess()(picture(0)))
