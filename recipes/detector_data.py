"""Cluttered scenes with boxes, classes and visible masks, rendered once to disk and read in batches."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from bindplug.progress import iterate_with_progress
from bindplug_toyworld.dataset import group_at
from bindplug_toyworld.scene import Scene
from bindplug_toyworld.things import label_of

MOST_THINGS = 5
"""Things in the fullest scene."""
NOTHING = -1
"""Class of a row that pads a scene of fewer things."""
ALONE = 0.1
"""Fraction of training scenes with one thing, which is larger than any in a group."""
CHUNK = 64

_Job = tuple[int, int, int, int]


class Truth(NamedTuple):
    """What is in B scenes, G rows each; rows of class :data:`NOTHING` only pad.

    Args:
        boxes: (B, G, 4) float32 xyxy in pixels.
        classes: (B, G) int64.
        owners: (B, H, W) uint8, which row of the scene is seen at each pixel, plus one; 0 for none.
    """

    boxes: Tensor
    classes: Tensor
    owners: Tensor

    @property
    def present(self) -> Tensor:
        """(B, G) bool, which rows are things."""
        return self.classes != NOTHING


@dataclass
class DetectionScenes:
    """A directory that :func:`render_for_detection` wrote; row i of each array belongs to scene i.

    ``pixels.npy`` (N, 3, S, S) uint8 · ``boxes.npy`` (N, 5, 4) float32 · ``classes.npy`` (N, 5) int64 ·
    ``owners.npy`` (N, S, S) uint8. ``in_memory`` reads them whole instead of mapping them.
    """

    directory: Path
    in_memory: bool = False

    def __post_init__(self) -> None:
        mode: Literal["c"] | None = None if self.in_memory else "c"
        self.arrays: dict[str, np.ndarray] = {
            path.stem: np.load(path, mmap_mode=mode) for path in sorted(self.directory.glob("*.npy"))
        }

    def __len__(self) -> int:
        return len(self.arrays["classes"])

    def batch(self, indices: Tensor) -> tuple[Tensor, Truth]:
        """(B, 3, S, S) uint8 pictures, and what is in them."""
        rows = indices.numpy()
        pixels, boxes, classes, owners = (
            torch.from_numpy(self.arrays[name][rows]) for name in ("pixels", "boxes", "classes", "owners")
        )
        return pixels, Truth(boxes, classes, owners)


def render_for_detection(
    directory: Path, *, start: int, count: int, side: int, workers: int = 2, quiet: bool | None = None
) -> DetectionScenes:
    """Render ``count`` training scenes, or reuse an equal earlier rendering.

    Args:
        directory: where the arrays go; replaced unless its card asks for exactly the same.
        start: number of the first scene.
        count: how many.
        side: height and width of the pictures in pixels.
        workers: processes.
        quiet: True shows no progress, None asks the environment.
    """
    card = {"start": start, "count": count, "side": side, "alone": ALONE}
    card_file = directory / "card.json"
    if card_file.is_file() and json.loads(card_file.read_text()) == card:
        return DetectionScenes(directory, in_memory=True)
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    shapes: dict[str, tuple[tuple[int, ...], type]] = {
        "pixels": ((3, side, side), np.uint8),
        "boxes": ((MOST_THINGS, 4), np.float32),
        "classes": ((MOST_THINGS,), np.int64),
        "owners": ((side, side), np.uint8),
    }
    arrays = {
        name: np.lib.format.open_memmap(
            directory / f"{name}.npy", mode="w+", dtype=dtype, shape=(count, *shape)
        )
        for name, (shape, dtype) in shapes.items()
    }
    jobs = [(start, first, min(first + CHUNK, count), side) for first in range(0, count, CHUNK)]
    results = iterate_with_progress(
        _results(jobs, workers), total=len(jobs), label=f"rendering {directory.name}", quiet=quiet
    )
    for first, rows in results:
        for name, values in rows.items():
            arrays[name][first : first + len(values)] = values
    for array in arrays.values():
        array.flush()
    card_file.write_text(json.dumps(card))
    return DetectionScenes(directory, in_memory=True)


def training_scene(index: int, side: int) -> Scene:
    """Training scene number ``index``: two to five things, or now and then one."""
    alone = np.random.default_rng([index, 79]).random() < ALONE
    return group_at("train", index, things=1 if alone else None, canvas=(side, side))


def rows_of(scene: Scene) -> tuple[np.ndarray, np.ndarray]:
    """Boxes (5, 4) and classes (5,) of a scene; things that are hidden altogether are left out."""
    boxes = np.zeros((MOST_THINGS, 4), dtype=np.float32)
    classes = np.full(MOST_THINGS, NOTHING, dtype=np.int64)
    boxes[: len(scene.labels)] = scene.boxes
    for row, (name, box) in enumerate(zip(scene.labels, scene.boxes, strict=True)):
        if box[2] > box[0]:
            classes[row] = label_of(name)
    return boxes, classes


def _results(jobs: list[_Job], workers: int) -> Iterator[tuple[int, dict[str, np.ndarray]]]:
    if workers <= 1:
        yield from map(_render_chunk, jobs)
        return
    with get_context("spawn").Pool(workers) as pool:
        yield from pool.imap_unordered(_render_chunk, jobs)


def _render_chunk(job: _Job) -> tuple[int, dict[str, np.ndarray]]:
    start, first, stop, side = job
    scenes = [training_scene(start + row, side) for row in range(first, stop)]
    boxes, classes = zip(*(rows_of(scene) for scene in scenes), strict=True)
    return first, {
        "pixels": np.stack([scene.pixels.transpose(2, 0, 1) for scene in scenes]),
        "boxes": np.stack(boxes),
        "classes": np.stack(classes),
        "owners": np.stack([scene.mask for scene in scenes]),
    }


def augment(pixels: Tensor, truth: Truth, generator: torch.Generator) -> tuple[Tensor, Truth]:
    """Half of the scenes mirrored, and each a little brighter or darker.

    Args:
        pixels: (B, 3, H, W) uint8.
        truth: of the scenes.
        generator: of the draws.

    Returns:
        (B, 3, H, W) float32 in 0..255, and the truth that goes with it.
    """
    count, width = len(pixels), pixels.shape[-1]
    is_mirrored = torch.rand(count, generator=generator) < 0.5
    gain = 0.8 + 0.4 * torch.rand(count, 1, 1, 1, generator=generator)
    boxes = truth.boxes
    swapped = torch.stack(
        (width - boxes[..., 2], boxes[..., 1], width - boxes[..., 0], boxes[..., 3]), dim=-1
    )
    boxes = torch.where(is_mirrored[:, None, None], swapped, boxes)
    owners = torch.where(is_mirrored[:, None, None], truth.owners.flip(-1), truth.owners)
    pixels = torch.where(is_mirrored[:, None, None, None], pixels.flip(-1), pixels)
    return (pixels.float() * gain).clamp_(0, 255), Truth(boxes, truth.classes, owners)
