"""Rendered worlds: what they hold, disjoint splits, interrupted renderings, crops."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bindplug.errors import InputError
from bindplug_lab.world import World, WorldSpec, crop, open_world, random_boxes, render_world, rendering
from bindplug_toyworld import MOVING, NAMES, Scene

SPEC = WorldSpec(count=40, sensors=("image", "depth", "audio"), side=64, captions=2)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return open_world(SPEC, tmp_path_factory.mktemp("worlds"), quiet=True)


def test_rows_are_the_scenes_recordings(world):
    row = 33
    assert world.labels[row] == row % 20
    scene = Scene(row, "train", (NAMES[row % 20],), (64, 64), seconds=2.0)
    assert np.array_equal(world.images[row], scene.pixels.transpose(2, 0, 1))
    assert world.captions(row) == scene.captions(2)
    assert world.all_captions()[row] == scene.captions(2)
    assert world.depth.shape == (40, 1, 64, 64)
    assert world.audio.shape == (40, 1, 64, 102)
    # what is near has a high disparity
    disparity, metres = world.depth[row, 0].astype(float), scene.depth
    assert np.corrcoef(disparity.ravel(), 1 / metres.ravel())[0, 1] > 0.9


def test_every_thing_is_the_first_one_equally_often(world):
    assert np.bincount(world.labels, minlength=20).tolist() == [2] * 20


def test_a_finished_world_is_not_rendered_again(world, monkeypatch):
    monkeypatch.setattr(rendering, "_render_chunk", None)
    again = render_world(SPEC, world.directory, quiet=True)
    assert np.array_equal(again.images, world.images)


def test_an_interrupted_rendering_goes_on(world, tmp_path, monkeypatch):
    render_chunk, chunks = rendering._render_chunk, []

    def fail_at_second(job):
        chunks.append(job[2])
        if job[2] == 1:
            raise KeyboardInterrupt
        return render_chunk(job)

    monkeypatch.setattr(rendering, "_render_chunk", fail_at_second)
    with pytest.raises(KeyboardInterrupt):
        render_world(SPEC, tmp_path / "world", quiet=True)
    with pytest.raises(InputError, match="ended early"):
        World(tmp_path / "world")
    monkeypatch.setattr(rendering, "_render_chunk", lambda job: (chunks.append(job[2]), render_chunk(job))[1])
    finished = render_world(SPEC, tmp_path / "world", quiet=True)
    assert chunks == [0, 1, 1]
    for name in ("image", "depth", "audio", "labels"):
        assert np.array_equal(finished.array(name), world.array(name))
    assert finished.all_captions() == world.all_captions()


def test_splits_share_no_scene(tmp_path):
    worlds = [
        open_world(WorldSpec(split, count=20, side=64), tmp_path, quiet=True) for split in ("train", "eval")
    ]
    train, evaluation = (world.images.reshape(20, -1) for world in worlds)
    assert not any((row == evaluation).all(axis=1).any() for row in train)


def test_moments_share_the_place_and_change_their_thing(tmp_path):
    spec = WorldSpec(count=20, side=64, moments=3, change=1.0)
    world = open_world(spec, tmp_path, quiet=True)
    labels = world.labels.reshape(20, 3)
    assert (labels[:, 1:] != labels[:, :1]).all()
    assert world.scenes.tolist()[:4] == [0, 0, 0, 1]
    still = open_world(replace(spec, change=0.0), tmp_path, quiet=True)
    images = still.images.reshape(20, 3, -1)
    assert np.array_equal(images[:, 0], images[:, 2])


def test_several_things_a_scene(tmp_path):
    world = open_world(WorldSpec(count=20, side=64, things=3), tmp_path, quiet=True)
    assert all(len(set(row)) == 3 for row in world.all_labels.tolist())


def test_near_pictures_and_maps_show_the_same_square(tmp_path):
    spec = WorldSpec(count=20, sensors=("image", "depth"), side=64, near=True)
    world = open_world(spec, tmp_path, quiet=True)
    assert spec.key != replace(spec, near=False).key
    assert "near" not in replace(spec, near=False).to_dict()  # worlds without it keep their keys
    row = 15  # a bell, far from its background
    scene = Scene(row, "train", (NAMES[row],), (128, 128), seconds=2.0)
    whole = scene.boxes[0]
    share = (whole[2] - whole[0]) * (whole[3] - whole[1]) / 128**2
    disparity = world.depth[row, 0].astype(float)
    # the thing takes up more of the square than of the scene, in its middle
    near = disparity > (disparity.min() + disparity.max()) / 2
    assert near[24:40, 24:40].mean() > 0.5
    assert near.mean() > share


def test_motion_restricts_the_things(tmp_path):
    world = open_world(WorldSpec(count=8, sensors=("imu",)), tmp_path, quiet=True)
    assert [NAMES[label] for label in world.labels] == list(MOVING)
    assert world.imu.shape == (8, 6, 2000)


def test_two_processes_render_what_one_does(tmp_path):
    spec = replace(SPEC, sensors=("depth",), captions=0)
    one = render_world(spec, tmp_path / "one", quiet=True)
    two = render_world(spec, tmp_path / "two", workers=2, quiet=True)
    assert np.array_equal(one.depth, two.depth)


@pytest.mark.parametrize(
    "values",
    [{"split": "test"}, {"count": 0}, {"sensors": ("smell",)}, {"side": 32}, {"things": 6}, {"change": 2.0},
     {"moments": 0}, {"pool": 3}, {"seconds": 0}, {"start": -1}, {"captions": -1},
     {"sensors": ("imu",), "things": 2}],
)  # fmt: skip
def test_values_out_of_range_are_refused(values):
    with pytest.raises(InputError, match="world"):
        WorldSpec(**values)


def test_another_world_is_not_overwritten(world):
    with pytest.raises(InputError, match="other values"):
        render_world(replace(SPEC, count=20), world.directory, quiet=True)


def test_a_folder_without_a_world(tmp_path):
    with pytest.raises(InputError, match=r"no world\.json"):
        World(tmp_path)
    (tmp_path / "world.json").write_text("{")
    with pytest.raises(InputError, match="damaged"):
        World(tmp_path)
    (tmp_path / "world.json").write_text(json.dumps(SPEC.to_dict() | {"format_version": 0}))
    with pytest.raises(InputError, match="format version 0"):
        World(tmp_path)


def test_a_sensor_that_was_not_rendered(world):
    with pytest.raises(InputError, match="image, depth, audio"):
        _ = world.thermal


def test_a_key_is_of_the_values():
    assert SPEC.key == replace(SPEC).key
    assert SPEC.key != replace(SPEC, change=0.5).key


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 2**31), low=st.floats(0.05, 1.0))
def test_crops_stay_inside(seed, low):
    generator = torch.Generator().manual_seed(seed)
    boxes = random_boxes(16, generator, area=(low, 1.0))
    centers, half = boxes[:, :2], boxes[:, 2:].abs()
    assert (centers.abs() + half <= 1 + 1e-5).all()
    assert (half[:, 0] == half[:, 1]).all()
    assert (half[:, 1] ** 2 >= low - 1e-5).all()


def test_crops_cut_what_the_box_says():
    maps = torch.arange(16.0).reshape(1, 1, 4, 4)
    whole = crop(maps, torch.tensor([[0.0, 0.0, 1.0, 1.0]]), 4)
    assert torch.allclose(whole, maps, atol=1e-5)
    mirrored = crop(maps, torch.tensor([[0.0, 0.0, -1.0, 1.0]]), 4)
    assert torch.allclose(mirrored, maps.flip(-1), atol=1e-5)
    corner = crop(maps, torch.tensor([[-0.5, -0.5, 0.5, 0.5]]), 2)
    assert torch.allclose(corner, maps[..., :2, :2], atol=1e-5)
