"""``bindplug.combine``: each modality from its model, in one space."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch

import bindplug
from bindplug import audio, depth, image, text, thermal
from bindplug.bridges import LinearBridge
from bindplug.errors import InputError, NoTrainedScale, SpaceMismatch, UnknownModality
from bindplug.space import EmbeddingSpace
from bindplug.testing import EncoderContract, FakeEncoder

EAR_SPACE = EmbeddingSpace("test:ear", 12)
EYE_SPACE = EmbeddingSpace("test:eye", 16)
CLIP_SPACE = EmbeddingSpace("test:clip", 8)


@pytest.fixture
def ear():
    return FakeEncoder(["text", "audio"], EAR_SPACE)


@pytest.fixture
def eye():
    return FakeEncoder(["image", "text", "depth", "thermal"], EYE_SPACE)


def bridge(source, target, seed=0):
    torch.manual_seed(seed)
    rows = torch.nn.functional.normalize(torch.randn(60, source.width), dim=1)
    turned = torch.nn.functional.normalize(rows @ torch.randn(source.width, target.width), dim=1)
    return LinearBridge.fit(rows, turned, source=source, target=target, held_out=0.0)


@pytest.fixture(autouse=True)
def _quality():
    import warnings

    from bindplug.bridges import BridgeQuality

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", BridgeQuality)
        yield


def test_each_modality_comes_from_its_model_and_crosses_its_bridge(ear, eye):
    to_eye = bridge(EAR_SPACE, EYE_SPACE)
    model = bindplug.combine(
        {"audio": ear, "depth": eye, "image": eye, "text": eye}, space=eye, bridges=to_eye
    )
    assert model.modalities == ("image", "text", "audio", "depth")
    assert model.embedding_space == EYE_SPACE
    rows = model.embed([audio("a.wav"), depth("d.png"), text("a dog")])
    torch.testing.assert_close(rows[0], to_eye(ear.embed([audio("a.wav")]), "audio")[0])
    torch.testing.assert_close(rows[1:], eye.embed([depth("d.png"), text("a dog")]))


def test_sums_cross_models(ear, eye):
    model = bindplug.combine(
        {"audio": ear, "depth": eye}, space=EYE_SPACE, bridges=[bridge(EAR_SPACE, EYE_SPACE)]
    )
    sound, shape, both = model.embed([audio("a.wav"), depth("d.png"), audio("a.wav") + 0.5 * depth("d.png")])
    torch.testing.assert_close(both, torch.nn.functional.normalize(sound + 0.5 * shape, dim=0))


def test_all_models_may_cross_to_a_third_space(ear, eye, tmp_path):
    bridge(EAR_SPACE, CLIP_SPACE, 1).save(tmp_path / "ear-to-clip")
    bridge(EYE_SPACE, CLIP_SPACE, 2).save(tmp_path / "eye-to-clip")
    model = bindplug.combine(
        {"audio": ear, "thermal": eye},
        space="test:clip",
        bridges={"audio": tmp_path / "ear-to-clip", "thermal": str(tmp_path / "eye-to-clip")},
    )
    assert model.embed([audio("a.wav"), thermal("t.png")]).shape == (2, 8)
    assert model.embedding_space == CLIP_SPACE


def test_missing_bridges_are_refused_with_their_commands(ear, eye):
    with pytest.raises(SpaceMismatch) as caught:
        bindplug.combine({"audio": ear, "depth": eye, "image": eye}, space=CLIP_SPACE)
    message = str(caught.value)
    assert "3 of the modalities" in message
    commands = re.findall(r"\n  (\w+): (bindplug bridge fit .*)", message)
    assert [name for name, _ in commands] == ["audio", "depth", "image"]
    assert commands[0][1] == "bindplug bridge fit --source YOUR_MODEL --target test:clip -o my-bridge"


def test_the_commands_name_what_models_were_loaded_by(ear):
    tiny = bindplug.load("imagebind_tiny", modalities={"depth", "text"})
    ear.model_id = "transformers:./ear"
    with pytest.raises(
        SpaceMismatch, match=r"--source transformers:\./ear --target imagebind_tiny -o my-bridge"
    ):
        bindplug.combine({"audio": ear, "depth": tiny}, space=tiny)


def test_bridges_of_other_spaces_and_fingerprints_are_refused(ear, eye):
    with pytest.raises(SpaceMismatch):
        bindplug.combine(
            {"audio": ear, "depth": eye}, space=eye, bridges={"audio": bridge(CLIP_SPACE, EYE_SPACE)}
        )
    other = EmbeddingSpace("test:ear", 12, fingerprint="of other weights")
    fingerprinted = FakeEncoder(["audio"], EmbeddingSpace("test:ear", 12, fingerprint="of these weights"))
    with pytest.raises(SpaceMismatch, match="no bridge leads"):
        bindplug.combine(
            {"audio": fingerprinted, "depth": eye}, space=eye, bridges=[bridge(other, EYE_SPACE)]
        )


def test_what_cannot_be_combined(ear, eye):
    with pytest.raises(
        InputError, match="models of several spaces; expected space= one of 'test:ear', 'test:eye'"
    ):
        bindplug.combine({"audio": ear, "depth": eye})
    with pytest.raises(InputError, match="no space named 'test:nose'"):
        bindplug.combine({"audio": ear, "depth": eye}, space="test:nose")
    with pytest.raises(InputError, match="a model of text, audio for depth"):
        bindplug.combine({"depth": ear})
    with pytest.raises(UnknownModality, match="smell"):
        bindplug.combine({"smell": ear})
    with pytest.raises(InputError, match="no models"):
        bindplug.combine({})
    with pytest.raises(InputError, match="a dict for audio"):
        bindplug.combine({"audio": {}})


def test_classify_warns_where_no_scale_was_trained(ear, eye):
    model = bindplug.combine({"audio": ear, "text": eye}, space=eye, bridges=[bridge(EAR_SPACE, EYE_SPACE)])
    with pytest.warns(NoTrainedScale, match="audio and text come from different models"):
        ranking = bindplug.classify(model, [audio("a.wav")], ["dog", "cat"])[0]
    assert sum(entry.probability for entry in ranking.entries) == pytest.approx(1)
    assert bindplug.combine({"audio": ear, "text": ear}).scale_of("audio") == ear.scale_of("audio")


def test_models_are_loaded_by_name_once():
    model = bindplug.combine({"depth": "imagebind_tiny", "text": "imagebind_tiny"})
    assert model.models["depth"] is model.models["text"]
    whole = bindplug.load("imagebind_tiny", modalities={"text", "depth"})
    queries = [text("a dog"), text("a car")]
    torch.testing.assert_close(model.embed(queries), whole.embed(queries))
    assert model.scale_of("depth") == whole.scale_of("depth")


class TestContract(EncoderContract):
    tolerance = 2e-5

    def make_encoder(self):
        tiny = bindplug.load("imagebind_tiny", modalities={"image", "text", "depth", "audio"})
        there = FakeEncoder(["text"], CLIP_SPACE)
        across = bridge(tiny.embedding_space, CLIP_SPACE)
        return bindplug.combine({"image": tiny, "depth": tiny, "audio": tiny}, space=there, bridges=[across])

    def make_queries(self):
        noise = np.random.default_rng(0)
        return {
            "image": [image(noise.integers(0, 256, (40, 50, 3), dtype=np.uint8)) for _ in range(2)],
            "audio": [
                audio(noise.standard_normal(8000).astype(np.float32) * 0.1, sample_rate=16_000) for _ in "ab"
            ],
            "depth": [depth(noise.uniform(0.5, 5, (48, 48)).astype(np.float32), unit="m") for _ in range(2)],
        }


def test_a_detector_takes_it():
    """In ImageBind's space its bridge is used; in the detector's own space none is needed."""
    bindplug_detic = pytest.importorskip("bindplug_detic")
    from bindplug_toyworld import Scene

    detector = bindplug_detic.Detic.from_pretrained("toy_detic")
    tiny = bindplug.load("imagebind_tiny", modalities={"audio", "text"})
    clip = bindplug.load("toy_foreign_clip")
    picture = Scene(200, "eval", labels=["dog", "bell"], canvas=(256, 256)).image
    queries = [audio(Scene(100, "eval", labels=["dog"]).audio, sample_rate=16_000), text("a bell")]
    expected = bindplug.upgrade(detector, tiny)(picture, queries)
    same = bindplug.upgrade(detector, bindplug.combine({"audio": tiny, "text": tiny}))(picture, queries)
    across = bindplug.combine({"audio": tiny, "text": clip}, space=clip)
    other = bindplug.upgrade(detector, across)(picture, queries)
    np.testing.assert_allclose(same.scores, expected.scores, atol=1e-5)
    assert sorted(other.labels) == sorted(expected.labels) == ["a bell", "audio"]
