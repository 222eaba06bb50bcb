"""A stage that locks the text tower leaves the space alone, and coarse images are coarse."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from bindplug_toyworld.dataset import scene_at
from bindplug_toyworld.things import NAMES, THINGS
from recipes.clip import build_clip, clip_config, coarsened, pretrain
from recipes.clip_stages import scenes_of
from recipes.render import near_view, render
from recipes.sizes import ClipSize, ClipStage

LOCKED = ClipStage(0, 16, steps=2, learning_rate=1e-2, warmup_steps=1, locked_text=True, coarse=0.5)
OPEN = ClipStage(0, 16, steps=2, learning_rate=1e-2, warmup_steps=1)


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    return scenes_of(tmp_path_factory.mktemp("scenes"), LOCKED, quiet=True)


@pytest.mark.parametrize(("stage", "moved"), [(LOCKED, False), (OPEN, True)])
def test_only_an_open_stage_moves_the_text_tower(scenes, stage, moved):
    clip = build_clip(clip_config("toy_foreign_clip"), seed=0)
    before = {name: tensor.clone() for name, tensor in clip.state_dict().items()}
    pretrain(clip, scenes, ClipSize("toy_foreign_clip", (stage,), batch_size=8), stage, quiet=True)
    changed = {name for name, tensor in clip.state_dict().items() if not torch.equal(tensor, before[name])}
    text = {name for name in changed if not name.startswith("visual.") and name != "logit_scale"}
    assert bool(text) is moved
    assert any(name.startswith("visual.") for name in changed)


def test_an_open_stage_after_a_locked_one_learns_text_again(scenes):
    clip = build_clip(clip_config("toy_foreign_clip"), seed=0)
    size = ClipSize("toy_foreign_clip", (LOCKED, OPEN), batch_size=8)
    for stage in size.stages:
        pretrain(clip, scenes, size, stage, quiet=True)
    assert all(parameter.requires_grad for parameter in clip.parameters())


def test_coarse_images_have_no_fine_detail():
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (6, 3, 224, 224), generator=generator, dtype=torch.uint8)
    coarse = coarsened(pixels, 1.0, generator)
    assert (coarse.shape, coarse.dtype) == (pixels.shape, torch.uint8)
    # noise loses most of its variance, and keeps its mean
    assert float(coarse.float().std()) < 0.5 * float(pixels.float().std())
    assert float(coarse.float().mean()) == pytest.approx(float(pixels.float().mean()), abs=1)
    assert torch.equal(coarsened(pixels, 0.0, generator), pixels)


def test_a_share_of_the_images_is_made_coarse():
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (40, 3, 224, 224), generator=generator, dtype=torch.uint8)
    same = (coarsened(pixels, 0.5, generator) == pixels).flatten(1).all(1).sum()
    assert 10 <= int(same) <= 30


def test_seen_from_near_the_thing_fills_the_picture():
    rng = np.random.default_rng(0)
    for index in range(60):
        scene = scene_at("train", index)
        thing = scene.placements[0]
        image, captions = near_view(scene, rng)
        assert image.size == (224, 224)
        nouns = {
            scene.label,
            *THINGS[NAMES.index(scene.label)].synonyms,
            THINGS[NAMES.index(scene.label)].noun,
        }
        assert all(any(noun in caption for noun in nouns) for caption in captions), captions
        places = (
            "on the left",
            "on the right",
            "at the top",
            "at the bottom",
            "in the middle",
            "in the center",
        )
        assert not any(place in caption for caption in captions for place in places), captions
        if thing.half_px < 60:  # whatever stood elsewhere is out of sight
            assert np.abs(np.asarray(image, float) - np.asarray(scene.image, float)).mean() > 4


def test_a_share_of_lone_things_is_rendered_from_near(tmp_path):
    far = render(tmp_path / "far", split="train", start=500, count=40, captions=True, crowded=0.3, quiet=True)
    both = render(
        tmp_path / "both",
        split="train",
        start=500,
        count=40,
        captions=True,
        crowded=0.3,
        near=0.5,
        quiet=True,
    )
    same = (far.arrays["pixels"] == both.arrays["pixels"]).all(axis=(1, 2, 3))
    assert np.array_equal(same, (far.arrays["tokens"] == both.arrays["tokens"]).all(axis=(1, 2)))
    assert 12 <= same.sum() <= 34
    assert np.array_equal(far.labels, both.labels)
