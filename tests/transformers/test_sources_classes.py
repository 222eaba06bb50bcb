"""Each class of transformers that ``transformers:ID`` opens: its own numbers, and the contract of encoders."""

from __future__ import annotations

from copy import deepcopy
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import numpy as np
import pytest
import torch
import transformers
from transformers.video_utils import VideoMetadata

import bindplug
from bindplug import audio, image, text, video
from bindplug.errors import InputError, NoTrainedScale, OptionError
from bindplug.testing import EncoderContract
from tests import small_foreign

pytestmark = pytest.mark.skipif(
    not hasattr(transformers, "EmbeddingGemma2Model"), reason="classes of later releases of transformers"
)

NOISE = np.random.default_rng(3)
SENTENCES = ["a dog", "the red sofa barks"]
PICTURES = [NOISE.integers(0, 256, (40, 50, 3), dtype=np.uint8) for _ in range(2)]
CLIPS = [NOISE.integers(0, 256, (4, 40, 50, 3), dtype=np.uint8) for _ in range(2)]
SOUNDS = [(NOISE.standard_normal(900) * 0.1).astype(np.float32) for _ in range(2)]
LONG_SOUNDS = [(NOISE.standard_normal(9000) * 0.1).astype(np.float32) for _ in range(2)]


@cache
def directory(kind: str) -> Path:
    return getattr(small_foreign, kind)(Path(mkdtemp()) / f"tiny-{kind}")


@cache
def parts(kind: str):
    """Our encoder, and a copy of its network, of the class itself, with the class's own processor."""
    model = bindplug.load(f"transformers:{directory(kind)}")
    return model, deepcopy(model.network), transformers.AutoProcessor.from_pretrained(directory(kind))


def unit(rows):
    return torch.nn.functional.normalize(rows, dim=-1)


def close(rows, expected):
    torch.testing.assert_close(rows, expected, atol=1e-5, rtol=0)


def frames(clip):
    return torch.from_numpy(clip).permute(0, 3, 1, 2)


@pytest.mark.parametrize("kind", ["siglip", "siglip2"])
@torch.no_grad()
def test_siglip(kind):
    model, network, processor = parts(kind)
    limit = model.preprocess["text"].limit
    output = network(
        **processor(
            text=SENTENCES, images=PICTURES, padding="max_length", max_length=limit, return_tensors="pt"
        )
    )
    rows = model.embed([*map(image, PICTURES), *map(text, SENTENCES)])
    close(rows, torch.cat([output.image_embeds, output.text_embeds]))
    assert model.scale_of("text") == pytest.approx(network.logit_scale.exp().item())


@torch.no_grad()
def test_pe_audio():
    model, network, processor = parts("pe_audio")
    inputs = processor(text=SENTENCES, audio=SOUNDS, sampling_rate=4000, padding=True, return_tensors="pt")
    output = network(**inputs)
    rows = model.embed([*(audio(s, sample_rate=4000) for s in SOUNDS), *map(text, SENTENCES)])
    close(rows, unit(torch.cat([output.audio_embeds, output.text_audio_embeds])))
    with pytest.warns(NoTrainedScale, match="was trained without a factor on cosines"):
        model.similarity([text("a dog")], [text("a cat"), text("rain")])


@torch.no_grad()
def test_pe_video():
    model, network, processor = parts("pe_video")
    inputs = processor(
        text=SENTENCES,
        videos=[*map(frames, CLIPS)],
        padding=True,
        do_sample_frames=False,
        return_tensors="pt",
    )
    output = network(**inputs)
    rows = model.embed([*(video(clip, fps=2) for clip in CLIPS), *map(text, SENTENCES)])
    close(rows, unit(torch.cat([output.video_embeds, output.text_video_embeds])))
    with pytest.raises(OptionError, match="no sound together with a video"):
        model.embed([video(CLIPS[0], fps=2, sound=SOUNDS[0], sample_rate=4000)])


@torch.no_grad()
def test_pe_audio_video_and_its_joint_rows():
    model, network, processor = parts("pe_audio_video")
    inputs = dict(
        processor(text=SENTENCES[:1], videos=[frames(CLIPS[0])], do_sample_frames=False, return_tensors="pt")
    )
    inputs |= dict(processor.feature_extractor([SOUNDS[0]], sampling_rate=4000, return_tensors="pt"))
    output = network(**inputs)
    rows = model.embed(
        [
            audio(SOUNDS[0], sample_rate=4000),
            video(CLIPS[0], fps=2),
            video(CLIPS[0], fps=2, sound=SOUNDS[0], sample_rate=4000),
            text(SENTENCES[0], against="audio"),
            text(SENTENCES[0], against="video"),
            text(SENTENCES[0]),
        ]
    )
    names = ("audio", "video", "audio_video", "text_audio", "text_video", "text_audio_video")
    close(rows, unit(torch.cat([output[f"{name}_embeds"] for name in names])))
    with pytest.raises(OptionError, match="against='smell'"):
        model.embed([text("a dog", against="smell")])


@torch.no_grad()
def test_embedding_gemma_2_and_its_joint_rows():
    model, network, processor = parts("embedding_gemma2")

    def pooled(**sources):
        inputs = processor(**sources, return_tensors="pt")
        unused = ("num_soft_tokens_per_image", "num_soft_tokens_per_video", "video_metadata")
        inputs = {name: value for name, value in inputs.items() if name not in unused}
        states, mask = network(**inputs).last_hidden_state, inputs["attention_mask"][..., None].float()
        return unit((states * mask).sum(1) / mask.sum(1))

    clip = [frames(CLIPS[0])]
    expected = [
        pooled(images=[[PICTURES[0]]]),
        pooled(audio=[LONG_SOUNDS[0]], sampling_rate=16_000),
        pooled(videos=clip, do_sample_frames=False),
        pooled(videos=clip, audio=[LONG_SOUNDS[0]], sampling_rate=16_000, do_sample_frames=False),
        pooled(text=SENTENCES, padding=True),
    ]
    sound = LONG_SOUNDS[0]
    rows = model.embed(
        [
            image(PICTURES[0]),
            audio(sound, sample_rate=16_000),
            video(CLIPS[0], fps=1),
            video(CLIPS[0], fps=1, sound=sound, sample_rate=16_000),
            *map(text, SENTENCES),
        ]
    )
    close(rows, torch.cat(expected))


@pytest.mark.parametrize("kind", ["pe_video", "embedding_gemma2"])
@pytest.mark.parametrize(("count", "fps"), [(37, 5), (8, 2), (9, 1), (100, 2), (61, 24)])
def test_the_frames_of_a_video_are_those_of_the_classs_own_processor(kind, count, fps):
    model, _, processor = parts(kind)
    own = processor.video_processor
    metadata = VideoMetadata(total_num_frames=count, fps=fps, duration=count / fps)
    options = {
        name: getattr(own, name, None) for name in ("fps", "num_frames", "max_frames", "overflow_strategy")
    }
    expected = list(map(int, own.sample_frames(metadata, **options)))
    clip = np.zeros((count, 6, 8, 3), dtype=np.uint8) + np.arange(count, dtype=np.uint8)[:, None, None, None]
    reading = model.preprocess["video"].read(clip, fps=fps)
    assert reading.frames[:, 0, 0, 0].tolist() == expected


@pytest.mark.parametrize("samples", [1, 128, 129, 160])
def test_sounds_too_short_for_embedding_gemma_2_are_refused(samples):
    model = parts("embedding_gemma2")[0]
    short = audio(LONG_SOUNDS[0][:samples], sample_rate=16_000)
    with pytest.raises(InputError, match=f"a sound of {samples} samples at 16000 Hz; expected at least 161"):
        model.embed([short])
    first, second = model.embed([audio(sound[:161], sample_rate=16_000) for sound in LONG_SOUNDS])
    assert not torch.allclose(first, second, atol=1e-3)


class ForeignContract(EncoderContract):
    kind = ""
    rate = 4000

    def make_encoder(self):
        return parts(self.kind)[0]

    def make_queries(self):
        sounds = SOUNDS if self.rate == 4000 else LONG_SOUNDS
        queries = {
            "image": [*map(image, PICTURES)],
            "video": [video(clip, fps=2) for clip in CLIPS],
            "text": [*map(text, SENTENCES)],
            "audio": [audio(sound, sample_rate=self.rate) for sound in sounds],
        }
        return {name: queries[name] for name in self.make_encoder().modalities}


class TestClip(ForeignContract):
    kind = "clip"


class TestClap(ForeignContract):
    kind = "clap"


class TestSiglip(ForeignContract):
    kind = "siglip"


class TestSiglip2(ForeignContract):
    kind = "siglip2"


class TestPeAudio(ForeignContract):
    kind = "pe_audio"


class TestPeVideo(ForeignContract):
    kind = "pe_video"


class TestPeAudioVideo(ForeignContract):
    kind = "pe_audio_video"


class TestEmbeddingGemma2(ForeignContract):
    kind = "embedding_gemma2"
    rate = 16_000
