"""Every command over more than one batch, and everything in the order typed."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

import bindplug as package
from bindplug.cli.sources import Source, short_names
from tests.cli.test_embed import read

PICTURES = 7
BATCH = 3


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    directory = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(5)
    paths = [directory / f"{i}.png" for i in range(PICTURES)]
    for path in paths:
        Image.fromarray(rng.integers(0, 255, (32, 32, 3), dtype=np.uint8)).save(path)
    return paths


@pytest.mark.parametrize("batch_size", [1, BATCH, PICTURES, PICTURES + 1])
def test_classify_over_batches_is_the_librarys_similarity(bindplug, model_directory, pictures, batch_size):
    labels = ["a dog", "a car", "rain"]
    ran = bindplug(
        "classify", *pictures, "--modality", "image", "--labels", ",".join(labels), "--model", model_directory,
        "--batch-size", batch_size, "--json", "-k", 3,
    )  # fmt: skip
    assert ran.code == 0
    model = package.load(model_directory)
    expected = model.similarity(
        [package.image(path) for path in pictures], [package.text(label) for label in labels]
    )
    assert [item["source"] for item in ran.json["files"]] == [str(path) for path in pictures]
    for item, row in zip(ran.json["files"], expected.tolist(), strict=True):
        probabilities = {entry["label"]: entry["probability"] for entry in item["top"]}
        assert [probabilities[label] for label in labels] == pytest.approx(row, abs=1e-4)


def test_compare_over_batches(bindplug, model_directory, pictures):
    options = [part for path in pictures for part in ("--image", path)]
    arguments = ["compare", *options, "--text", "a", "--text", "b", "--model", model_directory, "--json"]
    small, large = (bindplug(*arguments, "--batch-size", size).json for size in (2, 64))
    np.testing.assert_allclose(small["cosines"], large["cosines"], atol=1e-4)
    values = [result["probabilities"]["values"] for result in (small, large)]
    np.testing.assert_allclose(*values, atol=1e-4)


def test_embed_over_batches_and_saves(bindplug, model_directory, pictures, tmp_path):
    arguments = ["embed", *pictures, "--modality", "image", "--model", model_directory]
    for name, batch, save in (("small", 2, 3), ("large", 64, 256)):
        output = tmp_path / f"{name}.npz"
        assert bindplug(*arguments, "-o", output, "--batch-size", batch, "--save-every", save).code == 0
    small, large = (read(tmp_path / f"{name}.npz") for name in ("small", "large"))
    assert small[0] == large[0] == [str(path) for path in pictures]
    np.testing.assert_allclose(small[2], large[2], atol=1e-5)


def test_rows_stand_in_the_order_typed(bindplug, model_directory, files, pictures, tmp_path):
    listed = tmp_path / "list.txt"
    listed.write_text(f"image\t{pictures[3]}\n")
    output = tmp_path / "out.npz"
    ran = bindplug(
        "embed", "--text", "first", "--image", pictures[0], "--from-list", listed, f"--audio={files['audio']}",
        "--text", "last", pictures[1], "--modality", "image", "-o", output, "--model", model_directory,
    )  # fmt: skip
    assert ran.code == 0
    expected = ["first", pictures[0], pictures[3], files["audio"], "last", pictures[1]]
    assert read(output)[0] == [str(item) for item in expected]
    items = bindplug(
        "compare", "--text", "a", "--image", pictures[0], "--text", "b", "--model", model_directory, "--json"
    ).json["items"]
    assert [item["source"] for item in items] == ["a", str(pictures[0]), "b"]


def test_a_text_that_looks_like_an_option_is_a_text(bindplug, model_directory, files):
    ran = bindplug(
        "compare",
        "--text=--image",
        "--image",
        files["image"],
        "--text",
        "b",
        "--model",
        model_directory,
        "--json",
    )
    assert [item["source"] for item in ran.json["items"]] == ["--image", str(files["image"]), "b"]


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["a/x/1.wav", "b/x/1.wav", "c.wav"], ["a/x/1.wav", "b/x/1.wav", "c.wav"]),
        (["a/1.wav", "b/1.wav"], ["a/1.wav", "b/1.wav"]),
        (["x/1.wav", "x/1.wav"], ["1.wav", "1.wav"]),
        (["1.wav", "b/1.wav"], ["1.wav", "b/1.wav"]),
        (["/long/directory/a/1.wav", "/long/directory/b/1.wav"], ["a/1.wav", "b/1.wav"]),
    ],
)
def test_files_of_one_name_are_told_apart(paths, names):
    assert short_names([Source("audio", path) for path in paths]) == names


def test_a_long_path_keeps_what_tells_it_apart():
    paths = [f"{letter * 30}/very-long-name-of-a-recording.wav" for letter in "ab"]
    first, second = short_names([Source("audio", path) for path in paths], 40)
    assert first != second
    assert len(first) <= 40
