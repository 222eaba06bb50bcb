"""Render scenes to disk in parallel, each sensor through the same preprocess a user's file takes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from bindplug.progress import iterate_with_progress
from bindplug_toyworld.captions import Mention, single_caption
from bindplug_toyworld.dataset import scene_at
from bindplug_toyworld.scene import Scene
from bindplug_toyworld.things import MOVING, NAMES, THINGS
from recipes.rendered import Rendered

CAPTIONS_A_SCENE = 6
SHAPES = {"audio": (3, 1, 128, 204), "depth": (1, 224, 224), "thermal": (1, 224, 224), "imu": (6, 2000)}
CHUNK = 64


def render(
    directory: Path,
    *,
    split: str,
    start: int,
    count: int,
    modalities: Sequence[str] = (),
    captions: bool = False,
    crowded: float = 0.0,
    near: float = 0.0,
    workers: int = 2,
    quiet: bool | None = None,
) -> Rendered:
    """Render ``count`` scenes from index ``start`` of a split, or reuse an equal earlier rendering.

    Args:
        directory: where the arrays go; replaced unless its card asks for exactly the same.
        split: ``"train"`` or ``"eval"``.
        start: first scene index; ranges that do not overlap give disjoint scenes.
        count: number of scenes, their labels going round the things (those that move one, for IMU).
        modalities: sensors to render beside the image.
        captions: also tokenise captions.
        crowded: fraction of scenes with two or three things instead of one.
        near: fraction of scenes of one thing of which images and captions are of a :func:`near_view`.
        workers: processes.
        quiet: True shows no progress, None asks the environment.
    """
    card = {"split": split, "start": start, "count": count, "modalities": sorted(modalities),
            "captions": captions, "crowded": crowded, "near": near}  # fmt: skip
    if (directory / "card.json").is_file() and json.loads((directory / "card.json").read_text()) == card:
        return Rendered(directory)
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    arrays = _allocate(directory, count, modalities, captions)
    jobs = [(card, first, min(first + CHUNK, count)) for first in range(0, count, CHUNK)]
    for first, rows in iterate_with_progress(
        _results(jobs, workers), total=len(jobs), label=f"rendering {directory.name}", quiet=quiet
    ):
        for name, values in rows.items():
            arrays[name][first : first + len(values)] = values
    for array in arrays.values():
        array.flush()
    (directory / "card.json").write_text(json.dumps(card))
    return Rendered(directory)


def _allocate(directory: Path, count: int, modalities: Sequence[str], captions: bool) -> dict[str, np.memmap]:
    arrays: dict[str, tuple[tuple[int, ...], type]] = {
        "pixels": ((count, 3, 224, 224), np.uint8),
        "labels": ((count,), np.int64),
    }
    if captions:
        arrays["tokens"] = ((count, CAPTIONS_A_SCENE, 77), np.uint16)
    arrays |= {m: ((count, *SHAPES[m]), np.float16) for m in modalities}
    return {
        name: np.lib.format.open_memmap(directory / f"{name}.npy", mode="w+", dtype=dtype, shape=shape)
        for name, (shape, dtype) in arrays.items()
    }


def _results(jobs: list[Any], workers: int) -> Iterator[tuple[int, dict[str, np.ndarray]]]:
    if workers <= 1:
        yield from map(_render_chunk, jobs)
        return
    with get_context("spawn").Pool(workers) as pool:
        yield from pool.imap_unordered(_render_chunk, jobs)


@cache
def _preprocess() -> dict[str, Any]:
    torch.set_num_threads(1)
    try:
        from bindplug.inputs import make_preprocess
    except ImportError:
        import open_clip

        return {"text": open_clip.SimpleTokenizer()}
    return make_preprocess()


def label_at(index: int, modalities: Sequence[str]) -> str:
    """The thing scene ``index`` is about: classes take turns, among those that move one where IMU is asked for."""
    names = MOVING if "imu" in modalities else NAMES
    return names[index % len(names)]


def _render_chunk(job: tuple[dict[str, Any], int, int]) -> tuple[int, dict[str, np.ndarray]]:
    card, first, stop = job
    scenes = [_scene(card, index) for index in range(first, stop)]
    preprocess = _preprocess()
    views = [_view(card, first + number, scene) for number, scene in enumerate(scenes)]
    rows = {
        "pixels": np.stack([np.asarray(image).transpose(2, 0, 1) for image, _ in views]),
        "labels": np.array([NAMES.index(scene.label) for scene in scenes]),
    }
    if card["captions"]:
        texts = [text for _, captions in views for text in captions]
        tokens = preprocess["text"](texts).numpy().astype(np.uint16)
        rows["tokens"] = tokens.reshape(len(scenes), CAPTIONS_A_SCENE, -1)
    for modality in card["modalities"]:
        sources = [getattr(scene, modality) for scene in scenes]
        batch = preprocess[modality].batch(sources, options=READER_OPTIONS[modality])
        rows[modality] = batch.stack().numpy().astype(np.float16)
    return first, rows


READER_OPTIONS: dict[str, dict[str, Any]] = {
    "audio": {"sample_rate": 16_000},
    "depth": {"unit": "m"},
    "thermal": {"unit": "celsius"},
    "imu": {"sample_rate": 200.0},
}
"""How the world's arrays are described to the readers."""


def _view(card: dict[str, Any], offset: int, scene: Scene) -> tuple[Image.Image, list[str]]:
    """What is seen of scene number ``offset``, and captions of that."""
    rng = np.random.default_rng([card["start"] + offset, 79])
    if len(scene.labels) == 1 and rng.random() < card["near"]:
        return near_view(scene, rng)
    return scene.image, scene.captions(CAPTIONS_A_SCENE) if card["captions"] else []


def near_view(scene: Scene, rng: np.random.Generator) -> tuple[Image.Image, list[str]]:
    """A scene's first thing from near: a square picture of the canvas's shorter side, and captions without a place.

    Args:
        scene: what is looked at.
        rng: decides how near, and words the captions.
    """
    thing, (height, width) = scene.placements[0], scene.canvas
    half = min(float(rng.uniform(1.0, 1.4)) * thing.half_px, height / 2, width / 2)
    x, y = (float(np.clip(at, half, side - half)) for at, side in ((thing.x, width), (thing.y, height)))
    side = min(scene.canvas)
    image = scene.image.resize(
        (side, side), Image.Resampling.BICUBIC, box=(x - half, y - half, x + half, y + half)
    )
    mention = Mention(THINGS[thing.label], thing.color, place="", size="", x=0.5)
    phrases = scene.backdrop.setting.phrases
    return image, [single_caption(mention, phrases, rng) for _ in range(CAPTIONS_A_SCENE)]


def _scene(card: dict[str, Any], offset: int) -> Scene:
    index = card["start"] + offset
    is_crowded = np.random.default_rng([index, 77]).random() < card["crowded"]
    things = int(np.random.default_rng([index, 78]).choice([2, 3], p=[0.8, 0.2])) if is_crowded else 1
    return scene_at(card["split"], index, label=label_at(index, card["modalities"]), things=things)
