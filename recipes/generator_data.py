"""Portraits of things with image embeddings, rendered once to disk.

A generator that sees half a million pictures on two cores learns what things look like, or also where they may stand,
how large, in which light and what may hide them; not both. An embedding of a sound tells none of that. So it learns
portraits: the thing of a scene in its own colors, upright and whole, as large as the picture, before a plain backdrop.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from bindplug.encoder import Encoder
from bindplug.progress import iterate_with_progress
from bindplug_toyworld.dataset import scene_at
from bindplug_toyworld.looks import LOOKS, PALETTE, Style
from bindplug_toyworld.render import Layer, Light, paint_color, place, relief_map
from bindplug_toyworld.scene import Scene
from bindplug_toyworld.things import NAMES
from recipes.clip import jitter_free

FIRST_SCENE = 6_000_000
FRAME = 1.12
"""Half the side of a portrait, in half sizes of the thing."""
PHASE = 2.0
"""Radians into every thing's own movement: walkers and runners in mid-stride, wings up."""
GROUND = 0.62
"""Row of a portrait's horizon, of its height."""
LIGHT = Light(direction=(-0.6, -0.8), strength=0.8)
CHUNK = 64
RENDERED_SIDE = 224

_Job = tuple[int, int, int]


@dataclass(frozen=True, eq=False)
class Pictures:
    """What the generator learns from.

    Args:
        pixels: (N, 3, S, S) uint8 portraits.
        rows: (N, 2, D) float32 unit image embeddings, of the scene and of the portrait.
        labels: (N,) int64, labels of the things; nothing is trained on them.
        seconds: that rendering and embedding took, now or in an earlier run.
    """

    pixels: Tensor
    rows: Tensor
    labels: Tensor
    seconds: float

    def __len__(self) -> int:
        return len(self.pixels)


def scene_of(index: int) -> Scene:
    """Training scene number ``index`` of the generator, of one thing."""
    return scene_at("train", FIRST_SCENE + index, label=NAMES[index % len(NAMES)])


def portrait(scene: Scene) -> Image.Image:
    """A scene's first thing alone, 224 x 224: its colors and build, before the colors of the place it was seen in."""
    side, thing = RENDERED_SIDE, scene.placements[0]
    half = side / 2 / FRAME
    style = Style(PALETTE[thing.color], thing.accent, thing.vary, PHASE)
    parts = place(LOOKS[scene.label](style), side / 2, side / 2, half, 0.0, False)
    layer = Layer(parts, thing.distance_m, thing.half_m, half, 0)
    relief = relief_map([layer], (side, side))
    return Image.fromarray(paint_color(_plain(scene), [layer], relief, LIGHT, np.random.default_rng(0)))


def _plain(scene: Scene) -> np.ndarray:
    """The scene's place without anything in it, uint8 (224, 224, 3), the horizon at one height."""
    backdrop = scene.backdrop
    even = replace(
        backdrop,
        shape=(RENDERED_SIDE, RENDERED_SIDE),
        horizon=GROUND * RENDERED_SIDE,
        mottle=np.zeros_like(backdrop.mottle),
    )
    return even.color(np.random.default_rng(0))


def render_pictures(
    directory: Path, encoder: Encoder, *, count: int, side: int, workers: int = 2, quiet: bool | None = None
) -> Pictures:
    """Render and embed ``count`` scenes, or reuse an equal earlier rendering.

    Args:
        directory: where the arrays go; replaced unless it holds exactly these.
        encoder: what embeds the pictures, at the size they are rendered in.
        count: number of scenes, their labels going round the things.
        side: to which pictures are shrunk.
        workers: processes.
        quiet: True shows no progress, None asks the environment.
    """
    card = {
        "start": FIRST_SCENE, "frame": FRAME, "phase": PHASE, "ground": GROUND, "count": count, "side": side,
    }  # fmt: skip
    description = card | {"probe": probe(encoder).tolist()}
    if _is_same(directory / "card.json", description):
        return _read(directory)
    start_s = time.perf_counter()
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    pixels = np.zeros((count, 3, side, side), np.uint8)
    labels = np.zeros(count, np.int64)
    rows = np.zeros((count, 2, encoder.embedding_space.width), np.float32)
    jobs = [(first, min(first + CHUNK, count), side) for first in range(0, count, CHUNK)]
    for first, whole, small, names in iterate_with_progress(
        _results(jobs, workers), total=len(jobs), label=f"rendering {directory.name}", quiet=quiet
    ):
        last = first + len(whole)
        pixels[first:last], labels[first:last] = small, names
        rows[first:last] = (
            _embedded(encoder, torch.from_numpy(whole).flatten(0, 1)).unflatten(0, (-1, 2)).numpy()
        )
    for name, array in (("pixels", pixels), ("labels", labels), ("rows", rows)):
        np.save(directory / f"{name}.npy", array)
    description["seconds"] = round(time.perf_counter() - start_s, 1)
    (directory / "card.json").write_text(json.dumps(description))
    return _read(directory)


def probe(encoder: Encoder) -> Tensor:
    """The encoder's row (D,) of one fixed picture, by which a rendering knows whose embeddings it holds."""
    ramp = torch.linspace(0, 255, RENDERED_SIDE)
    picture = torch.stack(
        (
            ramp[:, None].expand(-1, RENDERED_SIDE),
            ramp.expand(RENDERED_SIDE, -1),
            ramp.flip(0).expand(RENDERED_SIDE, -1),
        )
    )
    return _embedded(encoder, picture.to(torch.uint8)[None])[0]


@torch.inference_mode()
def _embedded(encoder: Encoder, pixels: Tensor) -> Tensor:
    """(B, D) rows of (B, 3, 224, 224) uint8 pictures."""
    return encoder.encode_image(jitter_free(pixels).to(encoder.dtype), normalize=True).float().clone()


def _is_same(card: Path, description: dict[str, Any]) -> bool:
    if not card.is_file():
        return False
    earlier = json.loads(card.read_text())
    earlier.pop("seconds", None)
    ours, theirs = np.array(description["probe"]), np.array(earlier.pop("probe", []))
    # the same weights on another number of threads differ in the last digits
    same_encoder = ours.shape == theirs.shape and bool(np.allclose(ours, theirs, atol=1e-4))
    return same_encoder and earlier == {name: value for name, value in description.items() if name != "probe"}


def _read(directory: Path) -> Pictures:
    pixels, rows, labels = (
        torch.from_numpy(np.load(directory / f"{name}.npy")) for name in ("pixels", "rows", "labels")
    )
    return Pictures(pixels, rows, labels, json.loads((directory / "card.json").read_text())["seconds"])


def _results(jobs: list[_Job], workers: int) -> Iterator[tuple[int, np.ndarray, np.ndarray, np.ndarray]]:
    if workers <= 1 or len(jobs) == 1:
        yield from map(_render_chunk, jobs)
        return
    with get_context("spawn").Pool(workers) as pool:
        yield from pool.imap_unordered(_render_chunk, jobs)


def _render_chunk(job: _Job) -> tuple[int, np.ndarray, np.ndarray, np.ndarray]:
    """First row; scenes and portraits (n, 2, 3, 224, 224); portraits shrunk; labels."""
    first, stop, side = job
    scenes = [scene_of(index) for index in range(first, stop)]
    alone = [portrait(scene) for scene in scenes]
    both = [
        np.stack((scene.pixels, np.asarray(picture))) for scene, picture in zip(scenes, alone, strict=True)
    ]
    small = np.stack([np.asarray(shrunk(picture, side)).transpose(2, 0, 1) for picture in alone])
    labels = np.array([NAMES.index(scene.label) for scene in scenes])
    return first, np.stack(both).transpose(0, 1, 4, 2, 3), small, labels


def shrunk(picture: Image.Image, side: int) -> Image.Image:
    """The picture at ``side`` x ``side`` pixels."""
    return picture.resize((side, side), Image.Resampling.LANCZOS)
