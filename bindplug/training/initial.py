"""Starting a tower from the weights of another."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from bindplug.errors import CheckpointError

MOST_NAMED = 8


@torch.no_grad()
def load_initial_weights(tower: nn.Module, source: nn.Module | Mapping[str, Tensor]) -> None:
    """Copy into ``tower`` the weights of another of the same shape, before it is trained.

    Args:
        tower: changed in place; devices and dtypes stay its own.
        source: the other tower, or its ``state_dict()``.

    Raises:
        CheckpointError: the two differ in the names or shapes of their tensors; the message lists which. Nothing is
            copied then.
    """
    own = tower.state_dict()
    initial = source.state_dict() if isinstance(source, nn.Module) else source
    problems = [f"{name} is missing" for name in own if name not in initial]
    problems += [f"{name} has no place" for name in initial if name not in own]
    problems += [
        f"{name} is {tuple(initial[name].shape)}, expected {tuple(tensor.shape)}"
        for name, tensor in own.items()
        if name in initial and initial[name].shape != tensor.shape
    ]
    if problems:
        more = f" and {len(problems) - MOST_NAMED} more" if len(problems) > MOST_NAMED else ""
        raise CheckpointError(
            f"the initial weights are of another tower: {'; '.join(problems[:MOST_NAMED])}{more}. Give weights of a "
            f"tower of the same width, blocks, kernel and head, or build this one like theirs"
        )
    for name, tensor in own.items():
        tensor.copy_(initial[name])
