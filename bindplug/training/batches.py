"""Which pairs make a batch, and reading them: the same numbers whatever the processes, threads and restarts."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass

import torch
from torch import Tensor

from bindplug.errors import InputError
from bindplug.prefetch import run_ahead
from bindplug.training.data import PairDataset
from bindplug.training.processes import split_evenly

Augmentation = Callable[[Tensor, torch.Generator], Tensor]
"""Changes a block of inputs (B, …) in training; all its chance comes from the generator."""

MOST_BLOCKS = 64
"""A batch is read in at most that many blocks, each with generators of its own; processes share a batch by blocks."""

Block = tuple[int, Tensor]
"""A block's number in its batch, and the indices (B,) of its pairs."""


@dataclass(frozen=True)
class Pairs:
    """Consecutive blocks of a batch, read.

    Attributes:
        start: position of the first pair in the batch.
        anchors: (B, D) float32.
        inputs: (B, …), augmented.
    """

    start: int
    anchors: Tensor
    inputs: Tensor


def derive_seed(*parts: object) -> int:
    """A number below 2**63 that depends on all the parts."""
    digest = hashlib.sha256("/".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def generators(seed: int, purpose: str, step: int, block: int) -> tuple[torch.Generator, torch.Generator]:
    """Two generators in the same state, for :meth:`PairDataset.anchors` and :meth:`PairDataset.samples`."""
    state = derive_seed(seed, purpose, step, block)
    return torch.Generator().manual_seed(state), torch.Generator().manual_seed(state)


class Order:
    """The pairs of each step: every epoch in an order of its own, without the rest that fills no batch.

    Args:
        count: pairs in the data set.
        batch_size: pairs in a batch, over all processes.
        seed: of the orders.
    """

    def __init__(self, count: int, batch_size: int, seed: int) -> None:
        self.count, self.batch_size, self.seed = count, batch_size, seed
        self.steps_per_epoch = count // batch_size
        self._epoch = -1
        self._indices = torch.empty(0, dtype=torch.long)

    def indices(self, step: int) -> Tensor:
        """(batch_size,) indices of the pairs of a step, counted from 0."""
        epoch, place = divmod(step, self.steps_per_epoch)
        if epoch != self._epoch:
            generator = torch.Generator().manual_seed(derive_seed(self.seed, "order", epoch))
            self._indices, self._epoch = torch.randperm(self.count, generator=generator), epoch
        return self._indices[place * self.batch_size : (place + 1) * self.batch_size]

    def blocks(self, step: int) -> list[Block]:
        """The step's pairs in numbered blocks."""
        size = -(-self.batch_size // MOST_BLOCKS)
        return list(enumerate(self.indices(step).split(size)))


@dataclass(frozen=True)
class Share:
    """What one process computes of a batch.

    Attributes:
        parts: for each part of gradient accumulation, the position of its first pair in the batch, and its blocks.
        sizes: how many pairs each process has of the batch.
    """

    parts: list[tuple[int, list[Block]]]
    sizes: list[int]


def share_of(blocks: Sequence[Block], rank: int, count: int, accumulation: int) -> Share:
    """The share of process ``rank`` of ``count`` of a batch, in ``accumulation`` parts."""
    shares = split_evenly(blocks, count)
    sizes = [sum(len(indices) for _, indices in share) for share in shares]
    parts, start = [], sum(sizes[:rank])
    for part in split_evenly(shares[rank], accumulation):
        parts.append((start, part))
        start += sum(len(indices) for _, indices in part)
    return Share(parts, sizes)


def check_divisible(order: Order, processes: int, accumulation: int) -> None:
    """Raise :class:`InputError` if some process would have no pair in a part of a batch."""
    blocks = len(order.blocks(0))
    if blocks // processes < accumulation:
        raise InputError(
            "the batch",
            found=f"{order.batch_size} pairs, {blocks} blocks, for {processes} processes of {accumulation} parts each",
            expected="at least one block for each part of each process",
            remedy="Use a larger batch_size, fewer processes or less accumulation; a batch has at most 64 blocks",
        )


def read_blocks(
    pairs: PairDataset,
    blocks: Sequence[Block],
    augment: Augmentation | None,
    generators_of: Callable[[int], tuple[torch.Generator, torch.Generator]],
    start: int = 0,
) -> Pairs:
    """Read blocks of pairs into one batch.

    Raises:
        InputError: an anchor is no row, is zero or not finite, or the data set returned another number of rows.
    """
    anchors, inputs = [], []
    for number, indices in blocks:
        of_anchors, of_samples = generators_of(number)
        rows = pairs.anchors(indices, of_anchors)
        if rows.ndim != 2 or len(rows) != len(indices):
            raise InputError(
                "the anchors of the pairs",
                found=f"a tensor of shape {tuple(rows.shape)} for {len(indices)} indices",
                expected=f"({len(indices)}, D)",
            )
        values = pairs.samples(indices, of_samples)
        if len(values) != len(indices):
            raise InputError(
                "the samples of the pairs",
                found=f"{len(values)} rows for {len(indices)} indices",
                expected="one row for each index",
            )
        anchors.append(rows.detach().float())
        inputs.append(values if augment is None else augment(values, of_samples))
    rows = torch.cat(anchors)
    _check_anchors(rows, torch.cat([indices for _, indices in blocks]))
    return Pairs(start, rows, torch.cat(inputs))


def _check_anchors(rows: Tensor, indices: Tensor) -> None:
    lengths = torch.linalg.vector_norm(rows, dim=1).cpu()
    for unusable, problem in ((~lengths.isfinite(), "NaN or infinity"), (lengths == 0, "zeros only")):
        if unusable.any():
            raise InputError(
                "the anchors of the pairs",
                found=f"{problem} at {name_indices(indices[unusable])}",
                expected="finite embeddings of the pictures",
                remedy="Embed these pictures again or leave the pairs out",
            )


def name_indices(indices: Tensor) -> str:
    """The first few indices of pairs, for messages: "pairs 3, 17 and 5 more"."""
    numbers = ", ".join(str(int(index)) for index in indices[:8])
    more = f" and {len(indices) - 8} more" if len(indices) > 8 else ""
    return f"pair{'s' if len(indices) > 1 else ''} {numbers}{more}"


def read_ahead(
    pairs: PairDataset,
    order: Order,
    augment: Augmentation | None,
    *,
    steps: range,
    rank: int,
    processes: int,
    accumulation: int,
    workers: int | None,
) -> Generator[list[Pairs], None, None]:
    """The parts of one process's share of each step's batch, read by threads before their turn.

    Args:
        pairs: the data set.
        order: of its pairs.
        augment: changes the inputs of each block.
        steps: whose batches are read.
        rank: of this process.
        processes: how many there are.
        accumulation: parts of a share.
        workers: threads, each reading the share of one step; 0 for none, None for the usual number.
    """

    def read(job: tuple[int, Share], stop: threading.Event) -> list[Pairs]:
        step, share = job
        with torch.no_grad():  # the mode is each thread's own
            return [
                read_blocks(
                    pairs, blocks, augment, lambda block: generators(order.seed, "step", step, block), start
                )
                for start, blocks in share.parts
            ]

    jobs = ((step, share_of(order.blocks(step), rank, processes, accumulation)) for step in steps)
    with closing(run_ahead(read, jobs, workers)) as results:
        yield from results
