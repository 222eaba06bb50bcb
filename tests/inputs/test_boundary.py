"""Only bindplug's errors leave a reader, its notes reach the caller, and what never ends is not opened."""

from __future__ import annotations

import csv
import io
import os
import warnings

import numpy as np
import pytest
import torch
from PIL import Image

from bindplug import image, text
from bindplug.errors import InputError, InputNote, MissingDependency, OptionError
from bindplug.inputs import Note, Preprocess, make_preprocess, note
from bindplug.inputs import source as source_module
from bindplug.inputs.limits import check_limit
from bindplug.inputs.notes import MOST_WARNINGS, collected_notes
from bindplug.modality import Modality
from bindplug.testing import FakeEncoder

FILES = [modality.value for modality in Modality if modality is not Modality.TEXT]
readers = make_preprocess()


class Faulty(Preprocess):
    """Raises the source if it is an exception, remarks on it if it is text, and gives two numbers."""

    modality = Modality.IMAGE

    def read(self, source, *, size=2):
        if isinstance(source, BaseException):
            raise source
        if isinstance(source, str):
            for line in source.split(";"):
                note(line)
        return torch.ones(size)

    def finish(self, readings, device=None):
        return list(readings)


class Jointly(Faulty):
    joint = True

    def finish(self, readings, device=None):
        if any(len(reading) == 3 for reading in readings):
            raise RuntimeError("three is too many")
        return list(readings)


class Panic(BaseException):
    """What an extension in Rust raises is no Exception; its class is named PanicException."""


Panic.__name__ = "PanicException"
RAISED = [
    RuntimeError("a"), NotImplementedError("b"), TypeError("c"), AttributeError("d"), csv.Error("e"), MemoryError(),
    UnicodeDecodeError("utf-8", b"x", 0, 1, "f"), Image.DecompressionBombError("g"), RecursionError("h"),
    OSError(5, "i"), ValueError("j"), KeyError("k"), SystemError("l"), OverflowError("m"), Panic("n"),
]  # fmt: skip


@pytest.mark.parametrize("error", RAISED, ids=lambda error: type(error).__name__)
def test_what_a_decoder_raises_becomes_an_input_error(error):
    with pytest.raises(InputError, match=type(error).__name__) as caught:
        Faulty()(error)
    assert caught.value.source == f"<{type(error).__name__}>"
    assert caught.value.__cause__ is error
    batch = Faulty().batch([1, error, 2], on_error="skip")
    assert (batch.kept, [skip.index for skip in batch.skipped]) == ([0, 2], [1])


@pytest.mark.parametrize(
    "error", [KeyboardInterrupt(), SystemExit(3), MissingDependency("x", "y", "z"), OptionError("o")]
)
def test_what_ends_the_job_passes(error):
    with pytest.raises(type(error)):
        Faulty().batch([error], on_error="skip")


def test_an_unknown_option_is_the_callers_mistake():
    with pytest.raises(TypeError, match="color"):
        Faulty().batch([1], options={"color": 3}, on_error="skip")


def test_the_culprit_of_a_joint_step_is_named_and_skipped():
    sizes = [{"size": 2}, {"size": 3}, {"size": 2}]
    with pytest.warns(InputNote):
        batch = Jointly().batch(["a", "b", "c"], options=sizes, on_error="skip")
    assert (batch.kept, [skip.source for skip in batch.skipped]) == ([0, 2], ["b"])
    assert [item.text for item in batch.notes] == ["a", "c"]
    assert len(batch) == 2
    with pytest.raises(InputError, match="b: data that cannot be decoded"):
        Jointly().batch(["a", "b"], options=sizes[:2])


def test_notes_are_warnings_at_the_callers_line():
    with pytest.warns(InputNote, match="padded;cut: padded; cut") as caught:
        Faulty()("padded;cut")
    assert caught[0].filename == __file__
    with pytest.warns(InputNote, match="padded: padded"):
        batch = Faulty().batch([3, "padded"])
    assert batch.notes == [Note(1, "padded", "padded")]
    assert "note on #1 padded: padded" in batch.report()


def test_notes_of_many_sources_are_counted_after_the_first():
    with pytest.warns(InputNote) as caught:
        Faulty().batch([f"note {i}" for i in range(MOST_WARNINGS + 5)])
    assert len(caught) == MOST_WARNINGS + 1
    assert "5 more sources" in str(caught[-1].message)


def test_nothing_is_warned_where_notes_are_collected():
    with warnings.catch_warnings(), collected_notes() as notes:
        warnings.simplefilter("error")
        Faulty()("padded")
    assert notes == [Note(0, "padded", "padded")]


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_notes_travel_with_the_rows_and_are_warned_once_in_the_callers_thread(workers):
    model = FakeEncoder()
    reader = Faulty()
    model.preprocess["image"] = reader
    reader.read = lambda source, **options: Faulty.read(reader, source, size=16, **options)
    queries = [image("padded"), image(3), text("a") + image("cut;padded"), image("padded")]
    with pytest.warns(InputNote) as caught:
        model.embed(queries, batch_size=1, workers=workers)
    assert [str(item.message) for item in caught] == [
        "padded: padded",
        "cut;padded: cut; padded",
        "padded: padded",
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        report = model.embed_with_report(queries, batch_size=1, workers=workers)
    assert [(item.index, item.text) for item in report.notes] == [
        (0, "padded"),
        (2, "cut"),
        (2, "padded"),
        (3, "padded"),
    ]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
@pytest.mark.parametrize("name", FILES)
def test_pipes_devices_and_directories_are_refused_without_being_opened(name, tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path, kind in ((pipe, "a named pipe"), ("/dev/zero", "a device"), (tmp_path, "a directory")):
        with pytest.raises(InputError, match=kind) as caught:
            readers[name](path)
        assert caught.value.source == str(path)


@pytest.mark.parametrize("name", FILES)
def test_streams_without_end_are_refused(name, monkeypatch):
    class Zeros(io.RawIOBase):
        def readable(self):
            return True

        def readinto(self, buffer):
            buffer[:] = bytes(len(buffer))
            return len(buffer)

    monkeypatch.setattr(source_module, "MOST_BYTES", 100_000)
    with pytest.raises(InputError, match="bytes or more"):
        readers[name](Zeros())


def test_limits_name_what_was_counted_and_the_way_out():
    check_limit("a.wav", 10, 10, "channels")
    for count in (11, float("nan"), float("inf"), 1e300):
        with pytest.raises(InputError, match=r"a\.wav: .* channels; expected at most 10\. Cut it"):
            check_limit("a.wav", count, 10, "channels", "Cut it.")


def test_values_that_are_no_option_are_an_option_error():
    with pytest.raises(OptionError, match="expected one of"):
        readers["depth"].batch([np.ones((4, 4))], options={"preset": "none"}, on_error="skip")
