"""Infer a network's config from the shapes of its tensors; what shapes do not determine is never guessed."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from bindplug.errors import CheckpointError
from bindplug.imagebind.config import IMU_CHANNELS, ImageBindConfig, TowerConfig
from bindplug.imagebind.official_names import official_prefixes
from bindplug.modality import TOWERS

Shapes = Mapping[str, tuple[int, ...]]


def infer_config(shapes: Shapes, *, what: str = "the state dict") -> ImageBindConfig:
    """The config of a state dict, from its tensors' shapes.

    Shapes do not determine the number of attention heads: a tower as wide and deep as the published one is taken
    to have its heads. Towers without tensors get the published shape.

    Args:
        shapes: official names -> shapes.
        what: how an error calls the state dict.

    Raises:
        CheckpointError: a tower has another width or depth than the published one, or its stem contradicts
            its positions.
    """
    config = ImageBindConfig.huge()
    towers: dict[str, Any] = {}
    sizes: dict[str, int] = {}
    for name in TOWERS:
        prefixes = official_prefixes(name)
        pos_embed = shapes.get(prefixes["pos_embed"])
        if pos_embed is None or len(pos_embed) != 3:
            continue  # absent, or damaged: then check_state names what is missing
        width, published = pos_embed[-1], config.tower(name)
        blocks = _blocks(shapes, prefixes["blocks."])
        if (width, blocks) != (published.width, published.blocks):
            raise CheckpointError(
                f"{what}: the {name} tower has width {width} and {blocks} blocks, the published one width "
                f"{published.width} and {published.blocks}. Shapes do not determine the number of heads: "
                f"pass the network's config"
            )
        towers[name], stem_sizes = _with_stem(name, published, shapes, pos_embed[1] - 1)
        _merge_sizes(sizes, stem_sizes, what)
        projection = shapes.get(prefixes["head.proj."] + "weight")
        if projection:
            sizes.setdefault("embed_dim", projection[0])
    tokens = shapes.get(official_prefixes("text")["token_embedding."] + "weight")
    if tokens and "text" in towers:
        sizes["vocab_size"] = tokens[0]
        sizes["context_length"] = shapes[official_prefixes("text")["pos_embed"]][1]
    try:
        return replace(config, **(towers | sizes))
    except ValueError as error:
        raise CheckpointError(f"{what} describes no possible network: {error}") from error


def _blocks(shapes: Shapes, prefix: str) -> int:
    matches = (re.match(rf"{re.escape(prefix)}(\d+)\.", name) for name in shapes)
    return 1 + max((int(match[1]) for match in matches if match), default=-1)


def _with_stem(
    name: str, tower: TowerConfig, shapes: Shapes, patches: int
) -> tuple[TowerConfig, dict[str, int]]:
    """The tower with its stem's kernel, and the input sizes that the number of patches implies."""
    stem = shapes.get(official_prefixes(name).get("stem.proj.", "") + "weight")
    if stem is None:
        return tower, {}
    if name == "imu":
        window = stem[-1] // IMU_CHANNELS  # a row of the projection holds all channels of a window
        return replace(tower, kernel=(window,), stride=(window,)), {"imu_steps": patches * window}
    kernel = tuple(stem[2:])
    if name == "audio":
        return replace(tower, kernel=kernel, stride=_audio_stride(kernel, patches, tower.stride)), {}
    return replace(tower, kernel=kernel, stride=kernel), {"image_size": math.isqrt(patches) * kernel[-1]}


def _audio_stride(kernel: tuple[int, ...], patches: int, published: tuple[int, ...]) -> tuple[int, ...]:
    """The published stride where it gives that many patches, else the one square stride that does."""
    huge = ImageBindConfig.huge()

    def count(step: tuple[int, ...]) -> int:
        sizes = zip((huge.mel_bins, huge.audio_frames), kernel, step, strict=False)
        return math.prod((size - extent) // stride + 1 for size, extent, stride in sizes)

    # Several strides may give as many patches; then nothing is guessed.
    fitting = [step for step in ((s, s) for s in range(1, max(kernel) + 1)) if count(step) == patches]
    if count(published) == patches or len(fitting) != 1:
        return published
    return fitting[0]


def _merge_sizes(sizes: dict[str, int], more: dict[str, int], what: str) -> None:
    for name, value in more.items():
        if sizes.setdefault(name, value) != value:
            raise CheckpointError(f"{what}: towers disagree about {name}, {sizes[name]} against {value}")
