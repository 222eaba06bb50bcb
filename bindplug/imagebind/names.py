"""The official checkpoint's names beside ours, and what every tensor's shape must be."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from bindplug.imagebind.config import ImageBindConfig
from bindplug.modality import TOWERS

TEXT_MASK = "modality_preprocessors.text.mask"
"""The causal mask, which the official checkpoint stores and we compute."""

TEXT_SCALE = "modality_postprocessors.text.1.log_logit_scale"
LOGIT_SCALE = "logit_scale"

_STEMS = {
    "vision": "rgbt_stem",
    "audio": "rgbt_stem",
    "depth": "depth_stem",
    "thermal": "rgbt_stem",
    "imu": "imu_stem",
}


def official_prefixes(tower: str) -> dict[str, str]:
    """Our prefixes within a tower -> the official ones. Source: the published checkpoint."""
    start, trunk, head = (f"modality_{part}.{tower}" for part in ("preprocessors", "trunks", "heads"))
    shared = {
        "blocks.": f"{trunk}.blocks.",
        "log_scale": f"modality_postprocessors.{tower}.1.log_logit_scale",
        "head.hidden.": f"{head}.hidden.",  # ours: the published heads are linear
    }
    if tower == "text":
        names = {"pos_embed": f"{start}.pos_embed", "token_embedding.": f"{start}.token_embedding."}
        return {**shared, **names, "head.norm.": f"{head}.proj.0.", "head.proj.": f"{head}.proj.1."}
    stem = f"{start}.{_STEMS[tower]}"
    # IMU's head has a dropout, which takes a number too.
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


def official_name(ours: str) -> str:
    """The official name of a tensor of our state dict."""
    if ours == LOGIT_SCALE:
        return TEXT_SCALE
    _, tower, rest = ours.split(".", 2)
    prefixes = official_prefixes(tower)
    found = next(prefix for prefix in prefixes if rest.startswith(prefix))
    return prefixes[found] + rest.removeprefix(found)


def tower_of(name: str) -> str | None:
    """The tower an official name belongs to; None for a name that is not official."""
    parts = name.split(".")
    known = len(parts) > 2 and parts[0].startswith("modality_") and parts[1] in TOWERS
    return parts[1] if known else None


@lru_cache(maxsize=4)
def expected_shapes(config: ImageBindConfig) -> Mapping[str, tuple[int, ...]]:
    """Every official name of a whole network of that config -> its shape."""
    shapes = {official_name(name): shape for name, shape in our_shapes(config).items()}
    shapes[TEXT_MASK] = (config.context_length, config.context_length)
    return shapes


def our_shapes(config: ImageBindConfig) -> dict[str, tuple[int, ...]]:
    """Every name of our whole network's state dict -> its shape."""
    from bindplug.imagebind.model import ImageBind

    # Building one block a tower is a tenth of the time; the others have the same names and shapes.
    shallow: dict[str, Any] = {tower: replace(config.tower(tower), blocks=1) for tower in TOWERS}
    shapes = {}
    for name, tensor in ImageBind(replace(config, **shallow), device="meta").state_dict().items():
        _, separator, _ = name.partition(".blocks.0.")
        count = config.tower(name.split(".")[1]).blocks if separator else 1
        for index in range(count):
            shapes[name.replace(".blocks.0.", f".blocks.{index}.") if separator else name] = tuple(
                tensor.shape
            )
    return shapes


def names_of(config: ImageBindConfig, towers: Iterable[str]) -> list[str]:
    """The official names of those towers."""
    wanted = set(towers)
    return [name for name in expected_shapes(config) if tower_of(name) in wanted]


def causal_mask(length: int, like: Tensor) -> Tensor:
    """(length, length): minus infinity above the diagonal, 0 elsewhere."""
    return torch.full((length, length), float("-inf"), device=like.device, dtype=like.dtype).triu_(1)


def to_official(state: Mapping[str, Tensor], config: ImageBindConfig) -> dict[str, Tensor]:
    """Our state dict under official names, the text mask added; text's scale only where text is."""
    named = {official_name(name): tensor for name, tensor in state.items()}
    text = next(
        (tensor for name, tensor in named.items() if name.startswith("modality_preprocessors.text.")), None
    )
    if text is None:
        named.pop(TEXT_SCALE, None)
    else:
        named[TEXT_MASK] = causal_mask(config.context_length, text)
    return named


def from_official(named: Mapping[str, Tensor], config: ImageBindConfig) -> dict[str, Tensor]:
    """The inverse of :func:`to_official`; the mask is left out."""
    ours = {official_name(name): name for name in our_shapes(config)}
    return {ours[name]: tensor for name, tensor in named.items() if name != TEXT_MASK}
