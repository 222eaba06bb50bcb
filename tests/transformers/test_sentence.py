"""ImageBindModule within sentence-transformers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

import bindplug
import bindplug_transformers as bt
from bindplug.errors import InputError, NoDirection

sentence_transformers = pytest.importorskip("sentence_transformers", minversion="6")


@pytest.fixture(scope="module")
def sentences(model):
    return sentence_transformers.SentenceTransformer(modules=[bt.ImageBindModule(model)], device="cpu")


@pytest.fixture(scope="module")
def samples(sources):
    return {
        "text": "a dog",
        "image": Image.fromarray(sources["image"]),
        "audio": {"array": sources["audio"], "sampling_rate": 16000},
        "video": {"array": sources["video"], "video_metadata": {"fps": 4}},
    }


@pytest.fixture(scope="module")
def expected(model, samples, sources):
    queries = [
        bindplug.text("a dog"),
        bindplug.image(samples["image"]),
        bindplug.audio(sources["audio"], sample_rate=16000),
        bindplug.video(sources["video"], fps=4),
    ]
    return dict(zip(samples, model.embed(queries).numpy(), strict=True))


@pytest.mark.parametrize("modality", ["text", "image", "audio", "video"])
def test_one_modality(sentences, samples, expected, modality):
    rows = sentences.encode([samples[modality]] * 2)
    assert rows.shape == (2, 16)
    np.testing.assert_allclose(rows[1], expected[modality], atol=1e-5)


def test_a_single_input_and_a_mixed_batch(sentences, samples, expected):
    np.testing.assert_allclose(sentences.encode("a dog"), expected["text"], atol=1e-5)
    rows = sentences.encode(list(samples.values()), batch_size=3)
    np.testing.assert_allclose(rows, np.stack(list(expected.values())), atol=1e-5)


def test_files_by_path(sentences, sources, expected, wav, tmp_path):
    picture = tmp_path / "picture.png"
    Image.fromarray(sources["image"]).save(picture)
    rows = sentences.encode([str(picture), str(wav)])
    np.testing.assert_allclose(rows[0], expected["image"], atol=1e-5)
    np.testing.assert_allclose(rows[1], expected["audio"], atol=1e-3)


def test_queries_bring_the_further_modalities(sentences, model, sources):
    queries = [
        bindplug.depth(sources["depth"]),
        bindplug.imu(sources["imu"], sample_rate=200),
        bindplug.thermal(sources["thermal"]) + 0.5 * bindplug.text("a dog") - bindplug.text("rain"),
        bindplug.embedding(torch.arange(16.0) + 1, model.embedding_space),
    ]
    np.testing.assert_allclose(sentences.encode(queries), model.embed(queries).numpy(), atol=1e-5)
    as_dict = sentences.encode([{"depth": sources["depth"]}])
    np.testing.assert_allclose(as_dict, sentences.encode(queries[:1]), atol=1e-6)


def test_dicts_are_summed(sentences, samples, expected):
    rows = sentences.encode({"text": "a dog", "image": samples["image"]})
    both = expected["text"] + expected["image"]
    np.testing.assert_allclose(rows, both / np.linalg.norm(both), atol=1e-5)


def test_prompts_and_similarity(sentences):
    np.testing.assert_allclose(sentences.encode("dog", prompt="a "), sentences.encode("a dog"), atol=1e-6)
    rows = sentences.encode(["a dog", "rain"])
    assert sentences.similarity(rows, rows).shape == (2, 2)


def test_says_what_it_takes(sentences):
    for modality in ("text", "image", "audio", "video", ("image", "text")):
        assert sentences.supports(modality)
    assert sentences.get_embedding_dimension() == 16
    assert sentences.max_seq_length == 77
    assert not sentences.supports("depth")


def test_saves_and_loads(sentences, samples, tmp_path):
    sentences.save(str(tmp_path))
    loaded = sentence_transformers.SentenceTransformer(str(tmp_path), device="cpu", trust_remote_code=True)
    assert isinstance(loaded[0], bt.ImageBindModule)
    mixed = list(samples.values())
    np.testing.assert_allclose(loaded.encode(mixed), sentences.encode(mixed), atol=1e-6)


def test_gradients_reach_the_towers(fresh):
    module = bt.ImageBindModule(fresh)
    features = module(module.preprocess(["a dog", "rain"]))
    features["sentence_embedding"].sum().backward()
    assert fresh.network.towers["text"].pos_embed.grad.abs().max() > 0


def test_bad_inputs_name_the_remedy(sentences, samples):
    with pytest.raises(NoDirection, match="cancel"):
        sentences.encode(
            [
                bindplug.text("a")
                + (-1.0) * bindplug.embedding(sentences.encode("a"), sentences[0].model.embedding_space)
            ]
        )
    with pytest.raises((InputError, ValueError), match=r"message|chat"):
        sentences.encode([[{"role": "user", "content": "hi"}]])
    with pytest.raises(InputError, match="depth"):
        sentences[0].preprocess(["a dog"], unit="mm")
    with pytest.raises(InputError, match="safetensors"):
        sentences[0].save("anywhere", safe_serialization=False)
