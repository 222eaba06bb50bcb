"""Rows as bridges take them: checked, of unit length, paired, and split without leaking near-duplicates."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bindplug.errors import InputError

FEWEST_PAIRS = 2
"""Below this there is no direction to learn."""
FEWEST_HELD_OUT = 10
"""With fewer pairs held out, retrieval says nothing."""


def unit_rows(
    rows: Any, width: int, what: str, *, dtype: torch.dtype = torch.float32, empty: bool = True
) -> Tensor:
    """Rows scaled to unit length, on the device they came on.

    Args:
        rows: (N, width) tensor or array of real numbers.
        width: of the space the rows live in.
        what: how an error names the rows.
        dtype: to compute in.
        empty: whether N may be 0.

    Raises:
        InputError: another shape, no numbers, NaN, infinity, or a row of zeros.
    """
    expected = f"finite rows of shape (N, {width})"
    try:
        tensor = rows if isinstance(rows, Tensor) else torch.as_tensor(np.asarray(rows))
    except (TypeError, ValueError, RuntimeError):
        raise InputError(what, found=f"a {type(rows).__name__}", expected=expected) from None
    if tensor.ndim != 2 or tensor.shape[1] != width or tensor.is_complex() or tensor.dtype == torch.bool:
        problem = f"{tensor.dtype} of shape {tuple(tensor.shape)}".removeprefix("torch.")
        raise InputError(what, found=problem, expected=expected)
    if not empty and not len(tensor):
        raise InputError(what, found="no rows", expected=expected)
    tensor = tensor.to(dtype)
    finite = tensor.isfinite().all(1)
    if not finite.all():
        problem = f"NaN or infinity in {int((~finite).sum())} of {len(tensor)} rows"
        raise InputError(what, found=problem, expected=expected)
    lengths = tensor.abs().amax(1, keepdim=True) if width else tensor.new_zeros(len(tensor), 1)
    if not (lengths > 0).all():
        problem = f"zeros only in row {int((lengths[:, 0] == 0).nonzero()[0])}"
        raise InputError(what, found=problem, expected=f"{expected}, none of them all 0")
    # Divided by the largest number first: squares of very small or large ones leave the range of floats.
    return torch.nn.functional.normalize(tensor / lengths, dim=1)


def paired_rows(
    source_rows: Any, target_rows: Any, source_width: int, target_width: int
) -> tuple[Tensor, Tensor]:
    """Both sides as float64 unit rows on the CPU, row i of one standing for what row i of the other does.

    Raises:
        InputError: as :func:`unit_rows`; or the sides differ in number, or are fewer than two.
    """
    source = unit_rows(source_rows, source_width, "source rows", dtype=torch.float64).detach().cpu()
    target = unit_rows(target_rows, target_width, "target rows", dtype=torch.float64).detach().cpu()
    if len(source) != len(target):
        problem = f"{len(source)} source rows and {len(target)} target rows"
        raise InputError("fitting a bridge", found=problem, expected="pairs: as many of one as of the other")
    if len(source) < FEWEST_PAIRS:
        raise InputError(
            "fitting a bridge",
            found=f"{len(source)} pairs",
            expected=f"at least {FEWEST_PAIRS}, better thousands",
        )
    return source, target


def group_ids(groups: Sequence[Hashable] | None, count: int) -> Tensor:
    """(count,) int64: the same number for items of one group, every item its own group for None.

    Raises:
        InputError: there is not one group for every pair.
    """
    if groups is None:
        return torch.arange(count)
    if len(groups) != count:
        problem = f"{len(groups)} groups for {count} pairs"
        raise InputError("fitting a bridge", found=problem, expected="one group for every pair")
    numbers: dict[Hashable, int] = {}
    return torch.tensor([numbers.setdefault(group, len(numbers)) for group in groups])


def regrouped(ids: Tensor) -> Tensor:
    """The same groups, numbered from 0 without gaps."""
    inverse: Tensor = torch.unique(ids, return_inverse=True)[1]
    return inverse


def held_out_mask(ids: Tensor, fraction: float, seed: int) -> Tensor | None:
    """Which items to keep back, whole groups together; None where too few would be kept back or left.

    Args:
        ids: (N,) group of every item.
        fraction: of the items, in [0, 1).
        seed: of the draw.

    Returns:
        (N,) bool, or None.

    Raises:
        InputError: the fraction is out of range.
    """
    if not 0.0 <= fraction < 1.0:
        raise InputError("fitting a bridge", found=f"held_out={fraction}", expected="a number in [0, 1)")
    sizes = torch.bincount(ids)
    order = torch.randperm(len(sizes), generator=torch.Generator().manual_seed(seed))
    before = sizes[order].cumsum(0) - sizes[order]
    groups_held_out = torch.zeros(len(sizes), dtype=torch.bool)
    groups_held_out[order[before < fraction * len(ids)]] = True
    mask = groups_held_out[ids]
    held_out_count = int(mask.sum())
    return mask if held_out_count >= FEWEST_HELD_OUT and len(ids) - held_out_count >= FEWEST_PAIRS else None


def folds(ids: Tensor, count: int, seed: int) -> list[Tensor]:
    """Masks (N,) that part the items into at most ``count`` folds, whole groups together."""
    groups = int(ids.max()) + 1
    order = torch.randperm(groups, generator=torch.Generator().manual_seed(seed))
    fold_of_group = torch.empty(groups, dtype=torch.int64)
    fold_of_group[order] = torch.arange(groups) % min(count, groups)
    return [fold_of_group[ids] == fold for fold in range(min(count, groups))]
