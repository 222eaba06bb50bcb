"""Rows with a known map between them, for the tests of bridges."""

import warnings

import torch
from torch.nn.functional import normalize

from bindplug.bridges import BridgeQuality, LinearBridge
from bindplug.space import EmbeddingSpace


def generator(seed):
    return torch.Generator().manual_seed(seed)


def spaces(here, there):
    return {"source": EmbeddingSpace("test:here", here), "target": EmbeddingSpace("test:there", there)}


def clip_like(count, width, seed, mean=1.5):
    """Unit rows that share a mean direction, as CLIP's text vectors do."""
    draw = generator(seed)
    shared = normalize(torch.randn(width, generator=draw, dtype=torch.float64), dim=0)
    return normalize(mean * shared + torch.randn(count, width, generator=draw).double() / width**0.5, dim=1)


def rotation(here, there, seed):
    """A map (here, there) with orthonormal rows or columns, whichever are fewer."""
    square = torch.randn(max(here, there), max(here, there), generator=generator(seed), dtype=torch.float64)
    return torch.linalg.qr(square)[0][:here, :there]


def cosines(a, b):
    return (normalize(a.double(), dim=1) * normalize(b.double(), dim=1)).sum(1)


def fitted(rows=None, **options):
    rows = clip_like(200, 16, 1) if rows is None else rows
    width = rows.shape[1]
    target = rows @ rotation(width, min(width, 12), 2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", BridgeQuality)
        return LinearBridge.fit(rows, target, **spaces(width, target.shape[1]), **options)
