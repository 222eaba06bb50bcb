"""The weighted sums of queries from the rows of their leaves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from bindplug.errors import NoDirection
from bindplug.inputs.notes import Note
from bindplug.leaves import AnyLeaf
from bindplug.query import CANCELLED, Query

CANCELLATION_NORM = 1e-6
"""A weighted sum shorter than this, relative to its weights, is float noise and not a direction."""


@dataclass
class SkippedQuery:
    """A query left out: its index among those given, the source at fault, and the reason."""

    index: int
    source: str
    reason: str


@dataclass
class Embedded:
    """Rows, and which queries they stand for.

    Attributes:
        rows: (len(kept), D) float32 of unit length.
        kept: index of the query behind each row.
        skipped: the queries left out.
        notes: what readers remarked on the sources of the kept queries; ``index`` is the query's.
        unknown_words: words of texts that carry no meaning in the model, each once.
    """

    rows: Tensor
    kept: list[int]
    skipped: list[SkippedQuery]
    notes: list[Note] = field(default_factory=list)
    unknown_words: list[str] = field(default_factory=list)


def sum_terms(
    queries: Sequence[Query],
    rows: Mapping[AnyLeaf, Tensor],
    failures: Mapping[AnyLeaf, tuple[str, str]],
    width: int,
    device: torch.device,
    on_error: str = "raise",
) -> Embedded:
    """The weighted sum of every query's leaves, normalized; queries with a failed leaf are left out.

    Raises:
        NoDirection: the terms of a query cancel, unless ``on_error`` is "skip": then that query is left out.
    """
    sums: list[Tensor] = []
    kept: list[int] = []
    skipped: list[SkippedQuery] = []
    for index, query in enumerate(queries):
        failure = next((failures[leaf] for _, leaf in query.terms if leaf in failures), None)
        if failure:
            skipped.append(SkippedQuery(index, *failure))
            continue
        try:
            sums.append(weighted_sum(query, rows))
        except NoDirection as error:
            if on_error == "raise":
                raise
            skipped.append(SkippedQuery(index, repr(query), str(error)))
            continue
        kept.append(index)
    sum_rows = torch.stack(sums) if sums else torch.empty(0, width, device=device)
    return Embedded(sum_rows, kept, skipped)


def weighted_sum(query: Query, rows: Mapping[AnyLeaf, Tensor]) -> Tensor:
    """The normalized weighted sum (D,) of the unit rows of a query's leaves, (D,) each.

    Raises:
        NoDirection: the terms cancel.
    """
    heaviest = max(abs(weight) for weight, _ in query.terms)  # so that no weight over- or underflows float32
    total = torch.stack([rows[leaf] * (weight / heaviest) for weight, leaf in query.terms]).sum(0)
    if not total.norm() > CANCELLATION_NORM:
        raise NoDirection(f"{query!r}: {CANCELLED}")
    return unit(total)


def unit(row: Tensor) -> Tensor:
    """The row at length 1; (D,) -> (D,)."""
    return torch.nn.functional.normalize(row, dim=-1)
