"""How long a run takes and how much memory it needs, from one small step of the tower."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

BATCH = 8
"""Samples of the trial step."""

COPIES = 4
"""Of each trained number: itself, its gradient, and AdamW's two averages."""


@dataclass(frozen=True)
class Estimate:
    """What a run will need, beside reading.

    Attributes:
        steps: of the whole run.
        seconds: for all of them on this device, by one small step.
        memory_bytes: weights, gradients, optimizer and what the backward pass keeps.
    """

    steps: int
    seconds: float
    memory_bytes: int

    def __str__(self) -> str:
        minutes, seconds = divmod(round(self.seconds), 60)
        duration = f"{minutes} min {seconds:02d} s" if minutes else f"{seconds} s"
        return f"{self.steps} steps, about {duration} and {self.memory_bytes / 2**30:.1f} GB for training"


def estimate(
    tower: nn.Module,
    encode: Callable[[Tensor], Tensor],
    sample: Tensor,
    *,
    batch: int,
    steps: int,
    device: torch.device,
) -> Estimate:
    """Time one forward and backward pass of a few samples, and count what it keeps.

    Args:
        tower: whose gradients are counted; they are dropped again.
        encode: (B, ...) -> (B, D).
        sample: one, without a batch axis.
        batch: of the run.
        steps: of the run.
        device: of the tower.
    """
    trial = min(batch, BATCH)
    inputs = sample[None].repeat(trial, *[1] * sample.ndim).to(device)
    saved: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        saved[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    was_training = tower.training
    state = torch.get_rng_state()
    tower.eval()
    parameters = [parameter for parameter in tower.parameters() if parameter.requires_grad]
    owned = {parameter.untyped_storage().data_ptr() for parameter in tower.parameters()}
    elapsed_s = 0.0
    for _ in range(2):  # the first pass also warms up
        started = time.perf_counter()
        with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            loss = encode(inputs).float().square().sum()
        torch.autograd.grad(loss, parameters, allow_unused=True)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        elapsed_s = time.perf_counter() - started
    tower.train(was_training)
    torch.set_rng_state(state)
    activations = sum(size for place, size in saved.items() if place not in owned) / 2
    numbers = sum(parameter.numel() for parameter in parameters)
    memory = COPIES * 4 * numbers + activations * batch / trial
    return Estimate(steps, elapsed_s * batch / trial * steps, int(memory))
