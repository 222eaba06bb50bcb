"""The example files are what they say, and the bundled model recognizes them."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import bindplug
from bindplug import audio, depth, image, text
from bindplug.errors import InputError
from bindplug.examples import FILES, path
from recipes.example_files import write


@pytest.fixture(scope="module")
def model():
    return bindplug.load("imagebind_tiny")


@pytest.mark.parametrize(
    ("query", "best"),
    [
        (audio(path("bark.wav")), 0),
        (audio(path("bell.wav")), 1),
        (image(path("meadow.png")), 0),
        (depth(path("train_depth.png")), 2),
    ],
)
def test_each_file_shows_its_thing(model, query, best):
    words = [text("a dog"), text("a bell"), text("a train")]
    assert int(model.similarity([query], words).argmax()) == best


def test_every_file_is_named_and_small():
    directory = Path(path(FILES[0])).parent
    assert {file.name for file in directory.iterdir() if file.suffix in (".wav", ".png")} == set(FILES)
    assert sum((directory / name).stat().st_size for name in FILES) < 400_000


def test_an_unknown_name_names_those_there_are():
    with pytest.raises(InputError, match=r"bark\.wav, bell\.wav"):
        path("moo.wav")


def test_the_files_are_what_their_recipe_renders(tmp_path):
    write(tmp_path)
    for name in FILES:
        rendered, shipped = (_numbers(Path(file)) for file in (tmp_path / name, path(name)))
        np.testing.assert_allclose(rendered, shipped, atol=2, err_msg=name)


def _numbers(file):
    if file.suffix == ".png":
        with Image.open(file) as picture:
            return np.asarray(picture).astype(float)
    with wave.open(str(file)) as sound:
        return np.frombuffer(sound.readframes(-1), "<i2").astype(float)
