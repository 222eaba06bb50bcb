"""A scene is the same whenever it is made, its sensors agree, and no two splits share one."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bindplug.errors import InputError
from bindplug_toyworld.dataset import group_at, moving_scene_at, scene_at, scenes
from bindplug_toyworld.scene import SPLITS, Scene
from bindplug_toyworld.things import CLASSNAMES, MOVING, NAMES, THINGS, label_of

SEEDS = st.integers(0, 2**31)


def same(a: Scene, b: Scene) -> bool:
    return all(
        np.array_equal(getattr(a, name), getattr(b, name)) for name in ("pixels", "depth", "thermal", "boxes")
    )


def test_there_are_twenty_things_and_eight_of_them_move() -> None:
    assert len(THINGS) == len(set(NAMES)) == len(set(CLASSNAMES)) == 20
    assert MOVING == ("horse", "car", "train", "helicopter", "boat", "bicycle", "walking", "running")


@settings(max_examples=10)
@given(SEEDS, st.sampled_from(sorted(SPLITS)), st.integers(1, 5))
def test_the_order_of_asking_changes_nothing(seed: int, split: str, things: int) -> None:
    first, second = (Scene(seed, split, things=things) for _ in range(2))
    forward = [getattr(first, name) for name in ("pixels", "depth", "thermal", "boxes", "caption")]
    backward = [getattr(second, name) for name in ("caption", "boxes", "thermal", "depth", "pixels")]
    assert all(np.array_equal(a, b) for a, b in zip(forward, reversed(backward), strict=True))


@pytest.mark.parametrize("seed", [0, 7, 123_456])
def test_one_seed_is_two_scenes_in_two_splits(seed: int) -> None:
    train, evaluation = Scene(seed, "train"), Scene(seed, "eval")
    assert train.label == evaluation.label
    assert not np.array_equal(train.pixels, evaluation.pixels)
    assert train.placements != evaluation.placements


def test_no_layout_of_train_occurs_in_eval() -> None:
    drawn = {
        split: {scene_at(split, i).random("layout").integers(2**62) for i in range(500)} for split in SPLITS
    }
    assert len(drawn["train"]) == len(drawn["eval"]) == 500
    assert not drawn["train"] & drawn["eval"]


def test_streams_of_a_scene_are_independent() -> None:
    scene = Scene(5)
    draws = {
        scene.random(name, k).integers(2**62)
        for name in ("layout", "looks", "sound", "depth")
        for k in (0, 1)
    }
    assert len(draws) == 8


def test_a_pickled_scene_is_small_and_the_same() -> None:
    scene = Scene(3, "eval", labels=["dog"], things=3, canvas=(256, 320))
    assert scene.pixels.shape == (256, 320, 3)
    packed = pickle.dumps(scene)
    assert len(packed) < 500
    assert same(pickle.loads(packed), scene)


def test_images_need_neither_sound_nor_motion() -> None:
    scene = Scene(9)
    assert scene.image.size == (224, 224)
    assert "audio" not in vars(scene)
    assert "imu" not in vars(scene)


@pytest.mark.parametrize("name", NAMES)
def test_imu_is_there_exactly_for_things_that_move(name: str) -> None:
    motion = Scene(2, labels=[name]).imu
    if name not in MOVING:
        assert motion is None
        return
    assert motion is not None
    assert motion.shape == (6, 1000)
    assert motion.dtype == np.float32
    assert Scene(2, labels=[name, "bell"]).imu is None


def test_sound_of_two_things_holds_both() -> None:
    pair = Scene(4, labels=["bell", "train"], seconds=2.0)
    alone = Scene(4, labels=["bell"], seconds=2.0)
    assert pair.audio.shape == alone.audio.shape == (2 * pair.sample_rate_hz,)
    assert np.abs(pair.audio).max() <= 1
    assert 0.3 < np.corrcoef(pair.audio, alone.audio)[0, 1] + 0.5 < 1.49


def test_video_starts_at_the_instant_of_the_image_and_moves() -> None:
    scene = Scene(14, seconds=1.0)
    assert scene.video.shape == (12, 224, 224, 3)
    assert scene.video.dtype == np.uint8
    difference = np.abs(scene.video[0].astype(int) - scene.pixels.astype(int))
    assert np.median(difference) < 12
    blocks = scene.video.reshape(12, 28, 8, 28, 8, 3).mean(axis=(2, 4, 5))
    assert np.abs(blocks[6] - blocks[0]).max() > 15


def test_dataset_is_balanced_and_numbered() -> None:
    assert [scene.label for scene in scenes("train", 40, 60)] == list(NAMES)
    assert [moving_scene_at("eval", i).label for i in range(8, 16)] == list(MOVING)
    assert moving_scene_at("eval", 8).seed == scene_at("eval", 26).seed
    assert scene_at("train", 6, label="cat", things=2).labels[0] == "cat"
    groups = [group_at("train", i) for i in range(40)]
    assert {len(group.labels) for group in groups} == {2, 3, 4, 5}
    assert all(len(set(group.labels)) == len(group.labels) for group in groups)
    assert len(group_at("eval", 0, things=3).labels) == 3


@pytest.mark.parametrize(
    ("arguments", "remedy"),
    [
        ({"seed": -1}, "0 or more"),
        ({"split": "test"}, "train, eval"),
        ({"labels": ["unicorn"]}, "horse"),
        ({"labels": [20]}, "0 to 19"),
        ({"labels": ["dog"] * 6}, "one to five"),
        ({"things": 0}, "one to five"),
        ({"things": 1, "labels": ["dog", "cat"]}, "all named ones"),
        ({"canvas": (32, 224)}, "64 pixels"),
        ({"seconds": 0.0}, "positive"),
    ],
)
def test_bad_arguments_are_refused(arguments: dict, remedy: str) -> None:
    with pytest.raises(InputError, match=remedy):
        Scene(**{"seed": 1, **arguments})


def test_labels_go_by_name_and_number() -> None:
    assert [label_of(name) for name in NAMES] == list(range(20))
    assert Scene(1, labels=3).labels == Scene(1, labels="cow").labels == ("cow",)
