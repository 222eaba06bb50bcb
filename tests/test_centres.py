"""Modality centres: measuring them, moving rows between them, and shipping them."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

import bindplug
from bindplug import text
from bindplug.centres import measure_centres, shift_between
from bindplug.directories import sha256_of
from bindplug.errors import CheckpointError, InputError, UnknownModality
from bindplug.imagebind.directory import load_directory, save_directory
from bindplug.modality import Modality
from bindplug.query import embedding
from bindplug.testing import FAKE_SPACE, FakeEncoder


@pytest.fixture
def model():
    encoder = FakeEncoder()
    encoder.centres = {
        "text": torch.full((FAKE_SPACE.width,), 0.1),
        "image": torch.linspace(-1, 1, FAKE_SPACE.width),
    }
    return encoder


def unit(row):
    return torch.nn.functional.normalize(row, dim=-1)


def test_a_recentred_row_moves_by_the_difference_of_the_centres(model):
    plain, moved = model.embed([text("a dog")]), model.embed([text("a dog")], recentre="image")
    assert torch.allclose(moved, unit(plain - model.centres["text"] + model.centres["image"]), atol=1e-6)
    assert not torch.allclose(plain, moved, atol=1e-2)


def test_recentring_on_its_own_modality_changes_nothing(model):
    assert torch.allclose(
        model.embed([text("a dog")]), model.embed([text("a dog")], recentre="text"), atol=1e-6
    )


def test_leaves_are_moved_before_they_are_summed(model):
    one, two = (model.embed([text(t)], recentre="image")[0] for t in ("a dog", "rain"))
    together = model.embed([text("a dog") + 2 * text("rain")], recentre="image")[0]
    assert torch.allclose(together, unit(one + 2 * two), atol=1e-6)


def test_rows_move_to_the_mean_of_what_is_searched(model):
    mean = torch.linspace(0, 1, FAKE_SPACE.width)
    plain, moved = model.embed([text("a dog")]), model.embed([text("a dog")], recentre=mean)
    assert torch.allclose(moved, unit(plain - model.centres["text"] + mean), atol=1e-6)
    for wrong in (mean[:3], mean * float("nan")):
        with pytest.raises(InputError, match="the mean row, 16 finite numbers"):
            model.embed([text("a dog")], recentre=wrong)


def test_vectors_that_say_what_they_were_made_from_are_moved_too(model):
    row = model.embed([text("a dog")])[0]
    moved = model.embed([embedding(row, FAKE_SPACE, modality="text")], recentre="image")
    assert torch.allclose(moved, model.embed([text("a dog")], recentre="image"), atol=1e-5)
    with pytest.raises(InputError, match="unknown modality"):
        model.embed([embedding(row, FAKE_SPACE)], recentre="image")


def test_a_missing_centre_is_named_with_the_way_to_measure_it(model):
    model.centres = {"text": model.centres["text"]}
    with pytest.raises(InputError, match=r"no centre of image \(known: text\).*measure_centres"):
        model.embed([text("a dog")], recentre="image")
    with pytest.raises(UnknownModality):
        model.embed([text("a dog")], recentre="smell")


def test_a_video_without_a_centre_counts_as_an_image(model):
    assert not shift_between(model.centres, Modality.VIDEO, "image").any()


def test_measured_centres_are_mean_rows(model):
    sample = [text(t) for t in ("a dog", "rain", "a bell")]
    centre = measure_centres(model, {"text": sample})["text"]
    assert torch.allclose(centre, model.embed(sample).mean(0))


def test_a_centre_is_measured_on_its_own_modality_alone(model):
    with pytest.raises(InputError, match="queries of image alone"):
        measure_centres(model, {"image": [text("a dog")]})
    with pytest.raises(InputError, match="no image"):
        measure_centres(model, {"image": []})


class TestShipping:
    @pytest.fixture
    def directory(self, tmp_path):
        model = bindplug.load("imagebind_tiny", modalities={"text"})
        model.centres = {"text": torch.arange(model.embedding_space.width) / 100, "image": torch.zeros(128)}
        return save_directory(model, tmp_path / "model")

    def test_centres_travel_with_the_directory(self, directory):
        centres = load_directory(directory).centres
        assert set(centres) == {"text", "image"}
        assert torch.equal(centres["text"], torch.arange(128) / 100)

    def test_damaged_centres_are_refused(self, directory):
        (directory / "centres.safetensors").write_bytes(b"x")
        with pytest.raises(CheckpointError, match="the file of modality centres is damaged"):
            load_directory(directory)

    def test_a_centre_of_another_width_is_refused(self, directory):
        file = directory / "centres.safetensors"
        save_file({name: row[:5].clone() for name, row in load_file(file).items()}, file)
        manifest = json.loads((directory / "config.json").read_text())
        manifest["centres"] |= {"size_bytes": file.stat().st_size, "sha256": sha256_of(file)}
        (directory / "config.json").write_text(json.dumps(manifest))
        with pytest.raises(CheckpointError, match="no row of 128 numbers"):
            load_directory(directory)

    def test_a_directory_without_centres_has_none(self, tmp_path):
        model = bindplug.load("imagebind_tiny", modalities={"text"})
        model.centres = {}
        assert not load_directory(save_directory(model, tmp_path / "model")).centres
