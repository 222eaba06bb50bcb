"""The official checkpoint's names beside the model's own, and the shape of every tensor.

The official checkpoint stores the projections to query, key and value as one tensor, the model as three. Splitting
makes views, and joining three views of one tensor makes a view again: neither copies a weight.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from bindplug.errors import CheckpointError
from bindplug.imagebind.config import ImageBindConfig
from bindplug.imagebind.towers import build_tower
from bindplug.modality import TOWERS

TEXT_MASK = "modality_preprocessors.text.mask"
"""The causal mask, which the official checkpoint stores and the model computes."""

TEXT_SCALE = "modality_postprocessors.text.1.log_logit_scale"
LOGIT_SCALE = "logit_scale"

PROJECTIONS = ("q_proj", "k_proj", "v_proj")
"""The model's layers that the official checkpoint stores side by side, in this order."""

_SPLIT_NAMES = {
    f"attn.{layer}.{part}": f"attn.in_proj_{part}" for part in ("weight", "bias") for layer in PROJECTIONS
}

_STEMS = {
    "vision": "rgbt_stem",
    "audio": "rgbt_stem",
    "depth": "depth_stem",
    "thermal": "rgbt_stem",
    "imu": "imu_stem",
}


def official_prefixes(tower: str) -> dict[str, str]:
    """The model's prefixes within a tower -> the official ones. Source: the published checkpoint."""
    start, trunk, head = (f"modality_{part}.{tower}" for part in ("preprocessors", "trunks", "heads"))
    shared = {
        "blocks.": f"{trunk}.blocks.",
        "log_scale": f"modality_postprocessors.{tower}.1.log_logit_scale",
        "head.hidden.": f"{head}.hidden.",  # not in the published network, whose heads are linear
    }
    if tower == "text":
        names = {"pos_embed": f"{start}.pos_embed", "token_embedding.": f"{start}.token_embedding."}
        return {**shared, **names, "head.norm.": f"{head}.proj.0.", "head.proj.": f"{head}.proj.1."}
    stem = f"{start}.{_STEMS[tower]}"
    # IMU's head has a dropout, which takes an index too.
    projection = 3 if tower == "imu" else 2
    return {
        **shared,
        "cls_token": f"{start}.cls_token",
        "pos_embed": f"{start}.pos_embed" if tower == "imu" else f"{start}.pos_embedding_helper.pos_embed",
        "stem.proj.": f"{stem}.proj.1." if tower == "vision" else f"{stem}.proj.",
        "stem.norm.": f"{stem}.norm_layer.",
        "pre_norm.": f"{trunk}.pre_transformer_layer.0.",
        "head.norm.": f"{head}.0.",
        "head.proj.": f"{head}.{projection}.",
    }


def official_name(name: str) -> str:
    """The official name of a tensor of the model's state dict.

    Raises:
        KeyError: the model has no tensor of that name.
    """
    if name == LOGIT_SCALE:
        return TEXT_SCALE
    first, _, rest = name.partition(".")
    tower, _, rest = rest.partition(".")
    if first != "towers" or tower not in TOWERS:
        raise KeyError(name)
    for ours, official in _SPLIT_NAMES.items():
        if rest.endswith(ours):
            rest = rest.removesuffix(ours) + official
    for ours, official in official_prefixes(tower).items():
        if rest.startswith(ours):
            return official + rest.removeprefix(ours)
    raise KeyError(name)


def tower_of(name: str) -> str | None:
    """The tower an official name belongs to; None for a name that is not official."""
    parts = name.split(".")
    official = len(parts) > 2 and parts[0].startswith("modality_") and parts[1] in TOWERS
    return parts[1] if official else None


@lru_cache(maxsize=4)
def expected_shapes(config: ImageBindConfig) -> Mapping[str, tuple[int, ...]]:
    """Every official name of a whole network of that config -> its shape."""
    shapes: dict[str, tuple[int, ...]] = {}
    for name, shape in model_shapes(config).items():
        official = official_name(name)
        rows = shapes[official][0] if official in shapes else 0
        # Query, key and value stand one below the other: 3 x (D, D) -> (3 D, D).
        shapes[official] = (rows + shape[0], *shape[1:]) if "in_proj_" in official else shape
    shapes[TEXT_MASK] = (config.context_length, config.context_length)
    return shapes


@lru_cache(maxsize=4)
def model_shapes(config: ImageBindConfig) -> Mapping[str, tuple[int, ...]]:
    """Every name of the whole model's state dict -> its shape."""
    # Building one block a tower is a tenth of the time; the others have the same names and shapes.
    shallow: dict[str, Any] = {tower: replace(config.tower(tower), blocks=1) for tower in TOWERS}
    shapes: dict[str, tuple[int, ...]] = {LOGIT_SCALE: ()}
    for tower in TOWERS:
        with torch.device("meta"):
            state = build_tower(tower, replace(config, **shallow)).state_dict()
        for name, tensor in state.items():
            count = config.tower(tower).blocks if name.startswith("blocks.0.") else 1
            for index in range(count):
                layer_name = name.replace("blocks.0.", f"blocks.{index}.", 1) if count > 1 else name
                shapes[f"towers.{tower}.{layer_name}"] = tuple(tensor.shape)
    return shapes


def names_of(config: ImageBindConfig, towers: Iterable[str]) -> list[str]:
    """The official names of those towers."""
    tower_names = set(towers)
    return [name for name in expected_shapes(config) if tower_of(name) in tower_names]


def causal_mask(length: int, like: Tensor) -> Tensor:
    """(length, length): minus infinity above the diagonal, 0 elsewhere; dtype and device are those of ``like``."""
    return torch.full((length, length), float("-inf"), device=like.device, dtype=like.dtype).triu_(1)


def to_official(state: Mapping[str, Tensor], config: ImageBindConfig) -> dict[str, Tensor]:
    """The model's state dict under official names, with the text mask; text's scale only where text is.

    Raises:
        CheckpointError: the model holds tensors without an official name, such as an adapter's.
    """
    unknown = [name for name in state if name not in model_shapes(config)]
    if unknown:
        raise CheckpointError(
            f"{len(unknown)} tensors of the model have no place in an official checkpoint, such as {unknown[0]}; "
            f"expected ImageBind's own. Merge adapters first: bindplug.training.merge_adapters(model), "
            f"or merge_and_unload() in peft"
        )
    parts: dict[str, list[Tensor]] = {}
    for name, tensor in state.items():
        parts.setdefault(official_name(name), []).append(tensor)
    official = {name: join(tensors) for name, tensors in parts.items()}
    text = next((t for name, t in official.items() if name.startswith("modality_preprocessors.text.")), None)
    if text is None:
        official.pop(TEXT_SCALE, None)
    else:
        official[TEXT_MASK] = causal_mask(config.context_length, text)
    return official


def from_official(state: Mapping[str, Tensor], config: ImageBindConfig) -> dict[str, Tensor]:
    """The inverse of :func:`to_official`, without the mask; split tensors share the memory of the whole."""
    names: dict[str, list[str]] = {}
    for name in model_shapes(config):
        names.setdefault(official_name(name), []).append(name)
    split: dict[str, Tensor] = {}
    for official, tensor in state.items():
        if official == TEXT_MASK:
            continue
        rows = len(tensor) // len(names[official]) if tensor.ndim else 0
        for index, name in enumerate(names[official]):
            # (3 D, ...) -> (D, ...), a view
            split[name] = tensor[index * rows : (index + 1) * rows] if len(names[official]) > 1 else tensor
    return split


def join(tensors: list[Tensor]) -> Tensor:
    """Tensors of equal shape one below the other; without a copy where they lie so in memory."""
    first, *further_tensors = tensors
    if not further_tensors:
        return first
    size = first.numel() * first.element_size()
    side_by_side = not first.is_meta and all(
        tensor.untyped_storage().data_ptr() == first.untyped_storage().data_ptr()
        and tensor.is_contiguous()
        and tensor.data_ptr() == first.data_ptr() + index * size
        for index, tensor in enumerate(tensors)
    )
    if side_by_side:
        return first.as_strided((len(tensors) * len(first), *first.shape[1:]), first.stride())
    return torch.cat(tensors)
