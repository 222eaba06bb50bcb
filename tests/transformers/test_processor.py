"""ImageBindProcessor and its parts beside bindplug's readers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoFeatureExtractor, AutoImageProcessor, AutoProcessor

import bindplug_transformers as bt
from bindplug.errors import InputError
from tests.transformers.tiny import MODEL_INPUTS, SIDE


@pytest.mark.parametrize("modality", ["image", "video", "audio", "depth", "thermal", "imu"])
def test_tensors_are_the_readers(inputs, network, sources, options, modality):
    expected = network.preprocess[modality](sources[modality], **options.get(modality, {}))
    assert torch.equal(inputs[MODEL_INPUTS[modality]][0], expected)


def test_images_in_every_form(processor, sources):
    image = sources["image"]
    expected = processor(images=Image.fromarray(image), return_tensors="pt")["pixel_values"]
    chw = torch.from_numpy(image).permute(2, 0, 1)
    for form in (
        image,
        image.astype(np.int64),
        image.transpose(2, 0, 1),
        chw,
        chw.long(),
        chw / 255,
        [image],
    ):
        assert torch.equal(processor(images=form, return_tensors="pt")["pixel_values"], expected)
    batch = processor(images=torch.stack([chw, chw]), return_tensors="pt")["pixel_values"]
    assert batch.shape == (2, 3, SIDE, SIDE)
    assert processor(images=image, return_tensors="np")["pixel_values"].dtype == np.float32
    assert isinstance(processor(images=[image])["pixel_values"], list)


def test_sounds_in_every_form(processor, sources, wav):
    sound = (sources["audio"] * 32767).astype("<i2").astype(np.float32) / 32768
    expected = processor(audio=str(wav), return_tensors="pt")["input_features"]
    forms = [
        ({"audio": sound, "sampling_rate": 16000}),
        ({"audio": [sound], "sampling_rate": 16000}),
        ({"audio": [sound.tolist()], "sampling_rate": 16000}),
        ({"audio": {"array": sound, "sampling_rate": 16000}}),
    ]
    for form in forms:
        assert torch.equal(processor(**form, return_tensors="pt")["input_features"], expected)


def test_rates_are_resampled_and_never_assumed(processor, sources):
    assert processor.feature_extractor.sampling_rate == 16000
    at_8k = processor(audio=sources["audio"], sampling_rate=8000, return_tensors="pt")["input_features"]
    at_16k = processor(audio=sources["audio"], sampling_rate=16000, return_tensors="pt")["input_features"]
    assert not torch.equal(at_8k, at_16k)
    with pytest.raises(InputError, match="sampling_rate=16000"):
        processor(audio=sources["audio"])


def test_reader_options(processor, sources):
    metres = processor(depth=sources["depth"], return_tensors="pt")["depth_values"]
    millimetres = np.round(sources["depth"] * 1000).astype(np.uint16)
    features = processor(depth=millimetres, depth_kwargs={"unit": "mm"}, return_tensors="pt")["depth_values"]
    torch.testing.assert_close(features, metres, atol=5e-2, rtol=0)
    each = processor(
        depth=[millimetres, sources["depth"]], depth_kwargs=[{"unit": "mm"}, {}], return_tensors="pt"
    )
    assert torch.equal(each["depth_values"][1:], metres)


def test_texts_are_padded_where_tensors_are_asked_for(processor):
    assert processor(text=["a", "a dog"], return_tensors="pt")["input_ids"].shape == (2, 4)
    assert [len(row) for row in processor(text=["a", "a dog"])["input_ids"]] == [3, 4]
    assert processor(text="a dog", padding="max_length", return_tensors="pt")["input_ids"].shape == (1, 77)


@pytest.mark.parametrize(
    ("call", "remedy"),
    [
        ({}, "text="),
        ({"text": "a", "unit": "mm"}, "depth_kwargs"),
        ({"images": np.full((8, 8, 3), 300)}, "0 to 255"),
        ({"images": "nowhere.png"}, "no such file"),
        ({"images": np.zeros((8, 8, 3), np.uint8), "return_tensors": "tf"}, '"pt"'),
        ({"depth": [np.ones((4, 4))], "depth_kwargs": [{}, {}]}, "one a source"),
        ({"audio": {"array": np.zeros(9)}}, "sampling_rate"),
    ],
)
def test_bad_calls_name_the_remedy(processor, call, remedy):
    with pytest.raises(InputError, match=remedy):
        processor(**call)


def test_other_image_processing_is_refused(processor, sources):
    with pytest.raises(InputError, match="CLIPImageProcessor"):
        processor.image_processor(sources["image"], do_normalize=False)
    assert "pixel_values" in processor.image_processor(
        sources["image"], do_normalize=True, size={"shortest_edge": SIDE}
    )
    with pytest.raises(InputError, match="sampling_rate"):
        processor.feature_extractor(sources["audio"], sampling_rate=16000, max_length=3)


def test_saves_and_loads_all_parts(sources, options, tmp_path):
    saved = bt.ImageBindProcessor(
        image_processor=bt.ImageBindImageProcessor(image_size=28, alpha="drop"),
        feature_extractor=bt.ImageBindFeatureExtractor(channel="mix", clips=2),
        depth_preset="relative",
    )
    saved.save_pretrained(tmp_path)
    for kind in (bt.ImageBindProcessor, AutoProcessor):
        loaded = kind.from_pretrained(tmp_path)
        assert isinstance(loaded, bt.ImageBindProcessor)
        assert isinstance(loaded.tokenizer, bt.ImageBindTokenizer)
        assert (loaded.image_processor.image_size, loaded.image_processor.alpha) == (28, "drop")
        assert (loaded.feature_extractor.channel, loaded.feature_extractor.clips) == ("mix", 2)
        assert (loaded.depth_preset, loaded.image_size) == ("relative", 28)
    images = AutoImageProcessor.from_pretrained(tmp_path)
    sounds = AutoFeatureExtractor.from_pretrained(tmp_path)
    assert isinstance(images, bt.ImageBindImageProcessor)
    assert isinstance(sounds, bt.ImageBindFeatureExtractor)
    assert images(sources["image"], return_tensors="pt")["pixel_values"].shape == (1, 3, 28, 28)
    features = sounds(sources["audio"], sampling_rate=16000, return_tensors="pt")["input_features"]
    assert features.shape == (1, 2, 1, 128, 204)


def test_parts_save_and_load_alone(tmp_path):
    bt.ImageBindImageProcessor(image_size=28).save_pretrained(tmp_path / "images")
    bt.ImageBindFeatureExtractor(clips=1).save_pretrained(tmp_path / "sounds")
    assert AutoImageProcessor.from_pretrained(tmp_path / "images").crop_size == {"height": 28, "width": 28}
    assert AutoFeatureExtractor.from_pretrained(tmp_path / "sounds").clips == 1


def test_inputs_move_to_half_precision(model, processor, sources):
    inputs = processor(images=sources["image"], text="a dog", return_tensors="pt").to(torch.bfloat16)
    assert inputs["pixel_values"].dtype == torch.bfloat16
    assert inputs["input_ids"].dtype == torch.int64
    assert model(**inputs).logits_per_image.shape == (1, 1)
