from __future__ import annotations

import io

import numpy as np
import pytest
import torch

from bindplug.errors import InputError, MissingDependency, UnknownModality
from bindplug.inputs import Batch, Skipped, describe_source, make_preprocess
from bindplug.modality import Modality

SHAPES = {
    "image": (3, 224, 224), "video": (15, 3, 2, 224, 224), "text": (77,), "audio": (3, 1, 128, 204),
    "depth": (1, 224, 224), "thermal": (1, 224, 224), "imu": (6, 2000),
}  # fmt: skip
GOOD = {
    "image": (np.zeros((8, 8, 3), np.uint8), {}),
    "video": (np.zeros((4, 8, 8, 3), np.uint8), {"fps": 2}),
    "text": ("a dog", {}),
    "audio": (np.full(400, 0.1, np.float32), {"sample_rate": 800}),
    "depth": (np.ones((8, 8), np.float32), {}),
    "thermal": (np.ones((8, 8), np.float32), {}),
    "imu": (np.zeros((6, 1000)), {"sample_rate": 200}),
}
readers = make_preprocess()
FILES = [name for name in SHAPES if name != "text"]


def test_make_preprocess():
    assert list(readers) == [modality.value for modality in Modality]
    assert list(make_preprocess(["imu", Modality.AUDIO])) == ["imu", "audio"]
    small = make_preprocess(["image", "depth"], image_size=112)
    assert small["image"](GOOD["image"][0]).shape == (3, 112, 112)
    assert small["depth"](GOOD["depth"][0]).shape == (1, 112, 112)
    with pytest.raises(UnknownModality, match="smell"):
        make_preprocess(["smell"])


@pytest.mark.parametrize("name", SHAPES)
def test_shapes_dtypes_and_batches(name):
    source, options = GOOD[name]
    one = readers[name](source, **options)
    assert one.shape == SHAPES[name]
    assert one.dtype == (torch.int64 if name == "text" else torch.float32)
    assert readers[name].modality == name
    batch = readers[name].batch([source] * 3, options=options)
    assert (batch.kept, batch.skipped, len(batch)) == ([0, 1, 2], [], 3)
    assert torch.equal(batch.stack(), one.expand(3, *one.shape))
    assert readers[name].batch([]).items == []


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("kind", ["missing", "empty", "directory", "empty bytes", "text mode", "closed"])
def test_unreadable_sources(name, kind, tmp_path):
    path = tmp_path / "source.bin"
    path.write_bytes(b"")
    closed = io.BytesIO(b"x")
    closed.close()
    source, found = {
        "missing": (tmp_path / "nowhere.bin", "no such file"),
        "empty": (path, r"no data \(0 bytes\)"),
        "directory": (tmp_path, "a directory"),
        "empty bytes": (b"", r"no data \(0 bytes\)"),
        "text mode": (io.StringIO("words"), "text mode"),
        "closed": (closed, "a closed file"),
    }[kind]
    with pytest.raises(InputError, match=found) as caught:
        readers[name](source)
    assert caught.value.source == describe_source(source)
    assert caught.value.expected
    if kind in ("missing", "empty", "directory"):
        assert str(source) in str(caught.value)


@pytest.mark.parametrize("name", FILES)
def test_corrupt_bytes(name):
    with pytest.raises(InputError, match="expected"):
        readers[name](np.random.default_rng(0).bytes(3000))


@pytest.mark.parametrize("name", SHAPES)
def test_bad_items_are_raised_or_skipped_with_a_report(name):
    good, options = GOOD[name]
    bad = 5 if name == "text" else "nowhere.bin"
    each = [options, {}, options]
    with pytest.raises(InputError, match=r"5|nowhere\.bin"):
        readers[name].batch([good, bad, good], options=each)
    batch = readers[name].batch([good, bad, good], options=each, on_error="skip")
    assert batch.kept == [0, 2]
    assert batch.stack().shape == (2, *SHAPES[name])
    (skip,) = batch.skipped
    assert skip.index == 1
    assert str(bad) in skip.source or name == "text"
    assert "#1" in batch.report()
    assert "expected" in skip.reason
    nothing = readers[name].batch([bad], on_error="skip")
    with pytest.raises(InputError, match="nothing to stack"):
        nothing.stack()


def test_missing_packages_are_never_skipped(monkeypatch, golden):
    monkeypatch.setitem(__import__("sys").modules, "soundfile", None)
    with pytest.raises(MissingDependency):
        readers["audio"].batch([golden / "mono_1s_8k.wav"], on_error="skip")


def test_batch_arguments_are_checked():
    with pytest.raises(ValueError, match="on_error='ignore'"):
        readers["text"].batch(["a"], on_error="ignore")
    with pytest.raises(ValueError, match="1 option mappings for 2 sources"):
        readers["text"].batch(["a", "b"], options=[{}])
    with pytest.raises(TypeError):
        readers["text"].batch(["a"], options={"volume": 3})


def test_stack_refuses_items_of_different_shapes():
    batch = Batch([torch.zeros(3, 2), torch.zeros(4, 2)], [0, 1], [Skipped(2, "x", "y")])
    with pytest.raises(InputError, match="same number of clips"):
        batch.stack()


@pytest.mark.parametrize(
    ("source", "name"),
    [("a.wav", "a.wav"), (b"12", "<2 bytes>"), (np.zeros((2, 3), np.float32), "<array (2, 3) float32>"),
     (torch.zeros(2, 3), "<tensor (2, 3) float32>"), (io.BytesIO(b""), "<BytesIO>"), (3, "<int>")],
)  # fmt: skip
def test_describe_source(source, name):
    assert describe_source(source) == name


def test_streams_that_cannot_seek_are_read(golden):
    class Pipe(io.RawIOBase):
        def __init__(self, data):
            self.inner = io.BytesIO(data)

        def readable(self):
            return True

        def read(self, size=-1):
            return self.inner.read(size)

    path = golden / "mono_1s_8k.wav"
    assert torch.equal(readers["audio"](Pipe(path.read_bytes())), readers["audio"](path))
