"""How a run proceeds on this machine, and in which of several processes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import torch

from bindplug.errors import InputError
from bindplug.training import default_row_cache, join_processes


@dataclass(frozen=True)
class Machine:
    """How a run proceeds on this machine; nothing of it decides on what is learned beyond rounding.

    Attributes:
        device: where the anchor and the tower are.
        workers: threads that read; None for one a core, at most four.
        precision: ``"no"``, ``"bf16"`` or ``"fp16"``; None as accelerate's configuration says.
        accumulation: parts of a batch that are computed one after the other.
        gradient_checkpointing: compute blocks again in the backward pass.
        anchor_batch: pictures in one pass of the anchor.
        cache_bytes: most bytes of samples kept on disk.
        row_cache: SQLite file with rows of pictures; None keeps none.
        checkpoint_steps: steps between two checkpoints; None for one each epoch.
        resume: go on from the checkpoints of an interrupted run.
        overwrite: replace what stands at the output, and an unfinished run's directory.
        keep_run: leave the run's directory after success.
        trackers: of accelerate.
        strict: stop at the first unpaired or unreadable item.
        quiet: no progress.
    """

    device: torch.device
    workers: int | None = None
    precision: str | None = None
    accumulation: int = 1
    gradient_checkpointing: bool = False
    anchor_batch: int = 32
    cache_bytes: int = 4 << 30
    row_cache: Path | None = field(default_factory=default_row_cache)
    checkpoint_steps: int | None = None
    resume: bool = False
    overwrite: bool = False
    keep_run: bool = False
    trackers: tuple[str, ...] = ()
    strict: bool = False
    quiet: bool | None = None

    @property
    def is_main(self) -> bool:
        """Whether this process prints and writes: the only one, or the first that ``accelerate launch`` started."""
        return int(os.environ.get("RANK", "0")) == 0

    @property
    def processes(self) -> int:
        """How many train together."""
        return int(os.environ.get("WORLD_SIZE", "1"))


def process_device(device: torch.device, name: str) -> torch.device:
    """Where this process computes: ``device``, or its own where ``accelerate launch`` started several.

    Raises:
        InputError: a device is named, and there are several processes.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return device
    if name != "auto":
        raise InputError(
            "--device",
            found=f"{name} in a run of several processes",
            expected="none: each has a device of its own",
        )
    return join_processes()


@contextmanager
def main_process_first(machine: Machine) -> Iterator[None]:
    """The block in the main process before the others, which then find what it left."""
    if machine.processes == 1:
        yield
        return
    from accelerate import PartialState

    with PartialState().main_process_first():
        yield
