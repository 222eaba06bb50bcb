"""The model behind the server: loaded once, fed in batches that requests share."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from bindplug.errors import BindplugError, InputError, ModalityNotLoaded
from bindplug.query import AnyLeaf, Leaf, Query, VectorLeaf
from bindplug_serve.batching import Batcher
from bindplug_serve.failures import ItemError, Refusal
from bindplug_serve.limits import Limits
from bindplug_serve.sizes import check_size

if TYPE_CHECKING:
    from bindplug.encoder import Encoder

logger = logging.getLogger("bindplug.serve")
T = TypeVar("T")
CALLS = "calls"
"""Lane of whole functions."""


@dataclass(frozen=True)
class Row:
    """What became of a query.

    Args:
        vector: (D,) float32 of unit length; None where it failed.
        error: why it failed.
        notes: remarks of readers on its sources.
        unknown_words: words of its texts that carry no meaning in the model.
        tokens: of its texts, start and end marks included.
    """

    vector: np.ndarray | None = None
    error: BaseException | None = None
    notes: tuple[str, ...] = ()
    unknown_words: tuple[str, ...] = ()
    tokens: int = 0


class Engine:
    """A model and the queue before it.

    Args:
        load: loads the model; called in a thread by :meth:`start`.
        limits: of the queue and its batches.
        observe: told the modality and size of each batch and the seconds it took.
    """

    def __init__(
        self,
        load: Callable[[], Encoder],
        limits: Limits,
        observe: Callable[[str, int, float], None] = lambda lane, size, seconds: None,
    ) -> None:
        self.load, self.limits, self.observe = load, limits, observe
        # Twice as many threads as a lane uses, so that a busy modality does not hold up the others.
        self.executor = ThreadPoolExecutor(
            2 * limits.threads,
            thread_name_prefix="bindplug-serve",
            initializer=_share_cores,
            initargs=(limits.threads,),
        )
        self.batcher: Batcher[Any, Any] = Batcher(
            self._run,
            batch=limits.batch,
            wait_s=limits.batch_wait_s,
            queue=limits.queue,
            concurrent=limits.threads,
            executor=self.executor,
        )
        self.loaded: Encoder | None = None
        self._loaded = asyncio.Event()
        self._failure: BaseException | None = None
        self._cut = False

    async def start(self) -> None:
        """Load the model.

        Raises:
            BindplugError: it cannot be loaded.
        """
        try:
            self.loaded = await asyncio.get_running_loop().run_in_executor(self.executor, self.load)
        except BaseException as error:
            self._failure = error
            self._cut = isinstance(error, asyncio.CancelledError)
            raise
        finally:
            self._loaded.set()

    async def wait(self) -> None:
        """Return once the model is loaded.

        Raises:
            BindplugError: it cannot be loaded.
        """
        await self._loaded.wait()
        if self._failure is not None:
            raise self._failure

    async def close(self) -> None:
        """Finish the batches in work that somebody waits for, and refuse what waits in the queue."""
        await self.batcher.close()
        self.executor.shutdown(wait=False, cancel_futures=True)

    @property
    def abandoned(self) -> bool:
        """Whether, once closed, a thread still computes or loads what nobody waits for."""
        return self.batcher.abandoned or self._cut

    @property
    def ready(self) -> bool:
        """Whether requests are answered."""
        return self.loaded is not None and not self.batcher.closed

    @property
    def model(self) -> Encoder:
        """The model.

        Raises:
            Refusal: it is still being loaded.
        """
        if self.loaded is None:
            raise Refusal(503, "the model is being loaded", "loading", retry_after_s=2)
        return self.loaded

    def check_loaded(self) -> None:
        """Refuse a request before anything of it is worked on.

        Raises:
            Refusal: the model is still being loaded.
        """
        _ = self.model

    async def embed(self, queries: Sequence[Query]) -> list[Row]:
        """A row for each query; sources are shared with other requests' batches.

        Raises:
            Refusal: the model is not ready, the queue is full, or it could never hold so many sources.
        """
        model = self.model
        leaves = list(
            dict.fromkeys(leaf for query in queries for _, leaf in query.terms if isinstance(leaf, Leaf))
        )
        for leaf in leaves:
            if leaf.modality.value not in model.modalities:
                raise ModalityNotLoaded(leaf.modality.value, model.modalities)
        if len(leaves) > self.limits.queue:
            message = f"{len(leaves)} sources in a request; the queue holds {self.limits.queue}"
            raise Refusal(413, message, "too_many_items", param="input")
        results = await self.batcher.submit([(leaf.modality.value, leaf) for leaf in leaves])
        rows = dict(zip(leaves, results, strict=True))
        sums = [_sum_of(query, rows, model) for query in queries]
        if not any(isinstance(total, _Sum) for total in sums):
            return [total for total in sums if isinstance(total, Row)]
        return await self.call(
            lambda: [_sum_row(model, total) if isinstance(total, _Sum) else total for total in sums]
        )

    async def call(self, function: Callable[[], T]) -> T:
        """What a function gives that computes with the model, run in a thread.

        Raises:
            Refusal: the queue is full.
        """
        (result,) = await self.batcher.submit([(CALLS, function)])
        value, error = result
        if error is not None:
            raise error
        return value

    def _run(self, lane: str, work: list[Any]) -> list[Any]:
        start = time.perf_counter()
        results = [_outcome_of(function) for function in work] if lane == CALLS else self._rows(work)
        self.observe(lane, len(work), time.perf_counter() - start)
        return results

    def _rows(self, leaves: Sequence[Leaf]) -> list[Row]:
        """Rows of sources of one modality; what fails for one is no matter of the others."""
        rows: list[Row | None] = [self._size_failure(leaf) for leaf in leaves]
        places = [place for place, row in enumerate(rows) if row is None]
        for place, row in zip(places, self._embed([leaves[place] for place in places]), strict=True):
            rows[place] = row
        return [row for row in rows if row is not None]

    def _size_failure(self, leaf: Leaf) -> Row | None:
        try:
            check_size(leaf, self.limits)
        except InputError as error:
            return Row(error=error)
        return None

    def _embed(self, leaves: Sequence[Leaf]) -> list[Row]:
        if not leaves:
            return []
        model = self.model
        try:
            embedded = model.embed_with_report(
                [Query([(1.0, leaf)]) for leaf in leaves],
                batch_size=self.limits.batch,
                on_error="skip",
                progress=False,
                workers=0,
            )
        except Exception as error:  # an option that a reader does not take fails the whole call
            if len(leaves) == 1:
                if not isinstance(error, BindplugError):
                    logger.exception("embedding failed", extra={"modality": leaves[0].modality.value})
                return [Row(error=error)]
            return [row for leaf in leaves for row in self._embed([leaf])]
        vectors = dict(zip(embedded.kept, embedded.rows.cpu().numpy(), strict=True))
        reasons = {skip.index: skip.reason for skip in embedded.skipped}
        notes: dict[int, list[str]] = {}
        for note in embedded.notes:
            notes.setdefault(note.index, []).append(note.text)
        return [
            Row(
                vectors[index],
                None,
                tuple(notes.get(index, ())),
                *_words(model, leaf, embedded.unknown_words),
            )
            if index in vectors
            else Row(error=ItemError(reasons[index]))
            for index, leaf in enumerate(leaves)
        ]


def _share_cores(threads: int) -> None:
    """Leave each of several threads its part of the cores: torch would use all of them in each."""
    import torch

    torch.set_num_threads(max(1, torch.get_num_threads() // threads))


def _words(model: Encoder, leaf: Leaf, unknown_words: Sequence[str]) -> tuple[tuple[str, ...], int]:
    """Unknown words of a text, and how many tokens it has."""
    text = leaf.source
    if not isinstance(text, str):
        return (), 0
    from bindplug.inputs import word_tokens

    words = {word for word, _ in word_tokens(text)} if unknown_words else set()
    tokens = int(model.tokenizer([text]).count_nonzero())
    return tuple(word for word in unknown_words if word in words), tokens


@dataclass(frozen=True)
class _Sum:
    """A weighted sum of rows as a query of vectors, and the remarks on its sources."""

    query: Query
    remarks: Row


def _sum_of(query: Query, rows: Mapping[Leaf, Row], model: Encoder) -> Row | _Sum:
    """The row of a query of one source, or of a failed source; else the sum that is left to do."""
    terms = [(weight, leaf) for weight, leaf in query.terms if isinstance(leaf, Leaf)]
    parts = [rows[leaf] for _, leaf in terms]
    failure = next((part for part in parts if part.error is not None), None)
    if failure or (len(parts) == 1 and terms[0][0] > 0):
        return failure or parts[0]
    vectors: list[tuple[float, AnyLeaf]] = [
        (weight, VectorLeaf(part.vector, model.embedding_space, leaf.modality))
        for (weight, leaf), part in zip(terms, parts, strict=True)
        if part.vector is not None
    ]
    remarks = Row(
        notes=tuple(note for part in parts for note in part.notes),
        unknown_words=tuple(word for part in parts for word in part.unknown_words),
        tokens=sum(part.tokens for part in parts),
    )
    return _Sum(Query(vectors), remarks)


def _sum_row(model: Encoder, total: _Sum) -> Row:
    try:
        (vector,) = model.embed([total.query], progress=False).cpu().numpy()
    except BindplugError as error:
        return Row(error=error)
    remarks = total.remarks
    return Row(vector, None, remarks.notes, remarks.unknown_words, remarks.tokens)


def _outcome_of(function: Callable[[], Any]) -> tuple[Any, BaseException | None]:
    try:
        return function(), None
    except Exception as error:  # told to the one who called
        return None, error
