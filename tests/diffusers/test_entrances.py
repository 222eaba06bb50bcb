"""What enters the pipelines: shapes, lengths, dtypes, halves of guidance; and that it is what a picture would be."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

import bindplug
from bindplug import audio, embedding, text
from bindplug.testing import FAKE_SPACE
from bindplug_diffusers import DEFAULT_NORM, QueryImageEncoder
from tests.diffusers import tiny

SETTINGS = {"num_inference_steps": 2, "output_type": "np"}


def query_of(encoder, pixels):
    """The query for what the pipeline's own encoder sees, and the length of that."""
    row = encoder(pixels).image_embeds[0].detach()
    return embedding(row, FAKE_SPACE, modality="image"), float(row.norm())


def seeded():
    return torch.Generator().manual_seed(3)


def test_unclip_gets_rows_of_the_normalizers_length(model):
    pipe = tiny.unclip()
    mean, std = np.linspace(-1, 1, 16), np.linspace(0.5, 1.5, 16)
    expected = math.sqrt((mean**2).sum() + (std**2).sum())
    rows = bindplug.upgrade(pipe, model).conditioning([audio("a.wav"), text("b")])["image_embeds"]
    assert rows.shape == (2, 16)
    assert torch.allclose(rows.norm(dim=1), torch.full((2,), expected), rtol=1e-5)
    direction = model.embed(audio("a.wav"))[0]
    assert torch.allclose(rows[0], direction * expected, atol=1e-4)


def test_unclip_query_of_a_picture_is_the_picture(model, picture):
    pipe = tiny.unclip()
    pixels = pipe.feature_extractor(images=picture, return_tensors="pt").pixel_values
    query, norm = query_of(pipe.image_encoder, pixels)
    expected = pipe(image=picture, prompt="a", generator=seeded(), noise_level=5, **SETTINGS).images
    upgraded = bindplug.upgrade(pipe, model)
    found = upgraded(query, norm=norm, prompt="a", generator=seeded(), noise_level=5, **SETTINGS).images
    assert np.allclose(found, expected, atol=1e-4)
    assert not np.allclose(
        found, upgraded(query, prompt="a", generator=seeded(), noise_level=900, **SETTINGS).images
    )


def test_unclip_runs_without_its_image_encoder(model):
    whole, light = tiny.unclip(), tiny.unclip(encoder=False)
    made = [bindplug.upgrade(p, model)(audio("a.wav"), seed=1, **SETTINGS).images for p in (whole, light)]
    assert np.array_equal(*made)
    assert light.image_encoder is None


def test_ip_adapter_query_of_a_picture_is_the_picture(model, picture):
    pipe = tiny.stable_diffusion()
    pipe.register_modules(image_encoder=tiny.image_encoder(), feature_extractor=tiny.feature_extractor())
    pixels = pipe.feature_extractor(picture, return_tensors="pt").pixel_values
    query, norm = query_of(pipe.image_encoder, pixels)
    upgraded = bindplug.upgrade(pipe, model, norm=norm)
    for scale in (1.0, 5.0):
        given = {"prompt": "a", "guidance_scale": scale, **SETTINGS}
        expected = pipe(ip_adapter_image=picture, generator=seeded(), **given).images
        assert np.allclose(upgraded(query, generator=seeded(), **given).images, expected, atol=1e-4)


@pytest.mark.parametrize("make", [tiny.stable_diffusion, tiny.sdxl])
def test_ip_adapter_rows_are_those_the_pipeline_prepares(model, make):
    pipe = make()
    for scale, halves in ((5.0, 2), (1.0, 1)):
        given = bindplug.upgrade(pipe, model).conditioning(audio("a.wav"), guidance_scale=scale)
        (rows,) = given["ip_adapter_image_embeds"]
        assert rows.shape == (halves, 1, 16)
        prepared = pipe.prepare_ip_adapter_image_embeds(None, [rows], "cpu", 3, halves == 2)
        assert torch.equal(prepared[0], rows.repeat_interleave(3, dim=0))
        assert torch.allclose(rows[-1].norm(), torch.tensor(DEFAULT_NORM))
        if halves == 2:
            assert not rows[0].any()


def test_several_queries_for_ip_adapters_are_only_for_a_call(model):
    """diffusers itself would mix them: here is the proof, and the refusal."""
    pipe = tiny.stable_diffusion()
    upgraded = bindplug.upgrade(pipe, model)
    rows = [
        upgraded.conditioning(q, guidance_scale=1.0)["ip_adapter_image_embeds"][0]
        for q in (text("a"), text("b"))
    ]
    given = {"prompt": ["x", "x"], "guidance_scale": 1.0, "latents": torch.ones(2, 4, 8, 8), **SETTINGS}
    mixed = pipe(ip_adapter_image_embeds=[torch.cat(rows)], **given).images
    assert np.array_equal(mixed[0], mixed[1])
    apart = upgraded([text("a"), text("b")], **given).images
    assert not np.allclose(apart[0], apart[1], atol=1e-3)
    with pytest.raises(bindplug.BindplugError, match="mixes in every picture"):
        upgraded.conditioning([text("a"), text("b")])


def test_guidance_is_what_the_pipeline_says_by_default(model):
    rows = bindplug.upgrade(tiny.stable_diffusion(), model).conditioning(text("a"))
    assert rows["ip_adapter_image_embeds"][0].shape == (2, 1, 16)


def test_several_adapters_get_one_query_or_their_own(model):
    upgraded = bindplug.upgrade(tiny.stable_diffusion(adapters=("pooled", "pooled")), model)
    first, second = text("a"), audio("b.wav")
    both = upgraded.conditioning(first)["ip_adapter_image_embeds"]
    assert len(both) == 2
    assert torch.equal(both[0], both[1])
    own = upgraded.conditioning({0: first, 1: second})["ip_adapter_image_embeds"]
    assert torch.equal(own[0], both[0])
    assert torch.equal(own[1], upgraded.conditioning(second)["ip_adapter_image_embeds"][0])
    one = upgraded.conditioning({1: second})["ip_adapter_image_embeds"]
    assert not one[0].any()
    assert torch.equal(one[1], own[1])
    settings = {"prompt": "x", "seed": 0, **SETTINGS}
    made = upgraded({0: first, 1: [first, second]}, **settings).images
    for query, found in zip((first, second), made, strict=True):
        assert np.allclose(upgraded({0: first, 1: query}, **settings).images[0], found, atol=1e-4)


def test_a_plus_adapter_beside_another_takes_its_own_tensor(model):
    pipe = tiny.stable_diffusion(adapters=("pooled", "plus"))
    upgraded = bindplug.upgrade(pipe, model)
    patches = torch.randn(2, 1, 5, 16, generator=seeded())
    given = upgraded.conditioning({0: text("a"), 1: patches})["ip_adapter_image_embeds"]
    assert torch.equal(given[1], patches)
    settings = {"prompt": "a", "seed": 0, **SETTINGS}
    both = upgraded({0: [text("a"), text("b")], 1: patches}, **settings).images
    for query, made in zip("ab", both, strict=True):
        assert np.allclose(upgraded({0: text(query), 1: patches}, **settings).images[0], made, atol=1e-4)


def test_negative_query_is_the_unconditional_half(model):
    upgraded = bindplug.upgrade(tiny.stable_diffusion(), model)
    against = upgraded.conditioning(text("b"), guidance_scale=1.0)["ip_adapter_image_embeds"][0]
    rows = upgraded.conditioning(text("a"), negative=text("b"))["ip_adapter_image_embeds"][0]
    assert torch.equal(rows[0], against[0])
    settings = {"seed": 0, **SETTINGS}
    made = upgraded([text("a"), text("c")], negative=[text("b"), text("d")], **settings).images
    assert np.allclose(made[1], upgraded(text("c"), negative=text("d"), **settings).images[0], atol=1e-4)
    assert not np.allclose(made[1], upgraded(text("c"), **settings).images[0], atol=1e-3)
    kandinsky = bindplug.upgrade(tiny.kandinsky(), model).conditioning(text("a"), negative=text("b"))
    assert torch.equal(kandinsky["negative_image_embeds"], against[:, 0])


def test_video_of_the_query_of_its_picture_is_its_video(model, picture):
    pipe = tiny.video()
    seen = []
    handle = pipe.image_encoder.register_forward_hook(lambda _, __, out: seen.append(out.image_embeds[0]))
    given = {"image": picture, "height": 16, "width": 16, "num_frames": 2, **SETTINGS}
    expected = pipe(generator=seeded(), **given).frames
    handle.remove()
    query = embedding(seen[0], FAKE_SPACE, modality="image")
    upgraded = bindplug.upgrade(pipe, model)
    assert np.allclose(upgraded(query, generator=seeded(), **given).frames, expected, atol=1e-3)
    other = upgraded(query, query_strength=2, generator=seeded(), **given).frames
    assert not np.allclose(other, expected, atol=1e-3)
    assert isinstance(upgraded.conditioning(query)["image_encoder"], QueryImageEncoder)
    again = type(pipe)(**{**pipe.components, **upgraded.conditioning(query)})
    tiny.quiet(again)
    assert np.allclose(again(generator=seeded(), **given).frames, expected, atol=1e-3)


def test_image_variations_take_several_queries_and_one_picture(model, picture):
    upgraded = bindplug.upgrade(tiny.image_variation(), model)
    queries = [audio("a.wav"), text("b")]
    both = upgraded(queries, image=picture, seed=0, **SETTINGS).images
    for query, made in zip(queries, both, strict=True):
        alone = upgraded(query, image=picture, seed=0, **SETTINGS).images[0]
        assert np.allclose(alone, made, atol=1e-4)


def test_conditioning_is_what_a_call_uses(model):
    for pipe, queries, prompts in (
        (tiny.unclip(), [audio("a.wav"), text("b")], ["x", "x"]),
        (tiny.stable_diffusion(), audio("a.wav"), "x"),
    ):
        upgraded = bindplug.upgrade(pipe, model)
        given = upgraded.conditioning(queries, prompt="x", guidance_scale=4.0)
        assert given["prompt"] == prompts
        plain = pipe(**given, generator=seeded(), **SETTINGS).images
        called = upgraded(queries, prompt="x", guidance_scale=4.0, generator=seeded(), **SETTINGS)
        assert np.array_equal(plain, called.images)


def test_the_query_image_encoder_is_in_the_shape_of_clips():
    encoder = QueryImageEncoder(torch.eye(2, 4, dtype=torch.float16), norm=3.0)
    assert next(encoder.parameters()).dtype is encoder.dtype is torch.float16
    assert encoder.device.type == "cpu"
    made = encoder(torch.zeros(2, 3, 8, 8), output_hidden_states=False).image_embeds
    assert torch.equal(made, 3 * torch.eye(2, 4, dtype=torch.float16))
    assert encoder.to(torch.float32).dtype is torch.float32
    one = QueryImageEncoder(torch.eye(1, 4), norm=1.0)
    assert one(torch.zeros(3, 3, 8, 8)).image_embeds.shape == (3, 4)
    with pytest.raises(bindplug.BindplugError, match="3 pictures; expected 2"):
        encoder(torch.zeros(3, 3, 8, 8))
    with pytest.raises(bindplug.BindplugError, match="norm="):
        QueryImageEncoder(torch.eye(2, 4))
