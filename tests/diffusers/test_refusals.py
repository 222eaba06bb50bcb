"""What cannot work is refused, with the reason and the way out."""

from __future__ import annotations

import pytest
import torch
from diffusers import StableDiffusionInstructPix2PixPipeline

import bindplug
from bindplug import audio, embedding, text
from bindplug.errors import InputError, SpaceMismatch, UnsupportedTarget
from bindplug.imagebind import ImageBind, ImageBindConfig
from bindplug.imagebind.config import TowerConfig
from bindplug.space import EmbeddingSpace
from bindplug.testing import FAKE_SPACE, FakeEncoder
from bindplug_diffusers import upgrade
from tests.diffusers import tiny

QUERY = audio("a.wav")


def test_what_is_no_pipeline(model):
    for target in (object(), torch.nn.Linear(2, 2), tiny.unet()):
        with pytest.raises(UnsupportedTarget):
            bindplug.upgrade(target, model)
        with pytest.raises(UnsupportedTarget, match="no diffusers pipeline"):
            upgrade(target, model)


def test_a_pipeline_without_entrance(model):
    with pytest.raises(
        UnsupportedTarget, match=r"takes no query: its call has no argument.*StableUnCLIPImg2Img"
    ):
        bindplug.upgrade(tiny.pixels_alone(), model)


def test_a_pipeline_whose_adapter_is_not_loaded(model):
    with pytest.raises(UnsupportedTarget, match=r"none is loaded.*ip-adapter_sd15"):
        bindplug.upgrade(tiny.stable_diffusion(adapters=()), model)


@pytest.mark.parametrize("kind", ["plus", "full"])
def test_adapters_that_look_at_patches(model, kind):
    with pytest.raises(UnsupportedTarget, match=rf"'{kind}' adapter.*hidden states.*ip-adapter_sd15"):
        bindplug.upgrade(tiny.stable_diffusion(adapters=(kind,)), model)


def test_a_plus_adapter_beside_another(model):
    upgraded = bindplug.upgrade(tiny.stable_diffusion(adapters=("pooled", "plus")), model)
    for query in (QUERY, {0: QUERY}, {1: QUERY}):
        with pytest.raises(UnsupportedTarget, match=r"IP-Adapter 1.*'plus'.*1: tensor"):
            upgraded.conditioning(query)


def test_an_adapter_that_goes_after_the_upgrade(model):
    pipe = tiny.stable_diffusion()
    upgraded = bindplug.upgrade(pipe, model)
    pipe.unload_ip_adapter()
    with pytest.raises(UnsupportedTarget, match="none is loaded"):
        upgraded(QUERY, prompt="x")


def test_threefold_guidance(model):
    pipe = tiny.stable_diffusion(StableDiffusionInstructPix2PixPipeline, image_encoder=None)
    with pytest.raises(UnsupportedTarget, match="three rows for each picture"):
        bindplug.upgrade(pipe, model)


@pytest.mark.parametrize("make", [tiny.unclip, tiny.stable_diffusion, tiny.video, tiny.kandinsky])
def test_another_width(make):
    wide = FakeEncoder(space=EmbeddingSpace("test:wide", 24))
    with pytest.raises(SpaceMismatch, match=r"takes embeddings of 16 numbers.*24-d.*bindplug bridge fit"):
        bindplug.upgrade(make(), wide)


def test_another_width_names_the_likely_clip(model):
    with pytest.raises(SpaceMismatch, match="ViT-L/14"):
        bindplug.upgrade(tiny.stable_diffusion(width=768), model)


def test_a_space_that_you_vouch_for(model):
    with pytest.raises(SpaceMismatch, match="elsewhere"):
        bindplug.upgrade(tiny.unclip(), model, space=EmbeddingSpace("elsewhere", 16))
    bindplug.upgrade(tiny.unclip(), model, space=FAKE_SPACE)


def test_parts_that_do_not_fit(model):
    pipe = tiny.unclip()
    pipe.unet = tiny.unet(class_embed_type="projection", projection_class_embeddings_input_dim=24)
    with pytest.raises(
        UnsupportedTarget, match="image_normalizer is for embeddings of 16 numbers, its unet for 12"
    ):
        bindplug.upgrade(pipe, model)


def small_imagebind() -> ImageBind:
    config = ImageBindConfig(
        vision=TowerConfig(16, 1, 2, kernel=(2, 112, 112)),
        text=TowerConfig(16, 1, 2),
        audio=TowerConfig(16, 1, 2, kernel=(16, 16), stride=(16, 16)),
        depth=TowerConfig(16, 1, 2, kernel=(112, 112)),
        thermal=TowerConfig(16, 1, 2, kernel=(112, 112)),
        imu=TowerConfig(16, 1, 2, kernel=(200,)),
        embed_dim=16,
    )
    return tiny.seeded(ImageBind, config)


def test_a_clip_whose_weights_are_others():
    """The last layer of the pipeline's own encoder says that its space is another one."""
    model, pipe = small_imagebind(), tiny.unclip()
    with pytest.raises(SpaceMismatch, match=r"projects with other weights.*space="):
        bindplug.upgrade(pipe, model)
    bindplug.upgrade(pipe, model, space=model.embedding_space)
    ours = model.official_state_dict()["modality_heads.vision.2.weight"]
    with torch.no_grad():
        pipe.image_encoder.visual_projection.weight.copy_(ours)
    bindplug.upgrade(pipe.to(torch.float16), model)


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ([QUERY, "a dog"], "item 1: a str"),
        ({}, "keys"),
        ({"style": QUERY}, "numbers"),
        ({0: "a dog"}, "IP-Adapter 0: a str"),
        ({3: QUERY}, "IP-Adapter 3"),
    ],
)
def test_what_is_no_query(model, query, told):
    with pytest.raises(InputError, match=told):
        bindplug.upgrade(tiny.stable_diffusion(), model)(query, prompt="x")


def test_arguments_that_the_query_takes_the_place_of(model, picture):
    with pytest.raises(InputError, match="a query and image"):
        bindplug.upgrade(tiny.unclip(), model)(QUERY, image=picture)
    with pytest.raises(InputError, match="a query and ip_adapter_image"):
        bindplug.upgrade(tiny.stable_diffusion(), model)(QUERY, ip_adapter_image=picture)
    with pytest.raises(InputError, match="by its name"):
        bindplug.upgrade(tiny.stable_diffusion(), model)(QUERY, "a prompt")
    with pytest.raises(InputError, match="a str; expected a query"):
        bindplug.upgrade(tiny.unclip(), model).conditioning("a dog")


def test_negatives_where_there_is_no_place_for_them(model):
    with pytest.raises(InputError, match="Subtract it"):
        bindplug.upgrade(tiny.unclip(), model)(QUERY, negative=text("a"))
    with pytest.raises(InputError, match="no guidance"):
        bindplug.upgrade(tiny.stable_diffusion(), model)(QUERY, negative=text("a"), guidance_scale=1.0)


def test_nan_embeddings(model, monkeypatch):
    upgraded = bindplug.upgrade(tiny.unclip(), model)
    monkeypatch.setattr(model, "embed", lambda queries, **_: torch.full((len(queries), 16), torch.nan))
    with pytest.raises(InputError, match="NaN or infinity in its embedding"):
        upgraded(QUERY)


def test_queries_of_another_space(model):
    foreign = embedding(torch.ones(16), EmbeddingSpace("elsewhere", 16))
    with pytest.raises(SpaceMismatch, match="elsewhere"):
        bindplug.upgrade(tiny.unclip(), model)(foreign)


def test_no_model_and_bad_options(model):
    for wrong, told in ((None, "no model"), ("imagebind_tiny", "a str")):
        with pytest.raises(InputError, match=told):
            bindplug.upgrade(tiny.unclip(), wrong) if wrong is None else upgrade(tiny.unclip(), wrong)
    for options in ({"strength": -1}, {"norm": 0}, {"recenter": "image"}):
        with pytest.raises(InputError, match=next(iter(options))):
            bindplug.upgrade(tiny.unclip(), model, **options)


def test_no_encoder_to_tell_the_length(model, picture):
    pipe = tiny.image_variation()
    pipe.image_encoder = None
    with pytest.raises(InputError, match="norm="):
        bindplug.upgrade(pipe, model)(QUERY, image=picture)
    made = bindplug.upgrade(pipe, model, norm=4.0)(QUERY, image=picture, num_inference_steps=1)
    assert len(made.images) == 1
