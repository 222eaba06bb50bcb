"""Pipelines of other CLIPs take queries; every class of diffusers is supported or refused with the true reason."""

from __future__ import annotations

import inspect
import warnings

import diffusers
import numpy as np
import pytest
import torch

import bindplug
from bindplug import audio, text
from bindplug.errors import InputError, UnsupportedTarget
from bindplug_diffusers import find_entrance
from bindplug_diffusers.entrances import ENTRANCES
from bindplug_diffusers.entrances.ip_adapter import IPAdapterEntrance, TransformerIPAdapterEntrance
from bindplug_diffusers.entrances.kandinsky import CascadePriorEntrance, KandinskyEntrance
from bindplug_diffusers.entrances.refusals import ARGUMENTS, REASONS
from bindplug_diffusers.entrances.unclip import StableUnCLIPEntrance, UnCLIPVariationEntrance
from bindplug_diffusers.pipeline_info import accepts, has_component, is_kind
from tests.diffusers import tiny

EMBEDS = {
    "prompt_embeds": torch.randn(1, 6, 32, generator=torch.Generator().manual_seed(0)),
    "pooled_prompt_embeds": torch.randn(1, 32, generator=torch.Generator().manual_seed(1)),
}
CALLS = {
    "kandinsky_2_1": {"height": 64, "width": 64, "num_inference_steps": 2},
    "cascade_prior": {"height": 64, "width": 64, "num_inference_steps": 2},
    "unclip_variation": {"decoder_num_inference_steps": 2, "super_res_num_inference_steps": 2},
    "flux": {"height": 8, "width": 8, "num_inference_steps": 2, **EMBEDS},
}
ZEROS = torch.zeros(1, tiny.WIDTH)
PLAIN = {
    "kandinsky_2_1": {"prompt": "", "image_embeds": ZEROS, "negative_image_embeds": ZEROS},
    "cascade_prior": {"prompt": "", "image_embeds": ZEROS[:, None]},
    "unclip_variation": {"image_embeddings": ZEROS},
    "flux": {
        "ip_adapter_image_embeds": [ZEROS[:, None]],
        "negative_ip_adapter_image_embeds": [ZEROS[:, None]],
    },
}
"""A call of the original with the embedding of strength 0."""
QUERIES = [audio("a.wav"), text("b")]


def run(pipe, name, *query, **more):
    made = pipe(*query, output_type="np", **CALLS[name], **more)
    result = made.image_embeddings if hasattr(made, "image_embeddings") else made.images
    return np.asarray(result.float() if isinstance(result, torch.Tensor) else result)


@pytest.fixture(params=CALLS)
def name(request):
    return request.param


@pytest.fixture
def pipe(name):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # some classes are deprecated in diffusers
        return getattr(tiny, name)()


def test_strength_0_equals_the_untouched_pipeline_and_1_differs(model, name, pipe):
    upgraded = bindplug.upgrade(pipe, model)
    if name == "unclip_variation":  # without its image encoder it cannot run by itself
        pipe.image_encoder = tiny.image_encoder()
    expected = run(pipe, name, generator=torch.Generator().manual_seed(0), **PLAIN[name])
    assert np.array_equal(run(upgraded, name, QUERIES[0], seed=0, query_strength=0), expected)
    assert not np.allclose(run(upgraded, name, QUERIES[0], seed=0), expected, atol=1e-3)


def test_each_query_of_a_batch_makes_what_it_makes_alone(model, name, pipe):
    upgraded = bindplug.upgrade(pipe, model)
    batch = run(upgraded, name, QUERIES, seed=[5, 9], num_images_per_prompt=2)
    assert len(batch) == 4
    scale = np.abs(batch).max()
    for i, (query, seed) in enumerate(zip(QUERIES, (5, 9), strict=True)):
        for k in range(2):
            alone = run(upgraded, name, query, seed=seed + k)[0]
            assert np.allclose(alone, batch[2 * i + k], atol=1e-3 * max(scale, 1)), (i, k)
    assert not np.allclose(batch[0], batch[2], atol=1e-3)


def test_pictures_of_one_query_stay_together_without_seed(model):
    """Flux itself would repeat the rows of all queries as a whole, and latents row by row."""
    upgraded = bindplug.upgrade(tiny.flux(), model)

    def encode_prompt(prompt, num_images_per_prompt=1, **_):
        count = len(prompt) * num_images_per_prompt
        embeds = [rows.expand(count, *rows.shape[1:]) for rows in EMBEDS.values()]
        return *embeds, torch.zeros(embeds[0].shape[1], 3)

    upgraded.encode_prompt = encode_prompt
    latents = torch.randn(1, 16, 4, generator=torch.Generator().manual_seed(0)).expand(4, -1, -1)
    settings = {"height": 8, "width": 8, "num_inference_steps": 2, "output_type": "np", "latents": latents}
    batch = upgraded(QUERIES, prompt="x", num_images_per_prompt=2, **settings).images
    assert np.allclose(batch[0], batch[1], atol=1e-5)
    assert np.allclose(batch[2], batch[3], atol=1e-5)
    assert not np.allclose(batch[1], batch[2], atol=1e-3)
    with pytest.raises(InputError, match="mixes in every picture"):
        upgraded.conditioning(QUERIES, **EMBEDS)


def test_negatives_of_flux_count_with_true_guidance(model):
    upgraded = bindplug.upgrade(tiny.flux(), model)
    guidance = {
        "true_cfg_scale": 3.0,
        "negative_prompt_embeds": EMBEDS["prompt_embeds"],
        "negative_pooled_prompt_embeds": EMBEDS["pooled_prompt_embeds"],
        "seed": 0,
    }
    plain = run(upgraded, "flux", QUERIES[0], **guidance)
    against = run(upgraded, "flux", QUERIES[0], negative=QUERIES[1], **guidance)
    assert not np.allclose(plain, against, atol=1e-3)
    with pytest.raises(InputError, match="no guidance"):
        run(upgraded, "flux", QUERIES[0], negative=QUERIES[1])


def test_several_adapters_of_flux(model):
    upgraded = bindplug.upgrade(tiny.flux(adapters=2), model)
    rows = upgraded.conditioning({1: QUERIES[0]}, **EMBEDS)["ip_adapter_image_embeds"]
    assert [tuple(tensor.shape) for tensor in rows] == [(1, 1, 16)] * 2
    assert not rows[0].any()
    assert rows[1].any()
    with pytest.raises(UnsupportedTarget, match=r"none is loaded.*flux-ip-adapter"):
        bindplug.upgrade(tiny.flux(adapters=0), model)


def pipeline_classes():
    """Every pipeline class that diffusers exports."""
    classes = {}
    for name in dir(diffusers):
        if name.endswith("Pipeline"):
            value = getattr(diffusers, name)
            if inspect.isclass(value) and issubclass(value, diffusers.DiffusionPipeline):
                classes[name] = value
    return classes


CLASSES = pipeline_classes()
WITH_EMBEDDINGS = {
    name: kind
    for name, kind in CLASSES.items()
    if any(argument in inspect.signature(kind.__call__).parameters for argument in ARGUMENTS)
}
PATCHES = ("Wan", "SkyReelsV2", "ChronoEdit", "StableDiffusion3")


def bare(kind):
    """An instance without components: what a class says by itself."""
    return object.__new__(kind)


def test_the_table_covers_what_diffusers_has():
    assert len(WITH_EMBEDDINGS) > 60
    supported = {
        name: next(entrance for entrance in ENTRANCES if entrance.fits(bare(kind)))
        for name, kind in WITH_EMBEDDINGS.items()
        if not any(is_kind(bare(kind), *names) for names in REASONS)
        and any(entrance.fits(bare(kind)) for entrance in ENTRANCES)
    }
    refused = WITH_EMBEDDINGS.keys() - supported.keys()
    for name, entrance in {
        "StableUnCLIPImg2ImgPipeline": StableUnCLIPEntrance,
        "UnCLIPImageVariationPipeline": UnCLIPVariationEntrance,
        "KandinskyPipeline": KandinskyEntrance,
        "KandinskyImg2ImgPipeline": KandinskyEntrance,
        "KandinskyInpaintPipeline": KandinskyEntrance,
        "KandinskyV22Pipeline": KandinskyEntrance,
        "StableCascadePriorPipeline": CascadePriorEntrance,
        "FluxPipeline": TransformerIPAdapterEntrance,
        "ChromaPipeline": TransformerIPAdapterEntrance,
        "StableDiffusionXLPipeline": IPAdapterEntrance,
    }.items():
        assert supported[name] is entrance, name
    assert all(
        name.startswith(PATCHES) or name in ("StableCascadeDecoderPipeline", "WuerstchenDecoderPipeline")
        for name in refused
    ), sorted(refused)


@pytest.mark.parametrize("name", sorted(CLASSES))
def test_every_class_is_supported_or_refused_for_a_true_reason(name):
    pipe = bare(CLASSES[name])
    with pytest.raises(UnsupportedTarget) as refused:
        find_entrance(pipe)
    message = str(refused.value)
    assert name in message
    arguments = [argument for argument in ARGUMENTS if accepts(pipe, argument)]
    if name.startswith(PATCHES) and arguments:
        assert arguments[0] in message
        assert "patch tokens" in message
    elif "DecoderPipeline" in name and arguments:
        assert "latents" in message
    elif arguments:  # supported: only the components are absent here
        assert "load the pipeline whole" in message or "three rows for each picture" in message
    if "has no argument" in message:
        assert not arguments
    if "with its image_encoder" in message:
        assert has_component(pipe, "image_encoder")


def test_reasons_are_of_classes_that_exist():
    names = {name for group in REASONS for name in group}
    assert names <= set(CLASSES), sorted(names - set(CLASSES))
