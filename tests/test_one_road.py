"""One query over one bridge has one row, whichever tool takes it."""

from __future__ import annotations

import open_clip
import pytest
import torch
import transformers

import bindplug
from bindplug import audio, depth, image, text
from bindplug.bridges import as_bridge, map_queries
from bindplug_detic import Detic
from bindplug_diffusers.query_embedder import QueryEmbedder
from bindplug_toyworld import Scene

pytestmark = pytest.mark.filterwarnings("ignore::bindplug.bridges.BridgeQuality")


@pytest.fixture(scope="module")
def model():
    return bindplug.load("imagebind_tiny")


@pytest.fixture(scope="module")
def detector(model):
    return bindplug.upgrade(Detic.from_pretrained("toy_detic"), model)


@pytest.fixture(scope="module")
def bridge(model):
    foreign = next(card for card in bindplug.list_models() if card.name == "toy_foreign_clip")
    loaded = as_bridge("toy_bridge", source=model.embedding_space, target=foreign.space)
    assert loaded is not None
    return loaded


@pytest.fixture(scope="module")
def leaves(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scenes")
    dog = Scene(380, "eval", labels=["dog"], fps=1).write(folder / "dog")
    train = Scene(391, "eval", labels=["train"], fps=1).write(folder / "train")
    return {
        "picture": image(str(dog["image"])),
        "bark": audio(str(dog["audio"])),
        "engine": audio(str(train["audio"])),
        "shape": depth(str(train["depth"])),
        "words": text("a train"),
    }


@pytest.fixture(scope="module")
def queries(leaves):
    return {
        "a sound": leaves["bark"],
        "a sound from which another is taken": leaves["bark"] - 0.5 * leaves["engine"],
        "a sound and a shape": 0.8 * leaves["engine"] + 1.3 * leaves["shape"],
        "a picture and a sound": leaves["picture"] + 0.9 * leaves["engine"],
        "a picture without what words say": leaves["picture"] - 0.9 * leaves["words"],
        "words and a sound": 0.5 * leaves["words"] + 0.6 * leaves["engine"],
    }


SENSORS_ALONE = ("a sound", "a sound from which another is taken", "a sound and a shape")
"""Pictures and words pass a CLIP's own towers, so only queries of sensors cross the bridge alone."""


def same(rows, expected):
    torch.testing.assert_close(rows.detach().cpu().float(), expected, atol=2e-6, rtol=1e-5)


@pytest.fixture(scope="module")
def expected(model, bridge, queries):
    return map_queries(model, bridge, list(queries.values()))


def test_the_bridges_own_embed(model, bridge, queries, expected):
    same(bridge.embed(model, list(queries.values())), expected)


def test_detic(detector, queries, expected):
    same(detector.prompt_vectors(list(queries.values()), route="linear"), expected)


def test_diffusers(model, bridge, queries, expected):
    same(QueryEmbedder(model, bridge, recenter=False).embed(list(queries.values())), expected)


def test_diffusers_moves_every_leaf_to_where_images_lie_on_the_same_road(model, bridge, queries):
    rows = QueryEmbedder(model, bridge, recenter=True).embed(list(queries.values()))
    same(rows, map_queries(model, bridge, list(queries.values()), recenter="image"))


def sensor_rows(queries, expected):
    names = list(queries)
    return [queries[name] for name in SENSORS_ALONE], expected[[names.index(name) for name in SENSORS_ALONE]]


def test_open_clip(model, bridge, queries, expected):
    torch.manual_seed(0)
    vision = {"image_size": 32, "layers": 1, "width": 32, "head_width": 16, "patch_size": 16}
    clip = open_clip.CLIP(64, vision, {"context_length": 77, "width": 32, "heads": 2, "layers": 1}).eval()
    sensors, rows = sensor_rows(queries, expected)
    same(bindplug.upgrade(clip, model, bridge=bridge).embed(sensors), rows)


def test_transformers(model, bridge, queries, expected):
    torch.manual_seed(0)
    small = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = transformers.CLIPConfig(
        text_config={**small, "vocab_size": 49408},
        vision_config={**small, "image_size": 32, "patch_size": 16},
        projection_dim=64,
    )
    clip = transformers.CLIPModel(config).eval()
    sensors, rows = sensor_rows(queries, expected)
    same(bindplug.upgrade(clip, model, bridge=bridge).embed(sensors), rows)
