"""What goes wrong while a run computes, said in words."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor

from bindplug.errors import InputError, OutOfMemory
from bindplug.training.batches import name_indices

NO_MEMORY_ON_CPU = ("not enough memory", "can't allocate memory", "Cannot allocate memory", "unable to mmap")
"""Parts of the RuntimeErrors by which torch says so."""


@contextmanager
def memory_named(name: str, device: torch.device, last_checkpoint: Path | None) -> Iterator[None]:
    """Turn a lack of memory inside the block into :class:`OutOfMemory`, which says what needs less."""
    try:
        yield
    except (torch.cuda.OutOfMemoryError, MemoryError, RuntimeError) as error:
        is_memory = isinstance(error, torch.cuda.OutOfMemoryError | MemoryError)
        if not is_memory and not any(part in str(error) for part in NO_MEMORY_ON_CPU):
            raise
        if isinstance(error, OutOfMemory):
            raise
        first = (str(error).splitlines() or [""])[0][:200]
        raise OutOfMemory(
            f"binding {name} needs more memory than {device} has ({first}). Least changes first: a larger accumulation "
            f"(same numbers, more time), precision='bf16', LoRA instead of the whole tower (--lora), fewer workers, a "
            f"smaller batch_size (fewer negatives){_where(last_checkpoint)}"
        ) from error


def check_loss(
    loss: Tensor,
    anchors: Tensor,
    rows: Tensor,
    indices: Tensor,
    name: str,
    step: int,
    last_checkpoint: Path | None,
) -> float:
    """The loss as a number.

    Args:
        loss: scalar.
        anchors: (B, D) of the batch.
        rows: (B, D) of the tower.
        indices: (B,) of the batch's pairs.
        name: of the tower.
        step: counted from 0.
        last_checkpoint: the newest, if there is one.

    Raises:
        InputError: it is not finite; the message names the step and the pairs whose rows are not finite.
    """
    value = float(loss.detach())
    if math.isfinite(value):
        return value
    unusable = (~rows.detach().isfinite().all(1) | ~anchors.isfinite().all(1)).cpu()
    if unusable.any() and not unusable.all():
        cause = f"the tower's rows are not finite for {name_indices(indices[unusable])}"
        remedy = "Inputs hold NaN or infinity there: leave these pairs out, or lower the learning rate"
    else:
        cause = "the tower's rows are not finite" if unusable.any() else "all rows are finite"
        remedy = "Lower the learning rate, warm up longer, or use bf16 instead of fp16"
    raise InputError(
        f"binding {name}",
        found=f"the loss is {value} at step {step + 1}: {cause}",
        expected="a finite loss",
        remedy=remedy + _where(last_checkpoint),
    )


def check_gradient(norm: float, name: str, step: int, last_checkpoint: Path | None) -> None:
    """Raise :class:`InputError` where the gradient's norm is not finite, before it spoils the tower."""
    if not math.isfinite(norm):
        raise InputError(
            f"binding {name}",
            found=f"the gradient's norm is {norm} at step {step + 1}",
            expected="a finite gradient",
            remedy="Lower the learning rate, warm up longer, or raise the temperature"
            + _where(last_checkpoint),
        )


def _where(last_checkpoint: Path | None) -> str:
    return "" if last_checkpoint is None else f". The last good checkpoint is {last_checkpoint}"
