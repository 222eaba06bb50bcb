"""Pairs of CSV, JSON Lines and Parquet tables of paths."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bindplug.errors import InputError
from bindplug.training import open_pairs
from tests.training.pair_files import write_folder


def test_a_table_without_any_pair_says_why(tmp_path):
    file = tmp_path / "pairs.csv"
    file.write_text("image,audio\n" + "gone.png,gone.wav\n" * 4)
    with pytest.raises(InputError, match="no pair of a picture and audio") as error:
        open_pairs(file, "audio")
    assert str(error.value).count("no such file") == 3  # the first three of four


def test_rows_of_a_table_that_are_wrong_are_listed(tmp_path):
    write_folder(tmp_path)
    lines = [
        "image,audio,start,end",
        "bell.png,bell.wav,0,1",
        "gone.png,crow.wav,,",
        "crow.png,,,",
        "crow.png,http://example.org/a.wav,,",
        "drum.png,drum.wav,2,1",
        "drum.png,drum.wav,soon,",
        "frog.png,frog.wav,,,extra",
        "frog.png,frog.wav,0.5,nan",
    ]
    file = tmp_path / "pairs.csv"
    file.write_text("\n".join(lines), encoding="utf-8-sig")
    pairs = open_pairs(file, "audio")
    assert [(item.start_s, item.end_s) for item in pairs] == [(0.0, 1.0)]
    reasons = " | ".join(problem.reason for problem in pairs.problems)
    for part in (
        "no such file",
        "nothing in the column audio",
        "the address",
        "no stretch",
        "'soon'",
        "5 cells",
        "'nan'",
    ):
        assert part in reasons
    assert len(pairs.problems) == len(lines) - 2


def test_columns_of_other_names(tmp_path):
    write_folder(tmp_path)
    file = tmp_path / "pairs.csv"
    file.write_text("Photo,clip,group\nbell.png,bell.wav,x\ncrow.png,crow.wav,x\n", encoding="utf-8")
    with pytest.raises(InputError, match="--column image=NAME"):
        open_pairs(file, "audio")
    pairs = open_pairs(file, "audio", columns={"image": "Photo", "audio": "clip"})
    assert [item.group for item in pairs] == ["x", "x"]
    with pytest.raises(InputError, match="no column 'sound'"):
        open_pairs(file, "audio", columns={"image": "Photo", "audio": "sound"})
    with pytest.raises(InputError, match="columns: depth"):
        open_pairs(file, "audio", columns={"depth": "Photo"})


def test_json_lines_of_another_kind_are_listed(tmp_path):
    write_folder(tmp_path)
    lines = [
        json.dumps({"image": "bell.png", "audio": "bell.wav"}),
        "[1]",
        "{",
        "[" * 5000,
        json.dumps({"image": 3, "audio": "bell.wav"}),
    ]
    (tmp_path / "pairs.jsonl").write_text("\n".join(lines), encoding="utf-8")
    pairs = open_pairs(tmp_path / "pairs.jsonl", "audio")
    assert len(pairs) == 1
    assert len(pairs.problems) == 4


def test_rows_of_json_lines_may_have_fields_that_the_first_row_lacks(tmp_path):
    folder = write_folder(tmp_path)
    rows = [
        {"image": "bell.png", "audio": "bell.wav"},
        {"image": "crow.png", "audio": "crow.wav", "start": 0.5, "end": 1.5, "label": "a crow"},
        {"audio": "drum.wav"},
    ]
    (folder / "pairs.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    pairs = open_pairs(folder / "pairs.jsonl", "audio")
    assert [(item.start_s, item.end_s, item.label) for item in pairs] == [
        (None, None, ""),
        (0.5, 1.5, "a crow"),
    ]
    assert [problem.kind for problem in pairs.problems] == ["unpaired"]


@pytest.mark.parametrize(
    "cells",
    [
        {"start": [1]},
        {"start": True},
        {"end": {"s": 1}},
        {"start": 10**400},
        {"start": -3.0},
        {"image": "~nobody-of-this-name/a.png"},
        {"image": "x" * 5000},
    ],
)
def test_cells_of_any_kind_are_listed_and_end_no_run(tmp_path, cells):
    folder = write_folder(tmp_path)
    rows = [{"image": "bell.png", "audio": "bell.wav"}, {"image": "crow.png", "audio": "crow.wav", **cells}]
    (folder / "pairs.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    pairs = open_pairs(folder / "pairs.jsonl", "audio")
    assert [Path(item.anchor.name).name for item in pairs] == ["bell.png"]
    assert len(pairs.problems) == 1


def test_two_columns_for_one_role_are_refused(tmp_path):
    (tmp_path / "pairs.csv").write_text("Image,IMAGE,audio\na.png,b.png,a.wav\n", encoding="utf-8")
    with pytest.raises(InputError, match="Image and IMAGE"):
        open_pairs(tmp_path / "pairs.csv", "audio")


@pytest.mark.parametrize(
    "text",
    [
        "image;audio;label\nbell.png;bell.wav;a, b\n",
        '\ufeffimage;audio;label\n"bell.png";bell.wav;"a, b"\n',
        'image,audio,label\nbell.png,bell.wav,"a, b"\n',
        "image\taudio\tlabel\nbell.png\tbell.wav\ta, b\n",
        ',image,audio,label\n0,bell.png,bell.wav,"a, b"\n',
        'image,audio,label\r\n.\\bell.png,.\\bell.wav,"a, b"\r\n',
    ],
    ids=["semicolons", "byte order mark", "quoted comma", "tabs", "index of pandas", "Windows"],
)
def test_tables_as_spreadsheets_and_pandas_write_them(tmp_path, text):
    folder = write_folder(tmp_path)
    (folder / "pairs.csv").write_bytes(text.encode())
    (item,) = open_pairs(folder / "pairs.csv", "audio")
    assert (Path(item.anchor.name), Path(item.sample.name)) == (folder / "bell.png", folder / "bell.wav")
    assert (item.label, item.start_s, item.end_s) == ("a, b", None, None)


def test_a_table_in_another_encoding_says_so(tmp_path):
    (tmp_path / "pairs.csv").write_text("image,audio\na.png,a.wav\n", encoding="utf-16")
    with pytest.raises(InputError, match="Save the table as UTF-8"):
        open_pairs(tmp_path / "pairs.csv", "audio")
