"""Rows as bridges take them: checked, of unit length, paired, and split without leaking near-copies."""

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
EQUAL_ROWS = 1.0 - 1e-6
"""Cosine from which on two rows are of copies of one item; float32 rows of one differ by less."""
NEAR_COPY = 0.9
"""Cosine of centered rows from which on, in both spaces, two pairs are near-copies.

Measured on 200 toy scenes, sounds of imagebind_tiny and pictures of toy_foreign_clip. Copies were re-encoded, cropped,
made softer or noisy, or halves of a recording: 77 to 100 % reach 0.9, and 7.5 % of unrelated scenes have one that
does. At 0.8 these are 93 to 100 % and 28 %, at 0.95 37 to 99 % and none. Sounds alone cannot tell: half of the
unrelated scenes have one at 0.97.
"""
NARROWEST = 12
"""Dimensions from which on unrelated rows hardly reach :data:`NEAR_COPY` by chance: of random ones 1 in 70,000."""


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


def first_copies(rows: Tensor) -> list[int]:
    """For each of the unit rows (N, D) the index of the first that equals it: copies of a file have equal rows."""
    first: list[int] = []
    for part in rows.split(1024):
        first += (part @ rows.T >= EQUAL_ROWS).int().argmax(1).tolist()
    return first


def near_copies(x: Tensor, y: Tensor) -> Tensor:
    """For each of N pairs the index of the first of its near-copies, such as windows of a recording with their frames.

    Pairs are of one set if their centered rows have a cosine of at least :data:`NEAR_COPY` in both spaces, directly or
    through others; if they are equal, where a space has fewer than :data:`NARROWEST` dimensions. Near-copies on both
    sides of a split let a map that knows an item by heart pass for a good one.

    Args:
        x: (N, D_source) float64 unit rows.
        y: (N, D_target) float64 unit rows of their partners.

    Returns:
        (N,) int64; its own index for a pair that is the first, or has none.
    """
    # Centered in float64, so that rows that are all equal become 0 and not noise of unit length.
    sides = [torch.nn.functional.normalize(rows - rows.mean(0), dim=1).float() for rows in (x, y)]
    threshold = NEAR_COPY if min(x.shape[1], y.shape[1]) >= NARROWEST else EQUAL_ROWS
    sets = torch.arange(len(x))
    for parts in zip(*(side.split(1024) for side in sides), strict=True):
        near = torch.ones(len(parts[0]), len(x), dtype=torch.bool)
        for part, side in zip(parts, sides, strict=True):
            near &= part @ side.T >= threshold  # (1024, D) @ (D, N) -> (1024, N)
        for row in near[near.sum(1) > 1]:
            joined = sets[row]
            if (joined != joined[0]).any():
                sets[torch.isin(sets, joined)] = joined.min()
    return sets


def first_mask(copies: Tensor) -> Tensor:
    """(N,) bool: the pairs that are left where each set of near-copies counts once."""
    return copies == torch.arange(len(copies))


def joined_groups(*keys_of_sides: Sequence[Hashable]) -> Tensor:
    """(N,) numbers of groups: pairs with an equal key, directly or through others, are in one group."""
    count = len(keys_of_sides[0])
    parent = list(range(count))

    def root(index: int) -> int:
        while parent[index] != index:
            parent[index] = parent[parent[index]]
            index = parent[index]
        return index

    for keys in keys_of_sides:
        first: dict[Hashable, int] = {}
        for index, key in enumerate(keys):
            parent[root(index)] = root(first.setdefault(key, index))
    return group_ids([root(index) for index in range(count)], count)


def regrouped(ids: Tensor) -> Tensor:
    """The same groups, numbered from 0 without gaps."""
    inverse: Tensor = torch.unique(ids, return_inverse=True)[1]
    return inverse


def held_out_mask(ids: Tensor, copies: Tensor, fraction: float, seed: int) -> Tensor | None:
    """Which items to keep back, whole groups together; None where too few would be kept back or left.

    Near-copies count once. Groups larger than the share to keep back stay in the fit as long as there are others.

    Args:
        ids: (N,) group of every item.
        copies: (N,) of :func:`near_copies`, all of which are of one group.
        fraction: of the items, in [0, 1).
        seed: of the draw.

    Returns:
        (N,) bool, or None.

    Raises:
        InputError: the fraction is out of range.
    """
    if not 0.0 <= fraction < 1.0:
        raise InputError("fitting a bridge", found=f"held_out={fraction}", expected="a number in [0, 1)")
    is_first = first_mask(copies)
    sizes, rows = torch.bincount(ids[is_first]), torch.bincount(ids)
    order = torch.randperm(len(sizes), generator=torch.Generator().manual_seed(seed))
    order = order[(rows[order] > fraction * len(ids)).int().argsort(stable=True)]
    before = sizes[order].cumsum(0) - sizes[order]
    groups_held_out = torch.zeros(len(sizes), dtype=torch.bool)
    groups_held_out[order[before < fraction * int(is_first.sum())]] = True
    mask = groups_held_out[ids]
    enough = int((mask & is_first).sum()) >= FEWEST_HELD_OUT and int((~mask).sum()) >= FEWEST_PAIRS
    return mask if enough else None


def folds(ids: Tensor, count: int, seed: int) -> list[Tensor]:
    """Masks (N,) that part the items into at most ``count`` folds, whole groups together."""
    groups = int(ids.max()) + 1
    order = torch.randperm(groups, generator=torch.Generator().manual_seed(seed))
    fold_of_group = torch.empty(groups, dtype=torch.int64)
    fold_of_group[order] = torch.arange(groups) % min(count, groups)
    return [fold_of_group[ids] == fold for fold in range(min(count, groups))]
