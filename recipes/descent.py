"""The loop that every part of the toy unCLIP is trained by."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from bindplug.progress import iterate_with_progress
from bindplug.training import warmup_cosine

logger = logging.getLogger(__name__)

TOLD_EVERY = 50
"""Steps between two lines of the log, each of which tells their mean."""


def descend(
    optimizer: torch.optim.Optimizer,
    loss_of: Callable[[], tuple[Tensor, Tensor]],
    *,
    steps: int,
    warmup: int,
    name: str,
    quiet: bool | None,
) -> list[float]:
    """Take ``steps`` steps down, the learning rate rising for ``warmup`` of them, then falling along a cosine.

    Args:
        optimizer: its learning rate is the highest; gradients are clipped to a norm of 1.
        loss_of: the next batch's loss, and the figure that log and card tell of it, both scalars.
        steps: how many.
        warmup: how many of them.
        name: of what is trained, for log and progress bar.
        quiet: True shows no progress, None asks the environment.

    Returns:
        The figures, one a step.
    """
    highest = optimizer.defaults["lr"]
    learned = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    figures: list[float] = []
    start_s = time.perf_counter()
    for step in iterate_with_progress(range(steps), total=steps, label=f"toy {name}", quiet=quiet):
        for group in optimizer.param_groups:
            group["lr"] = highest * warmup_cosine(step, total_steps=steps, warmup_steps=warmup)
        loss, figure = loss_of()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(learned, 1.0)
        optimizer.step()
        figures.append(float(figure.detach()))
        if (step + 1) % TOLD_EVERY == 0:
            rate = (step + 1) / (time.perf_counter() - start_s)
            mean = sum(figures[-TOLD_EVERY:]) / TOLD_EVERY
            logger.info("%s, step %d: %.4f, steps/s %.2f", name, step + 1, mean, rate)
    return figures


def ends(figures: list[float], start_s: float) -> dict[str, Any]:
    """For the card: the means of the first and last 20 figures, and the seconds since ``started``."""
    first, last = figures[:20], figures[-20:]
    return {
        "seconds": round(time.perf_counter() - start_s, 1),
        "first_error": round(sum(first) / len(first), 4),
        "final_error": round(sum(last) / len(last), 4),
    }
