"""`bindplug compare` and `bindplug classify`: the numbers are the library's, and a person can read them."""

from __future__ import annotations

import re

import numpy as np
import pytest

import bindplug as package
from bindplug.cli.sources import Source, short_names


def test_compare_prints_cosines_and_probabilities(bindplug, model_directory, files):
    ran = bindplug(
        "compare", "--image", files["image"], "--audio", files["audio"], "--text", "a dog", "--text", "a car",
        "--model", model_directory, "--json",
    )  # fmt: skip
    assert ran.code == 0
    queries = [
        package.image(files["image"]),
        package.audio(files["audio"]),
        package.text("a dog"),
        package.text("a car"),
    ]
    assert [item["modality"] for item in ran.json["items"]] == ["image", "audio", "text", "text"]
    model = package.load(model_directory)
    rows = model.embed(queries)
    np.testing.assert_allclose(ran.json["cosines"], (rows @ rows.T).numpy(), atol=1e-4)
    chances = ran.json["probabilities"]
    assert chances["against"] == "text"
    assert (chances["rows"], chances["columns"]) == ([0, 1], [2, 3])
    expected = model.similarity(queries[:2], queries[2:])
    np.testing.assert_allclose(chances["values"], expected.numpy(), atol=1e-4)


def test_compare_shows_tables(bindplug, model_directory, files):
    arguments = [
        "--image",
        files["image"],
        "--image",
        files["other"],
        "--text",
        "a dog",
        "--text",
        "a cat [x]",
    ]
    ran = bindplug("compare", *arguments, "--model", model_directory)
    assert ran.code == 0
    assert "Cosine similarity" in ran.out
    assert "1 image image.png" in ran.out
    assert "“a dog”" in ran.out
    assert "[x]" in ran.out, "what a user wrote is no markup"
    assert "%" in ran.out
    assert "\x1b" not in ran.out, "no color codes where the output is no terminal"


def test_compare_against_another_modality(bindplug, model_directory, files):
    ran = bindplug(
        "compare", "--image", files["image"], "--image", files["other"], "--audio", files["audio"],
        "--against", "image", "--model", model_directory, "--json",
    )  # fmt: skip
    assert ran.json["probabilities"]["columns"] == [0, 1]
    assert np.sum(ran.json["probabilities"]["values"]) == pytest.approx(1, abs=1e-5)


def test_without_sentences_there_are_cosines_alone(bindplug, model_directory, files):
    arguments = ["--image", files["image"], "--audio", files["audio"], "--model", model_directory]
    assert "probabilities" not in bindplug("compare", *arguments, "--json").json


def test_classify_ranks_labels(bindplug, model_directory, files, tmp_path):
    labels = tmp_path / "labels.txt"
    labels.write_text("rain\n\n")
    ran = bindplug(
        "classify", files["image"], files["other"], "--modality", "image", "--labels", "a dog, a car",
        "--labels-file", labels, "--model", model_directory, "--json", "-k", 5,
    )  # fmt: skip
    assert ran.code == 0
    assert ran.json["labels"] == ["a dog", "a car", "rain"]
    model = package.load(model_directory)
    queries = [package.image(files["image"]), package.image(files["other"])]
    expected = model.similarity(queries, [package.text(label) for label in ran.json["labels"]])
    for item, row in zip(ran.json["files"], expected.tolist(), strict=True):
        assert [t["label"] for t in item["top"]] == [ran.json["labels"][i] for i in np.argsort(row)[::-1]]
        assert item["top"][0]["probability"] == pytest.approx(max(row), abs=1e-4)


def test_templates_change_the_answer(bindplug, model_directory, files):
    arguments = [
        "classify",
        files["audio"],
        "--modality",
        "audio",
        "--labels",
        "dog,car",
        "--model",
        model_directory,
    ]
    plain = bindplug(*arguments, "--json").json["files"]
    own = bindplug(*arguments, "--json", "--template", "the sound of {}").json["files"]
    eighty = bindplug(*arguments, "--json", "--templates", "imagenet").json["files"]
    assert plain != own != eighty


def test_classify_takes_files_of_several_kinds(bindplug, model_directory, files):
    ran = bindplug(
        "classify", "--depth", files["depth"], "--image", files["broken"], "--image", files["image"],
        "--labels", "a dog, a car", "--model", model_directory, "--on-error", "skip", "--json",
    )  # fmt: skip
    assert ran.code == 3
    model = package.load(model_directory)
    for item, query in zip(
        ran.json["files"], (package.depth(files["depth"]), package.image(files["image"])), strict=True
    ):
        (row,) = model.similarity([query], [package.text("a dog"), package.text("a car")]).tolist()
        assert item["top"][0]["probability"] == pytest.approx(max(row), abs=1e-4)


def test_classify_without_anything_to_read(bindplug):
    ran = bindplug("classify", "--labels", "a,b")
    assert ran.code == 2
    assert "nothing to read" in ran.err


def test_classify_skips_and_tells(bindplug, model_directory, files):
    arguments = [
        files["broken"],
        files["image"],
        "--modality",
        "image",
        "--labels",
        "a,b",
        "--model",
        model_directory,
    ]
    assert bindplug("classify", *arguments).code == 1
    ran = bindplug("classify", *arguments, "--on-error", "skip")
    assert ran.code == 3
    assert "broken.png" in ran.err
    assert "image.png" in ran.out


def test_only_needed_towers_are_loaded(bindplug, files, model_directory, monkeypatch):
    from bindplug import models

    asked = []
    load = models.load
    monkeypatch.setattr(models, "load", lambda *a, **k: asked.append(k["modalities"]) or load(*a, **k))
    bindplug("classify", files["audio"], "--modality", "audio", "--labels", "a,b", "--model", model_directory)
    bindplug("compare", "--depth", files["depth"], "--imu", files["imu"], "--model", model_directory)
    assert asked == [{"audio", "text"}, {"depth", "imu"}]


def test_files_of_one_name_are_told_apart():
    sources = [
        Source("audio", "cat/x.wav"),
        Source("audio", "dog/x.wav"),
        Source("audio", "y.wav"),
        Source("text", "x"),
    ]
    assert short_names(sources) == ["cat/x.wav", "dog/x.wav", "y.wav", "“x”"]
    assert short_names([Source("text", "a" * 50)], 10) == ["“" + "a" * 8 + "…"]


def test_every_cosine_is_printed_on_a_pipe_and_on_a_narrow_screen(
    bindplug, model_directory, files, monkeypatch
):
    words = [part for i in range(16) for part in ("--text", f"a thing {i}")]
    arguments = ["compare", *words, "--model", model_directory]
    monkeypatch.delenv("COLUMNS", raising=False)
    piped = bindplug(*arguments).out
    assert sum(len(re.findall(r"[+-]\d\.\d{3}(?!\d)", line)) == 16 for line in piped.splitlines()) == 16
    monkeypatch.setenv("COLUMNS", "80")
    narrow = bindplug(*arguments).out
    assert len(re.findall(r"[+-]\d\.\d{3}(?!\d)", narrow)) == 16 * 16, "in several blocks of columns"
    assert max(map(len, narrow.splitlines())) <= 80
