"""The same weights in transformers' CLIPModel and in ours give the same numbers."""

from __future__ import annotations

import pytest
import torch
from transformers import CLIPConfig, CLIPModel, CLIPTextConfig, CLIPVisionConfig
from transformers.activations import QuickGELUActivation

import bindplug_transformers as bt
from bindplug.imagebind import ImageBind
from tests.transformers.tiny import rows_of

TOLERANCE = {"atol": 2e-5, "rtol": 2e-5}


def clip_like(config: bt.ImageBindConfig) -> CLIPModel:
    text, vision = config.text_config.to_dict(), config.vision_config.to_dict()
    for described in (text, vision):
        described["attn_implementation"] = "eager"
    return CLIPModel(
        CLIPConfig(
            text_config=CLIPTextConfig(**text).to_dict(),
            vision_config=CLIPVisionConfig(**vision).to_dict(),
            projection_dim=config.projection_dim,
        )
    ).eval()


@torch.no_grad()
def copy_into_clip(network: ImageBind, clip: CLIPModel) -> CLIPModel:
    for tower, part, projection in (
        (network.towers["text"], clip.text_model, clip.text_projection),
        (network.towers["vision"], clip.vision_model, clip.visual_projection),
    ):
        projection.weight.copy_(tower.head.proj.weight)
        last = part.final_layer_norm if tower.name == "text" else part.post_layernorm
        last.load_state_dict(tower.head.norm.state_dict())
        for ours, theirs in zip(tower.blocks, part.encoder.layers, strict=True):
            theirs.layer_norm1.load_state_dict(ours.norm_1.state_dict())
            theirs.layer_norm2.load_state_dict(ours.norm_2.state_dict())
            theirs.mlp.load_state_dict(ours.mlp.state_dict())
            theirs.self_attn.load_state_dict(ours.attn.state_dict())
    text, vision = network.towers["text"], network.towers["vision"]
    clip.text_model.embeddings.token_embedding.weight.copy_(text.token_embedding.weight)
    clip.text_model.embeddings.position_embedding.weight.copy_(text.pos_embed[0])
    clip.vision_model.embeddings.class_embedding.copy_(vision.cls_token[0, 0])
    clip.vision_model.embeddings.position_embedding.weight.copy_(vision.pos_embed[0])
    clip.vision_model.embeddings.patch_embedding.weight.copy_(vision.stem.proj.weight.sum(2))
    clip.vision_model.pre_layrnorm.load_state_dict(vision.pre_norm.state_dict())
    clip.logit_scale.copy_(network.logit_scale)
    return clip


@pytest.fixture(scope="module")
def clip(model, network) -> CLIPModel:
    return copy_into_clip(network, clip_like(model.config))


@pytest.fixture
def both(inputs):
    return {name: inputs[name] for name in ("input_ids", "attention_mask", "pixel_values")}


def test_forward_is_clips(model, clip, both):
    ours, theirs = model(**both, return_loss=True), clip(**both, return_loss=True)
    for field in ("loss", "logits_per_image", "logits_per_text", "text_embeds", "image_embeds"):
        torch.testing.assert_close(ours[field], theirs[field], **TOLERANCE)


def test_features_are_clips(model, clip, both):
    text = {name: both[name] for name in ("input_ids", "attention_mask")}
    pairs = (
        (model.get_text_features(**text), clip.get_text_features(**text)),
        (model.get_image_features(both["pixel_values"]), clip.get_image_features(both["pixel_values"])),
    )
    for ours, theirs in pairs:
        assert type(ours) is type(theirs)
        torch.testing.assert_close(rows_of(ours), rows_of(theirs), **TOLERANCE)


def test_tuples_are_clips(model, clip, both):
    ours, theirs = model(**both, return_dict=False), clip(**both, return_dict=False)
    for place in range(4):
        torch.testing.assert_close(ours[place], theirs[place], **TOLERANCE)


def test_hidden_states_are_clips(network, clip, both):
    vision = bt.ImageBindVisionModelWithProjection.from_bindplug(network)
    ours = vision(both["pixel_values"], output_hidden_states=True)
    theirs = clip.vision_model(both["pixel_values"], output_hidden_states=True)
    for state, expected in zip(ours.hidden_states, theirs.hidden_states, strict=True):
        torch.testing.assert_close(state, expected, **TOLERANCE)
    torch.testing.assert_close(ours.last_hidden_state, theirs.last_hidden_state, **TOLERANCE)
    text = bt.ImageBindTextModelWithProjection.from_bindplug(network)
    mine = text(both["input_ids"], output_hidden_states=True)
    clips = clip.text_model(both["input_ids"], output_hidden_states=True)
    torch.testing.assert_close(mine.last_hidden_state, clips.last_hidden_state, **TOLERANCE)


def test_gradients_to_pixels_are_clips(model, clip, both):
    grads = []
    for each in (model, clip):
        pixels = both["pixel_values"].clone().requires_grad_()
        each(**{**both, "pixel_values": pixels}).logits_per_image.diagonal().sum().backward()
        grads.append(pixels.grad)
    assert grads[0].abs().max() > 0
    torch.testing.assert_close(grads[0], grads[1], atol=1e-4, rtol=1e-3)


def test_the_parity_can_fail(model, clip, both):
    quick = clip_like(model.config)
    quick.load_state_dict(clip.state_dict())
    for part in (quick.text_model, quick.vision_model):
        for layer in part.encoder.layers:
            layer.mlp.activation_fn = QuickGELUActivation()
    with pytest.raises(AssertionError):
        torch.testing.assert_close(model(**both).image_embeds, quick(**both).image_embeds, **TOLERANCE)


def test_no_embedding_depends_on_the_padding(model, both):
    ids = both["input_ids"]
    expected = rows_of(model.get_text_features(ids))
    padded = torch.nn.functional.pad(ids, (0, 5), value=49407)
    zeros = torch.nn.functional.pad(torch.where(both["attention_mask"] == 0, 0, ids), (0, 5))
    for other in (padded, zeros):
        torch.testing.assert_close(rows_of(model.get_text_features(other)), expected)
