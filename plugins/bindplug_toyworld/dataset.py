"""Scenes by number: the same number is the same scene, everywhere and for ever."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from bindplug_toyworld.scene import SPLITS, Scene
from bindplug_toyworld.things import MOVING, THINGS, label_of

_GROUP_SEED = 1_000_000_000  # seeds of scenes of several things start here, so none is also a single thing's


def scene_at(
    split: str,
    index: int,
    *,
    label: int | str | None = None,
    things: int = 1,
    canvas: tuple[int, int] = (224, 224),
) -> Scene:
    """Scene number ``index``.

    Args:
        split: one of :data:`~bindplug_toyworld.scene.SPLITS`.
        index: its seed, 0 or more.
        label: its first thing; ``None`` for thing number ``index % 20``, so any run of 20 holds every thing once.
        things: how many things, 1 to 5; those after the first are picked by the seed.
        canvas: (height, width) in pixels.
    """
    return Scene(index, split, [index % len(THINGS) if label is None else label], canvas, things)


def moving_scene_at(split: str, index: int) -> Scene:
    """Scene number ``index`` among those with IMU: ``index % 8`` picks the thing, in the order of ``MOVING``.

    It is one of the scenes that :func:`scene_at` gives.
    """
    turn, place = divmod(index, len(MOVING))
    return scene_at(split, turn * len(THINGS) + label_of(MOVING[place]))


def group_at(
    split: str, index: int, *, things: int | None = None, canvas: tuple[int, int] = (320, 320)
) -> Scene:
    """Scene number ``index`` of several things.

    Args:
        split: one of :data:`~bindplug_toyworld.scene.SPLITS`.
        index: 0 or more.
        things: how many, 1 to 5; ``None`` varies it from 2 to 5.
        canvas: (height, width) in pixels.
    """
    if things is None:
        things = int(np.random.default_rng([_GROUP_SEED, SPLITS.get(split, 0), index]).integers(2, 6))
    return Scene(_GROUP_SEED + index, split, canvas=canvas, things=things)


def scenes(split: str, start: int, stop: int, *, canvas: tuple[int, int] = (224, 224)) -> Iterator[Scene]:
    """Scenes ``start`` to ``stop - 1`` of one thing each, in order."""
    return (scene_at(split, index, canvas=canvas) for index in range(start, stop))
