"""What people write with CLIP, unchanged but for the import; pipelines and torchmetrics."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import pipeline

import bindplug_transformers as bt
from tests.transformers.tiny import TRANSFORMERS_4, rows_of

LABELS = ["dog", "rain", "train"]


@pytest.fixture
def directory(model, processor, tmp_path):
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    return str(tmp_path)


def test_zero_shot_image_classification(directory, model, processor, sources):
    picture = Image.fromarray(sources["image"])
    predictions = pipeline("zero-shot-image-classification", model=directory)(
        picture, candidate_labels=LABELS
    )
    texts = [f"This is a photo of {label}." for label in LABELS]
    logits = model(**processor(text=texts, images=picture, return_tensors="pt")).logits_per_image[0]
    expected = dict(zip(LABELS, logits.softmax(-1).tolist(), strict=True))
    assert {each["label"]: each["score"] for each in predictions} == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("given", ["directory", "parts"])
def test_zero_shot_audio_classification(directory, model, processor, sources, given):
    parts = {"feature_extractor": processor.feature_extractor}
    if given == "directory":
        # 4.50 loads no feature extractor for a model that has an image processor too
        classify = pipeline(
            "zero-shot-audio-classification", model=directory, **(parts if TRANSFORMERS_4 else {})
        )
    else:
        parts |= {"tokenizer": processor.tokenizer, "image_processor": processor.image_processor}
        classify = pipeline("zero-shot-audio-classification", model=model, **parts)
    predictions = classify(sources["audio"], candidate_labels=LABELS)
    texts = [f"This is a sound of {label}." for label in LABELS]
    inputs = processor(text=texts, audio=sources["audio"], sampling_rate=16000, return_tensors="pt")
    expected = dict(zip(LABELS, model(**inputs).logits_per_audio[0].softmax(-1).tolist(), strict=True))
    assert {each["label"]: each["score"] for each in predictions} == pytest.approx(expected, abs=1e-5)


def test_clip_score(model, network, processor, sources):
    multimodal = pytest.importorskip("torchmetrics.multimodal")
    metric = multimodal.CLIPScore(model_name_or_path=bt.clip_score_pair(model))
    images = [torch.from_numpy(sources["image"]).permute(2, 0, 1), torch.randint(255, (3, 60, 70))]
    texts = ["a dog", "the sea " * 60]
    metric.update(images, texts)
    rows = network.encode_image(processor(images=images, return_tensors="pt")["pixel_values"], normalize=True)
    expected = (rows * network.encode_text(network.tokenizer(texts), normalize=True)).sum(-1).mean() * 100
    torch.testing.assert_close(metric.compute(), expected.clamp(min=0), atol=1e-3, rtol=1e-4)


def test_clip_score_takes_what_from_bindplug_takes(network):
    wrapped, processor = bt.clip_score_pair(network)()
    assert wrapped.config.projection_dim == 16
    assert isinstance(processor, bt.ImageBindProcessor)
    assert isinstance(wrapped.get_text_features(torch.tensor([[49406, 320, 49407]])), torch.Tensor)


def test_retrieval_loop(model, processor):
    rng = np.random.default_rng(0)
    images = [Image.fromarray(rng.integers(0, 256, (60, 60, 3), dtype=np.uint8)) for _ in range(6)]
    gallery = []
    with torch.no_grad():
        for start in range(0, len(images), 4):
            inputs = processor(images=images[start : start + 4], return_tensors="pt")
            features = rows_of(model.get_image_features(**inputs))
            gallery.append(features / features.norm(dim=-1, keepdim=True))
        query = processor(images=images[3], return_tensors="pt")
        expected = rows_of(model.get_image_features(**query))
    assert (expected @ torch.cat(gallery).T).argmax() == 3


def test_linear_probe(model, processor):
    rng = np.random.default_rng(0)
    dark = [(rng.random((60, 60, 3)) * 60).astype(np.uint8) for _ in range(6)]
    light = [(195 + rng.random((60, 60, 3)) * 60).astype(np.uint8) for _ in range(6)]
    with torch.no_grad():
        features = rows_of(model.get_image_features(**processor(images=dark + light, return_tensors="pt")))
    targets = torch.tensor([0] * 6 + [1] * 6)
    features = (features - features.mean(0)) / features.std(0)
    probe = torch.nn.Linear(features.shape[1], 2)
    optimizer = torch.optim.Adam(probe.parameters(), lr=0.1)
    for _ in range(40):
        loss = torch.nn.functional.cross_entropy(probe(features), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert (probe(features).argmax(-1) == targets).all()


def test_guided_pixels(model, processor):
    text = processor(text="a red house", return_tensors="pt")
    torch.manual_seed(0)
    pixels = torch.randn(1, 3, 56, 56, requires_grad=True)
    optimizer = torch.optim.Adam([pixels], lr=0.05)
    scores = []
    for _ in range(5):
        output = model(**text, pixel_values=pixels)
        scores.append(float(output.logits_per_image.detach()))
        optimizer.zero_grad()
        (-output.logits_per_image.sum()).backward()
        optimizer.step()
    assert scores[-1] > scores[0]


def test_compiled(model, inputs):
    torch._dynamo.reset()
    compiled = torch.compile(model, backend="eager")
    both = {name: inputs[name] for name in ("input_ids", "attention_mask", "pixel_values", "depth_values")}
    with torch.no_grad():
        torch.testing.assert_close(compiled(**both).logits_per_depth, model(**both).logits_per_depth)


def test_autocast(model, inputs):
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        cast = model(**inputs)
    torch.testing.assert_close(cast.image_embeds.float(), model(**inputs).image_embeds, atol=0.05, rtol=0)


def test_data_parallel(model, inputs):
    wrapped = torch.nn.DataParallel(model)
    assert wrapped(**inputs).logits_per_audio.shape == (1, 2)
