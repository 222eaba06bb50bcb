"""What pipelines could do, they still can."""

from __future__ import annotations

import copy
import subprocess
import sys

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, EulerDiscreteScheduler

import bindplug
import bindplug_diffusers
from bindplug import audio
from bindplug.errors import MissingDependency
from bindplug.testing import difference, snapshot
from tests.diffusers import tiny

QUERY = audio("a.wav")
SETTINGS = {"num_inference_steps": 2, "output_type": "np", "seed": 0}


def images(pipe, *query, **more):
    return pipe(*query, **SETTINGS | more).images


def test_without_a_query_the_original_is_called_as_it_is(model, picture):
    pipe = tiny.unclip()
    upgraded = bindplug.upgrade(pipe, model)
    given = {"num_inference_steps": 2, "output_type": "np", "prompt": "x"}
    expected = pipe(image=picture, generator=torch.Generator().manual_seed(0), **given).images
    for args, more in (((picture,), {}), ((), {"image": picture})):
        found = upgraded(*args, generator=torch.Generator().manual_seed(0), **more, **given).images
        assert np.array_equal(found, expected)
    with pytest.raises(TypeError, match="nonsense"):
        upgraded(picture, nonsense=1)
    with pytest.raises(TypeError, match="nonsense"):
        upgraded(QUERY, nonsense=1)


SEQUENTIAL = pytest.param(
    "enable_sequential_cpu_offload",
    marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="accelerate offloads so from a GPU only"),
)


@pytest.mark.parametrize("make", [tiny.unclip, tiny.stable_diffusion, tiny.image_variation])
@pytest.mark.parametrize("how", ["enable_model_cpu_offload", SEQUENTIAL])
def test_offloading(model, picture, make, how):
    """On a machine without accelerator, weights are offloaded from the CPU to the CPU: the hooks are the same."""
    pytest.importorskip("accelerate")
    more = {"image": picture} if make is tiny.image_variation else {"prompt": "x"}
    expected = images(bindplug.upgrade(make(), model), QUERY, **more)
    pipe = make()
    getattr(pipe, how)(device="cuda" if torch.cuda.is_available() else "cpu")
    hooked = {name for name, part in pipe.components.items() if hasattr(part, "_hf_hook")}
    assert hooked
    upgraded = bindplug.upgrade(pipe, model)
    for _ in range(2):
        assert np.allclose(images(upgraded, QUERY, **more), expected, atol=1e-3)
        assert {name for name, part in pipe.components.items() if hasattr(part, "_hf_hook")} == hooked
    if how == "enable_model_cpu_offload":
        assert all(hook.model in pipe.components.values() for hook in pipe._all_hooks)


@pytest.mark.parametrize("make", [tiny.unclip, tiny.sdxl])
def test_slicing(model, make):
    expected = images(bindplug.upgrade(make(), model), QUERY, prompt="x")
    upgraded = bindplug.upgrade(make(), model)
    upgraded.vae.enable_slicing()
    if make is tiny.unclip:  # beside an IP-Adapter diffusers itself cannot slice attention
        upgraded.enable_attention_slicing()
    assert np.allclose(images(upgraded, QUERY, prompt="x"), expected, atol=1e-4)


@pytest.mark.slow
def test_a_compiled_unet(model):
    pipe = tiny.unclip()
    expected = images(bindplug.upgrade(pipe, model), QUERY, prompt="x")
    pipe.unet = torch.compile(pipe.unet, backend="eager")
    upgraded = bindplug.upgrade(pipe, model)
    assert np.allclose(images(upgraded, QUERY, prompt="x"), expected, atol=1e-5)


def test_callbacks(model, picture):
    steps: list[int] = []

    def at_end(pipe, step, timestep, tensors):
        steps.append(step)
        assert tensors["latents"].shape[0] == 1
        pipe._interrupt = True
        return tensors

    upgraded = bindplug.upgrade(tiny.stable_diffusion(), model)
    upgraded(QUERY, prompt="x", callback_on_step_end=at_end, **SETTINGS)
    assert steps == [0, 1] or steps == [0]
    assert not upgraded.original.__dict__.get("_interrupt", False)
    seen: list[int] = []
    bindplug.upgrade(tiny.unclip(), model)(
        QUERY, callback=lambda step, timestep, latents: seen.append(step), **SETTINGS
    )
    assert seen == [0, 1]


def test_another_scheduler_on_the_wrapper_is_not_on_the_original(model):
    pipe = tiny.unclip()
    before = snapshot(pipe)
    upgraded = bindplug.upgrade(pipe, model)
    expected = images(upgraded, QUERY)
    upgraded.scheduler = EulerDiscreteScheduler.from_config(pipe.scheduler.config)
    other = images(upgraded, QUERY)
    assert not np.allclose(other, expected)
    assert not difference(before, snapshot(pipe))
    assert isinstance(pipe.scheduler, DDIMScheduler)
    same = tiny.unclip()
    same.scheduler = EulerDiscreteScheduler.from_config(same.scheduler.config)
    assert np.array_equal(images(bindplug.upgrade(same, model), QUERY), other)


def test_moving_keeps_the_wrapper(model):
    upgraded = bindplug.upgrade(tiny.unclip(), model)
    assert upgraded.to(torch.float64) is upgraded
    assert upgraded.original.unet.dtype is torch.float64
    assert images(upgraded, QUERY).shape == (1, 16, 16, 3)


def test_latents_tuples_and_other_outputs(model):
    upgraded = bindplug.upgrade(tiny.stable_diffusion(), model)
    (made, _flagged) = upgraded(QUERY, prompt="x", return_dict=False, **SETTINGS)
    assert np.array_equal(made, images(upgraded, QUERY, prompt="x"))
    latents = upgraded(QUERY, prompt="x", num_inference_steps=2, output_type="latent", seed=0).images
    assert latents.shape == (1, 4, 8, 8)


def test_the_scale_of_adapters_is_still_the_pipelines(model):
    pipe = tiny.stable_diffusion()
    upgraded = bindplug.upgrade(pipe, model)
    upgraded.set_ip_adapter_scale(0.0)
    first, second = (images(upgraded, query, prompt="x") for query in (QUERY, audio("b.wav")))
    assert np.array_equal(first, second)


def test_a_wrapper_can_be_copied_and_shown(model):
    upgraded = bindplug.upgrade(tiny.unclip(), model)
    assert "StableUnCLIPImg2ImgPipeline" in repr(upgraded)
    assert copy.copy(upgraded).original is upgraded.original
    assert "enable_attention_slicing" in dir(upgraded)
    assert upgraded.entrance.slots[0].width == 16


def test_the_package_is_light_and_its_names_are_there():
    code = (
        "import sys, bindplug_diffusers, bindplug_diffusers.plugin; "
        "print([m for m in ('torch', 'diffusers', 'transformers') if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
    assert bindplug_diffusers.__all__ == sorted(bindplug_diffusers.__all__)
    for name in bindplug_diffusers.__all__:
        assert getattr(bindplug_diffusers, name) is not None
    assert set(bindplug_diffusers.__all__) <= set(dir(bindplug_diffusers))
    with pytest.raises(AttributeError, match="nonsense"):
        _ = bindplug_diffusers.nonsense


def test_an_old_or_absent_diffusers_is_told(monkeypatch):
    import diffusers

    monkeypatch.setattr(diffusers, "__version__", "0.31.0")
    with pytest.raises(MissingDependency, match=r"too old.*bindplug\[diffusers\]"):
        bindplug_diffusers.require_diffusers()
    monkeypatch.setitem(sys.modules, "diffusers", None)
    with pytest.raises(MissingDependency, match=r"bindplug\[diffusers\]"):
        bindplug_diffusers.require_diffusers()
