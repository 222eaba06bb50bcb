"""Every camera sees every thing, in plausible units, and boxes fit what is seen."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bindplug_toyworld.backdrop import SETTINGS
from bindplug_toyworld.looks import LOOKS, PALETTE, Style
from bindplug_toyworld.render import noise
from bindplug_toyworld.scene import Scene
from bindplug_toyworld.things import NAMES

SEEDS = st.integers(0, 2**31)
CANVASES = st.sampled_from([(224, 224), (256, 320), (320, 320)])


def test_every_thing_has_a_look_within_its_frame() -> None:
    assert set(LOOKS) == set(NAMES)
    for name, look in LOOKS.items():
        for vary in (-1.0, 0.0, 1.0):
            parts = look(Style(PALETTE["red"], PALETTE["blue"], (vary,) * 8, phase=vary * 3))
            points = np.concatenate([part.points for part in parts])
            assert np.isfinite(points).all(), name
            assert np.abs(points).max() < 1.35, name
            assert np.ptp(points, axis=0).max() > 1.4, name


@settings(max_examples=15)
@given(SEEDS, st.integers(1, 5), CANVASES)
def test_boxes_are_tight_and_inside(seed: int, things: int, canvas: tuple[int, int]) -> None:
    scene = Scene(seed, "eval", things=things, canvas=canvas)
    assert scene.boxes.shape == (things, 4)
    for index, (x0, y0, x1, y1) in enumerate(scene.boxes.astype(int)):
        seen = scene.mask == index + 1
        assert 0 <= x0 < x1 <= canvas[1]
        assert 0 <= y0 < y1 <= canvas[0]
        assert seen[y0:y1, x0:x1].sum() == seen.sum()
        for edge in (seen[y0, x0:x1], seen[y1 - 1, x0:x1], seen[y0:y1, x0], seen[y0:y1, x1 - 1]):
            assert edge.any()


@settings(max_examples=15)
@given(SEEDS, st.integers(1, 5), CANVASES)
def test_measurements_are_plausible(seed: int, things: int, canvas: tuple[int, int]) -> None:
    scene = Scene(seed, things=things, canvas=canvas)
    assert scene.pixels.shape == (*canvas, 3)
    assert scene.pixels.dtype == np.uint8
    assert scene.depth.shape == scene.thermal.shape == canvas
    assert scene.depth.dtype == scene.thermal.dtype == np.float32
    assert np.isfinite(scene.depth).all()
    assert scene.depth.min() >= 0.1
    assert scene.depth.max() <= 20
    assert np.isfinite(scene.thermal).all()
    assert scene.thermal.min() > -45
    assert scene.thermal.max() < 480


def contrast(scene: Scene, channel: np.ndarray) -> float:
    """How far a thing is from what surrounds it, in mean deviations of the surroundings."""
    thing = scene.mask == 1
    x0, y0, x1, y1 = scene.boxes[0].astype(int)
    around = np.zeros_like(thing)
    around[max(0, y0 - 12) : y1 + 12, max(0, x0 - 12) : x1 + 12] = True
    outside = channel[around & ~thing & (scene.mask == 0)].astype(float)
    inside = channel[thing].astype(float)
    middle = np.median(outside, axis=0)
    return float(np.abs(inside - middle).mean() / (np.abs(outside - middle).mean() + 1e-6))


@pytest.mark.parametrize("name", NAMES)
def test_every_thing_stands_out_in_every_channel(name: str) -> None:
    scenes = [Scene(seed, "eval", labels=[name]) for seed in range(1, 41, 2)]
    for channel in ("pixels", "depth", "thermal"):
        contrasts = [contrast(scene, getattr(scene, channel)) for scene in scenes]
        assert np.median(contrasts) > 1.15, channel


def test_things_differ_in_heat_and_shape() -> None:
    warm = {name: np.median([_excess(Scene(seed, labels=[name])) for seed in range(12)]) for name in NAMES}
    assert warm["fire"] > 50 > warm["dog"] > 5 > warm["clock"]
    assert warm["frog"] < 0
    assert warm["rain"] < -4


def _excess(scene: Scene) -> float:
    return float(np.median(scene.thermal[scene.mask == 1]) - scene.backdrop.ambient)


def test_a_thing_stands_before_its_wall_at_its_distance() -> None:
    for seed in range(20):
        scene = Scene(seed)
        placement = scene.placements[0]
        depth = scene.depth[scene.mask == 1]
        assert placement.distance_m - placement.half_m * 1.2 < np.median(depth) <= placement.distance_m * 1.05
        assert np.median(depth) < scene.backdrop.wall_m


def test_walking_and_running_are_different_silhouettes() -> None:
    def widths(name: str) -> float:
        boxes = np.array([Scene(seed, labels=[name]).boxes[0] for seed in range(0, 60, 2)])
        return float(np.median((boxes[:, 2] - boxes[:, 0]) / (boxes[:, 3] - boxes[:, 1])))

    assert widths("running") > 1.4 * widths("walking")


def test_all_settings_occur() -> None:
    assert {Scene(seed).backdrop.name for seed in range(120)} == set(SETTINGS)


def test_noise_is_white_whatever_the_canvas() -> None:
    for shape in ((64, 64), (224, 224, 3), (900, 300)):
        sample = noise(shape, np.random.default_rng(0))
        assert sample.shape == shape
        assert abs(float(sample.mean())) < 0.1
        assert 0.9 < float(sample.std()) < 1.1
