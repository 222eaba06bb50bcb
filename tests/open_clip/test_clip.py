"""OpenAI's form."""

from __future__ import annotations

import sys
import types

import open_clip as real
import pytest
import torch
from torch.testing import assert_close

import bindplug_open_clip.clip as clip
from bindplug.errors import InputError, UnknownModel
from tests.open_clip.conftest import NAME, inputs, picture, random_imagebind

X = inputs()


@pytest.fixture(scope="module")
def tokens():
    return clip.tokenize(["a dog", "two cats", "rain"])


def test_the_readme_of_openais_clip_runs(tokens):
    device = "cpu"
    model, preprocess = clip.load(NAME, device=device)
    pixels = preprocess(picture()).unsqueeze(0).to(device)
    with torch.no_grad():
        image_features = model.encode_image(pixels)
        text_features = model.encode_text(tokens)
        logits_per_image, logits_per_text = model(pixels, tokens)
        probs = logits_per_image.softmax(dim=-1).cpu().numpy()
    assert probs.sum() == pytest.approx(1)
    a, b = (f / f.norm(dim=1, keepdim=True) for f in (image_features, text_features))
    assert_close(logits_per_image, model.logit_scale.exp() * a @ b.t(), atol=1e-4, rtol=1e-4)
    assert torch.equal(logits_per_text, logits_per_image.t())
    assert (model.visual.input_resolution, model.dtype, model.training) == (224, torch.float32, False)
    assert model.context_length == 77


@torch.inference_mode()
def test_numbers_are_bindplugs_and_other_senses_give_logits(tokens):
    model, _ = clip.load(NAME, "cpu")
    official = random_imagebind()
    for name in ("image", "audio", "depth", "thermal", "imu", "video"):
        per_input, _ = model(**{name: X[name]}, text=tokens)
        rows = official.encode(name, X[name], True) @ official.encode_text(tokens, True).t()
        assert_close(per_input, rows * official.logit_scale.exp(), atol=1e-3, rtol=1e-3)
    assert_close(model.encode_image(X["image"].half()), model.encode_image(X["image"]), atol=1e-2, rtol=1e-2)


def test_tokenize_is_openais():
    assert clip.tokenize("a dog").dtype == torch.int32
    for text in ("a dog", "ÀÉ ünïcode 123 !!", ""):
        assert torch.equal(clip.tokenize(text).long(), real.tokenize([text]))
    assert clip.tokenize(["a", "b"], context_length=5).shape == (2, 5)
    long = "a dog " * 50
    with pytest.raises(RuntimeError, match="too long for context length 77"):
        clip.tokenize(long)
    with pytest.raises(InputError, match="truncate=True"):
        clip.tokenize(["a", long])
    assert torch.equal(clip.tokenize(long, truncate=True).long(), real.tokenize([long]))
    assert clip.tokenize(long, 77, True)[0, -1] == 49407
    with pytest.raises(InputError, match="string"):
        clip.tokenize([3])


def test_a_path_and_a_download_root(tmp_path, home, monkeypatch):
    model, _ = clip.load(str(home / NAME), device="cpu")
    assert isinstance(model, clip.OpenAiClip)
    monkeypatch.setenv("BINDPLUG_HOME", str(tmp_path))
    assert clip.load(NAME, "cpu", download_root=str(home))[0].modalities


def test_what_cannot_be_is_refused(tokens):
    for error in (UnknownModel, RuntimeError):
        with pytest.raises(error, match=NAME):
            clip.load("imagebind_gigantic")
    with pytest.raises(UnknownModel, match=r"ViT-L-14-336-quickgelu.*openai"):
        clip.load("ViT-L/14@336px")
    model, _ = clip.load(NAME, "cpu")
    with pytest.raises(InputError, match="encode_"):
        model(X["image"])
    with pytest.raises(InputError, match="image, audio, text"):
        model(X["image"], tokens, audio=X["audio"])
    assert not hasattr(clip, "nothing")


def test_openais_own_package_keeps_its_own_models(monkeypatch):
    package = types.ModuleType("clip")
    package.__spec__ = types.SimpleNamespace()
    package.available_models = lambda: ["ViT-B/32"]
    package.load = lambda name, **options: (name, options)
    package.tokenize = clip.tokenize
    package._download = "kept"
    monkeypatch.setitem(sys.modules, "clip", package)
    assert clip.available_models() == ["ViT-B/32", "imagebind_huge", NAME, "imagebind_uneven"]
    name, options = clip.load("ViT-B/32", "cpu", jit=True)
    assert (name, options["jit"], options["device"]) == ("ViT-B/32", True, torch.device("cpu"))
    assert clip._download == "kept"
