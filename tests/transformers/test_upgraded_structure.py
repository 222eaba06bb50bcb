"""An upgraded CLIPModel in code that looks inside: names, classes, replaced parts, modes, and measured numbers."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from torch import nn
from transformers import CLIPModel

import bindplug
from bindplug.errors import SpaceMismatch, UnknownWords
from bindplug.imagebind import ImageBind
from bindplug_transformers.adapter import upgrade
from tests.transformers.test_clip_parity import clip_like, copy_into_clip
from tests.transformers.tiny import rows_of, small_network


@pytest.fixture
def encoder() -> ImageBind:
    torch.manual_seed(2)
    return ImageBind(small_network()).eval()


@pytest.fixture
def clip(encoder, model):
    return copy_into_clip(encoder, clip_like(model.config)).eval()


@pytest.fixture
def upgraded(clip, encoder):
    return upgrade(clip, encoder)


@pytest.fixture
def both(inputs):
    return {name: inputs[name] for name in ("input_ids", "pixel_values")}


def test_names_and_classes_are_the_clips(clip, upgraded):
    assert isinstance(upgraded, CLIPModel)
    assert type(upgraded).__name__ == "CLIPModel"
    assert dict(upgraded.named_parameters()) == dict(clip.named_parameters())
    assert upgraded.state_dict().keys() == clip.state_dict().keys()


def test_a_module_that_holds_it_holds_its_parameters(clip, upgraded, inputs):
    class Classifier(nn.Module):
        def __init__(self):
            super().__init__()
            self.clip, self.head = upgraded, nn.Linear(16, 2)

        def forward(self, x):
            return self.head(rows_of(self.clip.get_image_features(x)))

    classifier = Classifier()
    classifier(inputs["pixel_values"]).sum().backward()
    assert clip.visual_projection.weight.grad.abs().sum() > 0
    trained = dict(classifier.named_parameters())
    assert trained["clip.visual_projection.weight"] is clip.visual_projection.weight


@torch.no_grad()
def test_replaced_parts_count(clip, upgraded, both):
    upgraded.visual_projection = nn.Linear(32, 16, bias=False)
    rows = rows_of(upgraded.get_image_features(both["pixel_values"]))
    torch.testing.assert_close(rows, rows_of(clip.get_image_features(both["pixel_values"])))
    upgraded.logit_scale = nn.Parameter(torch.tensor(0.5))
    torch.testing.assert_close(upgraded(**both).logits_per_image, clip(**both).logits_per_image)
    assert clip.visual_projection is upgraded.visual_projection
    assert clip.logit_scale == 0.5


@torch.no_grad()
def test_casts_reach_the_sensors_and_return_the_upgraded(clip, upgraded, inputs):
    assert upgraded.to(torch.float64) is upgraded.eval() is upgraded
    assert clip.dtype == torch.float64
    assert rows_of(upgraded.get_depth_features(inputs["depth_values"].double())).dtype == torch.float64


def test_embedding_in_training_mode_is_not_random(upgraded, encoder, sources):
    query = bindplug.audio(sources["audio"], sample_rate=16000)
    expected = upgraded.embed(query)
    upgraded.train()
    assert encoder.towers["audio"].training
    torch.testing.assert_close(upgraded.embed(query), expected, rtol=0, atol=0)
    assert encoder.towers["audio"].training
    upgraded.eval()
    assert not encoder.towers["audio"].training


@torch.no_grad()
def test_it_is_saved_as_a_clip_model(clip, upgraded, both, tmp_path):
    upgraded.save_pretrained(tmp_path)
    for loaded in (CLIPModel.from_pretrained(tmp_path), type(upgraded).from_pretrained(tmp_path)):
        assert type(loaded) is CLIPModel
        torch.testing.assert_close(loaded(**both).logits_per_image, clip(**both).logits_per_image)


@torch.no_grad()
def test_copies_and_pickles(upgraded, both, inputs):
    for copied in (copy.deepcopy(upgraded), pickle.loads(pickle.dumps(upgraded))):
        assert copied.original is not upgraded.original
        torch.testing.assert_close(copied(**both).logits_per_image, upgraded(**both).logits_per_image)
        for features in ("depth", "imu"):
            x = inputs[f"{features}_values"]
            torch.testing.assert_close(copied.encode(features, x), upgraded.encode(features, x))


def test_fine_tuning_any_tensor_makes_another_model(clip, encoder):
    for name, tensor in clip.state_dict().items():
        if name == "logit_scale":
            continue
        before = tensor.clone()
        last_rows = tensor[-2:] if "token_embedding" in name else tensor
        last_rows.mul_(1.01).add_(1e-3)
        with pytest.raises(SpaceMismatch, match="other numbers"):
            upgrade(clip, encoder)
        tensor.copy_(before)
    assert upgrade(clip, encoder).modalities


def test_adapters_make_another_model(clip, encoder):
    clip.vision_model.encoder.layers[0].adapter = nn.Linear(32, 32)
    with pytest.raises(SpaceMismatch, match=r"lack, as vision_model\.encoder\.layers\.0\.adapter"):
        upgrade(clip, encoder)


def test_what_was_measured_of_the_encoder_holds_for_the_clip(encoder, model, sources):
    encoder.centers = {name: torch.randn(16) for name in ("image", "text", "depth")}
    encoder.similarity_scales = {"depth": 7.0}
    with torch.no_grad():
        encoder.towers["text"].token_embedding.weight[encoder.tokenizer(["zebra"])[0, 1]] = 0
    upgraded = upgrade(copy_into_clip(encoder, clip_like(model.config)), encoder)
    query, words = bindplug.depth(sources["depth"]), [bindplug.text("a dog"), bindplug.text("rain")]
    torch.testing.assert_close(
        upgraded.similarity(query, words), encoder.similarity(query, words), atol=1e-5, rtol=1e-4
    )
    torch.testing.assert_close(
        upgraded.embed(query, recenter="image"), encoder.embed(query, recenter="image"), atol=1e-5, rtol=1e-4
    )
    with pytest.warns(UnknownWords, match="zebra"):
        upgraded.embed(bindplug.text("a zebra"))
    assert upgraded.fingerprint.matches(encoder.fingerprint)
