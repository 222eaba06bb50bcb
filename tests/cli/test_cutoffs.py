"""`bindplug cutoffs`, and what `bindplug classify` makes of them."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

import bindplug as package
from bindplug.zeroshot import NONE_OF_THESE, class_queries

LABELS = ["a dog", "a car"]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """A folder of forty noisy pictures."""
    folder = tmp_path_factory.mktemp("absent")
    draw = np.random.default_rng(4)
    for index in range(40):
        color = draw.integers(0, 256, 3)
        noise = draw.integers(-30, 30, (32, 32, 3))
        Image.fromarray((color + noise).clip(0, 255).astype(np.uint8)).save(folder / f"{index:02}.png")
    return folder


def test_cutoffs_are_made_and_used(bindplug, model_directory, pictures, tmp_path):
    file = tmp_path / "cutoffs.json"
    common = [
        str(pictures),
        "--modality",
        "image",
        "--labels",
        ",".join(LABELS),
        "--model",
        model_directory,
        "--json",
    ]
    ran = bindplug("cutoffs", *common, "--fpr", "0.2", "-o", str(file))
    assert ran.code == 0, ran.err
    model = package.load(model_directory)
    queries = [package.image(path) for path in sorted(pictures.glob("*.png"))]
    expected = package.cutoffs(model, class_queries(model, LABELS, ["{}"]), queries, fpr=0.2)
    (pair,) = ran.json["pairs"]
    assert pair["threshold"] == pytest.approx(expected.threshold("text", "image"), abs=1e-5)
    assert (pair["sample_size"], ran.json["skipped"]) == (40, [])
    used = bindplug("classify", *common, "--none-of-these", str(file))
    assert used.code == 0, used.err
    none = [item["none_of_these"] for item in used.json["files"]]
    assert sum(none) in range(32, 37)  # 7 of 40 may lie above; rounding may move the one at the threshold
    for item in used.json["files"]:
        assert (item["top"][0]["label"] == NONE_OF_THESE) is item["none_of_these"]
    again = bindplug("cutoffs", *common, "-o", str(file))
    assert again.code == 1
    assert "--overwrite" in again.err


def test_a_missing_directory_is_told_before_the_model_is_loaded(bindplug, pictures, tmp_path):
    output = tmp_path / "missing" / "cutoffs.json"
    ran = bindplug(
        "cutoffs", str(pictures), "--modality", "image", "--labels", "a", "--model", "none", "-o", str(output)
    )
    assert ran.code == 1
    assert "there is no directory" in ran.err


def test_too_few_files_and_a_wrong_file_are_refused(bindplug, model_directory, pictures, tmp_path, files):
    file = tmp_path / "cutoffs.json"
    arguments = ["--labels", "a dog,a car", "--model", model_directory]
    ran = bindplug("cutoffs", str(pictures), "--modality", "image", *arguments, "-o", str(file))
    assert ran.code == 1
    assert "40 absent items of image" in ran.err
    assert "at least 99" in ran.err
    assert not file.exists()
    file.write_text(json.dumps({"format": "bindplug-cutoffs", "format_version": 9}))
    ran = bindplug("classify", "--audio", files["audio"], *arguments, "--none-of-these", str(file))
    assert ran.code == 1
    assert "version 9" in ran.err
