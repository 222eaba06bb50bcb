"""How a run proceeds: device, precision, memory, checkpoints, trackers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from bindplug.errors import InputError

if TYPE_CHECKING:
    import torch

PRECISIONS = ("no", "bf16", "fp16")
"""accelerate's names of mixed precision."""

TRACKERS = ("tensorboard", "wandb", "trackio")
"""Trackers that are known to work; accelerate's others may be named too."""


@dataclass(frozen=True)
class Checkpoints:
    """Where a run's checkpoints go and how often they are written.

    One checkpoint is a directory ``step-00000120`` that is written whole or not at all. It holds the parameters that
    are trained, the optimizer, the position in the schedule and in the data, random states, losses and the state of
    early stopping: all that a killed run needs to go on to the same numbers. Nothing in it runs code when read.

    Args:
        directory: of one run; made if missing. One process writes to it at a time.
        every_steps: steps from one checkpoint to the next; None writes at the end of each epoch. One is written at
            the end of the run in any case.
        keep: how many of the newest stay, at least 1.
        resume: go on from the newest checkpoint that is whole, or begin where there is none. False refuses a
            directory that holds checkpoints already.
        code: digests of files that the tower's code stands in, by their names. A checkpoint of a run with other code
            is refused; without, code is not compared.

    Raises:
        InputError: ``every_steps`` or ``keep`` is less than 1.
    """

    directory: str | Path
    every_steps: int | None = None
    keep: int = 2
    resume: bool = False
    code: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("every_steps", "keep"):
            value = getattr(self, name)
            if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
                raise InputError(
                    f"Checkpoints({name}=)", found=repr(value), expected="a whole number of at least 1"
                )


@dataclass(frozen=True)
class RunOptions:
    """How a run proceeds. Of all of these only ``precision`` changes what is learned beyond rounding.

    Args:
        device: where to train, as ``"cuda"`` or ``"cuda:1"``; None trains where the tower is. Under ``accelerate
            launch`` each process has a device of its own, and this must be None.
        precision: ``"no"`` for float32, ``"bf16"`` or ``"fp16"`` for mixed precision; None takes what ``accelerate
            launch`` or ``accelerate config`` says, else ``"no"``.
        accumulation: parts that each process's share of a batch is computed in, one after the other, to save memory.
            The loss is still that of the whole batch, each pair against all others of the batch; the price is a second
            forward pass.
        workers: threads that read batches ahead of the step: 0 reads in the loop's own thread, None takes up to four.
            The data set must bear calls from several threads.
        gradient_checkpointing: keep the inputs of blocks only and compute the rest of a block again in the backward
            pass: the same numbers from much less memory, for about a third more time. ImageBind's towers can, and any
            network with a switch of that name.
        checkpoints: where checkpoints go; None writes none.
        trackers: of accelerate: ``"tensorboard"``, ``"wandb"``, ``"trackio"``.
        log_directory: for trackers that write files, such as tensorboard.
        project: the name under which trackers keep the run.

    Raises:
        InputError: a value is out of its range, or tensorboard is named without a directory.
    """

    device: str | torch.device | None = None
    precision: str | None = None
    accumulation: int = 1
    workers: int | None = 0
    gradient_checkpointing: bool = False
    checkpoints: Checkpoints | None = None
    trackers: tuple[str, ...] = ()
    log_directory: str | Path | None = None
    project: str = "bindplug"

    def __post_init__(self) -> None:
        if self.precision not in (None, *PRECISIONS):
            raise InputError(
                "RunOptions(precision=)",
                found=repr(self.precision),
                expected=f"one of {', '.join(PRECISIONS)}",
            )
        for name, least in (("accumulation", 1), ("workers", 0)):
            value = getattr(self, name)
            if value is None and name == "workers":
                continue
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise InputError(
                    f"RunOptions({name}=)", found=repr(value), expected=f"a whole number of at least {least}"
                )
        if isinstance(self.trackers, str):
            object.__setattr__(self, "trackers", (self.trackers,))
        if "tensorboard" in self.trackers and self.log_directory is None:
            raise InputError(
                "RunOptions(trackers=)",
                found="tensorboard without log_directory",
                expected="a directory that tensorboard's files go to",
            )
