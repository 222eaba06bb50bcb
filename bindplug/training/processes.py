"""The processes that share a run: started by ``accelerate launch`` or just one, over accelerate's state."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor

from bindplug.device import resolve_device
from bindplug.errors import InputError, MissingDependency
from bindplug.lazy import require
from bindplug.training.options import TRACKERS, RunOptions

T = TypeVar("T")

BUCKET_NUMBERS = 1 << 24
"""Gradients are exchanged in pieces of about so many numbers, 64 MiB."""

OWNER, EXTRA = "bindplug.training", "train"


class Processes:
    """This process among those of the run, and what they do together.

    Args:
        options: of the run.
        tower_device: where the tower is.

    Attributes:
        rank: number of this process, from 0.
        count: how many there are.
        is_main: whether this is the process that prints and writes.
        device: that this process computes on.
        precision: ``"no"``, ``"bf16"`` or ``"fp16"``.

    Raises:
        InputError: the device does not exist, or the precision does not work on it.
        MissingDependency: accelerate or a tracker is not installed.
    """

    def __init__(self, options: RunOptions, tower_device: torch.device) -> None:
        accelerate = require("accelerate", owner=OWNER, extra=EXTRA, oldest=(1, 0))
        device = join_processes()
        _check_trackers(options.trackers, accelerate)
        self.accelerator = accelerate.Accelerator(
            log_with=list(options.trackers) or None,
            project_dir=None if options.log_directory is None else str(options.log_directory),
        )
        self.rank: int = self.accelerator.process_index
        self.count: int = self.accelerator.num_processes
        self.is_main: bool = self.accelerator.is_main_process
        if self.count > 1:
            if options.device is not None:
                raise InputError(
                    "RunOptions(device=)",
                    found=f"{options.device!s} in a run of {self.count} processes",
                    expected="None: each process has a device of its own",
                )
            self.device: torch.device = device
        else:
            self.device = tower_device if options.device is None else resolve_device(options.device)
        self.precision: str = options.precision or str(self.accelerator.mixed_precision)
        if self.precision == "fp16" and self.device.type == "cpu":
            raise InputError(
                "RunOptions(precision=)", found="'fp16' on a CPU", expected="'bf16' or 'no' there, or a GPU"
            )
        if self.precision not in ("no", "bf16", "fp16"):
            raise InputError("precision", found=repr(self.precision), expected="no, bf16 or fp16")

    @property
    def autocast_dtype(self) -> torch.dtype | None:
        """The dtype of mixed precision; None for float32."""
        return {"no": None, "bf16": torch.bfloat16, "fp16": torch.float16}[self.precision]

    def share_tensors(self, tensors: Iterable[Tensor]) -> None:
        """Give all processes the main one's values, in place."""
        if self.count == 1:
            return
        for tensor in tensors:
            values = tensor.detach().contiguous()
            torch.distributed.broadcast(values, src=0)
            tensor.detach().copy_(values)

    def sum_gradients(self, parameters: Sequence[Tensor]) -> None:
        """Give each parameter the sum of its gradients in all processes; None stays where none has one.

        One sum at the end of a step, instead of ``DistributedDataParallel``: a batch in parts runs the tower several
        times for one step, and a tower may leave layers out at random, of which its wrapper would have to know.
        """
        if self.count == 1:
            return
        used = torch.tensor([int(p.grad is not None) for p in parameters], device=self.device)
        torch.distributed.all_reduce(used, op=torch.distributed.ReduceOp.MAX)
        bucket: list[Tensor] = []
        for parameter, is_used in zip(parameters, used.tolist(), strict=True):
            if is_used and parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            if is_used and parameter.grad is not None:
                bucket.append(parameter.grad)
            if sum(gradient.numel() for gradient in bucket) >= BUCKET_NUMBERS:
                _sum_bucket(bucket)
                bucket = []
        _sum_bucket(bucket)

    def shares(self, items: Sequence[T]) -> list[list[T]]:
        """``items`` cut into one run for each process, of lengths that differ by one at most."""
        return split_evenly(items, self.count)

    def gather_rows(self, rows: Tensor | None, sizes: Sequence[int], width: int) -> Tensor:
        """All processes' rows in the order of the processes: (sum(sizes), D).

        Args:
            rows: (sizes[rank], D) of this process; None where it has none.
            sizes: how many rows each process has.
            width: D, where this process has rows.
        """
        if self.count == 1:
            assert rows is not None
            return rows
        if 0 in sizes:
            widths = torch.tensor([width], device=self.device)
            torch.distributed.all_reduce(widths, op=torch.distributed.ReduceOp.MAX)
            width = int(widths)
        padded = torch.zeros(max(sizes), width, device=self.device)
        if rows is not None:
            padded[: len(rows)] = rows
        parts = [torch.empty_like(padded) for _ in sizes]
        torch.distributed.all_gather(parts, padded)
        return torch.cat([part[:size] for part, size in zip(parts, sizes, strict=True)])

    def gather_objects(self, value: T) -> list[T]:
        """One small value of each process, in their order."""
        if self.count == 1:
            return [value]
        values: list[Any] = [None] * self.count
        torch.distributed.all_gather_object(values, value)
        return values

    def any(self, flag: bool) -> bool:
        """Whether the flag is set in any process."""
        if self.count == 1:
            return flag
        flags = torch.tensor([int(flag)], device=self.device)
        torch.distributed.all_reduce(flags, op=torch.distributed.ReduceOp.MAX)
        return bool(flags)

    def on_main(self, work: Callable[[], T]) -> T:
        """What ``work`` returns or raises in the main process, in all of them."""
        if self.count == 1:
            return work()
        outcome: list[Any] = [None, None]
        if self.is_main:
            try:
                outcome[0] = work()
            except Exception as error:
                outcome[1] = error
        torch.distributed.broadcast_object_list(outcome, src=0, device=self.device)
        if outcome[1] is not None:
            raise outcome[1]
        value: T = outcome[0]
        return value

    def start_trackers(self, project: str, config: Mapping[str, object], first_step: int) -> None:
        """Open the trackers; what they already hold of later steps is replaced where they can."""
        if self.accelerator.log_with:
            plain = {k: v if isinstance(v, int | float | str | bool) else str(v) for k, v in config.items()}
            purge = {"tensorboard": {"purge_step": first_step}} if first_step else {}
            self.accelerator.init_trackers(project, config=plain, init_kwargs=purge)

    def log(self, figures: Mapping[str, float], step: int) -> None:
        """Give the trackers figures of a step."""
        if self.accelerator.trackers:
            self.accelerator.log(dict(figures), step=step)

    def end_trackers(self) -> None:
        """Close the trackers; the processes stay connected, for further runs."""
        for tracker in self.accelerator.trackers:
            tracker.finish()
        self.accelerator.trackers = []


def _sum_bucket(gradients: Sequence[Tensor]) -> None:
    """Sum gradients over the processes in one exchange, in place."""
    if gradients:
        joined = torch.cat([gradient.flatten().float() for gradient in gradients])
        torch.distributed.all_reduce(joined)
        for gradient, values in zip(gradients, joined.split([g.numel() for g in gradients]), strict=True):
            gradient.copy_(values.view_as(gradient))


def split_evenly(items: Sequence[T], parts: int) -> list[list[T]]:
    """``items`` cut into ``parts`` runs whose lengths differ by one at most, the longer ones first."""
    size, longer = divmod(len(items), parts)
    starts = [part * size + min(part, longer) for part in range(parts + 1)]
    return [list(items[starts[part] : starts[part + 1]]) for part in range(parts)]


def join_processes() -> torch.device:
    """Connect this process with the others that ``accelerate launch`` or ``torchrun`` started, if there are others.

    Without a GPU the processes of a machine share its CPUs.

    Returns:
        The device of this process.

    Raises:
        InputError: there are more processes than GPUs, or the processes cannot be connected.
        MissingDependency: accelerate is not installed.
    """
    require("accelerate", owner=OWNER, extra=EXTRA, oldest=(1, 0))
    from accelerate import PartialState

    on_cpu = os.environ.get("ACCELERATE_USE_CPU", "").lower() in ("1", "true", "yes")
    _check_local_rank(on_cpu)
    count = int(os.environ.get("WORLD_SIZE", "1") or 1)
    has_gpu = torch.cuda.is_available() or torch.xpu.is_available()
    state = PartialState(cpu=on_cpu or (count > 1 and not has_gpu))
    if state.num_processes != count:
        raise InputError(
            "the processes of this run",
            found=f"{count} that were started, of which each knows {state.num_processes}",
            expected="processes that are connected",
            remedy="Start them with accelerate launch or torchrun, and call join_processes() before accelerate is used",
        )
    return torch.device(state.device)


def _check_local_rank(on_cpu: bool) -> None:
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    local_rank = int(os.environ.get("LOCAL_RANK", "0") or 0)
    if gpus and local_rank >= gpus and not on_cpu:
        raise InputError(
            "accelerate launch",
            found=f"a process for GPU {local_rank} on a machine with {gpus}",
            expected=f"--num_processes of at most {gpus} a machine",
        )


def _check_trackers(names: Sequence[str], accelerate: Any) -> None:
    """Raise for a tracker that accelerate would leave out without a word."""
    from accelerate.tracking import LOGGER_TYPE_TO_CLASS, get_available_trackers

    available = {str(name) for name in get_available_trackers()}
    for name in names:
        if name not in {str(known) for known in LOGGER_TYPE_TO_CLASS}:
            raise InputError(
                "RunOptions(trackers=)", found=repr(name), expected=f"one of {', '.join(TRACKERS)}"
            )
        if name not in available:
            raise MissingDependency(f"the tracker {name}", name, "")
