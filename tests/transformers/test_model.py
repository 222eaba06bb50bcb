"""ImageBindModel and its parts beside bindplug's own encoder."""

from __future__ import annotations

import copy
import io
import math
import pickle

import pytest
import torch
import transformers
from transformers import AutoConfig, AutoModel, AutoModelForZeroShotImageClassification
from transformers.modeling_outputs import BaseModelOutputWithPooling

import bindplug_transformers as bt
from bindplug.errors import CheckpointError
from bindplug.imagebind import save_directory
from tests.transformers.tiny import DTYPE, MODEL_INPUTS, TRANSFORMERS_4, rows_of, small_network

MODALITIES = sorted(MODEL_INPUTS)


@pytest.mark.parametrize("modality", MODALITIES)
def test_features_are_the_encoders(model, network, inputs, modality):
    x = inputs[MODEL_INPUTS[modality]]
    features = getattr(model, f"get_{modality}_features")(x)
    torch.testing.assert_close(rows_of(features), network.encode(modality, x))


def test_features_have_the_form_of_the_installed_transformers(model, inputs):
    features = model.get_audio_features(inputs["input_features"])
    if TRANSFORMERS_4:
        assert isinstance(features, torch.Tensor)
    else:
        assert isinstance(features, BaseModelOutputWithPooling)
        assert isinstance(model.get_audio_features(inputs["input_features"], return_dict=False), tuple)


def test_forward_compares_everything_with_the_texts(model, network, inputs):
    output = model(**inputs)
    unit = {m: network.encode(m, inputs[name], normalize=True) for m, name in MODEL_INPUTS.items()}
    for modality in MODALITIES:
        torch.testing.assert_close(output[f"{modality}_embeds"], unit[modality])
        if modality != "text":
            scale = network.scale_of("text" if modality in ("image", "video") else modality)
            torch.testing.assert_close(
                output[f"logits_per_{modality}"], scale * unit[modality] @ unit["text"].T
            )
    torch.testing.assert_close(output.logits_per_text, output.logits_per_image.T)
    assert output.loss is None


def test_logits_are_those_of_similarity(model, inputs, sources, options):
    import bindplug

    texts = [bindplug.text(sources["text"]), bindplug.text("a photo of a cat")]
    for name in ("audio", "depth"):
        query = getattr(bindplug, name)(sources[name], **options.get(name, {}))
        expected = model.similarity([query], texts)
        torch.testing.assert_close(
            model(**inputs)[f"logits_per_{name}"].softmax(-1), expected, atol=1e-5, rtol=1e-4
        )


def test_without_texts_images_are_the_anchors(model, network, inputs):
    output = model(pixel_values=inputs["pixel_values"], depth_values=inputs["depth_values"])
    cosines = output.depth_embeds @ output.image_embeds.T
    torch.testing.assert_close(output.logits_per_depth, cosines * network.scale_of("depth"))
    assert output.logits_per_image is None
    assert output.logits_per_text is None


def test_one_side_is_enough(model, inputs):
    assert model(input_features=inputs["input_features"]).audio_embeds.shape == (1, 16)


def test_tuples_begin_as_clips_do(model, inputs):
    both = {name: inputs[name] for name in ("input_ids", "attention_mask", "pixel_values")}
    output, values = model(**both, return_loss=True), model(**both, return_loss=True, return_dict=False)
    assert isinstance(values, tuple)
    fields = ("loss", "logits_per_image", "logits_per_text", "text_embeds", "image_embeds")
    for place, field in enumerate(fields):
        torch.testing.assert_close(values[place], output[field])


def test_sensor_loss_pulls_pairs_together(fresh, inputs):
    images, depth = (torch.cat([x[:1], -x[:1]]) for x in (inputs["pixel_values"], inputs["depth_values"]))
    optimizer = torch.optim.Adam(fresh.network.towers["depth"].parameters(), lr=1e-3)
    losses = []
    for _ in range(5):
        loss = fresh(pixel_values=images, depth_values=depth, return_loss=True).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("auto", [bt.ImageBindModel, AutoModel, AutoModelForZeroShotImageClassification])
def test_saves_and_loads(model, tmp_path, auto):
    model.save_pretrained(tmp_path)
    assert (tmp_path / "model.safetensors").is_file()
    loaded = auto.from_pretrained(tmp_path)
    assert isinstance(loaded, bt.ImageBindModel)
    assert not loaded.training
    assert loaded.embedding_space == model.embedding_space
    assert isinstance(AutoConfig.from_pretrained(tmp_path), bt.ImageBindConfig)
    expected = model.state_dict()
    assert list(loaded.state_dict()) == list(expected)
    assert all(torch.equal(tensor, expected[name]) for name, tensor in loaded.state_dict().items())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_loads_in_half_precision_with_exact_scales(model, inputs, tmp_path, dtype):
    model.save_pretrained(tmp_path)
    loaded = bt.ImageBindModel.from_pretrained(
        tmp_path, **{DTYPE: dtype}, device_map="cpu", low_cpu_mem_usage=True
    )
    assert loaded.dtype == dtype
    assert loaded.network.towers["audio"].pos_embed.dtype == dtype
    assert loaded.network.scale_of("audio") == pytest.approx(20, rel=1e-6)
    assert loaded.network.logit_scale.dtype == torch.float32
    close = loaded(**inputs).audio_embeds.float()
    torch.testing.assert_close(close, model(**inputs).audio_embeds, atol=0.05, rtol=0)


def test_a_part_of_the_towers(network, tmp_path):
    part = bt.ImageBindModel(bt.ImageBindConfig(small_network(), modalities=["audio", "text"]))
    part.save_pretrained(tmp_path)
    loaded = bt.ImageBindModel.from_pretrained(tmp_path)
    assert set(loaded.network.towers) == {"audio", "text"}
    assert loaded.config.modalities == ["text", "audio"]


def test_missing_weights_are_initialized_for_who_reads_the_loading_info(fresh, tmp_path):
    fresh.save_pretrained(tmp_path)
    state = {
        n: t for n, t in fresh.state_dict().items() if "towers.imu.head" not in n and "log_scale" not in n
    }
    fresh.save_pretrained(tmp_path, state_dict=state)
    with pytest.raises(CheckpointError, match=r"7 missing: .*output_loading_info=True"):
        bt.ImageBindModel.from_pretrained(tmp_path)
    loaded, info = bt.ImageBindModel.from_pretrained(tmp_path, output_loading_info=True)
    assert len(info["missing_keys"]) == 7
    pos_embed = loaded.network.towers["audio"].pos_embed
    assert torch.equal(pos_embed, fresh.network.towers["audio"].pos_embed)
    assert loaded.network.towers["imu"].head.proj.weight.std() > 0
    assert loaded.network.scale_of("audio") == pytest.approx(20)


def test_fresh_models_differ_and_start_at_clips_scale():
    config = bt.ImageBindConfig(small_network())
    first, second = bt.ImageBindModel(config), bt.ImageBindModel(config)
    assert first.network.logit_scale.item() == pytest.approx(math.log(1 / 0.07))
    assert not torch.equal(first.network.towers["text"].pos_embed, second.network.towers["text"].pos_embed)


def test_from_bindplug_shares_a_model_and_reads_a_directory(network, model, tmp_path):
    assert model.network is network
    saved = save_directory(network, tmp_path / "converted")
    read = bt.ImageBindModel.from_bindplug(saved, modalities={"depth"})
    assert set(read.network.towers) == {"depth"}
    assert torch.equal(read.network.towers["depth"].pos_embed, network.towers["depth"].pos_embed)


def test_from_bindplug_leaves_the_model_unchanged(network):
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    bt.ImageBindTextModelWithProjection.from_bindplug(network)
    bt.ImageBindModel.from_bindplug(network)
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


@pytest.mark.parametrize("shared", [True, False])
def test_text_model_with_projection(model, network, inputs, tmp_path, shared):
    model.save_pretrained(tmp_path)
    kind = bt.ImageBindTextModelWithProjection
    text = kind.from_bindplug(network) if shared else kind.from_pretrained(tmp_path)
    assert set(text.network.towers) == {"text"}
    ids, mask = inputs["input_ids"], inputs["attention_mask"]
    expected = network.encode_text(ids)
    torch.testing.assert_close(text(ids, attention_mask=mask).text_embeds, expected)
    full = text(ids, mask, output_hidden_states=True)
    torch.testing.assert_close(full.text_embeds, expected)
    assert len(full.hidden_states) == 3
    assert full.last_hidden_state.shape == (*ids.shape, 32)
    assert text.config.hidden_size == 32


@pytest.mark.parametrize("shared", [True, False])
def test_vision_model_with_projection(model, network, inputs, tmp_path, shared):
    model.save_pretrained(tmp_path)
    kind = bt.ImageBindVisionModelWithProjection
    vision = kind.from_bindplug(network) if shared else kind.from_pretrained(tmp_path)
    assert set(vision.network.towers) == {"vision"}
    pixels = inputs["pixel_values"]
    expected = network.encode_image(pixels)
    torch.testing.assert_close(vision(pixels).image_embeds, expected)
    torch.testing.assert_close(vision(pixels, return_dict=False)[0], expected)
    full = vision(pixels, output_hidden_states=True)
    torch.testing.assert_close(full.image_embeds, expected)
    assert [tuple(state.shape) for state in full.hidden_states] == [(2, 5, 32)] * 4
    vision.save_pretrained(tmp_path / "part")
    again = kind.from_pretrained(tmp_path / "part")
    torch.testing.assert_close(again(pixels).image_embeds, expected)


def test_config_reads_as_clips(model):
    config = model.config
    assert config.projection_dim == 16
    assert config.text_config.max_position_embeddings == 77
    assert config.vision_config.image_size == config.image_size == 56
    assert config.vision_config.patch_size == 28
    assert config.model_type == "imagebind"
    assert not hasattr(config, "hidden_size")
    assert bt.ImageBindConfig().network_config() == type(small_network()).huge()


def test_config_round_trips(model, tmp_path):
    model.config.save_pretrained(tmp_path)
    loaded = bt.ImageBindConfig.from_pretrained(tmp_path)
    assert loaded.network_config() == small_network()
    assert loaded.space() == model.embedding_space
    assert bt.ImageBindConfig.from_dict(model.config.to_dict()).network == model.config.network


def test_the_name_belongs_to_nobody_else():
    assert "imagebind" not in transformers.models.auto.configuration_auto.CONFIG_MAPPING_NAMES


def test_copies_and_pickles(model, inputs):
    expected = model(**inputs).audio_embeds
    for copied in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        torch.testing.assert_close(copied(**inputs).audio_embeds, expected)
    stream = io.BytesIO()
    torch.save(model.state_dict(), stream)
    stream.seek(0)
    other = bt.ImageBindModel(bt.ImageBindConfig(small_network())).eval()
    other.load_state_dict(torch.load(stream, weights_only=True))
    torch.testing.assert_close(other(**inputs).audio_embeds, expected)


def test_token_embedding_is_found(model, network):
    assert model.get_input_embeddings() is network.towers["text"].token_embedding
    vision = bt.ImageBindVisionModelWithProjection.from_bindplug(network)
    with pytest.raises(NotImplementedError, match="text tower"):
        vision.get_input_embeddings()
