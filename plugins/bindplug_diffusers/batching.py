"""How queries, prompts and pictures of one call are brought to one count."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bindplug.errors import InputError
from bindplug_diffusers.inspection import accepts, default_of

TEXTS = ("prompt", "prompt_2", "prompt_3", "negative_prompt", "negative_prompt_2", "negative_prompt_3")
EMBEDDINGS = (
    "prompt_embeds",
    "negative_prompt_embeds",
    "pooled_prompt_embeds",
    "negative_pooled_prompt_embeds",
)
PICTURES = ("image", "mask_image", "control_image")
COUNTS = ("num_images_per_prompt", "num_videos_per_prompt")


def pictures_per_prompt(pipe: Any, arguments: Mapping[str, Any]) -> int:
    """How many pictures (or videos) each prompt gets."""
    for name in COUNTS:
        if accepts(pipe, name):
            return int(arguments.get(name) or default_of(pipe, name) or 1)
    return 1


def brought_to_one_count(
    pipe: Any, arguments: Mapping[str, Any], queries: int, *, spread: bool
) -> tuple[dict[str, Any], int, int]:
    """The arguments with everything that goes with a prompt repeated so that it goes with the queries.

    One query goes with every prompt, one prompt with every query; else their counts must agree.

    Args:
        pipe: the pipeline to be called.
        arguments: of its call.
        queries: how many there are.
        spread: write several pictures of a prompt as several prompts, each with one picture, so that each picture
            has its own row everywhere.

    Returns:
        The arguments; the count of prompts; and into how many rows each prompt was spread.

    Raises:
        InputError: counts that do not agree.
    """
    found = {
        name: _count(name, arguments[name]) for name in _counted(pipe) if arguments.get(name) is not None
    }
    count = _agreed({"queries": queries} | found)
    copies = pictures_per_prompt(pipe, arguments) if spread else 1
    brought = dict(arguments)
    for name in (*TEXTS, *EMBEDDINGS, *_pictures(pipe)):
        value = arguments.get(name)
        if value is not None and count * copies > 1 and _count(name, value) in (1, count):
            brought[name] = _repeated(name, value, count, copies)
    if copies > 1:
        brought |= {name: 1 for name in COUNTS if accepts(pipe, name)}
    return brought, count, copies


def _counted(pipe: Any) -> tuple[str, ...]:
    """Arguments whose count is that of the prompts; pictures, where the pipeline takes no prompt."""
    texts = (*TEXTS, *EMBEDDINGS)
    return texts if accepts(pipe, "prompt") else (*texts, *PICTURES[:1])


def _pictures(pipe: Any) -> tuple[str, ...]:
    """Pictures that go with a prompt each; a ControlNet's are left alone, a list of them may be one a net."""
    return () if hasattr(pipe, "controlnet") else PICTURES


def _count(name: str, value: Any) -> int:
    if isinstance(value, (list, tuple)):
        return len(value)
    if isinstance(value, (Tensor, np.ndarray)):
        return 1 if name in PICTURES and value.ndim < 4 else len(value)
    return 1


def _agreed(counts: Mapping[str, int]) -> int:
    several = {name: count for name, count in counts.items() if count != 1}
    if len(set(several.values())) > 1:
        found = ", ".join(f"{count} {name}" for name, count in several.items())
        raise InputError("pipe()", found=found, expected="one of each, or as many of one as of the other")
    return next(iter(several.values()), 1)


def _repeated(name: str, value: Any, count: int, copies: int) -> Any:
    if isinstance(value, (Tensor, np.ndarray)):
        rows = torch.as_tensor(value)
        rows = rows[None] if name in PICTURES and rows.ndim < 4 else rows
        rows = rows.expand(count, *rows.shape[1:]).repeat_interleave(copies, dim=0)
        return rows if isinstance(value, Tensor) else rows.numpy()
    listed: Sequence[Any] = value if isinstance(value, (list, tuple)) else [value]
    whole = list(listed) * (count if len(listed) == 1 else 1)
    return [item for item in whole for _ in range(copies)]
