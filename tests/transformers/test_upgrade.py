"""bindplug.upgrade of a transformers CLIPModel."""

from __future__ import annotations

import pytest
import torch

import bindplug
import bindplug_transformers.plugin
from bindplug.adapters import Upgraded
from bindplug.bridges import BridgeQuality, LinearBridge, compose, map_queries
from bindplug.cards import AdapterCard
from bindplug.errors import InputError, ModalityNotLoaded, SpaceMismatch, UnsupportedTarget
from bindplug.imagebind import ImageBind
from bindplug.query import Query
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
    assert cards[0].recognises(torch.nn.DataParallel(clip))
    assert not cards[0].recognises(torch.nn.DataParallel(torch.nn.Linear(1, 1)))


def test_a_model_that_takes_queries_already_needs_no_upgrade(model, upgraded, network):
    for target in (model, torch.nn.DataParallel(model), upgraded, network):
        with pytest.raises(UnsupportedTarget, match=r"takes queries already: model\.(network\.)?embed"):
            bindplug.upgrade(target)


@pytest.mark.parametrize("wrap", [torch.nn.DataParallel, lambda clip: torch.compile(clip, backend="eager")])
def test_a_wrapped_clip_is_recognized_and_its_wrapper_runs_calls(clip, network, inputs, wrap):
    wrapper = wrap(clip)
    calls = []
    wrapper.register_forward_hook(lambda *_: calls.append(1))
    upgraded = bindplug.upgrade(wrapper, network)
    assert upgraded.original is clip
    assert upgraded.wrapper is wrapper
    assert upgraded.config is clip.config
    x = inputs["input_features"]
    torch.testing.assert_close(rows_of(upgraded.get_audio_features(x)), network.encode("audio", x))
    assert not calls
    both = {name: inputs[name] for name in ("input_ids", "pixel_values")}
    torch.testing.assert_close(upgraded(**both).logits_per_image, clip(**both).logits_per_image)
    assert calls == [1]
    if isinstance(wrapper, torch.nn.DataParallel):
        assert upgraded.device_ids == wrapper.device_ids
    with pytest.raises(AttributeError, match="no_such"):
        upgraded.no_such  # noqa: B018


def test_distributed_data_parallel_is_looked_through(clip, network, tmp_path):
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    try:
        assert bindplug.upgrade(torch.nn.parallel.DistributedDataParallel(clip), network).original is clip
    finally:
        torch.distributed.destroy_process_group()


def test_it_is_the_original_and_more(upgraded, clip, network, inputs):
    assert isinstance(upgraded, Upgraded)
    assert upgraded.config is clip.config
    assert isinstance(upgraded, type(clip))
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
    with pytest.raises(SpaceMismatch, match="QuickGELU"):
        upgrade(quick, network)
    with pytest.raises(SpaceMismatch, match="bindplug bridge fit"):
        upgrade(clip)
    nearly = copy_into_clip(network, clip_like(model.config))
    with torch.no_grad():
        nearly.vision_model.embeddings.class_embedding += 0.01
    with pytest.raises(SpaceMismatch, match="cls_token"):
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
        kind = "linear"
        modalities = ("text", "depth")
        target_mean = torch.full((16,), 0.1)

        def __call__(self, rows, modality="text"):
            assert set([modality] if isinstance(modality, str) else modality) == {"depth"}
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


def test_queries_over_a_bridge_are_those_of_map_queries(model, network, sources, options):
    torch.manual_seed(7)
    names = ("text", "depth", "thermal", "audio", "imu", "image")
    rows = {name: torch.nn.functional.normalize(torch.randn(40, 16), dim=-1) for name in ("here", "there")}
    target = bindplug.EmbeddingSpace("someone:else", 16)
    with pytest.warns(BridgeQuality):
        bridge = LinearBridge.fit(rows["here"], rows["there"], source=network.embedding_space, target=target)
    bridged = upgrade(clip_like(model.config), network, bridge=bridge)
    leaf = {name: getattr(bindplug, name)(sources[name], **options.get(name, {})) for name in names}
    queries = [
        leaf["depth"] - 0.4 * leaf["thermal"],
        leaf["audio"],
        -1.0 * leaf["imu"],
        leaf["audio"] + leaf["depth"],
    ]
    expected = map_queries(network, bridge, queries)
    torch.testing.assert_close(bridged.embed(queries), expected, atol=1e-6, rtol=1e-5)
    own = bridged.embed([leaf["text"], leaf["image"]])
    mixed = bridged.embed(leaf["text"] + leaf["audio"])
    parts = {0: own[0], 1: expected[1]}
    composed = compose(Query([(1.0, 0), (1.0, 1)]), parts, bridge.target_mean)
    torch.testing.assert_close(mixed[0], composed, atol=1e-6, rtol=1e-5)
    raw = bridged.encode_text(bridged.tokenizer([sources["text"]]), normalize=True)
    torch.testing.assert_close(own[:1], raw, atol=1e-6, rtol=1e-5)
    with pytest.raises(InputError, match="recenter"):
        bridged.embed(leaf["text"], recenter="image")


def test_the_model_on_this_machine_is_recognized_without_loading_its_towers(
    clip, monkeypatch, network, tmp_path
):
    from bindplug.cards import ModelCard
    from bindplug.imagebind import save_directory

    path = save_directory(network, tmp_path / "model")
    card = ModelCard(
        name="small",
        description="a test",
        space=network.embedding_space,
        modalities=network.modalities,
        license="MIT",
        weights="no:where",
    )
    loaded = []

    def load(name, **arguments):
        loaded.append((name, arguments["modalities"]))
        return ImageBind(network.config, arguments["modalities"], space=network.embedding_space).eval()

    monkeypatch.setattr(bindplug, "list_models", lambda: [card])
    monkeypatch.setattr(bindplug, "load", load)
    monkeypatch.setattr("bindplug_transformers.adapter.find_weights", lambda _: path)
    upgraded = upgrade(clip)
    assert loaded == [("small", ["audio", "depth", "thermal", "imu"])]
    assert set(upgraded.modalities) == {"image", "text", "audio", "depth", "thermal", "imu"}


def test_sensors_alone_are_compared_by_their_fingerprint(clip, network, tmp_path):
    from bindplug.imagebind import load_directory, save_directory

    path = save_directory(network, tmp_path / "model")
    sensors = load_directory(path, {"audio"})
    assert upgrade(clip, sensors).modalities == ("image", "text", "audio")


def test_a_tower_nobody_added(clip, network):
    lean = ImageBind(network.config, ["text", "image", "audio"]).eval()
    lean.load_state_dict({n: t for n, t in network.state_dict().items() if n in lean.state_dict()})
    with pytest.raises(ModalityNotLoaded, match="depth"):
        upgrade(clip, lean).encode_depth(torch.zeros(1, 1, 56, 56))
