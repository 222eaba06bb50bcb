"""A CLIP of another space, made by turning the toy CLIP's: sounds cross a bridge fitted from text alone."""

from __future__ import annotations

import open_clip
import pytest
import torch

import bindplug
from bindplug.bridges import LinearBridge, compose, fit_bridge, load_bridge, map_queries
from bindplug.errors import InputError, SpaceMismatch
from bindplug.imagebind import to_open_clip
from bindplug.space import EmbeddingSpace
from bindplug_toyworld import CLASSNAMES, NAMES, Scene
from recipes.clip import clip_config

TURNED = EmbeddingSpace("test:turned", 128)


class TurnedText:
    """The text side of the turned CLIP, as a bridge is fitted to it."""

    embedding_space = TURNED
    description = "the toy CLIP, turned"

    def __init__(self, clip: open_clip.CLIP, tokenizer) -> None:
        self.clip, self.tokenizer = clip, tokenizer

    def embed_texts(self, texts) -> torch.Tensor:
        with torch.inference_mode():
            return self.clip.encode_text(self.tokenizer(list(texts)), normalize=True).clone()


@pytest.fixture(scope="module")
def model():
    return bindplug.load("imagebind_tiny")


@pytest.fixture(scope="module")
def turned(model):
    clip = open_clip.CLIP(**clip_config()).eval()
    clip.load_state_dict(to_open_clip(model.official_state_dict()))
    turn = torch.linalg.qr(torch.randn(128, 128, generator=torch.Generator().manual_seed(0)))[0]
    with torch.no_grad():
        clip.text_projection.copy_(clip.text_projection @ turn)
        clip.visual.proj.copy_(clip.visual.proj @ turn)
    return clip


@pytest.fixture(scope="module")
def bridge(model, turned, tmp_path_factory):
    captions = list(dict.fromkeys(Scene(index, "train").caption for index in range(1500)))
    fitted = fit_bridge(model, TurnedText(turned, model.tokenizer), captions, progress=False)
    assert isinstance(fitted, LinearBridge)
    return load_bridge(fitted.save(tmp_path_factory.mktemp("bridge") / "to-turned"))


@pytest.fixture(scope="module")
def sounds():
    scenes = [Scene(7_000 + index, "eval", labels=[name]) for index, name in enumerate(NAMES)]
    return [bindplug.audio(s.audio, sample_rate=s.sample_rate_hz) for s in scenes]


def right(model, sounds) -> int:
    prompts = model.embed([bindplug.text(f"a photo of a {name}.") for name in CLASSNAMES])
    answers = (model.embed(sounds) @ prompts.T).argmax(dim=1)
    return int((answers == torch.arange(len(NAMES))).sum())


def test_without_a_bridge_the_space_is_told_apart(turned, model):
    with pytest.raises(SpaceMismatch, match="bindplug bridge fit"):
        bindplug.upgrade(turned, model)


def test_sounds_find_their_words_in_the_other_space(turned, model, bridge, sounds):
    upgraded = bindplug.upgrade(turned, model, bridge=bridge)
    assert right(model, sounds) >= 16, "the model itself knows these sounds"
    assert right(upgraded, sounds) >= right(model, sounds) - 2


def test_text_and_images_stay_the_clips_own(turned, model, bridge):
    upgraded = bindplug.upgrade(turned, model, bridge=bridge)
    tokens = model.tokenizer(["a dog"])
    torch.testing.assert_close(upgraded.encode_text(tokens), turned.encode_text(tokens))


def test_sensors_cross_the_bridge_as_everywhere(turned, model, bridge, sounds):
    upgraded = bindplug.upgrade(turned, model, bridge=bridge)
    queries = [sounds[0], sounds[0] + 0.5 * sounds[1], sounds[2] - 0.5 * sounds[3]]
    rows = upgraded.embed(queries)
    torch.testing.assert_close(rows, map_queries(model, bridge, queries), atol=1e-5, rtol=1e-5)
    report = upgraded.embed_with_report([*queries, bindplug.audio("absent.wav")])
    assert (report.kept, [skip.index for skip in report.skipped]) == ([0, 1, 2], [3])
    torch.testing.assert_close(report.rows, rows)


def test_sums_of_sounds_and_words_keep_the_mean_of_the_space(turned, model, bridge, sounds):
    """Words pass the original's own towers, and the sum is formed around the mean that the bridge knows."""
    upgraded = bindplug.upgrade(turned, model, bridge=bridge)
    words = bindplug.text("a photo of a dog.")
    query = sounds[0] - 0.5 * words
    rows = {
        query.terms[0][1]: map_queries(model, bridge, [sounds[0]])[0],
        query.terms[1][1]: upgraded.embed([words])[0],
    }
    expected = compose(query, rows, bridge.target_mean)
    torch.testing.assert_close(upgraded.embed([query])[0], expected, atol=1e-5, rtol=1e-5)
    with pytest.raises(InputError, match="recenter"):
        upgraded.embed([words], recenter="image")
