"""An upgraded open_clip model in code that looks inside: names, classes, replaced parts, modes, measured numbers."""

from __future__ import annotations

import copy
from functools import cache

import open_clip as real
import pytest
import torch
from torch import nn
from torch.testing import assert_close

import bindplug
import bindplug_open_clip as open_clip
from bindplug import depth, text
from bindplug.errors import SpaceMismatch, UnknownWords
from tests.open_clip.conftest import NAME, inputs, random_imagebind
from tests.open_clip.test_upgrade import TOKENS, Bridge, other_clip, toy_clip

X = inputs()
PICTURES = X["image"]


@pytest.fixture
def encoder():
    return _encoder()


@pytest.fixture
def clip():
    return copy.deepcopy(_clip())


_encoder, _clip = cache(random_imagebind), cache(toy_clip)


@pytest.fixture
def upgraded(clip, encoder):
    return bindplug.upgrade(clip, copy.deepcopy(encoder))


def test_names_and_classes_are_the_clips(clip, upgraded):
    assert isinstance(upgraded, real.CLIP)
    assert type(upgraded).__name__ == "CLIP"
    for listing in ("named_parameters", "named_modules", "named_children", "named_buffers"):
        own = dict(getattr(clip, listing)())
        there = dict(getattr(upgraded, listing)())
        shared = {name: x for name, x in there.items() if not name.startswith("sensors")}
        assert shared.keys() == own.keys()
        assert all(shared[name] is own[name] for name in own if name)
    assert upgraded.load_state_dict(clip.state_dict(), strict=False).unexpected_keys == []


def scaled(tower: nn.Module) -> nn.Module:
    """A tower whose embeddings are three times as long, as a user's own module."""

    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner, self.image_size, self.conv1 = tower, tower.image_size, tower.conv1

        def forward(self, x):
            return 3 * self.inner(x)

    return Scaled()


@torch.inference_mode()
def test_a_replaced_part_counts(clip, upgraded):
    before = clip.encode_image(PICTURES)
    upgraded.visual = scaled(upgraded.visual)
    assert_close(upgraded.encode_image(PICTURES), 3 * before)
    assert upgraded.visual is clip.visual
    upgraded.logit_scale = nn.Parameter(torch.tensor(1.5))
    assert upgraded(PICTURES, TOKENS)[2] == clip.logit_scale.exp() == torch.tensor(1.5).exp()
    assert "logit_scale" in dict(upgraded.named_parameters())
    upgraded.output_dict = True
    assert upgraded(PICTURES, TOKENS).keys() == {"image_features", "text_features", "logit_scale"}
    assert isinstance(clip(PICTURES, TOKENS), tuple)
    del upgraded.visual
    assert not hasattr(clip, "visual")


@torch.inference_mode()
def test_replicas_of_data_parallel_leave_the_original_alone(clip, upgraded):
    replica = upgraded._replicate_for_data_parallel()
    replica.visual = copy.deepcopy(upgraded.visual)
    assert clip.visual is upgraded.visual is not replica.visual


@torch.inference_mode()
def test_casts_and_modes_reach_both_and_return_the_upgraded(clip, upgraded):
    assert upgraded.to(torch.bfloat16) is upgraded
    assert clip.visual.proj.dtype == upgraded.encode_audio(X["audio"].bfloat16()).dtype == torch.bfloat16
    assert upgraded.train() is upgraded
    assert clip.training
    assert clip.visual.training
    assert not upgraded.eval().original.training


def test_hooks_on_either_run_in_both(clip, upgraded):
    calls = []
    clip.register_forward_hook(lambda *_: calls.append("clip"))
    upgraded.register_forward_hook(lambda *_: calls.append("upgraded"))
    with torch.inference_mode():
        upgraded(PICTURES, TOKENS)
        clip(PICTURES, TOKENS)
    assert calls == ["clip", "upgraded"] * 2


def test_an_instance_whose_forward_was_replaced_or_compiled_still_takes_sensors(clip, encoder):
    calls = []
    inner = clip.forward
    clip.forward = lambda *args, **kwargs: calls.append(1) or inner(*args, **kwargs)  # as accelerate's hooks
    clip._compiled_call_impl = clip._call_impl  # as Module.compile
    upgraded = bindplug.upgrade(clip, encoder)
    with torch.inference_mode():
        assert upgraded(audio=X["audio"], text=TOKENS)[0].shape == (2, 128)
        assert not calls
        assert_close(upgraded(PICTURES, TOKENS)[0], inner(PICTURES, TOKENS)[0])
    assert calls


def test_fine_tuning_any_tensor_makes_another_model(clip, encoder):
    for name, tensor in clip.state_dict().items():
        if name == "logit_scale":
            continue
        before = tensor.clone()
        last_rows = tensor[-2:] if name == "token_embedding.weight" else tensor
        last_rows.mul_(1.01).add_(1e-3)
        with pytest.raises(SpaceMismatch, match="other numbers"):
            bindplug.upgrade(clip, encoder)
        tensor.copy_(before)
    assert bindplug.upgrade(clip, encoder).modalities


def test_adapters_make_another_model(clip, encoder):
    clip.visual.transformer.resblocks[0].attn.lora_A = nn.Parameter(torch.zeros(2, 192))
    with pytest.raises(SpaceMismatch, match=r"lack, as visual\.transformer\.resblocks\.0\.attn\.lora_A"):
        bindplug.upgrade(clip, encoder)


@pytest.fixture
def measured():
    """The encoder with centers and a fitted scale, and a word that it does not know."""
    model = random_imagebind()
    torch.manual_seed(3)
    model.centers = {name: torch.randn(128) for name in ("image", "text", "depth")}
    model.similarity_scales = {"depth": 7.0}
    with torch.no_grad():
        model.towers["text"].token_embedding.weight[model.tokenizer(["zebra"])[0, 1]] = 0
    return model


def same_answers(clip, model):
    query = depth(torch.rand(60, 80).add(1).numpy())
    words = [text("a dog"), text("a train")]
    assert_close(clip.similarity(query, words), model.similarity(query, words), atol=1e-5, rtol=1e-4)
    recentered = model.embed(query, recenter="image")
    assert_close(clip.embed(query, recenter="image"), recentered, atol=1e-5, rtol=1e-4)
    with pytest.warns(UnknownWords, match="zebra"):
        clip.embed(text("a zebra"))


def test_what_was_measured_of_the_encoder_holds_for_the_clip(measured, tmp_path):
    clip = toy_clip()
    with torch.no_grad():
        clip.token_embedding.weight.copy_(measured.towers["text"].token_embedding.weight)
    upgraded = bindplug.upgrade(clip, measured)
    same_answers(upgraded, measured)
    assert upgraded.fingerprint.matches(measured.fingerprint)
    with torch.no_grad():
        clip.visual.proj.mul_(1.01)
    assert not upgraded.fingerprint.matches(measured.fingerprint)


def test_what_was_measured_is_loaded_with_the_weights(measured, home, monkeypatch, tmp_path):
    bindplug.imagebind.save_directory(measured, tmp_path / NAME, license="Apache-2.0")
    monkeypatch.setenv("BINDPLUG_HOME", str(tmp_path))
    for model in (open_clip.create_model(NAME).eval(), open_clip.clip.load(NAME, device="cpu")[0]):
        same_answers(model, measured)


def test_over_a_bridge_nothing_is_known_of_the_other_space(encoder):
    upgraded = bindplug.upgrade(other_clip(), encoder, bridge=Bridge())
    assert upgraded.fingerprint is None
    assert not upgraded.centers
