"""Several queries, prompts, pictures a prompt, and seeds."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import bindplug
from bindplug import audio, interpolate, text
from bindplug.errors import InputError
from tests.diffusers import tiny

SETTINGS = {"num_inference_steps": 2, "output_type": "np"}
QUERIES = [audio("a.wav"), text("b")]
MAKERS = {
    "unclip": tiny.unclip,
    "sd": tiny.stable_diffusion,
    "img2img": lambda: tiny.stable_diffusion(tiny.IMG2IMG),
    "controlnet": tiny.controlnet,
}


def given(kind, picture):
    return {"image": picture} if kind in ("img2img", "controlnet") else {}


@pytest.mark.parametrize("kind", MAKERS)
def test_a_picture_is_the_same_in_every_batch(model, picture, kind):
    """Of its own query, prompt and seed, and in the order of the queries."""
    upgraded = bindplug.upgrade(MAKERS[kind](), model)
    more = given(kind, picture) | SETTINGS
    made = upgraded(
        QUERIES, prompt=["x", "y"], negative_prompt="z", num_images_per_prompt=2, seed=[5, 9], **more
    )
    assert len(made.images) == 4
    for i, (query, prompt, seed) in enumerate(zip(QUERIES, ["x", "y"], [5, 9], strict=True)):
        for k in range(2):
            alone = upgraded(query, prompt=prompt, negative_prompt="z", seed=seed + k, **more).images[0]
            assert np.allclose(alone, made.images[2 * i + k], atol=1e-4), (i, k)
    assert not np.allclose(made.images[0], made.images[1], atol=1e-3)


@pytest.mark.parametrize("kind", ["unclip", "sd"])
def test_pictures_of_one_query_stay_together_without_seed(model, kind):
    upgraded = bindplug.upgrade(MAKERS[kind](), model)
    latents = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    more = SETTINGS | {"prompt": "x"}
    if kind == "unclip":
        more["generator"] = [torch.Generator().manual_seed(0) for _ in range(4)]
        upgraded.original.image_normalizer.std.data *= 1e-6  # no noise on embeddings
    made = upgraded(QUERIES, num_images_per_prompt=2, latents=latents.expand(4, -1, -1, -1), **more).images
    assert np.allclose(made[0], made[1], atol=1e-4)
    assert np.allclose(made[2], made[3], atol=1e-4)
    assert not np.allclose(made[1], made[2], atol=1e-3)


def test_one_query_goes_with_every_prompt(model):
    upgraded = bindplug.upgrade(tiny.stable_diffusion(), model)
    made = upgraded(text("q"), prompt=["x", "y"], seed=0, **SETTINGS).images
    for prompt, found in zip("xy", made, strict=True):
        assert np.allclose(upgraded(text("q"), prompt=prompt, seed=0, **SETTINGS).images[0], found, atol=1e-4)
    rows = bindplug.upgrade(tiny.unclip(), model).conditioning(text("q"), prompt=["x", "y", "z"])
    assert rows["image_embeds"].shape == (3, 16)


def test_prompt_embeddings_are_repeated_as_prompts_are(model):
    pipe = tiny.stable_diffusion()
    upgraded = bindplug.upgrade(pipe, model)
    embeds, negative = pipe.encode_prompt("x", "cpu", 1, True)
    of_embeds = upgraded(
        QUERIES,
        prompt_embeds=embeds,
        negative_prompt_embeds=negative,
        seed=1,
        num_images_per_prompt=2,
        **SETTINGS,
    )
    of_words = upgraded(QUERIES, prompt="x", seed=1, num_images_per_prompt=2, **SETTINGS)
    assert np.allclose(of_embeds.images, of_words.images, atol=1e-5)


def test_a_query_alone_is_enough(model):
    assert len(bindplug.upgrade(tiny.unclip(), model)(audio("a.wav"), **SETTINGS).images) == 1
    assert len(bindplug.upgrade(tiny.stable_diffusion(), model)(audio("a.wav"), **SETTINGS).images) == 1


def test_a_morph_leads_from_one_to_the_other(model):
    upgraded = bindplug.upgrade(tiny.unclip(), model)
    made = upgraded(interpolate(*QUERIES, 3), seed=4, **SETTINGS).images
    ends = [upgraded(query, seed=4, **SETTINGS).images[0] for query in QUERIES]
    assert np.allclose(made[0], ends[0], atol=1e-4)
    assert np.allclose(made[-1], ends[1], atol=1e-4)
    assert not np.allclose(made[1], ends[0], atol=1e-3)


def test_one_seed_starts_every_query_alike(model):
    upgraded = bindplug.upgrade(tiny.unclip(), model)
    made = upgraded([QUERIES[0], QUERIES[0]], seed=4, **SETTINGS).images
    assert np.allclose(made[0], made[1], atol=1e-5)


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"prompt": ["x", "y", "z"]}, "2 queries, 3 prompt"),
        ({"prompt": ["x", "y"], "negative_prompt": ["a", "b", "c"]}, "3 negative_prompt"),
        ({"seed": [1, 2, 3]}, "3 seeds"),
        ({"seed": -1}, "whole numbers"),
        ({"seed": 1, "generator": torch.Generator()}, "seed and generator"),
        ({"query_strength": [1.0, 2.0, 3.0]}, "3 numbers"),
        ({"negative": [text("a")] * 3}, "2 and 3 queries"),
    ],
)
def test_counts_that_do_not_agree_are_refused(model, more, told):
    with pytest.raises(InputError, match=told):
        bindplug.upgrade(tiny.stable_diffusion(), model)(QUERIES, **more)


def test_each_query_has_its_strength(model):
    rows = bindplug.upgrade(tiny.unclip(), model).conditioning(QUERIES, strength=[0.5, 2.0])["image_embeds"]
    assert torch.allclose(rows[1].norm() / rows[0].norm(), torch.tensor(4.0))
