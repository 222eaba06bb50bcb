"""How long a run takes and how much memory it needs, from one small step of the tower."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from bindplug import Encoder
from bindplug.training import StepMemory, step_memory, tower_of

NO_MEMORY = StepMemory(0, 0, 0, 0, 0, 0)

BATCH = 8
"""Samples of the trial step."""


@dataclass(frozen=True)
class Estimate:
    """What a run will need, beside reading.

    Attributes:
        steps: of the whole run.
        seconds: for all of them on this device, by one small step.
        memory: of a step on one device, by kind.
        anchor_bytes: of the frozen anchor, which stays in memory.
    """

    steps: int
    seconds: float = 0.0
    memory: StepMemory = NO_MEMORY
    anchor_bytes: int = 0

    @property
    def memory_bytes(self) -> int:
        """All of it."""
        return self.memory.total + self.anchor_bytes

    def __str__(self) -> str:
        minutes, seconds = divmod(round(self.seconds), 60)
        duration = f"{minutes} min {seconds:02d} s" if minutes else f"{seconds} s"
        memory = self.memory
        trained = memory.adapters + memory.gradients + memory.optimizer
        activations = _size(memory.activations) if memory.activations else "not known"
        return (
            f"{self.steps} steps, about {duration} and {_size(self.memory_bytes)} for training: "
            f"tower {_size(memory.weights)}, adapters, gradients and optimizer {_size(trained)}, "
            f"activations of {memory.batch_size} pairs {activations}, anchor {_size(self.anchor_bytes)}"
        )


def estimate(
    tower: nn.Module,
    encode: Callable[[Tensor], Tensor],
    sample: Tensor,
    *,
    sense: str,
    anchor: Encoder,
    batch: int,
    parts: int,
    steps: int,
    device: torch.device,
    precision: str,
    gradient_checkpointing: bool,
) -> Estimate:
    """Time one forward and backward pass of a few samples, and compute what a whole step keeps.

    Args:
        tower: an ImageBind with the tower of the sense, or the tower itself; its gradients are dropped again.
        encode: (B, ...) -> (B, D).
        sample: one, without a batch axis.
        sense: that the tower embeds.
        anchor: which stays in memory.
        batch: of the run.
        parts: of a batch that are computed one after the other, or on devices of their own.
        steps: of the run.
        device: of the tower.
        precision: ``"no"``, ``"bf16"`` or ``"fp16"``.
        gradient_checkpointing: whether blocks are computed again.
    """
    trial = min(batch, BATCH)
    inputs = sample[None].repeat(trial, *[1] * sample.ndim).to(device)
    was_training = tower.training
    state = torch.get_rng_state()
    tower.eval()
    parameters = [parameter for parameter in tower.parameters() if parameter.requires_grad]
    elapsed_s = 0.0
    for _ in range(2):  # the first pass also warms up
        started = time.perf_counter()
        with torch.enable_grad():
            loss = encode(inputs).float().square().sum()
        torch.autograd.grad(loss, parameters, allow_unused=True)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        elapsed_s = time.perf_counter() - started
    tower.train(was_training)
    torch.set_rng_state(state)
    network, share = tower_of(tower, sense), max(2, -(-batch // parts))
    try:
        memory = step_memory(
            network,
            tuple(sample.shape),
            share,
            precision=precision,
            gradient_checkpointing=gradient_checkpointing,
            on_cpu=device.type == "cpu",
        )
    except (NotImplementedError, RuntimeError):  # a tower of one's own that looks at its numbers
        memory = _without_activations(network, share)
    anchor_bytes = sum(p.nbytes for p in anchor.parameters()) if isinstance(anchor, nn.Module) else 0
    return Estimate(steps, elapsed_s * batch / trial * steps, memory, anchor_bytes)


def _without_activations(network: nn.Module, batch: int) -> StepMemory:
    trained = sum(p.nbytes for p in network.parameters() if p.requires_grad)
    return StepMemory(sum(p.nbytes for p in network.parameters()), 0, trained, 2 * trained, 0, batch)


def _size(count: int) -> str:
    return f"{count / 2**30:.1f} GB" if count >= 2**30 else f"{count / 2**20:.1f} MB"
