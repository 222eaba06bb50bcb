"""The engine's rows, errors and notes are those of the local path; with an actor in this process."""

from __future__ import annotations

import json
import wave

import numpy as np
import pyarrow.parquet as pq
import pytest

from bindplug.errors import InputError
from bindplug_search import embed_with_ray
from tests.search.engine.rows import assert_same_rows, rows_of

pytestmark = pytest.mark.usefixtures("in_process")


def test_rows_are_those_of_the_local_path(small_model, pictures, local_rows, tmp_path):
    summary = embed_with_ray(
        [str(pictures[0].parent)], tmp_path / "rows", modality="image", model=small_model, save_every=7
    )
    assert (summary.rows, summary.skipped_count) == (39, 1)
    assert summary.details["partitions"] == 6
    assert_same_rows(rows_of(tmp_path / "rows"), local_rows)
    (first, *_) = sorted((tmp_path / "rows").glob("*.parquet"))
    about = json.loads(pq.read_schema(first).metadata[b"bindplug"])
    assert (about["space"], about["width"], about["count"]) == ("test:small", 16, 40)


def test_bad_items_are_in_the_table_of_errors(small_model, pictures, tmp_path):
    absent = tmp_path / "absent.png"
    sources = [*map(str, pictures[8:12]), str(absent)]
    summary = embed_with_ray(
        sources, tmp_path / "rows", modality="image", model=small_model, save_every=2, on_error="skip"
    )
    errors = pq.read_table(tmp_path / "rows" / "_errors").to_pylist()
    assert [row["path"] for row in errors] == [str(pictures[10]), str(absent)]
    assert [row["modality"] for row in errors] == ["image", "image"]
    assert "no picture format" in errors[0]["reason"]
    assert summary.details["errors"] == str(tmp_path / "rows" / "_errors")
    assert [item["source"] for item in summary.skipped] == [row["path"] for row in errors]
    again = embed_with_ray(
        [str(tmp_path / "rows" / "_errors")],
        tmp_path / "again",
        modality="image",
        model=small_model,
        column="path",
    )
    assert again.skipped_count == 2, "the table of errors is itself a table of sources"


def test_on_error_raise_stops_at_the_first(small_model, pictures, tmp_path):
    options = {"modality": "image", "model": small_model, "save_every": 4}
    with pytest.raises(InputError, match=r"p00010.png: data in no picture format"):
        embed_with_ray(map(str, pictures), tmp_path / "rows", on_error="raise", **options)
    with pytest.raises(InputError, match=r"absent.png: no such file"):
        embed_with_ray([str(tmp_path / "absent.png")], tmp_path / "b", on_error="raise", **options)


def test_foreign_places_are_left_alone(small_model, pictures, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    for output, words in (
        (tmp_path, "'notes.txt' in it"),
        (tmp_path / "notes.txt", "a file"),
        (tmp_path / "rows.parquet", "the name of a file"),
    ):
        with pytest.raises(InputError, match=words):
            embed_with_ray([str(pictures[0])], output, modality="image", model=small_model, overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]
    with pytest.raises(InputError, match="which is read"):
        embed_with_ray(
            [str(tmp_path)], tmp_path / "rows", modality="image", recursive=True, model=small_model
        )


def test_windows_and_notes_are_those_of_the_local_path(small_model, tmp_path, command):
    rng = np.random.default_rng(0)
    for index, seconds in enumerate((5, 1, 0.01)):
        with wave.open(str(tmp_path / f"s{index}.wav"), "wb") as file:
            file.setparams((1, 2, 16000, 0, "NONE", ""))
            file.writeframes(rng.normal(0, 3000, int(seconds * 16000)).astype("<i2").tobytes())
    sounds = [str(tmp_path / f"s{index}.wav") for index in range(3)]
    arguments = ["embed", *sounds, "--modality", "audio", "--model", small_model, "--windows", 2, "--hop", 1]
    code, *_ = command(*arguments, "-o", tmp_path / "local.parquet")
    assert code == 0
    expected = rows_of(tmp_path / "local.parquet")
    code, out, err = command(*arguments, "--engine", "ray", "-o", tmp_path / "rows", "--json")
    assert code == 0, err
    summary = json.loads(out)
    assert_same_rows(rows_of(tmp_path / "rows"), expected)
    assert len(expected["path"]) == 4 + 1 + 1
    local_notes = json.loads(pq.read_schema(tmp_path / "local.parquet").metadata[b"bindplug"])["notes"]
    assert local_notes, "a sound of 10 ms is remarked on"
    assert [n["note"] for n in summary["notes"]] == [n["note"] for n in local_notes]
    notes = pq.read_table(tmp_path / "rows" / "_notes").to_pylist()
    assert [n["path"] for n in notes] == [n["source"] for n in local_notes]


def test_names_that_are_not_utf8(small_model, pictures, tmp_path):
    odd = tmp_path.joinpath(b"p\xe9.png".decode("utf-8", "surrogateescape"))
    odd.write_bytes(pictures[0].read_bytes())
    broken = tmp_path.joinpath(b"q\xe9.png".decode("utf-8", "surrogateescape"))
    broken.write_bytes(b"no picture")
    sources = [str(odd), str(broken), str(pictures[1])]
    embed_with_ray(sources, tmp_path / "rows", modality="image", model=small_model)
    rows = rows_of(tmp_path / "rows")
    assert rows["path"] == [str(tmp_path / "p\\xe9.png"), str(pictures[1])]
    assert rows["path_bytes"][0].endswith(b"p\xe9.png")
    (error,) = pq.read_table(tmp_path / "rows" / "_errors").to_pylist()
    assert error["path"].endswith("q\\xe9.png")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["-E", "actors=0"], "-E actors: 0; expected a whole number"),
        (["-E", "gpus=many"], "-E gpus: 'many'; expected a number"),
        (["-E", "id=name"], "-E column=NAME"),
        (["-E", "column=jpg"], "the suffix '.png'"),
        (["-O", "image.cropp=1"], "no option 'cropp'"),
    ],
)
def test_options_that_are_refused(small_model, pictures, tmp_path, command, arguments, words):
    code, _, err = command(
        "embed", pictures[0], "--modality", "image", "--model", small_model, "--engine", "ray",
        "-o", tmp_path / "rows", *arguments,
    )  # fmt: skip
    assert code in (1, 2)
    assert words in " ".join(err.split())


def test_the_pip_line_where_ray_is_absent(small_model, pictures, tmp_path, command, monkeypatch):
    from bindplug import cards

    monkeypatch.setattr(cards, "_installed", lambda module: module != "ray")
    arguments = ("embed", pictures[0], "--modality", "image", "--engine", "ray", "-o", tmp_path / "rows")
    code, _, err = command(*arguments)
    assert code == 1
    assert 'pip install "bindplug[ray]"' in err
