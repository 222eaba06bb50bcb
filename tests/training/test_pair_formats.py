"""Every format of pairs gives the same rows, and what is wrong in one is listed."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import torch

from bindplug.errors import InputError, WeightsNotFound
from bindplug.inputs import AudioPreprocess, ImagePreprocess
from bindplug.training import PairItem, open_pairs
from bindplug.training.pair_samples import SampleReader, read_picture
from tests.training.pair_files import (
    NAMES,
    picture,
    picture_bytes,
    write_dataset,
    write_folder,
    write_shards,
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

    from bindplug.training.pair_sources import FileSource

    item = PairItem(FileSource("a"), FileSource("b"), name="n", group="g")
    pickle.dump(item, stream)
    assert pickle.loads(stream.getvalue()) == item
