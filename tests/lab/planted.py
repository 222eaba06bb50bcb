"""Tasks and items whose results are known beforehand, and a small random model."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import torch

from bindplug import embedding, text
from bindplug.imagebind import ImageBind
from bindplug.space import EmbeddingSpace
from bindplug_lab.tasks import LabeledItems, PairedItems, Task
from tests.small import SMALL

SPACE = EmbeddingSpace("test:planted", 16)
NAMES = ("dog", "cat", "cow", "bell", "rain", "train", "boat", "drum")


@cache
def small_model(seed: int = 0) -> ImageBind:
    """A random network with all towers."""
    torch.manual_seed(seed)
    return ImageBind(SMALL, space=SPACE).eval()


def unit_rows(count: int, seed: int = 0) -> np.ndarray:
    """Random unit rows of the small model's width."""
    rows = np.random.default_rng(seed).normal(size=(count, 16)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def vector_queries(rows: np.ndarray, modality: str = "audio") -> list[Any]:
    """Queries whose rows these are."""
    return [embedding(row, SPACE, modality=modality) for row in rows]


def task(protocol: str = "zero_shot", **fields: Any) -> Task:
    """A task whose items are given to the protocol directly."""
    metrics = {"multi_label": ("mAP",), "retrieval": ("recall@1",)}.get(protocol, ("accuracy",))
    plain = {"name": "planted", "title": "Planted", "modalities": ("text",), "metrics": metrics}
    return Task(**{**plain, "protocol": protocol, "reader": "planted", **fields})


def right_items(each: int = 3, **fields: Any) -> LabeledItems:
    """Sentences that are the names of their classes: the small model gets all of them right."""
    labels = tuple((place,) for place in range(len(NAMES)) for _ in range(each))
    ids = tuple(str(place) for place in range(len(labels)))
    queries = [text(NAMES[label]) for (label,) in labels]
    return LabeledItems(**{"ids": ids, "queries": queries, "labels": labels, "class_names": NAMES, **fields})


def paired_items(left: np.ndarray, right: np.ndarray, matches: Any = None, **fields: Any) -> PairedItems:
    """Pairs of planted rows; the first matches the first, and so on, by default."""
    matches = [frozenset({place}) for place in range(len(left))] if matches is None else matches
    return PairedItems(
        tuple(f"l{place}" for place in range(len(left))),
        vector_queries(left, "text"),
        tuple(f"r{place}" for place in range(len(right))),
        vector_queries(right),
        tuple(matches),
        "text",
        "audio",
        **fields,
    )
