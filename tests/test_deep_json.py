"""JSON nested beyond Python's recursion limit, wherever a file of JSON is read: the file is named."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bindplug import download
from bindplug.bridges import targets
from bindplug.cli import convert, journal, sources
from bindplug.directories import read_json
from bindplug.errors import BindplugError
from bindplug_detic.vocabulary import read_names

DEEP = {"lists": "[" * 100_000, "objects": '{"a":' * 100_000, "digits": '{"a": ' + "9" * 10_000 + "}"}


def record(path: Path) -> Any:
    path.replace(download._record_path(path))
    path.write_bytes(b"weights")
    return download.check_record(path)


READERS: dict[str, Callable[[Path], Any]] = {
    "a manifest": read_json,
    "a network's description": lambda path: convert._read_config(str(path)),
    "names for a bridge": lambda path: targets.read_names(path),
    "names for a detector": read_names,
    "a record of a download": record,
}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("content", DEEP)
def test_a_file_of_deep_json_is_named(tmp_path, reader, content):
    path = tmp_path / "deep.json"
    path.write_text(DEEP[content])
    if (reader, content) == ("names for a bridge", "objects") or (reader, content) == (
        "names for a bridge",
        "digits",
    ):
        assert len(READERS[reader](path)) == 1, "a line of text, since only a list is JSON"
        return
    with pytest.raises(BindplugError, match=r"deep\.json"):
        READERS[reader](path)


@pytest.mark.parametrize("content", DEEP)
def test_notes_of_bindplugs_own_work_are_as_if_they_were_not_there(tmp_path, content):
    (tmp_path / "job.json").write_text(DEEP[content])
    assert journal._read_job(tmp_path / "job.json") is None
    (tmp_path / "w.part.json").write_text(DEEP[content])
    assert download._Note(tmp_path / "w.part", "https://a.example/w").total is None


def test_a_part_of_a_download_with_notes_of_other_types_starts_anew(tmp_path):
    notes = {"url": "https://a.example/w", "total": "many", "validator": ["x"]}
    (tmp_path / "w.part.json").write_text(json.dumps(notes))
    part = download._Note(tmp_path / "w.part", "https://a.example/w")
    assert (part.total, part.validator) == (None, "")


def test_reader_options_that_are_no_json_are_texts():
    text = "[" * 100_000
    assert sources.parse_reader_options((f"audio.channel={text}",)) == {"audio": {"channel": text}}
