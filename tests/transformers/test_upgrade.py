"""bindplug.upgrade of a transformers CLIPModel."""

from __future__ import annotations

import pytest
import torch

import bindplug
import bindplug_transformers.plugin
from bindplug.adapters import Upgraded
from bindplug.cards import AdapterCard
from bindplug.errors import InputError, ModalityNotLoaded, SpaceMismatch
from bindplug.imagebind import ImageBind
from bindplug_transformers.adapter import upgrade
from tests.transformers.test_clip_parity import clip_like, copy_into_clip
from tests.transformers.tiny import rows_of


@pytest.fixture(scope="module")
def clip(model, network):
    return copy_into_clip(network, clip_like(model.config))


@pytest.fixture(scope="module")
def upgraded(clip, network):
    return upgrade(clip, network)


def test_the_plugin_recognises_it(clip, model):
    cards: list[AdapterCard] = []
    bindplug_transformers.plugin.register_adapters(cards.append)
    assert [card.name for card in cards] == ["transformers_clip"]
    assert cards[0].recognises(clip)
    assert not cards[0].recognises(model)


def test_it_is_the_original_and_more(upgraded, clip, network, inputs):
    assert isinstance(upgraded, Upgraded)
    assert upgraded.config is clip.config
    assert upgraded.get_image_features == clip.get_image_features
    both = {name: inputs[name] for name in ("input_ids", "pixel_values")}
    torch.testing.assert_close(upgraded(**both).logits_per_image, clip(**both).logits_per_image)
    for name, argument in (("audio", "input_features"), ("depth", "depth_values"), ("imu", "imu_values")):
        x = inputs[argument]
        torch.testing.assert_close(
            rows_of(getattr(upgraded, f"get_{name}_features")(x)), network.encode(name, x)
        )


def test_queries_of_all_kinds(upgraded, network, sources, options):
    queries = [getattr(bindplug, name)(source, **options.get(name, {})) for name, source in sources.items()]
    torch.testing.assert_close(upgraded.embed(queries), network.embed(queries), atol=1e-4, rtol=1e-4)
    texts = [bindplug.text("a dog"), bindplug.text("rain")]
    expected = network.similarity(queries[3:4], texts)
    torch.testing.assert_close(upgraded.similarity(queries[3:4], texts), expected, atol=1e-4, rtol=1e-4)


def test_another_space_is_told_apart_by_weights(clip, model, network):
    torch.manual_seed(5)
    other = ImageBind(network.config).eval()
    with pytest.raises(SpaceMismatch, match="bindplug bridge fit"):
        upgrade(clip, other)
    quick = clip_like(model.config)
    quick.config.text_config.hidden_act = "quick_gelu"
    with pytest.raises(SpaceMismatch, match="quick_gelu"):
        upgrade(quick, network)
    with pytest.raises(SpaceMismatch, match="bindplug bridge fit"):
        upgrade(clip)
    nearly = copy_into_clip(network, clip_like(model.config))
    with torch.no_grad():
        nearly.vision_model.embeddings.class_embedding[0] += 0.01
    with pytest.raises(SpaceMismatch, match="class_embedding"):
        upgrade(nearly, network)


def test_half_precision_weights_are_recognised(model, network):
    clip = copy_into_clip(network, clip_like(model.config))
    assert upgrade(clip.half(), network).modalities[0] == "image"


def test_sensors_over_a_bridge(model, network, inputs, sources):
    torch.manual_seed(6)
    stranger = clip_like(model.config)
    target = bindplug.EmbeddingSpace("someone:else", 16)

    class Negated:
        source, target = network.embedding_space, bindplug.EmbeddingSpace("someone:else", 16)

        def __call__(self, rows, modality="text"):
            assert modality == "depth"
            return -rows

    bridged = upgrade(stranger, network, bridge=Negated())
    assert bridged.embedding_space == target
    expected = -network.encode_depth(inputs["depth_values"], normalize=True)
    torch.testing.assert_close(bridged.encode_depth(inputs["depth_values"]), expected)
    torch.testing.assert_close(bridged.embed(bindplug.depth(sources["depth"])), expected)
    picture = rows_of(stranger.get_image_features(inputs["pixel_values"]))
    torch.testing.assert_close(bridged.encode_image(inputs["pixel_values"]), picture)
    with pytest.raises(InputError, match=r"bindplug\.load"):
        upgrade(stranger, bridge=Negated())
    with pytest.raises(InputError, match="Bridge"):
        upgrade(stranger, network, bridge=3)


def test_a_tower_nobody_added(clip, network):
    lean = ImageBind(network.config, ["text", "image", "audio"]).eval()
    lean.load_state_dict({n: t for n, t in network.state_dict().items() if n in lean.state_dict()})
    with pytest.raises(ModalityNotLoaded, match="depth"):
        upgrade(clip, lean).encode_depth(torch.zeros(1, 1, 56, 56))
