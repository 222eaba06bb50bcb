"""The training pairs and evaluation inputs of a run, from rendered worlds and embedded views.

Shape letters: R = rows of a world, V = views of a row's picture, S = side of a picture, D = width of the space.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from bindplug.files import staged_file
from bindplug_lab.ablations.encoders import FrozenEncoder, embed_images, image_encoder
from bindplug_lab.ablations.settings import RunSettings
from bindplug_lab.world import World, WorldSpec, crop, equalize, open_world, random_boxes

SIDE = 96
"""Height and width of a world's pictures and depth maps, in pixels."""
DEPTH_SIDE = 48
"""Height and width of what the depth tower sees, in pixels."""
VIEW_SEED = 11
BATCH = 256
_AREAS = {"none": (1.0, 1.0), "basic": (0.6, 1.0), "strong": (0.15, 1.0)}
"""Smallest and largest part of a picture that a crop shows."""
_HOLES = 3
"""Rectangles that a depth sensor misses."""
_FIRST_SCENE = {"depth": 0, "audio": 1_000_000}
"""Each sense is bound on scenes of its own."""


def training_spec(settings: RunSettings) -> WorldSpec:
    """The world that a run is trained on."""
    return WorldSpec(
        "train", _FIRST_SCENE[settings.sense], settings.scenes, ("image", settings.sense), SIDE,
        things=settings.things, moments=settings.moments, change=settings.change, near=settings.things == 1,
    )  # fmt: skip


def evaluation_spec(settings: RunSettings) -> WorldSpec:
    """The world that a run is evaluated on: scenes of one thing, none of them a training scene."""
    return WorldSpec(
        "eval", _FIRST_SCENE[settings.sense], settings.evaluation_scenes, (settings.sense,), SIDE, near=True
    )


def open_worlds(settings: RunSettings, cache: Path) -> tuple[World, World]:
    """The worlds that a run is trained and evaluated on, from a cache directory, or rendered there."""
    training, evaluation = training_spec(settings), evaluation_spec(settings)
    return open_world(training, cache, quiet=True), open_world(evaluation, cache, quiet=True)


@dataclass
class ViewPairs:
    """Pairs of a view's embedding and a sense's recording; pair ``p`` is view ``p % V`` of row ``p // V``.

    Attributes:
        rows: (R, V, D) embeddings of views.
        boxes: (R, V, 4) where each view was cut out.
        recordings: (R, 1, H, W) maps or filter banks.
        settings: what of it is aligned, and how noisy it is.
    """

    rows: Tensor
    boxes: Tensor
    recordings: Tensor
    settings: RunSettings

    def __len__(self) -> int:
        return self.rows.shape[0] * self.rows.shape[1]

    def anchors(self, indices: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """(B, D) embeddings of the views at ``indices`` (B,); nothing in them is drawn."""
        return self.rows.flatten(0, 1)[indices]

    def samples(self, indices: Tensor, generator: torch.Generator) -> Tensor:
        """(B, 1, H, W) recordings of the rows that the views at ``indices`` are of."""
        row, view = indices // self.rows.shape[1], indices % self.rows.shape[1]
        settings = self.settings
        if settings.sense == "audio":
            if not settings.temporal_alignment:
                moment = torch.randint(settings.moments, row.shape, generator=generator)
                row = row // settings.moments * settings.moments + moment
            inputs = self.recordings[row].float()
        else:
            boxes = self.boxes[row, view]
            if not settings.spatial_alignment:
                boxes = random_boxes(len(row), generator, area=_AREAS[settings.image_augmentation])
            inputs = crop(self.recordings[row], boxes, DEPTH_SIDE)
        return _add_noise(inputs, settings.input_noise, generator)


def training_pairs(settings: RunSettings, cache: Path) -> ViewPairs:
    """The pairs of a run, from the worlds and embedded views in a cache directory, or made there."""
    world = open_world(training_spec(settings), cache, quiet=True)
    boxes = _boxes(settings, len(world))
    rows = _view_rows(settings, world, boxes, frozen_encoder(settings, cache), cache)
    return ViewPairs(rows, boxes, _recordings(world, settings.sense), settings)


def _recordings(world: World, sense: str) -> Tensor:
    """(R, 1, H, W) filter banks as they are; depth maps equalized, so that far things stand out as near ones do."""
    recordings = world.tensor(sense)
    return recordings if sense == "audio" else equalize(recordings)


def _boxes(settings: RunSettings, count: int) -> Tensor:
    """(R, V, 4) where each view is cut out."""
    generator = torch.Generator().manual_seed(VIEW_SEED)
    flip = 0.0 if settings.image_augmentation == "none" else 0.5
    boxes = random_boxes(
        count * settings.views, generator, area=_AREAS[settings.image_augmentation], flip=flip
    )
    return boxes.unflatten(0, (count, settings.views))


def frozen_encoder(settings: RunSettings, cache: Path) -> FrozenEncoder:
    """The image encoder of a run."""
    return image_encoder(settings.image_encoder, cache, settings.encoder_scenes, settings.encoder_steps)


def _view_rows(
    settings: RunSettings, world: World, boxes: Tensor, encoder: FrozenEncoder, cache: Path
) -> Tensor:
    """(R, V, D) embeddings of each picture's views."""
    name = f"{world.spec.key}-{encoder.name}-{settings.image_augmentation}-{settings.views}.npy"
    path = cache / "views" / name
    if not path.is_file():
        generator = torch.Generator().manual_seed(VIEW_SEED + 1)
        images, views = world.tensor("image"), []
        for indices in torch.arange(len(world)).split(max(1, BATCH // settings.views)):
            pictures = images[indices].repeat_interleave(settings.views, dim=0)
            crops = crop(pictures, boxes[indices].flatten(0, 1), SIDE)
            if settings.image_augmentation == "strong":
                crops = augment_strongly(crops, generator)
            views.append(embed_images(encoder, crops.clamp(0, 255).to(torch.uint8)))
        rows = torch.cat(views).unflatten(0, (-1, settings.views))
        with staged_file(path) as temporary, temporary.open("wb") as file:
            np.save(file, rows.numpy())
    return torch.from_numpy(np.load(path))


def augment_strongly(images: Tensor, generator: torch.Generator) -> Tensor:
    """Colors, light and contrast changed, and now and then a rectangle erased.

    Args:
        images: (B, 3, H, W) float32, 0 to 255.
        generator: all chance comes from it.
    """
    from bindplug.training import random_erase

    count = len(images)
    gain = 1 + 0.8 * (torch.rand(count, 3, 1, 1, generator=generator) - 0.5)
    contrast = 1 + 1.2 * (torch.rand(count, 1, 1, 1, generator=generator) - 0.5)
    light = 100 * (torch.rand(count, 1, 1, 1, generator=generator) - 0.5)
    images = ((images * gain - 127.5) * contrast + 127.5 + light).clamp(0, 255)
    return random_erase(images, 0.25, generator)


def evaluation_inputs(settings: RunSettings, cache: Path) -> tuple[Tensor, Tensor]:
    """Inputs (N, 1, H, W) and labels (N,) of the evaluation's scenes, as its imperfect sensor records them."""
    world = open_world(evaluation_spec(settings), cache, quiet=True)
    recordings = _recordings(world, settings.sense)
    generator = torch.Generator().manual_seed(VIEW_SEED + 2)
    if settings.sense == "depth":
        whole = torch.tensor([[0.0, 0.0, 1.0, 1.0]]).expand(len(recordings), 4)
        inputs = with_holes(crop(recordings, whole, DEPTH_SIDE), settings.evaluation_holes, generator)
    else:
        inputs = with_deaf_band(recordings.float(), settings.evaluation_deaf, generator)
    return _add_noise(inputs, settings.evaluation_noise, generator), torch.from_numpy(world.labels.copy())


def with_holes(maps: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """Depth maps with rectangles that were not measured, filled with the map's mean as readers do not.

    Args:
        maps: (B, 1, H, W).
        share: of the map that the rectangles cover, before overlaps; 0 returns the maps.
        generator: of the rectangles.
    """
    if not share:
        return maps
    count, _, height, width = maps.shape
    rows, columns = torch.arange(height), torch.arange(width)
    mean = maps.mean(dim=(-1, -2), keepdim=True)  # (B, 1, 1, 1)
    half = round((share / _HOLES) ** 0.5 * height)
    for _ in range(_HOLES):
        top = torch.randint(height - half + 1, (count, 1), generator=generator)
        left = torch.randint(width - half + 1, (count, 1), generator=generator)
        hole_rows = (rows >= top) & (rows < top + half)
        hole_columns = (columns >= left) & (columns < left + half)
        maps = torch.where((hole_rows[:, :, None] & hole_columns[:, None])[:, None], mean, maps)
    return maps


def with_deaf_band(banks: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """Filter banks of a microphone that misses one band, filled with the bank's mean.

    Args:
        banks: (B, 1, M, T).
        share: of the mel bins that the band covers; 0 returns the banks.
        generator: of the bands.
    """
    bins = banks.shape[-2]
    width = round(share * bins)
    if not width:
        return banks
    start = torch.randint(bins - width + 1, (len(banks), 1), generator=generator)
    position = torch.arange(bins)
    in_band = (position >= start) & (position < start + width)  # (B, M)
    return torch.where(in_band[:, None, :, None], banks.mean(dim=(-1, -2), keepdim=True), banks)


def _add_noise(inputs: Tensor, deviation: float, generator: torch.Generator) -> Tensor:
    if not deviation:
        return inputs
    return inputs + deviation * torch.randn(inputs.shape, generator=generator)
