"""How queries become rows: each distinct source once, one batch a modality, then the weighted sums."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from bindplug.centres import shift_between
from bindplug.errors import InputError, ModalityNotLoaded, NoDirection
from bindplug.inputs.progress import iterate_with_progress
from bindplug.modality import Modality
from bindplug.query import CANCELLED, AnyLeaf, Leaf, Query, VectorLeaf

if TYPE_CHECKING:
    from bindplug.encoder import Encoder

CLIPS_OF = {Modality.VIDEO: 15, Modality.AUDIO: 3}
"""Clips an item of a modality is usually cut into; each passes the tower as one item."""

CANCELLATION_NORM = 1e-6
"""A weighted sum shorter than this, relative to its weights, is float noise and not a direction."""


class SkippedInputs(UserWarning):
    """Some queries were left out because a source of theirs could not be read."""


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
    """

    rows: Tensor
    kept: list[int]
    skipped: list[SkippedQuery]


def validated(queries: Any, model: Encoder) -> list[Query]:
    """The queries as a list, each one checked to be something this model can embed."""
    if isinstance(queries, Query):
        queries = [queries]
    if isinstance(queries, (str, bytes, Mapping, Tensor)) or not hasattr(queries, "__iter__"):
        raise InputError("embed()", found=_described(queries), expected=_EXPECTED, remedy=_remedy(queries))
    checked = list(queries)
    for index, query in enumerate(checked):
        if not isinstance(query, Query):
            source = f"embed(): item {index}"
            raise InputError(source, found=_described(query), expected="a query", remedy=_remedy(query))
        if not query.terms:
            raise NoDirection(f"embed(): item {index}: {CANCELLED}")
        for _, leaf in query.terms:
            _check_leaf(leaf, model)
    return checked


def _check_leaf(leaf: AnyLeaf, model: Encoder) -> None:
    if isinstance(leaf, VectorLeaf):
        model.embedding_space.ensure(leaf.space, doing=f"using {leaf!r} in this model")
    elif leaf.modality.value not in model.modalities:
        raise ModalityNotLoaded(leaf.modality.value, model.modalities)


def shifts_of(
    leaves: Iterable[AnyLeaf], centres: Mapping[str, Tensor], recentre: str | Tensor | None
) -> dict[AnyLeaf, Tensor]:
    """How far each leaf's row is to be moved; asked before anything is read, so that a missing centre costs nothing."""
    if recentre is None:
        return {}
    return {leaf: shift_between(centres, leaf.modality, recentre) for leaf in leaves}


def embed_leaves(
    model: Encoder, leaves: Sequence[AnyLeaf], batch_size: int, on_error: str, progress: bool | None
) -> tuple[dict[AnyLeaf, Tensor], dict[AnyLeaf, tuple[str, str]]]:
    """A unit row (D,) float32 for each leaf; and for each leaf skipped, its source's name and the reason."""
    if on_error not in ("raise", "skip"):
        raise InputError("embed()", found=f"on_error={on_error!r}", expected='"raise" or "skip"')
    if batch_size < 1:
        raise InputError("embed()", found=f"batch_size={batch_size}", expected="at least 1")
    rows: dict[AnyLeaf, Tensor] = {}
    failures: dict[AnyLeaf, tuple[str, str]] = {}
    for leaf in leaves:
        if isinstance(leaf, VectorLeaf):
            rows[leaf] = unit(torch.from_numpy(leaf.vector.copy()).to(model.device))
    chunks = list(_chunks([leaf for leaf in leaves if isinstance(leaf, Leaf)], batch_size))
    quiet = None if progress is None else not progress
    for chunk in iterate_with_progress(chunks, label="embedding", quiet=quiet):
        _embed_chunk(model, chunk, batch_size, on_error, rows, failures)
    return rows, failures


def sum_terms(
    queries: Sequence[Query],
    rows: Mapping[AnyLeaf, Tensor],
    failures: Mapping[AnyLeaf, tuple[str, str]],
    width: int,
    device: torch.device,
) -> Embedded:
    """The weighted sum of every query's leaves, normalised; queries with a failed leaf are left out."""
    sums: list[Tensor] = []
    kept: list[int] = []
    skipped: list[SkippedQuery] = []
    for index, query in enumerate(queries):
        failed = next((failures[leaf] for _, leaf in query.terms if leaf in failures), None)
        if failed:
            skipped.append(SkippedQuery(index, *failed))
            continue
        kept.append(index)
        sums.append(_direction(query, rows))
    stacked = torch.stack(sums) if sums else torch.empty(0, width, device=device)
    return Embedded(stacked, kept, skipped)


def _direction(query: Query, rows: Mapping[AnyLeaf, Tensor]) -> Tensor:
    heaviest = max(abs(weight) for weight, _ in query.terms)  # so that no weight over- or underflows float32
    total = torch.stack([rows[leaf] * (weight / heaviest) for weight, leaf in query.terms]).sum(0)
    if not total.norm() > CANCELLATION_NORM:
        raise NoDirection(f"{query!r}: {CANCELLED}")
    return unit(total)


def _embed_chunk(
    model: Encoder,
    chunk: Sequence[Leaf],
    batch_size: int,
    on_error: str,
    rows: dict[AnyLeaf, Tensor],
    failures: dict[AnyLeaf, tuple[str, str]],
) -> None:
    modality = chunk[0].modality.value
    batch = model.preprocess[modality].batch(
        [leaf.source for leaf in chunk],
        options=[dict(leaf.options) for leaf in chunk],
        on_error=on_error,
        device=model.device,
    )
    for skip in batch.skipped:
        failures[chunk[skip.index]] = (skip.source, skip.reason)
    for positions in _equal_shapes(batch.items, batch_size):
        x = torch.stack([batch.items[i] for i in positions]).to(model.device)
        x = x.to(model.dtype) if x.is_floating_point() else x
        for i, row in zip(positions, model.encode(modality, x, normalize=True).float(), strict=True):
            rows[chunk[batch.kept[i]]] = unit(row)


def _chunks(leaves: Sequence[Leaf], batch_size: int) -> Iterator[list[Leaf]]:
    """Runs of one modality, small enough that a chunk's clips fit the batch size."""
    for modality in dict.fromkeys(leaf.modality for leaf in leaves):
        same = [leaf for leaf in leaves if leaf.modality == modality]
        step = max(1, batch_size // CLIPS_OF.get(modality, 1))
        yield from (same[start : start + step] for start in range(0, len(same), step))


def _equal_shapes(items: Sequence[Tensor], batch_size: int) -> Iterator[list[int]]:
    """Positions of items that can be stacked: readers may cut recordings into different numbers of clips."""
    by_shape: dict[tuple[int, ...], list[int]] = {}
    for i, item in enumerate(items):
        by_shape.setdefault(tuple(item.shape), []).append(i)
    for positions in by_shape.values():
        yield from (positions[start : start + batch_size] for start in range(0, len(positions), batch_size))


def unit(row: Tensor) -> Tensor:
    """The row at length 1; (D,) -> (D,)."""
    return torch.nn.functional.normalize(row, dim=-1)


_EXPECTED = 'a list of queries, as [text("a dog"), audio("bark.wav")]'


def _described(value: object) -> str:
    return f"a {type(value).__name__}" + (f" {value!r}" if isinstance(value, str) and len(value) < 60 else "")


def _remedy(value: object) -> str:
    if isinstance(value, str):
        return f"Say what it is: text({value!r}), or audio(...), image(...) and so on for a file"
    if isinstance(value, Tensor):
        return "Tensors go to encode_image, encode_audio, ...; embed takes queries"
    return (
        "Say what it is: image(...), video(...), text(...), audio(...), depth(...), thermal(...) or imu(...)"
    )
