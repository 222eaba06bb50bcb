"""Storing a matrix that is mostly rows of zeros by its other rows.

A small model's vocabulary is CLIP's, 49,408 tokens, of which its training met a few hundred. The rows of the
others are zero, and would be most of its file.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

VALUES, INDICES, SHAPE = ".sparse_rows.values", ".sparse_rows.indices", ".sparse_rows.shape"
MOST_ROWS = 1 << 24
"""More than any vocabulary: a damaged shape must not exhaust memory."""

FULLEST = 0.5
"""Matrices with a larger share of rows that are not zero are stored as they are."""


def pack_sparse_rows(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors by name; each mostly empty matrix as three: its rows, where they stand, and its shape."""
    packed: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        kept = tensor.ne(0).any(dim=1).nonzero()[:, 0] if tensor.ndim == 2 else None
        if kept is None or len(kept) > FULLEST * len(tensor):
            packed[name] = tensor
            continue
        packed[name + VALUES] = tensor[kept].contiguous()
        packed[name + INDICES] = kept.to(torch.int32)
        packed[name + SHAPE] = torch.tensor(tensor.shape)
    return packed


def unpack_sparse_rows(packed: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What :func:`pack_sparse_rows` was given.

    Raises:
        ValueError: parts of a matrix are missing or contradict each other.
    """
    tensors = {name: tensor for name, tensor in packed.items() if not name.endswith((VALUES, INDICES, SHAPE))}
    for name in {name.removesuffix(VALUES) for name in packed if name.endswith(VALUES)}:
        tensors[name] = _unpacked(name, packed)
    orphans = {
        name
        for name in packed
        if name.endswith((INDICES, SHAPE)) and name.rpartition(".sparse_rows")[0] not in tensors
    }
    if orphans:
        raise ValueError(f"{min(orphans)} stands alone")
    return tensors


def _unpacked(name: str, packed: Mapping[str, Tensor]) -> Tensor:
    missing = [name + part for part in (INDICES, SHAPE) if name + part not in packed]
    if missing:
        raise ValueError(f"{missing[0]} is missing")
    values, indices, shape = (
        packed[name + VALUES],
        packed[name + INDICES].long(),
        packed[name + SHAPE].tolist(),
    )
    fits = (
        len(shape) == 2
        and values.ndim == 2
        and values.shape == (len(indices), shape[1])
        and shape[0] < MOST_ROWS
    )
    if not fits or (len(indices) and not 0 <= int(indices.min()) <= int(indices.max()) < shape[0]):
        raise ValueError(f"the rows of {name} do not fit its shape {tuple(shape)}")
    return values.new_zeros(shape).index_copy_(0, indices, values)
