"""CLIPModel's attributes, attention weights and gradient checkpointing, beside a CLIPModel of the same weights."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

import bindplug_transformers as bt
from bindplug.errors import InputError
from tests.transformers.test_clip_parity import clip_like, copy_into_clip
from tests.transformers.tiny import DTYPE, TRANSFORMERS_4, rows_of

CLOSE = {"rtol": 1e-4, "atol": 1e-5}


@pytest.fixture(scope="module")
def clip(model, network):
    clip = copy_into_clip(network, clip_like(model.config)).eval()
    if hasattr(clip, "set_attn_implementation"):  # older releases fall back by themselves
        clip.set_attn_implementation("eager")  # the fused kernel returns no weights
    return clip


@pytest.fixture(scope="module")
def text(inputs):
    return {"input_ids": inputs["input_ids"], "attention_mask": inputs["attention_mask"]}


@pytest.fixture(scope="module")
def image(inputs):
    return {"pixel_values": inputs["pixel_values"]}


@torch.no_grad()
@pytest.mark.parametrize(("part", "projection"), [("vision", "visual"), ("text", "text")])
def test_parts_compute_what_clips_compute(model, clip, text, image, part, projection):
    inputs = image if part == "vision" else text
    ours = getattr(model, f"{part}_model")(**inputs, output_hidden_states=True)
    theirs = getattr(clip, f"{part}_model")(**inputs, output_hidden_states=True)
    torch.testing.assert_close(ours.pooler_output, theirs.pooler_output, **CLOSE)
    torch.testing.assert_close(ours.last_hidden_state, theirs.last_hidden_state, **CLOSE)
    assert len(ours.hidden_states) == len(theirs.hidden_states)
    rows = getattr(model, f"{projection}_projection")(ours.pooler_output)
    name = "image" if part == "vision" else "text"
    torch.testing.assert_close(rows, model.network.encode(name, next(iter(inputs.values()))), **CLOSE)
    assert isinstance(getattr(model, f"{part}_model")(**inputs, return_dict=False), tuple)


def test_the_scale_is_the_encoders(model, network):
    assert model.logit_scale is network.logit_scale
    assert float(model.logit_scale.detach().exp()) == pytest.approx(network.scale_of("text"))


def test_widths_are_clips(model, clip, network):
    for name in ("projection_dim", "vision_embed_dim", "text_embed_dim"):
        assert getattr(model, name) == getattr(clip, name)
    audio = bt.ImageBindModel(bt.ImageBindConfig(network.config, modalities=["audio"]))
    assert audio.vision_embed_dim == 32


@pytest.mark.parametrize("part", ["vision", "text"])
def test_the_parts_of_layers_have_clips_names_and_numbers(model, clip, part):
    layers = getattr(model, f"{part}_model").encoder.layers
    theirs = getattr(clip, f"{part}_model").encoder.layers
    assert len(layers) == len(theirs)
    for layer, expected in zip(layers, theirs, strict=True):
        compared = 0
        for name, parameter in expected.named_parameters():
            torch.testing.assert_close(attributes(layer, name), parameter)
            compared += 1
        assert compared == 16


def attributes(value, path):
    for name in path.split("."):
        value = getattr(value, name)
    return value


def test_the_parts_of_layers_can_be_replaced_under_clips_names(fresh, image):
    layer = fresh.vision_model.encoder.layers[1]
    names = set(fresh.state_dict())
    with torch.no_grad():
        before = fresh(**image).image_embeds
        layer.layer_norm1 = nn.LayerNorm(32).requires_grad_(False)
        nn.init.constant_(layer.layer_norm1.weight, 2.0)
        changed = fresh(**image).image_embeds
    assert fresh.network.towers["vision"].blocks[1].norm_1 is layer.layer_norm1
    assert not torch.allclose(before, changed)
    assert set(fresh.state_dict()) == names


@pytest.mark.parametrize(("part", "tower"), [("vision", "vision"), ("text", "text")])
def test_freezing_a_part_freezes_its_tower_but_not_its_projection(fresh, part, tower):
    for parameter in getattr(fresh, f"{part}_model").parameters():
        parameter.requires_grad_(False)
    trained = {name for name, p in fresh.named_parameters() if p.requires_grad and f"towers.{tower}." in name}
    assert trained == {f"network.towers.{tower}.head.proj.weight"}
    assert all(p.requires_grad for p in fresh.network.towers["audio"].parameters())


def test_parts_belong_to_no_state_dict(fresh):
    before = set(fresh.state_dict())
    assert fresh.vision_model.encoder.layers is fresh.network.towers["vision"].blocks
    assert fresh.text_model.embeddings.token_embedding is fresh.get_input_embeddings()
    assert set(fresh.state_dict()) == before


def test_projections_can_be_replaced_and_towers_cannot(fresh, image):
    fresh.visual_projection = nn.Linear(32, 16, bias=False)
    assert fresh.network.towers["vision"].head.proj is fresh.visual_projection
    scale = nn.Parameter(torch.tensor(1.0))
    fresh.logit_scale = scale
    assert fresh.network.logit_scale is scale
    with pytest.raises(AttributeError, match="cannot be replaced"):
        fresh.vision_model = nn.Identity()


def test_models_of_one_tower_have_its_part_only(network, image, text):
    vision = bt.ImageBindVisionModelWithProjection.from_bindplug(network)
    torch.testing.assert_close(
        vision.visual_projection(vision.vision_model(**image).pooler_output), vision(**image).image_embeds
    )
    words = bt.ImageBindTextModelWithProjection.from_bindplug(network)
    torch.testing.assert_close(
        words.text_projection(words.text_model(**text).pooler_output), words(**text).text_embeds
    )
    assert not hasattr(vision, "text_model")
    assert not hasattr(words, "visual_projection")


# Attention weights


@torch.no_grad()
@pytest.mark.parametrize("part", ["vision", "text"])
def test_attention_weights_are_clips(model, clip, text, image, part):
    inputs = image if part == "vision" else text
    ours = getattr(model, f"{part}_model")(**inputs, output_attentions=True).attentions
    theirs = getattr(clip, f"{part}_model")(**inputs, output_attentions=True).attentions
    assert len(ours) == len(theirs) == (3 if part == "vision" else 2)
    for own, expected in zip(ours, theirs, strict=True):
        torch.testing.assert_close(own, expected, **CLOSE)
        torch.testing.assert_close(own.sum(-1), torch.ones(own.shape[:-1]))


@torch.no_grad()
def test_every_entrance_returns_them_and_the_same_embeddings(model, network, text, image):
    both = {**text, **image}
    plain, full = model(**both), model(**both, output_attentions=True, output_hidden_states=True)
    torch.testing.assert_close(full.logits_per_image, plain.logits_per_image, **CLOSE)
    assert full.text_model_output.attentions[0].shape[1] == 4
    assert len(full.vision_model_output.hidden_states) == 4
    assert model(**both, output_hidden_states=True).text_model_output.attentions is None
    vision = bt.ImageBindVisionModelWithProjection.from_bindplug(network)
    assert len(vision(**image, output_attentions=True).attentions) == 3
    assert vision(**image, output_attentions=True).hidden_states is None
    if not TRANSFORMERS_4:
        features = model.get_text_features(**text, output_attentions=True)
        torch.testing.assert_close(features.pooler_output, network.encode_text(text["input_ids"]), **CLOSE)
        assert len(features.attentions) == 2


def test_extra_keys_have_a_weight_too(network):
    block = network.towers["depth"].blocks[0]
    x = torch.randn(2, 5, 24)
    out, weights = block.forward_with_weights(x)
    assert weights.shape == (2, 4, 5, 6)
    torch.testing.assert_close(out, block(x), **CLOSE)


# Gradient checkpointing


@pytest.mark.filterwarnings("ignore:.*gradient_checkpointing.*:FutureWarning")
@pytest.mark.parametrize("arguments", [{}, {"gradient_checkpointing_kwargs": {"use_reentrant": True}}])
def test_gradient_checkpointing_gives_the_same_gradients(fresh, inputs, arguments):
    for tower in fresh.network.towers.values():
        tower.head.dropout = 0.0
        for block in tower.blocks:
            block.drop_path = 0.0
    plain = copy.deepcopy(fresh).train()
    fresh.train().gradient_checkpointing_enable(**arguments)
    assert fresh.is_gradient_checkpointing
    runs: list[str] = []
    fresh.network.towers["audio"].blocks[0].register_forward_pre_hook(lambda *_: runs.append("audio"))
    for model in (plain, fresh):
        output = model(**inputs)
        (output.logits_per_audio.sum() + output.logits_per_image.square().sum()).backward()
    assert len(runs) == 2, "forward, and again in the backward pass"
    for (name, expected), parameter in zip(plain.named_parameters(), fresh.parameters(), strict=True):
        if expected.grad is not None:
            torch.testing.assert_close(parameter.grad, expected.grad, rtol=1e-4, atol=1e-6, msg=name)


# Names of bindplug's models


def test_from_pretrained_takes_a_registered_name():
    model = bt.ImageBindModel.from_pretrained("imagebind_tiny")
    assert not model.training
    ids = model.network.tokenizer(["a dog"])
    expected = bt.ImageBindModel.from_bindplug("imagebind_tiny").network.encode_text(ids)
    torch.testing.assert_close(model.network.encode_text(ids), expected)
    words = bt.ImageBindTextModelWithProjection.from_pretrained(
        "imagebind_tiny", **{DTYPE: torch.bfloat16}, device_map="cpu", low_cpu_mem_usage=True
    )
    assert words.dtype == torch.bfloat16
    assert set(words.network.towers) == {"text"}


def test_from_pretrained_takes_a_converted_directory(network, tmp_path):
    from bindplug.imagebind import save_directory

    path = save_directory(network, tmp_path / "converted")
    model = bt.ImageBindModel.from_pretrained(path, modalities={"depth"})
    assert set(model.network.towers) == {"depth"}
    assert bt.ImageBindProcessor.from_pretrained("imagebind_tiny").image_size == 224


def test_options_that_cannot_be_honored_are_refused():
    with pytest.raises(InputError, match="quantization_config"):
        bt.ImageBindModel.from_pretrained("imagebind_tiny", quantization_config={"bits": 4})
    with pytest.raises(InputError, match="one device"):
        bt.ImageBindModel.from_pretrained("imagebind_tiny", device_map={"network.towers.vision": 0})


def test_names_of_nobody_go_to_transformers():
    with pytest.raises(OSError, match="offline mode"):
        bt.ImageBindModel.from_pretrained("imagebind_enormous", local_files_only=True)


@torch.no_grad()
def test_hooks_on_layers_are_run_by_every_entrance(fresh, image):
    outputs = []
    fresh.vision_model.encoder.layers[-1].register_forward_hook(lambda *call: outputs.append(call[2]))
    fresh(**image)
    fresh.get_image_features(**image)
    expected = fresh.vision_model(**image).last_hidden_state
    assert len(outputs) == 3
    for output in outputs:
        torch.testing.assert_close(output, expected, **CLOSE)


@pytest.mark.parametrize("path", ["vision_model", "text_model.encoder", "vision_model.embeddings"])
@pytest.mark.parametrize(
    "method", ["register_forward_hook", "register_forward_pre_hook", "register_full_backward_hook"]
)
def test_hooks_on_what_the_model_does_not_call_warn(fresh, path, method):
    part = fresh
    for name in path.split("."):
        part = getattr(part, name)
    with pytest.warns(UserWarning, match="does not call this"):
        getattr(part, method)(lambda *call: None)


@torch.no_grad()
def test_parts_run_by_hand_compute_what_clips_do(model, clip, inputs):
    """Prompt learning and dense features call the towers' parts one by one."""
    text, image = inputs["input_ids"], inputs["pixel_values"]
    for whose in (model, clip):
        vision = whose.vision_model
        states = vision.encoder(inputs_embeds=vision.pre_layrnorm(vision.embeddings(image)))[0]
        rows = whose.visual_projection(vision.post_layernorm(states[:, 0]))
        torch.testing.assert_close(rows, rows_of(clip.get_image_features(image)), **CLOSE)
    ours, theirs = model.text_model.embeddings, clip.text_model.embeddings
    tokens = ours.token_embedding(text)
    torch.testing.assert_close(ours(inputs_embeds=tokens), theirs(input_ids=text), **CLOSE)
    states = model.text_model.encoder(inputs_embeds=ours(text))[0]
    states = model.text_model.final_layer_norm(states)[torch.arange(len(text)), text.argmax(-1)]
    rows = model.text_projection(states)
    torch.testing.assert_close(rows, rows_of(clip.get_text_features(text)), **CLOSE)
    with pytest.raises(InputError, match="interpolate_pos_encoding"):
        model.vision_model.embeddings(torch.randn(1, 3, 84, 84))
    with pytest.raises(InputError, match="position_ids"):
        ours(text, position_ids=torch.arange(1, text.shape[1] + 1))


def test_parts_have_the_mode_and_dtype_of_their_tower(fresh):
    assert fresh.vision_model.dtype == torch.float32
    assert fresh.text_model.device == fresh.device
    assert not fresh.vision_model.training
    fresh.train()
    assert fresh.vision_model.encoder.training
    fresh.vision_model.eval()
    assert not fresh.vision_model.training
    assert fresh.text_model.training
