"""The toy unCLIP's recipe: its parts against what diffusers does, and the whole of it at smoke size."""

from __future__ import annotations

import dataclasses
import json
import zlib
from importlib.resources import files

import numpy as np
import pytest
import torch
import torch.nn.functional as F

pytest.importorskip("diffusers")

from diffusers import StableUnCLIPImg2ImgPipeline
from PIL import Image

import bindplug
from bindplug.errors import InputError
from bindplug_diffusers import Prototypes
from bindplug_toyworld.looks import PALETTE
from bindplug_toyworld.things import NAMES
from recipes import generator, generator_data
from recipes.generator import main, train_generator
from recipes.generator_data import (
    portrait,
    render_pictures,
    scene_of,
    shrunk,
)
from recipes.generator_size import FULL, SMOKE
from recipes.generator_unet import (
    Conditioning,
    build_unet,
    lead,
    neighbour_means,
)
from recipes.generator_vae import (
    as_input,
    build_vae,
    encode_all,
    fit_decoder,
    fit_vae,
    pieces,
    standardise,
)
from tests.recipes.planted import WIDTH, unit


@pytest.fixture(scope="module")
def model():
    return bindplug.load("imagebind_tiny")


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    root = tmp_path_factory.mktemp("generator")
    arguments = [
        "--smoke",
        "--judge",
        "imagebind_tiny",
        "--workspace",
        str(root),
        "--threads",
        "1",
        "--quiet",
    ]
    main([*arguments, "--output", str(root / "toy_unclip")])
    return root


@pytest.fixture(scope="module")
def pipe(workspace):
    pipe = StableUnCLIPImg2ImgPipeline.from_pretrained(workspace / "toy_unclip")
    pipe.set_progress_bar_config(disable=True)
    return pipe


# -- the whole ----------------------------------------------------------------------------------------------------


def test_it_leaves_a_pipeline_that_takes_sounds(pipe, model):
    upgraded = bindplug.upgrade(pipe, model)
    sound = bindplug.audio(np.sin(np.arange(32_000, dtype=np.float32) / 9), sample_rate=16_000)
    first = upgraded(sound, seed=4, num_inference_steps=2).images[0]
    again = upgraded(sound, seed=4, num_inference_steps=2).images[0]
    assert first.size == (64, 64)
    assert np.array_equal(first, again)
    other = upgraded(bindplug.text("a dog"), seed=4, num_inference_steps=2).images[0]
    assert not np.array_equal(first, other)


def test_prompts_are_not_looked_at(pipe):
    embeds = unit(1, 128) * 128**0.5
    seen = [
        pipe(
            image_embeds=embeds,
            prompt=prompt,
            num_inference_steps=2,
            generator=torch.Generator().manual_seed(0),
            output_type="np",
        ).images
        for prompt in ("", "oil painting, 1890")
    ]
    assert np.array_equal(*seen)


def test_the_placeholder_refuses_pictures_and_tells_the_space(pipe, model):
    with pytest.raises(ValueError, match="size"):
        pipe(Image.new("RGB", (64, 64)), num_inference_steps=1)
    theirs = pipe.image_encoder.visual_projection.weight
    assert torch.allclose(theirs, model.official_state_dict()["modality_heads.vision.2.weight"])


def test_the_directory_says_what_it_is(workspace, model):
    directory = workspace / "toy_unclip"
    card = json.loads((directory / "card.json").read_text())
    assert card["recipe"]["steps"] == SMOKE.steps
    assert set(card["training"]) == {"rendering", "vae", "decoder", "unet", "guidance"}
    assert {"audio, as they are", "image + audio, prototypes"} <= set(card["evaluation"])
    assert "| audio |" in (directory / "README.md").read_text()
    assert "scenes" in (directory / "training.log").read_text()
    assert len(Prototypes.load(directory / "prototypes.safetensors")) == SMOKE.prototypes
    sheets = list((workspace / "smoke" / "toy_unclip_sheets").glob("*.png"))
    assert len(sheets) == 9 * (4 if "image" in model.centers else 3)


def test_all_toy_models_together_stay_under_forty_megabytes(workspace):
    small = {file for file in (workspace / "toy_unclip").rglob("*") if file.is_file()}
    networks = {
        file for file in small if file.parent.name in ("unet", "vae") and file.suffix == ".safetensors"
    }
    assert len(networks) == 2
    rest = sum(file.stat().st_size for file in small - networks)
    numbers = sum(p.numel() for net in (build_vae(FULL), build_unet(FULL, 128)) for p in net.parameters())
    weights = (file for file in (files("bindplug_toyworld") / "weights").rglob("*") if file.is_file())
    # compressed, as in a wheel: words that no caption holds have rows of zeros
    others = sum(len(zlib.compress(f.read_bytes(), 1)) for f in weights if "toy_unclip" not in f.parts)
    assert 2 * numbers + rest + others < 40e6


def test_a_rerun_trains_and_renders_nothing(workspace, model, pipe, monkeypatch):
    for name in ("fit_vae", "fit_decoder", "fit_unet", "calibrate_guidance"):
        monkeypatch.setattr(generator, name, None)
    monkeypatch.setattr(generator_data, "_results", None)
    again, pictures, figures = train_generator(model, SMOKE, workspace / "smoke", quiet=True)
    assert len(pictures) == SMOKE.scenes
    assert figures["rendering"]["seconds"] == pictures.seconds > 0
    assert figures["unet"]["samples_seen"] == SMOKE.steps * SMOKE.batch_size
    stored = pipe.unet.state_dict()
    for name, tensor in again.unet.state_dict().items():
        torch.testing.assert_close(tensor.half().float(), stored[name], rtol=0, atol=0)
    with pytest.raises(TypeError):  # another guidance is another last stage
        train_generator(model, dataclasses.replace(SMOKE, guidance=5.0), workspace / "smoke", quiet=True)
    more = dataclasses.replace(SMOKE, evaluated=50)
    train_generator(model, more, workspace / "smoke", quiet=True)


def test_another_kind_of_model_is_refused(monkeypatch, tmp_path):
    from bindplug.testing import FakeEncoder

    monkeypatch.setattr(bindplug, "load", lambda name: FakeEncoder())
    with pytest.raises(InputError, match="ImageBind's architecture"):
        main(["--smoke", "--workspace", str(tmp_path), "--quiet"])


# -- data ---------------------------------------------------------------------------------------------------------


def test_scenes_hold_one_thing_each_in_turn():
    scenes = [scene_of(index) for index in range(40)]
    assert [scene.label for scene in scenes] == list(NAMES) * 2
    assert all(scene.split == "train" and len(scene.labels) == 1 for scene in scenes)
    assert len({scene.seed for scene in scenes}) == 40


def test_a_portrait_shows_the_thing_whole_before_a_plain_backdrop():
    for scene in map(scene_of, range(20)):
        picture = np.asarray(portrait(scene), float)
        assert picture.shape == (224, 224, 3)
        edges = np.concatenate((picture[:, :6], picture[:, -6:]), axis=1)
        backdrop = np.median(edges, axis=1, keepdims=True)
        # a bell's brim may touch an edge; bushes, posts and a tilted world would fill more of it
        assert (np.abs(edges - backdrop).max(axis=2) < 20).mean() > 0.85, scene
        middle = picture[56:168, 56:168]
        assert middle.std(axis=1).mean() > 10, scene


def test_a_portrait_has_the_colors_of_the_scene_s_thing():
    bells = [scene_of(15 + 20 * turn) for turn in range(12)]
    assert {scene.label for scene in bells} == {"bell"}
    painted = [np.asarray(portrait(scene), float)[90:130, 90:130].mean((0, 1)) for scene in bells]
    wanted = [np.array(PALETTE[scene.placements[0].color], float) for scene in bells]
    assert np.corrcoef(np.ravel(painted), np.ravel(wanted))[0, 1] > 0.85


def test_rows_are_the_encoder_s_of_the_scene_and_of_the_portrait(workspace, model):
    pictures = render_pictures(
        workspace / "smoke" / "generation", model, count=SMOKE.scenes, side=SMOKE.side, quiet=True
    )
    scene = scene_of(7)
    rows = model.embed([bindplug.image(scene.image), bindplug.image(portrait(scene))])
    torch.testing.assert_close(pictures.rows[7], rows, rtol=0, atol=1e-3)
    assert np.array_equal(
        pictures.pixels[7].permute(1, 2, 0).numpy(), np.asarray(shrunk(portrait(scene), 64))
    )
    assert NAMES[pictures.labels[7]] == scene.label


# -- the autoencoder ----------------------------------------------------------------------------------------------


def test_standardising_changes_latents_and_not_pictures():
    vae, channels = build_vae(SMOKE).eval(), SMOKE.latent_channels
    pixels = torch.randint(256, (6, 3, 64, 64), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    with torch.no_grad():
        vae.quant_conv.bias[:channels] += torch.arange(float(channels))  # far from standard
        before = vae.encode(as_input(pixels)).latent_dist
        picture = vae.decode(before.mean).sample
        spread = before.std / before.mean.std((0, 2, 3))[:, None, None]
        standardise(vae, pixels)
        after = vae.encode(as_input(pixels)).latent_dist
        torch.testing.assert_close(vae.decode(after.mean).sample, picture, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(after.std, spread, rtol=2e-2, atol=1e-4)
    latents = encode_all(vae, pixels).float()
    assert latents.shape == (6, channels, 16, 16)
    torch.testing.assert_close(latents.mean((0, 2, 3)), torch.zeros(channels), rtol=0, atol=2e-2)
    torch.testing.assert_close(latents.std((0, 2, 3)), torch.ones(channels), rtol=0, atol=2e-2)


def test_pieces_lie_in_the_pictures():
    ramp = torch.arange(64, dtype=torch.uint8).expand(1, 3, 64, 64)
    found = pieces(ramp, 40, 32, torch.Generator().manual_seed(0))
    assert found.shape == (40, 3, 32, 32)
    steps = found.diff(dim=3).mul(127.5).round()
    assert set(steps.unique().tolist()) == {-1.0, 1.0}  # some of them mirrored
    assert not found.diff(dim=2).any()


@pytest.mark.slow  # a small training
def test_the_autoencoder_learns(workspace):
    pixels = torch.from_numpy(np.load(workspace / "smoke" / "generation" / "pixels.npy"))
    size = dataclasses.replace(SMOKE, vae_steps=80, vae_batch=16, crop=64)
    start = build_vae(size).eval()
    with torch.no_grad():
        x = as_input(pixels)
        before = (start.decode(start.encode(x).latent_dist.mean).sample - x).abs().mean()
    assert fit_vae(build_vae(size), pixels, size, quiet=True)["l1"] < before


@pytest.mark.slow  # a small training
def test_the_decoder_learns_to_paint_what_is_not_quite_right(workspace):
    pixels = torch.from_numpy(np.load(workspace / "smoke" / "generation" / "pixels.npy"))
    vae = build_vae(SMOKE).eval()
    latents = encode_all(vae, pixels)
    before = {name: tensor.clone() for name, tensor in vae.state_dict().items()}
    size = dataclasses.replace(SMOKE, decoder_steps=60, vae_batch=16)
    figures = fit_decoder(vae, pixels, latents, size, quiet=True)
    assert figures["final_error"] < figures["first_error"]
    changed = {
        name.split(".")[0]
        for name, tensor in vae.state_dict().items()
        if not torch.equal(tensor, before[name])
    }
    assert changed == {"decoder", "post_quant_conv"}
    torch.testing.assert_close(encode_all(vae, pixels), latents, rtol=1e-2, atol=5e-3)


# -- conditioning -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("level", [0, 137, 999])
def test_class_labels_are_the_pipeline_s(pipe, level):
    rows, noise = unit(3, 128), torch.randn(3, 128, generator=torch.Generator().manual_seed(2))
    normalizer = pipe.image_normalizer
    conditioning = Conditioning(normalizer.mean[0].detach(), normalizer.std[0].detach(), 128**0.5)
    with torch.no_grad():
        theirs = pipe.noise_image_embeddings(rows * 128**0.5, level, noise=noise)
    ours = conditioning.labels(rows, torch.full((3,), level), noise)
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_embeddings_have_the_length_that_the_normalizer_tells():
    from bindplug_diffusers import expected_norm

    rows = unit(500)
    conditioning = Conditioning.measured(rows)
    assert expected_norm(conditioning.mean, conditioning.std) == pytest.approx(WIDTH**0.5, rel=1e-2)


def test_neighbours_by_hand():
    rows = F.normalize(torch.tensor([[1.0, 0], [1, 0.1], [1, -0.1], [0, 1]]), dim=1)
    means = neighbour_means(rows, 2)
    torch.testing.assert_close(means[0], torch.tensor([1.0, 0]))
    assert means[3] @ rows[1] > 0.99
    assert neighbour_means(rows, 50).shape == (4, 2)


def test_a_fraction_is_led_on_the_way():
    rows, means = unit(400), unit(400, seed=5)
    moved = lead(rows, means, 0.25, torch.Generator().manual_seed(0))
    torch.testing.assert_close(moved.norm(dim=1), torch.ones(400))
    stayed = (moved == rows).all(1)
    assert 0.68 < stayed.float().mean() < 0.82
    closer = (moved * means).sum(1) >= (rows * means).sum(1) - 1e-6
    assert closer.all()
    assert torch.equal(lead(rows, means, 0.0, torch.Generator()), rows)
