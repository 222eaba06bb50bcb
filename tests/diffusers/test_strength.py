"""Lengths: of the pipeline's own statistics, of strengths, and what refuses them."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import bindplug
from bindplug import audio, text
from bindplug.errors import CheckpointError, InputError
from bindplug_diffusers import expected_norm
from bindplug_diffusers.strength import check_norm, strengths_of
from tests.diffusers import tiny

SETTINGS = {"num_inference_steps": 2, "output_type": "np", "seed": 0}


@given(st.integers(0, 1000), st.floats(0, 3), st.floats(0.1, 3))
@settings(max_examples=25)
def test_expected_norm_is_that_of_such_vectors(seed, shift, spread):
    generator = torch.Generator().manual_seed(seed)
    mean, std = shift * torch.randn(8, generator=generator), spread * torch.rand(8, generator=generator)
    drawn = mean + std * torch.randn(40_000, 8, generator=generator)
    assert math.isclose(expected_norm(mean, std), float(drawn.square().sum(1).mean().sqrt()), rel_tol=0.03)


def test_the_statistics_are_read_when_a_query_comes(model):
    pipe = tiny.unclip()
    upgraded = bindplug.upgrade(pipe, model)
    before = upgraded.conditioning(text("a"))["image_embeds"].norm()
    pipe.image_normalizer.mean.data *= 0
    pipe.image_normalizer.std.data = torch.full((1, 16), 2.0)
    after = upgraded.conditioning(text("a"))["image_embeds"].norm()
    assert not torch.isclose(before, after)
    assert math.isclose(float(after), 8.0, rel_tol=1e-5)


def test_strength_scales_and_norm_sets(model):
    upgraded = bindplug.upgrade(tiny.unclip(), model, strength=0.5, norm=6.0)
    rows = {
        name: float(upgraded.conditioning(audio("a.wav"), **more)["image_embeds"].norm())
        for name, more in {
            "upgrade": {},
            "call": {"query_strength": 2.0},
            "alias": {"strength": 2.0},
            "norm": {"norm": 10.0},
            "none": {"query_strength": 0},
        }.items()
    }
    assert rows == pytest.approx(
        {"upgrade": 3.0, "call": 12.0, "alias": 12.0, "norm": 5.0, "none": 0.0}, rel=1e-5
    )


def test_a_query_of_no_weight_is_the_zero_embedding_and_reads_nothing(model):
    rows = bindplug.upgrade(tiny.unclip(), model).conditioning([0 * audio("absent.wav"), text("b")])[
        "image_embeds"
    ]
    assert not rows[0].any()
    assert rows[1].any()


def test_the_strength_of_img2img_stays_its_own(model, picture):
    upgraded = bindplug.upgrade(tiny.stable_diffusion(tiny.IMG2IMG), model)
    arguments = upgraded.conditioning(text("a"), image=picture, strength=0.5)
    assert arguments["strength"] == 0.5
    assert torch.allclose(arguments["ip_adapter_image_embeds"][0][1].norm(), torch.tensor(20.0))


def test_ip_adapters_hardly_feel_the_length(model):
    """Why the default length may be a convention: a LayerNorm follows."""
    upgraded = bindplug.upgrade(tiny.stable_diffusion(), model)
    layer = upgraded.unet.encoder_hid_proj.image_projection_layers[0]
    rows = [
        upgraded.conditioning(text("a"), norm=n)["ip_adapter_image_embeds"][0][1] for n in (10.0, 20.0, 40.0)
    ]
    tokens = [layer(row).flatten() for row in rows]
    for other in (tokens[0], tokens[2]):
        assert torch.nn.functional.cosine_similarity(other, tokens[1], dim=0) > 0.97


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_rows_are_cast_to_what_the_unet_computes_in(model, dtype):
    for pipe in (tiny.unclip(), tiny.stable_diffusion()):
        given = bindplug.upgrade(pipe.to(dtype), model).conditioning(text("a"))
        rows = given.get("image_embeds", given.get("ip_adapter_image_embeds"))
        assert (rows if isinstance(rows, torch.Tensor) else rows[0]).dtype is dtype


@pytest.mark.parametrize("make", [tiny.unclip, tiny.stable_diffusion, tiny.sdxl])
def test_a_pipeline_of_half_precision_makes_pictures(model, make):
    made = bindplug.upgrade(make().to(torch.bfloat16), model)(audio("a.wav"), prompt="x", **SETTINGS).images
    assert np.isfinite(made).all()


def test_what_the_dtype_cannot_hold_is_refused(model):
    upgraded = bindplug.upgrade(tiny.unclip().to(torch.float16), model)
    with pytest.raises(InputError, match="float16 can hold"):
        upgraded.conditioning(text("a"), query_strength=1e6)


@pytest.mark.parametrize("strength", [-1.0, math.nan, math.inf, "1", True, [1.0, -1.0]])
def test_impossible_strengths_are_refused(strength):
    with pytest.raises(InputError, match="strength"):
        strengths_of(strength, 2)


@pytest.mark.parametrize("norm", [0, -1.0, math.nan, math.inf, "20", True])
def test_impossible_norms_are_refused(norm):
    with pytest.raises(InputError, match="above 0"):
        check_norm(norm)


@pytest.mark.parametrize("value", [math.nan, 0.0])
def test_damaged_statistics_are_refused(model, value):
    pipe = tiny.unclip()
    pipe.image_normalizer.mean.data = torch.full((1, 16), value)
    pipe.image_normalizer.std.data = torch.full((1, 16), value)
    with pytest.raises(CheckpointError, match="norm="):
        bindplug.upgrade(pipe, model).conditioning(text("a"))
