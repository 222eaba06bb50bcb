"""The whole recipe at smoke size: it walks through every stage and leaves a model directory behind."""

from __future__ import annotations

import json
import warnings
from itertools import pairwise

import pytest
import torch

import bindplug
from bindplug.bridges import BridgeQuality, load_bridge
from bindplug.imagebind import ImageBind
from bindplug.imagebind.open_clip_layout import to_open_clip
from recipes.__main__ import main
from recipes.clip import build_clip, clip_config, encode_short_text, jitter, jitter_free
from recipes.initial import start_from_whitened_windows
from recipes.render import render
from recipes.rendered import Rendered
from recipes.sensors import FIRST_SCENE, SENSORS, tiny_config
from recipes.sizes import FULL


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    root = tmp_path_factory.mktemp("recipe")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", BridgeQuality)  # nothing is learned at this size
        main(["--smoke", "--workspace", str(root), "--threads", "1", "--quiet"])
    return root / "smoke"


def test_it_leaves_a_model_that_loads(workspace):
    model = bindplug.load(workspace / "weights" / "imagebind_tiny")
    assert model.embedding_space.name == "bindplug:toy_clip"
    assert model.scale_of("audio") == pytest.approx(20, rel=1e-4)
    assert set(model.modalities) == {"image", "video", "text", "audio", "depth", "thermal", "imu"}
    assert model.embed([bindplug.text("a dog")]).shape == (1, 128)


def test_its_image_and_text_towers_are_the_toy_clip(workspace):
    model = bindplug.load(workspace / "weights" / "imagebind_tiny")
    clip = build_clip(clip_config(), 0).eval()
    clip.load_state_dict(to_open_clip(model.official_state_dict()))
    image = torch.randn(2, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    tokens = model.tokenizer(["a red dog on the left", "rain"])
    with torch.inference_mode():
        torch.testing.assert_close(clip.encode_image(image), model.encode_image(image), rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(clip.encode_text(tokens), model.encode_text(tokens), rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(
            clip.encode_text(tokens), encode_short_text(clip, tokens), rtol=1e-4, atol=1e-5
        )


def test_its_card_holds_recipe_figures_and_confusion(workspace):
    directory = workspace / "weights" / "imagebind_tiny"
    card = json.loads((directory / "card.json").read_text())
    assert card["recipe"]["clip"]["seed"] == 0
    assert set(card["training"]) == {"clip, stage 1", "clip, stage 2", *SENSORS}
    assert set(card["training"]["audio"]["recipe"]) >= {"temperature", "drop_path", "head", "seed"}
    confusion = card["evaluation"]["audio -> text"]["confusion"]
    assert sum(map(sum, confusion)) == 60
    assert "## Confusion matrices" in (directory / "README.md").read_text()
    assert "toy_clip, stage 2" in (directory / "training.log").read_text()


def test_words_that_no_caption_held_mean_nothing(workspace):
    model = bindplug.load(workspace / "weights" / "imagebind_tiny", modalities={"text"})
    table = model.towers["text"].token_embedding.weight
    dog, unmet = (model.tokenizer(word)[0, 1] for word in ("dog", "philosophy"))
    assert table[dog].any()
    assert not table[unmet].any()


def test_centers_are_measured_with_the_model(workspace):
    model = bindplug.load(workspace / "weights" / "imagebind_tiny", modalities={"image"})
    assert set(model.centers) == {"image", "text", *SENSORS}
    scenes = Rendered(workspace / "clip_160")
    rows = model.encode_image(jitter_free(scenes.pixels(torch.arange(64))), normalize=True)
    torch.testing.assert_close(model.centers["image"], rows.mean(0).detach(), rtol=1e-4, atol=1e-4)


def test_a_sensor_lies_as_far_from_the_images_as_from_those_of_its_own_scenes(workspace):
    model = bindplug.load(workspace / "weights" / "imagebind_tiny", modalities={"image", "audio"})
    scenes = Rendered(workspace / "audio")
    with torch.inference_mode():
        heard = model.encode_audio(scenes.inputs("audio").float(), normalize=True)
        seen = model.encode_image(jitter_free(scenes.pixels(torch.arange(len(scenes)))), normalize=True)
    gap = heard.mean(0) - seen.mean(0)
    assert gap.norm() > 0.1
    torch.testing.assert_close(
        model.centers["audio"] - model.centers["image"], gap.clone(), rtol=1e-4, atol=1e-4
    )


def test_the_motion_stem_starts_out_white():
    model = ImageBind(tiny_config(FULL.recipes), {"imu"})
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(64, 6, 2000, generator=generator) * torch.tensor([9, 5, 1, 0.1, 0.1, 1])[:, None]
    motions = noise + 9.81
    start_from_whitened_windows(model, motions)
    stem = model.towers["imu"].stem
    outputs = stem.project(motions).detach().transpose(1, 2).flatten(0, 1)
    deviations = outputs.std(0)
    assert float(deviations.min()) > 0.7
    assert float(deviations.max()) < 1.1
    assert float(torch.corrcoef(outputs.T).fill_diagonal_(0).abs().max()) < 0.1


def test_the_foreign_clip_and_the_bridge_to_it_load(workspace):
    tiny, foreign = (bindplug.load(workspace / "weights" / n) for n in ("imagebind_tiny", "toy_foreign_clip"))
    assert (foreign.embedding_space.width, set(foreign.modalities)) == (64, {"image", "video", "text"})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", BridgeQuality)
        bridge = load_bridge(workspace / "weights" / "toy_bridge")
    assert bridge.source == tiny.embedding_space
    assert set(bridge.modalities) == {"image", "text", *SENSORS}
    assert bridge.embed(tiny, [bindplug.text("a dog")]).shape == (1, 64)


def test_a_rerun_reuses_what_is_rendered(workspace, monkeypatch):
    monkeypatch.setattr("recipes.render._results", None)  # rendering anything would now fail
    again = render(
        workspace / "audio",
        split="train",
        start=FIRST_SCENE["audio"],
        count=64,
        modalities=("audio",),
        quiet=True,
    )
    assert len(again) == 64


def test_what_is_rendered_is_what_the_readers_give(workspace):
    from bindplug_toyworld.scene import Scene

    scenes = Rendered(workspace / "depth")
    scene = Scene(FIRST_SCENE["depth"] + 3, "train")
    expected = bindplug.inputs.make_preprocess({"depth"})["depth"](scene.depth, unit="m")
    torch.testing.assert_close(scenes.inputs("depth")[3].float(), expected, rtol=1e-3, atol=1e-3)
    assert scenes.labels[3] == 3


def test_no_two_towers_see_the_same_scene():
    ranges = {i: (s.first_scene, s.first_scene + s.scenes) for i, s in enumerate(FULL.clip.stages)}
    ranges |= {m: (FIRST_SCENE[m], FIRST_SCENE[m] + FULL.pairs[m]) for m in SENSORS}
    ordered = sorted(ranges.values())
    assert len(ordered) == 7
    assert all(stop <= start for (_, stop), (start, _) in pairwise(ordered))


def test_jitter_without_its_randomness_is_clip_normalization():
    pixels = torch.randint(
        0, 256, (2, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    jittered = torch.stack([jitter(pixels, torch.Generator().manual_seed(s)) for s in range(60)])
    expected = jitter_free(pixels)
    assert (jittered.mean(0) - expected).abs().mean() < 0.1
    assert jittered.std(0).mean() > 0.05
