"""Bring the queries, prompts and pictures of one call to one count."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bindplug.errors import InputError
from bindplug_diffusers.pipeline_info import accepts, default_of

TEXTS = ("prompt", "prompt_2", "prompt_3", "negative_prompt", "negative_prompt_2", "negative_prompt_3")
EMBEDDINGS = (
    "prompt_embeds",
    "negative_prompt_embeds",
    "pooled_prompt_embeds",
    "negative_pooled_prompt_embeds",
    "prompt_embeds_pooled",
    "negative_prompt_embeds_pooled",
)
PICTURES = ("image", "mask_image", "control_image")
COUNTS = ("num_images_per_prompt", "num_videos_per_prompt")


@dataclass(frozen=True)
class Batch:
    """A call whose prompts and queries have one count.

    Args:
        arguments: of the pipeline's call.
        prompts: number of prompts before pictures of one prompt were spread.
        copies: pictures for each of these prompts.
        is_spread: whether each prompt is written ``copies`` times, with one picture each, so that every picture has
            its own row everywhere.
    """

    arguments: dict[str, Any]
    prompts: int
    copies: int
    is_spread: bool

    @property
    def pictures(self) -> int:
        """Number of pictures that the call makes."""
        return self.prompts * self.copies

    def rows(self, rows: Tensor) -> Tensor:
        """Rows of the queries, (1, D) or (prompts, D) -> one for each prompt of the call, (B, D)."""
        rows = rows.expand(self.prompts, -1)
        return rows.repeat_interleave(self.copies, dim=0) if self.is_spread else rows


def make_batch(pipe: Any, arguments: Mapping[str, Any], queries: int, *, spread: bool) -> Batch:
    """Repeat everything that belongs to a prompt so that it matches the queries.

    One query goes with every prompt, and one prompt with every query; otherwise their counts must agree.

    Args:
        pipe: the pipeline to be called.
        arguments: of its call.
        queries: their number.
        spread: whether several pictures of a prompt become several prompts.

    Raises:
        InputError: counts that do not agree.
    """
    counts = {
        name: _count(name, arguments[name]) for name in _counted(pipe) if arguments.get(name) is not None
    }
    prompts = _common_count({"queries": queries} | counts)
    copies = _pictures_per_prompt(pipe, arguments)
    is_spread = spread and copies > 1
    repeats = copies if is_spread else 1
    repeated = dict(arguments)
    for name in (*TEXTS, *EMBEDDINGS, *_pictures(pipe)):
        value = arguments.get(name)
        if value is not None and prompts * repeats > 1 and _count(name, value) in (1, prompts):
            repeated[name] = _repeat(name, value, prompts, repeats)
    if is_spread:
        repeated |= {name: 1 for name in COUNTS if accepts(pipe, name)}
    return Batch(repeated, prompts, copies, is_spread)


def _pictures_per_prompt(pipe: Any, arguments: Mapping[str, Any]) -> int:
    for name in COUNTS:
        if accepts(pipe, name):
            return int(arguments.get(name) or default_of(pipe, name) or 1)
    return 1


def _counted(pipe: Any) -> tuple[str, ...]:
    """Arguments whose count is that of the prompts, or of the pictures if the pipeline takes no prompt."""
    texts = (*TEXTS, *EMBEDDINGS)
    return texts if accepts(pipe, "prompt") else (*texts, *PICTURES[:1])


def _pictures(pipe: Any) -> tuple[str, ...]:
    """Pictures of which there is one for each prompt. A list of them may be one for each ControlNet instead."""
    return () if hasattr(pipe, "controlnet") else PICTURES


def _count(name: str, value: Any) -> int:
    if isinstance(value, (list, tuple)):
        return len(value)
    if isinstance(value, (Tensor, np.ndarray)):
        return 1 if name in PICTURES and value.ndim < 4 else len(value)
    return 1


def _common_count(counts: Mapping[str, int]) -> int:
    several = {name: count for name, count in counts.items() if count != 1}
    if len(set(several.values())) > 1:
        detail = ", ".join(f"{count} {name}" for name, count in several.items())
        raise InputError("pipe()", found=detail, expected="one of each, or as many of one as of the other")
    return next(iter(several.values()), 1)


def _repeat(name: str, value: Any, count: int, copies: int) -> Any:
    if isinstance(value, (Tensor, np.ndarray)):
        rows = torch.as_tensor(value)
        rows = rows[None] if name in PICTURES and rows.ndim < 4 else rows  # (3, H, W) -> (1, 3, H, W)
        rows = rows.expand(count, *rows.shape[1:]).repeat_interleave(copies, dim=0)
        return rows if isinstance(value, Tensor) else rows.numpy()
    items: Sequence[Any] = value if isinstance(value, (list, tuple)) else [value]
    items = list(items) * (count if len(items) == 1 else 1)
    return [item for item in items for _ in range(copies)]
