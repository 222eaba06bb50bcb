"""What is set on an upgraded pipeline counts in everything done through it, and is not set on the original."""

from __future__ import annotations

import copy
import json
import pickle

import numpy as np
import pytest
import torch
from diffusers import (
    AutoPipelineForImage2Image,
    AutoPipelineForText2Image,
    DDIMScheduler,
    DiffusionPipeline,
    EulerDiscreteScheduler,
    StableDiffusionImg2ImgPipeline,
    StableDiffusionPipeline,
    StableUnCLIPImg2ImgPipeline,
)

import bindplug
from bindplug import audio
from bindplug.errors import UnsupportedTarget
from bindplug.testing import difference, snapshot
from bindplug_diffusers import PipelineWithQueries, QueryImageEncoder
from tests.diffusers import tiny

QUERY = audio("a.wav")


@pytest.fixture
def pipe():
    return tiny.unclip(encoder=False)


@pytest.fixture
def upgraded(pipe, model):
    """With another scheduler and another UNet than the original."""
    upgraded = bindplug.upgrade(pipe, model)
    upgraded.scheduler = EulerDiscreteScheduler.from_config(pipe.scheduler.config)
    unet = tiny.unet(class_embed_type="projection", projection_class_embeddings_input_dim=2 * tiny.WIDTH)
    with torch.no_grad():
        unet.conv_out.bias.add_(0.5)
    upgraded.unet = unet
    return upgraded


def test_it_is_a_pipeline_of_the_originals_class(upgraded):
    assert isinstance(upgraded, PipelineWithQueries)
    assert isinstance(upgraded, StableUnCLIPImg2ImgPipeline)
    assert isinstance(upgraded, DiffusionPipeline)
    assert type(upgraded).__name__ == "StableUnCLIPImg2ImgPipeline"


def test_components_have_what_was_set(pipe, upgraded):
    components = upgraded.components
    assert components["scheduler"] is upgraded.scheduler
    assert components["unet"] is upgraded.unet
    assert components["vae"] is pipe.vae
    assert pipe.components["scheduler"] is not upgraded.scheduler
    assert components.keys() == pipe.components.keys()


def test_save_pretrained_writes_what_was_set(pipe, upgraded, tmp_path):
    upgraded.save_pretrained(tmp_path)
    index = json.loads((tmp_path / "model_index.json").read_text())
    assert index["_class_name"] == "StableUnCLIPImg2ImgPipeline"
    assert index["scheduler"] == ["diffusers", "EulerDiscreteScheduler"]
    again = DiffusionPipeline.from_pretrained(tmp_path, image_encoder=None)
    assert type(again) is StableUnCLIPImg2ImgPipeline
    assert isinstance(again.scheduler, EulerDiscreteScheduler)
    assert torch.equal(again.unet.conv_out.bias, upgraded.unet.conv_out.bias)
    assert pipe.config["scheduler"][1] == "DDIMScheduler"


def test_to_casts_what_was_set_and_returns_the_upgraded(pipe, upgraded):
    own = pipe.unet
    assert upgraded.to(torch.float64) is upgraded
    assert upgraded.unet.dtype is upgraded.dtype is torch.float64
    assert own.dtype is torch.float32, "a component that was replaced is the original's alone"
    images = upgraded(QUERY, num_inference_steps=1, output_type="np", seed=0).images
    assert images.shape == (1, 16, 16, 3)


def test_calls_use_what_was_set_with_and_without_a_query(pipe, upgraded, model):
    settings = {"num_inference_steps": 2, "output_type": "np"}
    plain = type(pipe)(**upgraded.components)
    tiny.quiet(plain)
    expected = bindplug.upgrade(plain, model)(QUERY, seed=0, **settings).images
    assert np.array_equal(upgraded(QUERY, seed=0, **settings).images, expected)
    embeds = upgraded.conditioning(QUERY, prompt="")
    upgraded.image_encoder = plain.image_encoder = QueryImageEncoder(embeds["image_embeds"], norm=1.0)
    calls = [
        each(**embeds, generator=torch.Generator().manual_seed(0), **settings).images
        for each in (upgraded, plain)
    ]
    assert np.array_equal(*calls)


def test_from_pipe_takes_what_was_set(model):
    pipe = tiny.stable_diffusion()
    upgraded = bindplug.upgrade(pipe, model)
    upgraded.scheduler = EulerDiscreteScheduler.from_config(pipe.scheduler.config)
    for made, kind in (
        (AutoPipelineForImage2Image.from_pipe(upgraded), StableDiffusionImg2ImgPipeline),
        (AutoPipelineForText2Image.from_pipe(upgraded), StableDiffusionPipeline),
        (StableDiffusionImg2ImgPipeline.from_pipe(upgraded), StableDiffusionImg2ImgPipeline),
        (upgraded.from_pipe(upgraded), StableDiffusionPipeline),
    ):
        assert type(made) is kind
        assert made.scheduler is upgraded.scheduler or isinstance(made.scheduler, EulerDiscreteScheduler)
        assert made.unet is pipe.unet
        assert isinstance(bindplug.upgrade(made, model), kind)


def test_the_original_stays_as_it_was(pipe, model):
    before, config = snapshot(pipe), dict(pipe.config)
    upgraded = bindplug.upgrade(pipe, model)
    upgraded.scheduler = EulerDiscreteScheduler.from_config(pipe.scheduler.config)
    upgraded.image_encoder = tiny.image_encoder()
    upgraded.register_modules(feature_extractor=None)
    upgraded.set_progress_bar_config(disable=True, desc="x")
    upgraded.anything = 3
    upgraded(QUERY, num_inference_steps=1, seed=0)
    assert not difference(before, snapshot(pipe))
    assert dict(pipe.config) == config
    assert isinstance(pipe.scheduler, DDIMScheduler)
    assert (upgraded.anything, upgraded.feature_extractor) == (3, None)
    assert upgraded.config["feature_extractor"] == (None, None)
    assert pipe.config["feature_extractor"][1] == "CLIPImageProcessor"


def test_what_is_not_set_is_the_originals_as_it_is_now(pipe, model):
    upgraded = bindplug.upgrade(pipe, model)
    pipe.scheduler = EulerDiscreteScheduler.from_config(pipe.scheduler.config)
    assert upgraded.scheduler is pipe.scheduler
    assert upgraded.components["scheduler"] is pipe.scheduler


def test_settings_of_queries_are_no_settings_of_the_pipeline(pipe, model):
    upgraded = bindplug.upgrade(pipe, model)
    short, long = (upgraded.conditioning(QUERY)["image_embeds"] for upgraded.strength in (1.0, 2.0))
    assert torch.allclose(2 * short, long)
    assert "strength" not in upgraded.config


def test_offloading_of_the_upgraded_is_its_own(model):
    pytest.importorskip("accelerate")
    pipe = tiny.unclip(encoder=False)
    upgraded = bindplug.upgrade(pipe, model)
    upgraded.enable_model_cpu_offload(device="cpu")
    assert "_all_hooks" not in vars(pipe)
    for _ in range(2):
        assert upgraded(QUERY, num_inference_steps=1, output_type="np").images.shape == (1, 16, 16, 3)
        assert upgraded._all_hooks


def test_copies_and_pickles(upgraded, model):
    settings = {"num_inference_steps": 1, "output_type": "np", "seed": 0}
    expected = upgraded(QUERY, **settings).images
    for made in (copy.copy(upgraded), copy.deepcopy(upgraded), pickle.loads(pickle.dumps(upgraded))):
        assert isinstance(made, PipelineWithQueries)
        assert np.array_equal(made(QUERY, **settings).images, expected)
        assert isinstance(made.scheduler, EulerDiscreteScheduler)


def test_upgrading_twice_is_refused(upgraded, model):
    with pytest.raises(UnsupportedTarget, match="takes queries already"):
        bindplug.upgrade(upgraded, model)
