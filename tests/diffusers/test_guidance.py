"""Guidance by gradients: the pipeline's own picture at strength 0, nearer to the query above it, no trace left."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from diffusers import EulerDiscreteScheduler, FlowMatchEulerDiscreteScheduler

import bindplug
from bindplug import audio, embedding
from bindplug.errors import InputError, ModalityNotLoaded, UnsupportedTarget
from bindplug.imagebind import ImageBind
from bindplug.inputs.image import normalize_rgb
from bindplug.testing import FakeEncoder, difference, snapshot
from bindplug_diffusers import guided
from tests.diffusers import tiny
from tests.small import SMALL


class ColorEye(FakeEncoder):
    """Sees the colors of a picture's sixteen parts, less of red than of the others."""

    def encode(self, modality: str, x: torch.Tensor, normalize: bool = False) -> torch.Tensor:
        seen = torch.nn.functional.adaptive_avg_pool2d(x, 4) * x.new_tensor([-2.0, 1.0, 1.0])[:, None, None]
        return torch.nn.functional.normalize(seen.sum(1).flatten(1), dim=1)


@pytest.fixture
def eye() -> ColorEye:
    return ColorEye(["image"])


def query_for(model: ColorEye) -> bindplug.Query:
    """Red left of what is not red."""
    return embedding(torch.tensor([-1.0, -1.0, 1.0, 1.0] * 4), model.embedding_space)


def pixels(picture) -> np.ndarray:
    return np.asarray(picture).astype(int)


@pytest.mark.parametrize(
    ("words", "scale"), [({}, 7.5), ({"prompt": "a b"}, 1.0), ({"prompt": "a", "negative_prompt": "b"}, 7.5)]
)
def test_strength_0_is_the_pipelines_own_picture(eye, words, scale):
    pipe = tiny.stable_diffusion(adapters=())
    own = pipe(
        words.get("prompt", ""),
        negative_prompt=words.get("negative_prompt"),
        guidance_scale=scale,
        num_inference_steps=3,
        generator=torch.Generator().manual_seed(5),
    ).images[0]
    ours = guided(pipe, eye, query_for(eye), guidance_scale=scale, steps=3, strength=0, seed=5, **words)
    assert ours.size == own.size
    assert abs(pixels(ours) - pixels(own)).max() <= 1


def test_words_and_their_scale_matter(eye):
    pipe = tiny.stable_diffusion(adapters=())
    settings = {"steps": 2, "strength": 0}
    plain, one, more = (
        guided(pipe, eye, query_for(eye), prompt=prompt, guidance_scale=scale, **settings)
        for prompt, scale in (("", 7.5), ("a", 1.0), ("a", 30.0))
    )
    assert pixels(plain).tolist() != pixels(one).tolist() != pixels(more).tolist()


@pytest.mark.parametrize("make", [lambda: tiny.stable_diffusion(adapters=()), tiny.unclip])
def test_guidance_leads_to_the_query(eye, make):
    pipe, query = make(), query_for(eye)
    pictures = [
        guided(pipe, eye, query, steps=6, views=2, strength=strength, seed=1) for strength in (0, 0.5)
    ]
    seen = torch.stack([normalize_rgb(torch.tensor(pixels(picture)).movedim(2, 0)) for picture in pictures])
    before, after = (eye.encode_image(seen) @ eye.embed([query])[0]).tolist()
    assert after > before + 0.1


def test_schedulers_of_other_samplers_serve(eye):
    pipe = tiny.stable_diffusion(adapters=())
    expected = guided(pipe, eye, query_for(eye), steps=3, views=1)
    pipe.scheduler = EulerDiscreteScheduler.from_config(pipe.scheduler.config)
    assert guided(pipe, eye, query_for(eye), steps=3, views=1) == expected


def test_seeds_repeat_and_differ(eye):
    pipe = tiny.stable_diffusion(adapters=())
    first, again, other = (
        guided(pipe, eye, query_for(eye), steps=2, views=1, seed=seed) for seed in (3, 3, 4)
    )
    assert first == again
    assert first != other


def test_pipeline_and_model_stay_as_they_were(eye):
    pipe = tiny.unclip()
    pipe.scheduler.set_timesteps(7)
    parts = {"unet": pipe.unet, "vae": pipe.vae, "text_encoder": pipe.text_encoder}
    before = {name: snapshot(part) for name, part in parts.items()}
    guided(pipe, eye, query_for(eye), steps=2, views=1)
    for name, part in parts.items():
        assert not difference(before[name], snapshot(part)), name
        assert all(p.requires_grad and p.grad is None for p in part.parameters()), name
    assert len(pipe.scheduler.timesteps) == 7


def test_a_real_tower_in_half_precision():
    tower = tiny.seeded(ImageBind, SMALL, {"image"}).to(torch.bfloat16)
    pipe = tiny.stable_diffusion(adapters=()).to(torch.bfloat16)
    query = embedding(torch.ones(16), tower.embedding_space)
    unguided, picture = (guided(pipe, tower, query, steps=2, views=1, strength=s) for s in (0, 1.0))
    assert picture.size == (16, 16)
    assert picture != unguided


def without(part: str):
    pipe = tiny.stable_diffusion(adapters=())
    setattr(pipe, part, None)
    return pipe


def test_what_cannot_be_guided_is_refused_with_the_reason(eye):
    flow = tiny.stable_diffusion(adapters=())
    flow.scheduler = FlowMatchEulerDiscreteScheduler()
    classes = tiny.stable_diffusion(adapters=())
    classes.unet = tiny.unet(class_embed_type="timestep")
    for pipe, told in (
        (object(), "no vae and no unet and no encode_prompt"),
        (tiny.pixels_alone(), "no vae"),
        (without("vae"), "no vae"),
        (flow, "FlowMatchEulerDiscreteScheduler does not mix"),
        (tiny.stable_diffusion(tiny.INPAINT, adapters=()), "takes 9 channels and its VAE makes 4"),
        (tiny.stable_diffusion(), r"'ip_image_proj'.*bindplug\.upgrade"),
        (tiny.sdxl(adapters=()), r"'text_time'.*bindplug\.upgrade"),
        (classes, "needs a class"),
    ):
        with pytest.raises(UnsupportedTarget, match=told):
            guided(pipe, eye, query_for(eye), steps=1)


def test_bad_settings_and_models_are_refused(eye):
    pipe = tiny.stable_diffusion(adapters=())
    for setting in ({"steps": 0}, {"views": 0}, {"strength": -1.0}, {"strength": float("nan")}):
        with pytest.raises(InputError, match="at least"):
            guided(pipe, eye, query_for(eye), **setting)
    with pytest.raises(ModalityNotLoaded, match="image"):
        guided(pipe, FakeEncoder(["audio"]), audio("a.wav"))
    with pytest.raises(ModalityNotLoaded, match="audio"):
        guided(pipe, eye, audio("a.wav"))
