"""Reading ahead of the model: the same rows to the bit, the same errors, and nothing left behind."""

from __future__ import annotations

import threading
import warnings
import wave

import numpy as np
import pytest
import torch
from PIL import Image

from bindplug import audio, embedding, image, prefetch, text
from bindplug.embed import embed_parts
from bindplug.errors import InputError
from bindplug.imagebind import ImageBind
from bindplug.inputs.base import to_device
from bindplug.inputs.pillow_warnings import suppress_pillow_warnings
from bindplug.testing import FakeEncoder
from tests.small import SMALL

WAIT_S = 60
WORKERS = (0, 1, 4, None)


def readers():
    return [thread for thread in threading.enumerate() if thread.name.startswith("bindplug-reader")]


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return ImageBind(SMALL, ["image", "audio", "text"]).eval()


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    """Nine pictures and seven sounds of differing lengths, and a file that is neither."""
    directory = tmp_path_factory.mktemp("sources")
    rng = np.random.default_rng(0)
    for i in range(9):
        Image.fromarray(rng.integers(0, 255, (40 + i, 60, 3), dtype=np.uint8)).save(directory / f"{i}.png")
    for i in range(7):
        with wave.open(str(directory / f"{i}.wav"), "wb") as file:
            file.setparams((1, 2, 16_000, 0, "NONE", ""))
            file.writeframes((rng.normal(0, 3000, 4_000 * (1 + 3 * i))).astype("<i2").tobytes())
    (directory / "bad").write_bytes(b"neither sound nor picture")
    return directory


@pytest.fixture
def queries(paths):
    pictures = [image(paths / f"{i}.png") for i in range(9)]
    sounds = [audio(paths / f"{i}.wav") for i in range(7)]
    return [*pictures[:5], *sounds, text("a dog") - 0.5 * pictures[0], pictures[7] + sounds[2], *pictures[5:]]


def test_rows_are_the_same_to_the_bit(model, queries):
    expected = model.embed(queries, batch_size=6, workers=0)
    for workers in WORKERS:
        rows = model.embed(iter(queries), batch_size=6, workers=workers)
        assert torch.equal(rows, expected)
        assert not rows.is_inference()
    assert not readers()


def test_objects_in_memory_may_be_read_ahead_too(model, queries):
    arrays = [image(np.full((30, 30, 3), level, np.uint8)) for level in range(9)]
    arrays += [embedding(np.ones(16), model.embedding_space)]
    expected = model.embed(arrays, batch_size=2, workers=0)
    for workers in WORKERS:
        assert torch.equal(model.embed(arrays, batch_size=2, workers=workers), expected)


def test_random_state_and_warning_filters_stay_as_they_were(model, queries):
    before, filters = torch.get_rng_state(), list(warnings.filters)
    legacy = np.random.get_state()[1].copy()
    model.embed(queries, batch_size=4, workers=4)
    assert torch.equal(torch.get_rng_state(), before)
    assert np.array_equal(np.random.get_state()[1], legacy)
    assert warnings.filters == filters


@pytest.mark.parametrize("workers", WORKERS)
def test_bad_sources_are_skipped_or_raise_the_first_error(model, queries, paths, workers):
    spoilt = [*queries[:3], image(paths / "bad"), *queries[3:8], audio(paths / "absent.wav"), *queries[8:]]
    report = model.embed_with_report(spoilt, batch_size=3, workers=workers)
    assert [skip.index for skip in report.skipped] == [3, 9]
    assert report.kept == [i for i in range(len(spoilt)) if i not in (3, 9)]
    whole = model.embed_with_report(spoilt, batch_size=3, workers=0)
    assert torch.equal(report.rows, whole.rows)
    assert report.skipped == whole.skipped
    with pytest.raises(InputError, match="no picture format"):
        model.embed(spoilt, batch_size=3, workers=workers)
    assert not readers()


class Interrupted(FakeEncoder):
    """Ctrl-C comes while the second batch is with the model."""

    def __init__(self):
        super().__init__()
        self.passes = 0

    def encode(self, modality, x, normalize=False):
        self.passes += 1
        if self.passes == 2:
            raise KeyboardInterrupt
        return super().encode(modality, x, normalize)


@pytest.mark.parametrize("workers", [0, 1, 4])
def test_an_interrupt_leaves_no_thread(workers):
    with pytest.raises(KeyboardInterrupt):
        Interrupted().embed([image(f"{i}.png") for i in range(50)], batch_size=2, workers=workers)
    assert not readers()


def test_an_interrupt_ends_a_batch_that_is_being_read(monkeypatch):
    """The first picture of the second batch is being read when the interrupt comes; the second never is."""
    begun, ending, read = threading.Event(), threading.Event(), []

    class Threads(prefetch.ReaderThreads):
        def close(self, wait_s):
            ending.set()
            super().close(WAIT_S)

    def slowly(source, **options):
        read.append(source)
        if source == "2.png":
            begun.set()
            assert ending.wait(WAIT_S)
        return plain(source, **options)

    def interrupted(modality, x, normalize=False):
        assert begun.wait(WAIT_S)
        raise KeyboardInterrupt

    model = FakeEncoder(["image"])
    plain = model.preprocess["image"].read
    model.preprocess["image"].read, model.encode = slowly, interrupted
    monkeypatch.setattr(prefetch, "ReaderThreads", Threads)
    with pytest.raises(KeyboardInterrupt):
        model.embed([image(f"{i}.png") for i in range(8)], batch_size=2, workers=1)
    assert read == ["0.png", "1.png", "2.png"]
    assert not readers()


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_parts_of_a_long_job_are_asked_for_as_readers_need_them(workers):
    asked = []

    def parts():
        for part in range(40):
            asked.append(part)
            yield [text(f"{part} {i}") + image(f"{part} {i}.png") for i in range(2)] if part % 3 else []

    model = FakeEncoder()
    expected = [model.embed(queries, workers=0) for queries in parts()]
    asked.clear()
    finished = embed_parts(model, parts(), workers=workers)
    for place, rows in enumerate(expected, start=1):
        assert torch.equal(next(finished).rows, rows)
        assert len(asked) <= place + workers
    assert list(finished) == []
    assert not readers()


def test_a_long_job_left_half_way_leaves_no_thread():
    finished = embed_parts(FakeEncoder(), ([image(f"{i}.png")] for i in range(40)), workers=4)
    next(finished)
    finished.close()
    assert not readers()


def test_wrong_numbers_of_workers_are_refused():
    with pytest.raises(InputError, match="workers=-1"):
        FakeEncoder().embed([text("a")], workers=-1)


def test_batches_go_to_cuda_from_pinned_memory_without_waiting():
    class Recorder:
        device = torch.device("cpu")
        calls: tuple = ()

        def pin_memory(self):
            self.calls += ("pinned",)
            return self

        def to(self, device, non_blocking=False):
            self.calls += ((str(device), non_blocking),)
            return self

    assert to_device(Recorder(), "cuda:1").calls == ("pinned", ("cuda:1", True))
    assert to_device(Recorder(), None).calls == (("cpu", False),)
    tensor = torch.ones(2)
    assert to_device(tensor, "cpu") is tensor


def test_filters_come_back_when_the_last_reader_has_gone():
    """A second thread comes before the first one goes: what it found must not be what stays."""
    before = list(warnings.filters)
    inside, leave = threading.Event(), threading.Event()

    def reader():
        with suppress_pillow_warnings():
            inside.set()
            assert leave.wait(WAIT_S)

    thread = threading.Thread(target=reader)
    with suppress_pillow_warnings():
        thread.start()
        assert inside.wait(WAIT_S)
        with pytest.warns(UserWarning, match="ours"):
            warnings.warn("ours", UserWarning, stacklevel=1)
    assert warnings.filters != before
    leave.set()
    thread.join()
    assert warnings.filters == before
