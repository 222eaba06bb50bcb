"""Prompts as queries, their labels, and the classes that a detector has by itself."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bindplug.errors import InputError, NoDirection
from bindplug.modality import Modality
from bindplug.query import CANCELLED, Leaf, Query, text

Prompt = Query | str


@dataclass(frozen=True, eq=False)
class DetectorClasses:
    """The classes that a detector has by itself.

    Args:
        names: of the V classes; None where the detector does not name them.
        embeddings: (V, D) rows of any length in the detector's space.
    """

    names: tuple[str, ...] | None
    embeddings: Tensor

    def unit(self) -> Tensor:
        """(V, D) float32 unit rows on the CPU."""
        return torch.nn.functional.normalize(self.embeddings.detach().float().cpu(), dim=1)


def as_queries(prompts: Any) -> list[Query]:
    """Prompts as queries; a string is text, and a single prompt counts as a list of one.

    Raises:
        InputError: the list is empty, or an entry is neither a query nor a string.
        NoDirection: the terms of a prompt cancel.
    """
    entries = [prompts] if isinstance(prompts, (str, Query)) else prompts
    expected = 'queries or strings, as [audio("bark.wav"), "bicycle"]'
    if isinstance(entries, (bytes, dict, Tensor)) or not hasattr(entries, "__iter__"):
        raise InputError("prompts", found=f"a {type(prompts).__name__}", expected=expected)
    entries = list(entries)
    if not entries:
        raise InputError("prompts", found="none", expected=f"at least one of {expected}")
    queries = []
    for index, prompt in enumerate(entries):
        if not isinstance(prompt, (str, Query)):
            raise InputError(f"prompt {index}", found=f"a {type(prompt).__name__}", expected=expected)
        query = text(prompt) if isinstance(prompt, str) else prompt
        if not query.terms:
            raise NoDirection(f"prompt {index}: {CANCELLED}")
        queries.append(query)
    return queries


def label_of(query: Query) -> str:
    """A prompt's label in a picture: a sentence, ``"audio bark.wav"`` for a file, ``"audio"`` for an array; for several
    terms the formula.
    """
    if len(query.terms) != 1 or query.terms[0][0] < 0:
        return repr(query)
    leaf = query.terms[0][1]
    if isinstance(leaf, Leaf):
        if leaf.modality is Modality.TEXT:
            return str(leaf.source)
        if isinstance(leaf.source, (str, Path)):
            return f"{leaf.modality.value} {Path(leaf.source).name}"
        return leaf.modality.value
    return repr(query)
