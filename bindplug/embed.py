"""How queries become rows: each distinct source once, one batch a modality, then the weighted sums.

Batches are read ahead in threads (:mod:`bindplug.prefetch`) while the model works on earlier ones.
"""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, cast

import torch
from torch import Tensor

from bindplug.centers import shift_between
from bindplug.errors import InputError, ModalityNotLoaded, NoDirection, UnknownWords
from bindplug.evaluation_mode import evaluating
from bindplug.inputs.base import ModelInput, shape_of, stack_items
from bindplug.inputs.notes import Note, collected_notes, outer_level
from bindplug.inputs.pillow_warnings import suppress_pillow_warnings
from bindplug.inputs.source import describe_source
from bindplug.inputs.text import word_tokens
from bindplug.modality import Modality
from bindplug.prefetch import check_workers, run_ahead, until
from bindplug.progress import iterate_with_progress
from bindplug.query import CANCELLED, AnyLeaf, Leaf, Query, VectorLeaf
from bindplug.space import EmbeddingSpace
from bindplug.sums import Embedded, sum_terms, unit

if TYPE_CHECKING:
    from bindplug.inputs.base import Batch, Preprocess

CLIPS_OF = {Modality.VIDEO: 15, Modality.AUDIO: 3}
"""Clips an item of a modality is usually cut into; each passes the tower as one item."""


class EmbedsTensors(Protocol):
    """What this module needs of a model; :class:`bindplug.Encoder` has it."""

    embedding_space: EmbeddingSpace
    modalities: tuple[str, ...]
    preprocess: Mapping[str, Preprocess]
    device: torch.device
    dtype: torch.dtype
    centers: Mapping[str, Tensor]

    def encode(self, modality: str, x: Any, normalize: bool = False) -> Tensor:
        """A batch of preprocessed input, one tensor or named tensors, to (B, D) rows."""

    def unknown_tokens(self, ids: Any) -> frozenset[int]:
        """Those of (B, L) token ids that the model never learned."""


class SkippedInputs(UserWarning):
    """Some queries were left out because a source of theirs could not be read."""


MOST_WORDS = 10
"""Words that a warning names; of further ones it gives the number."""


def warn_unknown_words(words: Sequence[str]) -> None:
    """Issue one :class:`UnknownWords` warning that names the words, if there are any."""
    if not words:
        return
    more = len(words) - MOST_WORDS
    names = ", ".join(map(repr, words[:MOST_WORDS])) + (f" and {more} more" if more > 0 else "")
    warnings.warn(
        f"the model does not know {names}: a text counts by its other words, and one of unknown words alone means "
        f"nothing to it",
        UnknownWords,
        stacklevel=outer_level(),
    )


def validated(queries: Any, model: EmbedsTensors) -> list[Query]:
    """The queries as a list, each one checked to be something this model can embed."""
    if isinstance(queries, Query):
        queries = [queries]
    if isinstance(queries, (str, bytes, Mapping, Tensor)) or not hasattr(queries, "__iter__"):
        raise InputError("embed()", found=_described(queries), expected=_EXPECTED, remedy=_remedy(queries))
    query_list = list(queries)
    for index, query in enumerate(query_list):
        if not isinstance(query, Query):
            source = f"embed(): item {index}"
            raise InputError(source, found=_described(query), expected="a query", remedy=_remedy(query))
        if not query.terms:
            raise NoDirection(f"embed(): item {index}: {CANCELLED}")
        for _, leaf in query.terms:
            _check_leaf(leaf, model)
    return query_list


def _check_leaf(leaf: AnyLeaf, model: EmbedsTensors) -> None:
    if isinstance(leaf, VectorLeaf):
        model.embedding_space.ensure(leaf.space, doing=f"using {leaf!r} in this model")
    elif leaf.modality.value not in model.modalities:
        raise ModalityNotLoaded(leaf.modality.value, model.modalities)


def shifts_of(
    leaves: Iterable[AnyLeaf], centers: Mapping[str, Tensor], recenter: str | Tensor | None
) -> dict[AnyLeaf, Tensor]:
    """How far each leaf's row is to be moved; asked before anything is read, so that a missing center costs nothing."""
    if recenter is None:
        return {}
    return {leaf: shift_between(centers, leaf.modality, recenter) for leaf in leaves}


@dataclass
class _Part:
    """Queries that are embedded together, and what is known of their leaves so far."""

    queries: list[Query]
    leaves: list[AnyLeaf]
    shifts: Mapping[AnyLeaf, Tensor]
    rows: dict[AnyLeaf, Tensor] = field(default_factory=dict)
    failures: dict[AnyLeaf, tuple[str, str]] = field(default_factory=dict)
    notes: dict[AnyLeaf, list[Note]] = field(default_factory=dict)
    unknown_tokens: set[int] = field(default_factory=set)


@dataclass
class _Job:
    """Leaves of one modality to be read together; none in the only job of a part that has nothing to read."""

    part: _Part
    chunk: list[Leaf]
    last: bool


def embed_queries(
    model: EmbedsTensors,
    queries: Any,
    *,
    batch_size: int,
    on_error: str,
    progress: bool | None,
    recenter: str | Tensor | None,
    workers: int | None,
) -> Embedded:
    """See :meth:`bindplug.encoder.Encoder.embed_with_report`."""
    _check_options(batch_size, on_error, workers)
    jobs = list(_jobs_of(_part_of(model, queries, recenter), batch_size))
    finished = _embedded(model, jobs, batch_size, on_error, workers)
    quiet = None if progress is None else not progress
    with closing(finished):
        steps = iterate_with_progress(finished, label="embedding", total=len(jobs), quiet=quiet)
        (embedded,) = [done for done in steps if done is not None]
    return embedded


def embed_parts(
    model: EmbedsTensors,
    parts: Iterable[Sequence[Query]],
    *,
    batch_size: int = 32,
    on_error: str = "skip",
    workers: int | None = None,
) -> Generator[Embedded, None, None]:
    """As ``embed_with_report`` for each of many parts of a long job, reading ahead into later parts.

    A part is asked for when the readers come to it and forgotten once its rows are given, so that a job of any
    length takes constant memory. Close the generator to end early.

    Warns:
        UnknownWords: once, after the last part.
    """
    _check_options(batch_size, on_error, workers)
    jobs = (job for queries in parts for job in _jobs_of(_part_of(model, queries, None), batch_size))
    unknown_words: dict[str, None] = {}
    with closing(_embedded(model, jobs, batch_size, on_error, workers)) as finished:
        for done in finished:
            if done is not None:
                unknown_words |= dict.fromkeys(done.unknown_words)
                yield done
    warn_unknown_words(list(unknown_words))


def _check_options(batch_size: int, on_error: str, workers: int | None) -> None:
    if on_error not in ("raise", "skip"):
        raise InputError("embed()", found=f"on_error={on_error!r}", expected='"raise" or "skip"')
    if batch_size < 1:
        raise InputError("embed()", found=f"batch_size={batch_size}", expected="at least 1")
    check_workers(workers)


def _part_of(model: EmbedsTensors, queries: Any, recenter: str | Tensor | None) -> _Part:
    checked = validated(queries, model)
    leaves = list(dict.fromkeys(leaf for query in checked for _, leaf in query.terms))
    return _Part(checked, leaves, shifts_of(leaves, model.centers, recenter))


def _jobs_of(part: _Part, batch_size: int) -> Iterator[_Job]:
    chunks = list(_chunks([leaf for leaf in part.leaves if isinstance(leaf, Leaf)], batch_size)) or [[]]
    yield from (_Job(part, chunk, place == len(chunks)) for place, chunk in enumerate(chunks, start=1))


def _embedded(
    model: EmbedsTensors, jobs: Iterable[_Job], batch_size: int, on_error: str, workers: int | None
) -> Generator[Embedded | None, None, None]:
    """For each job None, and for the last one of a part that part's rows."""
    readers, device = model.preprocess, torch.device(model.device)
    stream = torch.cuda.current_stream(device) if device.type == "cuda" else None

    def read(job: _Job, stop: threading.Event) -> tuple[_Job, Batch | None]:
        # A thread starts in neither the caller's inference mode nor on its stream.
        with torch.inference_mode(), torch.cuda.stream(stream) if stream else nullcontext():
            return job, _read_chunk(readers, job.chunk, on_error, device, stop)

    # Held here around all readers, so that the caller's own filters are changed and put back in its thread.
    with (
        suppress_pillow_warnings(),
        closing(run_ahead(read, jobs, workers, threadable=_is_of_files)) as loaded,
    ):
        for job, batch in loaded:
            with evaluating(model), torch.inference_mode(), _exact(device):
                if batch is not None:
                    _encode_chunk(model, job, batch, batch_size)
                done = _finished(model, job.part, on_error) if job.last else None
            del batch  # not to be held while the next one is waited for
            if done is not None:
                done.rows = done.rows.clone()  # made outside inference mode, so usable in later training
            yield done


def _is_of_files(job: _Job) -> bool:
    """Whether reading is worth a thread, and safe in one: objects may be shared, paths are not."""
    return bool(job.chunk) and all(
        leaf.modality is not Modality.TEXT and _is_of_paths(leaf.source) for leaf in job.chunk
    )


def _is_of_paths(source: object) -> bool:
    paths = source.values() if isinstance(source, Mapping) else (source,)
    return all(isinstance(path, (str, os.PathLike)) for path in paths)


def _read_chunk(
    readers: Mapping[str, Any],
    chunk: Sequence[Leaf],
    on_error: str,
    device: torch.device,
    stop: threading.Event,
) -> Batch | None:
    if not chunk:
        return None
    with collected_notes():  # they travel with the batch and are issued in the caller's thread
        batch: Batch = readers[chunk[0].modality.value].batch(
            until(stop, (leaf.source for leaf in chunk)),
            options=[dict(leaf.options) for leaf in chunk],
            on_error=on_error,
            device=device,
        )
    return batch


def _encode_chunk(model: EmbedsTensors, job: _Job, batch: Batch, batch_size: int) -> None:
    chunk, modality = job.chunk, job.chunk[0].modality.value
    for skip in batch.skipped:
        job.part.failures[chunk[skip.index]] = (skip.source, skip.reason)
    for item in batch.notes:
        job.part.notes.setdefault(chunk[item.index], []).append(item)
    for positions in _equal_shapes(batch.items, batch_size):
        x = _on_device_of(stack_items([batch.items[i] for i in positions]), model)
        if modality == "text":
            job.part.unknown_tokens |= model.unknown_tokens(x)
        for i, row in zip(positions, model.encode(modality, x, normalize=True).float(), strict=True):
            job.part.rows[chunk[batch.kept[i]]] = unit(row)


def _finished(model: EmbedsTensors, part: _Part, on_error: str) -> Embedded:
    _check_rows(part, on_error)
    for leaf in part.leaves:
        if isinstance(leaf, VectorLeaf):
            part.rows[leaf] = unit(torch.from_numpy(leaf.vector.copy()).to(model.device))
    for leaf, shift in part.shifts.items():
        if leaf in part.rows:
            part.rows[leaf] = unit(part.rows[leaf] + shift.to(part.rows[leaf]))
    width = model.embedding_space.width
    embedded = sum_terms(part.queries, part.rows, part.failures, width, model.device, on_error)
    embedded.notes = [
        Note(index, item.source, item.text)
        for index in embedded.kept
        for _, leaf in part.queries[index].terms
        for item in part.notes.get(leaf, ())
    ]
    embedded.unknown_words = _unknown_words(part)
    return embedded


def _check_rows(part: _Part, on_error: str) -> None:
    """Move leaves whose rows are not finite, or have no direction, to the failures.

    Raises:
        InputError: there is one, and ``on_error`` is "raise".
    """
    leaves = [leaf for leaf in part.leaves if isinstance(leaf, Leaf) and leaf in part.rows]
    if not leaves:
        return
    lengths = torch.stack([part.rows[leaf] for leaf in leaves]).norm(dim=1).tolist()  # (N, D) -> (N,)
    for leaf, length in zip(leaves, lengths, strict=True):
        if length > 0.5:  # a unit row; NaN is not greater than anything
            continue
        name = describe_source(leaf.source)
        error = InputError(
            name,
            found="data of which the model makes no direction (NaN, infinities or zeros)",
            expected="values of an ordinary size",
        )
        if on_error == "raise":
            raise error
        part.failures[leaf] = (name, str(error))


def _unknown_words(part: _Part) -> list[str]:
    if not part.unknown_tokens:
        return []
    texts = [leaf.source for leaf in part.leaves if isinstance(leaf, Leaf) and leaf.modality is Modality.TEXT]
    words = (pair for text in texts if isinstance(text, str) for pair in word_tokens(text))
    return list(dict.fromkeys(word for word, ids in words if not part.unknown_tokens.isdisjoint(ids)))


def _exact(device: torch.device) -> torch.autocast:
    """An embedding must not depend on the caller's autocast."""
    return torch.autocast(device.type, enabled=False)


def _chunks(leaves: Sequence[Leaf], batch_size: int) -> Iterator[list[Leaf]]:
    """Runs of one modality, small enough that a chunk's clips fit the batch size."""
    for modality in dict.fromkeys(leaf.modality for leaf in leaves):
        same = [leaf for leaf in leaves if leaf.modality == modality]
        if modality is Modality.TEXT:  # the tower computes no position after a batch's longest text
            same.sort(key=lambda leaf: len(str(leaf.source)))
        step = max(1, batch_size // CLIPS_OF.get(modality, 1))
        yield from (same[start : start + step] for start in range(0, len(same), step))


def _on_device_of(x: ModelInput, model: EmbedsTensors) -> ModelInput:
    """``x`` on the model's device, floating-point numbers in its dtype."""
    if isinstance(x, Tensor):
        return x.to(model.device, model.dtype) if x.is_floating_point() else x.to(model.device)
    parts = {name: _on_device_of(part, model) for name, part in x.items()}
    return cast("Mapping[str, Tensor]", parts)


def _equal_shapes(items: Sequence[ModelInput], batch_size: int) -> Iterator[list[int]]:
    """Positions of items that can be stacked: readers may cut recordings into different numbers of clips."""
    by_shape: dict[object, list[int]] = {}
    for i, item in enumerate(items):
        by_shape.setdefault(shape_of(item), []).append(i)
    for positions in by_shape.values():
        yield from (positions[start : start + batch_size] for start in range(0, len(positions), batch_size))


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
