"""``bindplug.load("transformers:…")`` of CLIP and CLAP: the class's own numbers through our readers."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile
import torch
import transformers
from PIL import Image

import bindplug
from bindplug import audio, image, text
from bindplug.errors import InputNote, ModalityNotLoaded
from tests import small_foreign

SENTENCES = ["a dog", "the sound of rain and a dog"]


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return small_foreign.clip(tmp_path_factory.mktemp("clip") / "tiny-clip")


@pytest.fixture(scope="module", params=[False, True], ids=["unfused", "fused"])
def clap(tmp_path_factory, request):
    return small_foreign.clap(tmp_path_factory.mktemp("clap") / "tiny-clap", fusion=request.param)


def noise(samples, seed=0):
    return np.random.default_rng(seed).standard_normal(samples).astype(np.float32) * 0.1


def test_clip_rows_are_the_classs_own(clip, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "noise.png")
    model = bindplug.load(f"transformers:{clip}")
    rows = model.embed([image(tmp_path / "noise.png"), *map(text, SENTENCES)])
    network = transformers.CLIPModel.from_pretrained(clip)
    processor = transformers.AutoProcessor.from_pretrained(clip)
    with torch.no_grad():
        output = network(**processor(text=SENTENCES, images=[pixels], return_tensors="pt", padding=True))
    torch.testing.assert_close(rows, torch.cat([output.image_embeds, output.text_embeds]), atol=1e-5, rtol=0)
    assert model.modalities == ("image", "text")
    assert model.embedding_space.name == "transformers:tiny-clip"
    assert model.scale_of("text") == pytest.approx(network.logit_scale.exp().item())


def test_clap_rows_are_the_classs_own(clap, tmp_path):
    samples = noise(3000)
    soundfile.write(tmp_path / "noise.wav", samples, 4000, subtype="FLOAT")
    model = bindplug.load(f"transformers:{clap}")
    rows = model.embed([audio(tmp_path / "noise.wav"), *map(text, SENTENCES)])
    network = transformers.ClapModel.from_pretrained(clap)
    processor = transformers.AutoProcessor.from_pretrained(clap)
    inputs = processor(text=SENTENCES, audio=[samples], sampling_rate=4000, return_tensors="pt", padding=True)
    with torch.no_grad():
        output = network(**inputs)
    torch.testing.assert_close(rows, torch.cat([output.audio_embeds, output.text_embeds]), atol=1e-5, rtol=0)
    assert model.scale_of("audio") == pytest.approx(network.logit_scale_a.exp().item())


def test_a_long_sound_is_heard_in_windows_and_always_has_one_row(clap):
    model = bindplug.load(f"transformers:{clap}", modalities={"audio"})
    samples = noise(10_000)
    with pytest.warns(
        InputNote, match=r"2\.5 s of sound, of which 2 windows of 1 s are heard; clips=3 hears"
    ):
        rows = model.embed([audio(samples, sample_rate=4000, clips=2)] * 2)
    windows = model.embed([audio(samples[at : at + 4000], sample_rate=4000) for at in (0, 6000)])
    expected = torch.nn.functional.normalize(windows.mean(0), dim=0)
    torch.testing.assert_close(rows[0], expected, atol=1e-5, rtol=0)
    with pytest.raises(ModalityNotLoaded):
        model.embed([text("a dog")])


def test_sounds_are_resampled_and_mixed(clap):
    model = bindplug.load(f"transformers:{clap}")
    mono = noise(4000)
    stereo = np.stack([mono * 1.5, mono * 0.5])
    rows = model.embed([audio(mono, sample_rate=4000), audio(stereo, sample_rate=4000)])
    torch.testing.assert_close(rows[0], rows[1], atol=1e-4, rtol=0)
    tone = np.sin(2 * np.pi * 200 * np.arange(8000) / 8000).astype(np.float32)
    half = np.sin(2 * np.pi * 200 * np.arange(4000) / 4000).astype(np.float32)
    rows = model.embed([audio(tone, sample_rate=8000), audio(half, sample_rate=4000)])
    assert (rows[0] @ rows[1]).item() > 0.99
