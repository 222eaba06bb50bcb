"""Modality centers: measuring them, moving rows between them, and shipping them."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

import bindplug
from bindplug import text
from bindplug.centers import measure_centers, shift_between
from bindplug.directories import sha256_of
from bindplug.errors import CheckpointError, InputError, UnknownModality
from bindplug.imagebind.directory import load_directory, save_directory
from bindplug.modality import Modality
from bindplug.query import embedding
from bindplug.testing import FAKE_SPACE, FakeEncoder


@pytest.fixture
def model():
    encoder = FakeEncoder()
    encoder.centers = {
        "text": torch.full((FAKE_SPACE.width,), 0.1),
        "image": torch.linspace(-1, 1, FAKE_SPACE.width),
    }
    return encoder


def unit(row):
    return torch.nn.functional.normalize(row, dim=-1)


def test_a_recentered_row_moves_by_the_difference_of_the_centers(model):
    plain, moved = model.embed([text("a dog")]), model.embed([text("a dog")], recenter="image")
    assert torch.allclose(moved, unit(plain - model.centers["text"] + model.centers["image"]), atol=1e-6)
    assert not torch.allclose(plain, moved, atol=1e-2)


def test_recentering_on_its_own_modality_changes_nothing(model):
    assert torch.allclose(
        model.embed([text("a dog")]), model.embed([text("a dog")], recenter="text"), atol=1e-6
    )


def test_leaves_are_moved_before_they_are_summed(model):
    one, two = (model.embed([text(t)], recenter="image")[0] for t in ("a dog", "rain"))
    together = model.embed([text("a dog") + 2 * text("rain")], recenter="image")[0]
    assert torch.allclose(together, unit(one + 2 * two), atol=1e-6)


def test_rows_move_to_the_mean_of_what_is_searched(model):
    mean = torch.linspace(0, 1, FAKE_SPACE.width)
    plain, moved = model.embed([text("a dog")]), model.embed([text("a dog")], recenter=mean)
    assert torch.allclose(moved, unit(plain - model.centers["text"] + mean), atol=1e-6)
    for wrong in (mean[:3], mean * float("nan")):
        with pytest.raises(InputError, match="the mean row, 16 finite numbers"):
            model.embed([text("a dog")], recenter=wrong)


def test_vectors_that_say_what_they_were_made_from_are_moved_too(model):
    row = model.embed([text("a dog")])[0]
    moved = model.embed([embedding(row, FAKE_SPACE, modality="text")], recenter="image")
    assert torch.allclose(moved, model.embed([text("a dog")], recenter="image"), atol=1e-5)
    with pytest.raises(InputError, match="unknown modality"):
        model.embed([embedding(row, FAKE_SPACE)], recenter="image")


def test_a_missing_center_is_named_with_the_way_to_measure_it(model):
    model.centers = {"text": model.centers["text"]}
    with pytest.raises(InputError, match=r"no center of image \(known: text\).*measure_centers"):
        model.embed([text("a dog")], recenter="image")
    with pytest.raises(UnknownModality):
        model.embed([text("a dog")], recenter="smell")


def test_a_video_without_a_center_counts_as_an_image(model):
    assert not shift_between(model.centers, Modality.VIDEO, "image").any()


def test_measured_centers_are_mean_rows(model):
    sample = [text(t) for t in ("a dog", "rain", "a bell")]
    center = measure_centers(model, {"text": sample})["text"]
    assert torch.allclose(center, model.embed(sample).mean(0))


def test_a_center_is_measured_on_its_own_modality_alone(model):
    with pytest.raises(InputError, match="queries of image alone"):
        measure_centers(model, {"image": [text("a dog")]})
    with pytest.raises(InputError, match="no image"):
        measure_centers(model, {"image": []})


class TestShipping:
    @pytest.fixture
    def directory(self, tmp_path):
        model = bindplug.load("imagebind_tiny", modalities={"text"})
        model.centers = {"text": torch.arange(model.embedding_space.width) / 100, "image": torch.zeros(128)}
        return save_directory(model, tmp_path / "model")

    def test_centers_travel_with_the_directory(self, directory):
        centers = load_directory(directory).centers
        assert set(centers) == {"text", "image"}
        assert torch.equal(centers["text"], torch.arange(128) / 100)

    def test_damaged_centers_are_refused(self, directory):
        (directory / "centers.safetensors").write_bytes(b"x")
        with pytest.raises(CheckpointError, match="the file of modality centers is damaged"):
            load_directory(directory)

    def test_a_center_of_another_width_is_refused(self, directory):
        file = directory / "centers.safetensors"
        save_file({name: row[:5].clone() for name, row in load_file(file).items()}, file)
        manifest = json.loads((directory / "config.json").read_text())
        manifest["centers"] |= {"size_bytes": file.stat().st_size, "sha256": sha256_of(file)}
        (directory / "config.json").write_text(json.dumps(manifest))
        with pytest.raises(CheckpointError, match="no row of 128 numbers"):
            load_directory(directory)

    def test_a_directory_without_centers_has_none(self, tmp_path):
        model = bindplug.load("imagebind_tiny", modalities={"text"})
        model.centers = {}
        assert not load_directory(save_directory(model, tmp_path / "model")).centers
