"""What the server does, apart from how it is asked: HTTP routes and MCP tools both come here."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from bindplug.errors import BindplugError, InputError
from bindplug.query import AnyLeaf, Query, VectorLeaf, embedding
from bindplug_serve.engine import Engine, Row
from bindplug_serve.failures import ItemFailure, Refusal, refusal_of
from bindplug_serve.items import Item, Sum, query_of
from bindplug_serve.limits import Limits
from bindplug_serve.metrics import Metrics

if TYPE_CHECKING:
    from bindplug.encoder import Encoder
    from bindplug.indexes import Condition, IndexMatch
    from bindplug.space import EmbeddingSpace
    from bindplug_serve.detection import Detection, Detector

logger = logging.getLogger("bindplug.serve")
AnyItemValue = str | Item | Sum
CONDITIONS = ("the condition on", "metadata", "search")
"""What errors of a search call the part of the request that is at fault."""


@dataclass
class EmbeddedItems:
    """Rows of the items of a request.

    Attributes:
        rows: (D,) float32 of unit length for each item; None for one that failed.
        queries: what was embedded; None for one that failed.
        failures: which items failed and why.
        notes: for items with remarks, the index and the remark.
        unknown_words: words that carry no meaning in the model.
        tokens: of all texts together.
    """

    rows: list[np.ndarray | None]
    queries: list[Query | None]
    failures: list[ItemFailure] = field(default_factory=list)
    notes: list[tuple[int, str]] = field(default_factory=list)
    unknown_words: list[str] = field(default_factory=list)
    tokens: int = 0

    def remarks(self) -> dict[str, Any]:
        """What a response tells beside its results: failures, notes and unknown words, where there are any."""
        remarks: dict[str, Any] = {}
        if self.failures:
            remarks["errors"] = [{"index": item.index, "message": item.message} for item in self.failures]
        if self.notes:
            remarks["notes"] = [{"index": index, "note": note} for index, note in self.notes]
        if self.unknown_words:
            remarks["unknown_words"] = self.unknown_words
        return remarks


@dataclass(frozen=True)
class Candidate:
    """A class that an item may belong to."""

    label: str
    probability: float
    score: float


class SearchedIndex(Protocol):
    """What the server asks of an index; ``bindplug_search.Index`` has it."""

    def search(
        self,
        query: Query,
        k: int,
        *,
        kind: Sequence[str] | None = None,
        where: Sequence[Condition] | None = None,
        all_windows: bool = False,
    ) -> list[IndexMatch]:
        """The ``k`` matches nearest to a query, best first."""


class Service:
    """A model, and an index and a detector where there are some.

    Args:
        load: loads the model.
        name: what clients call the model.
        limits: on requests and on the queue.
        open_index: opens the index for :meth:`search`, given the model; None without one.
        open_detector: opens the detector for :meth:`detect`, given the model; None without one.
    """

    def __init__(
        self,
        load: Callable[[], Encoder],
        *,
        name: str,
        limits: Limits | None = None,
        open_index: Callable[[Encoder], SearchedIndex] | None = None,
        open_detector: Callable[[Encoder], Detector] | None = None,
    ) -> None:
        self.name, self.limits = name, limits or Limits()
        self.metrics = Metrics()
        self._lock = threading.Lock()
        """Held by whoever uses the index or the detector."""
        self._load, self._open_index, self._open_detector = load, open_index, open_detector
        self.index: SearchedIndex | None = None
        self.detector: Detector | None = None
        self.engine = Engine(self._load_all, self.limits, self.metrics.observe_batch)
        self.metrics.watch_queue(lambda: self.engine.batcher.pending)
        self.metrics.watch_ready(lambda: self.engine.ready)

    @property
    def searches(self) -> bool:
        """Whether there is an index."""
        return self._open_index is not None

    @property
    def detects(self) -> bool:
        """Whether there is a detector."""
        return self._open_detector is not None

    def _load_all(self) -> Encoder:
        model = self._load()
        if self._open_index:
            self.index = self._open_index(model)
            # Any search tells whether the model, or a bridge from it, fits the index.
            space = model.embedding_space
            self.index.search(embedding(np.ones(space.width), space, modality=model.modalities[0]), 1)
        self.detector = self._open_detector(model) if self._open_detector else None
        return model

    async def embed(
        self, items: Sequence[AnyItemValue], *, on_error: str = "raise", names: Sequence[str] | None = None
    ) -> EmbeddedItems:
        """Rows for items.

        Args:
            items: texts, sources and sums.
            on_error: ``"raise"`` refuses the request where an item fails; ``"skip"`` tells of it in ``failures``.
            names: what the items are called in a refusal; ``input[0]`` and so on by default.

        Raises:
            Refusal: too many items (413), bad ones (400), no room (429), not ready (503).
        """
        if len(items) > self.limits.items:
            message = f"{len(items)} items; a request holds at most {self.limits.items}"
            raise Refusal(413, message, "too_many_items", param="input")
        if not items:
            raise Refusal(400, "no items; expected at least one", "invalid_input", param="input")
        queries, failures = _queries_of(items)
        self.engine.check_loaded()
        if failures and on_error == "raise":
            raise _refusal_of_items(failures, names)
        places = [index for index, query in enumerate(queries) if query is not None]
        rows = await self.engine.embed([query for query in queries if query is not None])
        embedded = EmbeddedItems([None] * len(items), queries)
        errors: dict[int, BaseException] = dict(failures)
        for index, row in zip(places, rows, strict=True):
            _record(embedded, index, row, errors)
        if errors and on_error == "raise":
            raise _refusal_of_items(errors, names)
        embedded.failures = [ItemFailure(index, str(refusal_of(errors[index]))) for index in sorted(errors)]
        embedded.unknown_words = list(dict.fromkeys(embedded.unknown_words))
        self.metrics.count_items(query.modality for query in queries if query is not None and query.terms)
        return embedded

    async def classify(
        self,
        items: Sequence[AnyItemValue],
        labels: Sequence[str],
        *,
        templates: Sequence[str] = ("{}",),
        top_k: int = 5,
        on_error: str = "raise",
    ) -> tuple[EmbeddedItems, list[list[Candidate] | None]]:
        """The best classes for each item, best first; None for an item that failed.

        Args:
            items: what to classify.
            labels: at least two class names, each once.
            templates: prompts with ``{}`` for the name; a class is the mean of its prompts.
            top_k: classes to give.
            on_error: as in :meth:`embed`.

        Raises:
            Refusal: as :meth:`embed`, or the labels or templates are not as above.
        """
        _check_labels(labels, templates, self.limits.items)
        embedded = await self.embed(items, on_error=on_error)
        prompts: list[Query] = []
        for label in labels:
            texts = [query_of(template.replace("{}", label)) for template in templates]
            prompts.append(Query((1 / len(texts), leaf) for query in texts for _, leaf in query.terms))
        classes = await self.engine.embed(prompts)
        failure = next((row.error for row in classes if row.error is not None), None)
        if failure:
            raise Refusal(400, f"labels: {failure}", "invalid_input", param="labels")
        words = [word for row in classes for word in row.unknown_words]
        embedded.unknown_words = list(dict.fromkeys([*embedded.unknown_words, *words]))
        row_indexes = [index for index, row in enumerate(embedded.rows) if row is not None]
        if not row_indexes:
            return embedded, [None] * len(items)
        candidates = await self.engine.call(lambda: self._rank(embedded, row_indexes, classes, labels, top_k))
        by_item = dict(zip(row_indexes, candidates, strict=True))
        return embedded, [by_item.get(index) for index in range(len(items))]

    def _rank(
        self,
        embedded: EmbeddedItems,
        row_indexes: Sequence[int],
        classes: Sequence[Row],
        labels: Sequence[str],
        k: int,
    ) -> list[list[Candidate]]:
        model, space = self.engine.model, self.engine.model.embedding_space
        items = []
        for index in row_indexes:
            query = embedded.queries[index]
            assert query is not None
            items.append(embedding(embedded.rows[index], space, modality=query.modality))
        columns = [embedding(row.vector, space, modality="text") for row in classes]
        scores = model.scores(items, columns)  # (N, C)
        probabilities = (scores * model.scales(items, columns).to(scores)).softmax(dim=-1)
        best = probabilities.argsort(dim=1, descending=True, stable=True)[:, :k]  # (N, C) -> (N, k)
        return [
            [Candidate(labels[j], probabilities[i, j].item(), scores[i, j].item()) for j in places]
            for i, places in enumerate(best.tolist())
        ]

    async def search(
        self,
        item: AnyItemValue,
        *,
        k: int = 10,
        kinds: Sequence[str] = (),
        where: Sequence[Condition] = (),
        all_windows: bool = False,
    ) -> tuple[EmbeddedItems, list[IndexMatch]]:
        """The rows of the index that are closest to an item, best first.

        Args:
            item: what to search for.
            k: most matches.
            kinds: modalities to search among; all for none.
            where: conditions on metadata.
            all_windows: give every window of a recording, where else its best one stands for it.

        Raises:
            Refusal: as :meth:`embed`, there is no index (501), or it cannot be read any more (503).
            InputError: no row has the metadata of a condition.
        """
        if not self.searches:
            raise Refusal(
                501, "this server has no index; start it with `bindplug serve --index PATH`", "no_index"
            )
        queries, failures = _queries_of([item])
        self.engine.check_loaded()
        if failures:
            raise _refusal_of_items(failures, ["query"])
        terms = [term for query in queries if query is not None for term in query.terms]
        rows = await self.engine.embed([Query([(1.0, leaf)]) for _, leaf in terms])
        embedded = EmbeddedItems([None] * len(rows), [None] * len(rows))
        errors: dict[int, BaseException] = {}
        for place, row in enumerate(rows):
            _record(embedded, place, row, errors)
        if errors:
            raise _refusal_of_items(
                errors, ["query"] if len(terms) == 1 else [f"query.terms[{n}]" for n in range(len(terms))]
            )
        # The index sums the rows itself: it moves those of a sum to where its own rows lie.
        query = _query_of_rows(terms, rows, self.engine.model.embedding_space)
        index = self.index
        assert index is not None

        def look_up() -> list[IndexMatch]:
            with self._lock:
                try:
                    return index.search(query, k, kind=kinds or None, where=where, all_windows=all_windows)
                except InputError as error:
                    raise _refusal_of_search(error) from error

        return embedded, await self.engine.call(look_up)

    async def detect(
        self, image: Item, prompts: Sequence[AnyItemValue], *, threshold: float | None = None
    ) -> tuple[tuple[int, int], list[Detection]]:
        """Where in a picture the prompts are: its height and width, and the detections, best first.

        Raises:
            Refusal: as :meth:`embed`, or there is no detector (501).
        """
        if not self.detects:
            message = "this server has no detector; start it with `bindplug serve --detector NAME`"
            raise Refusal(501, message, "no_detector")
        if len(prompts) > self.limits.items:
            raise Refusal(413, f"{len(prompts)} prompts; at most {self.limits.items}", "too_many_items")
        queries, failures = _queries_of([image, *prompts])
        self.engine.check_loaded()
        if failures:
            names = ["image", *(f"prompts[{index}]" for index in range(len(prompts)))]
            raise _refusal_of_items(failures, names)
        picture, *prompt_queries = [query for query in queries if query is not None]
        detector = self.detector
        assert detector is not None

        def look() -> tuple[tuple[int, int], list[Detection]]:
            with self._lock:
                return detector(picture, prompt_queries, threshold, self.limits)

        return await self.engine.call(look)


def _refusal_of_search(error: InputError) -> BaseException:
    """The error itself where a condition is at fault; else the index is, whose place is no matter of the sender."""
    if error.source.startswith(CONDITIONS):
        return error
    logger.error("the index cannot be read", extra={"reason": str(error)})
    message = "the index cannot be read; the server's log says why"
    return Refusal(503, message, "index_unavailable", retry_after_s=5)


def _query_of_rows(
    terms: Sequence[tuple[float, AnyLeaf]], rows: Sequence[Row], space: EmbeddingSpace
) -> Query:
    """The query of the terms with their sources' rows in place of the sources."""
    leaves = [
        VectorLeaf(row.vector, space, leaf.modality)
        for (_, leaf), row in zip(terms, rows, strict=True)
        if row.vector is not None
    ]
    return Query((weight, leaf) for (weight, _), leaf in zip(terms, leaves, strict=True))


def _queries_of(items: Sequence[AnyItemValue]) -> tuple[list[Query | None], dict[int, BaseException]]:
    queries: list[Query | None] = []
    failures: dict[int, BaseException] = {}
    for index, item in enumerate(items):
        try:
            queries.append(query_of(item))
        except BindplugError as error:
            queries.append(None)
            failures[index] = error
    return queries, failures


def _record(embedded: EmbeddedItems, index: int, row: Row, errors: dict[int, BaseException]) -> None:
    if row.error is not None:
        errors[index] = row.error
        embedded.queries[index] = None
        return
    embedded.rows[index] = row.vector
    embedded.notes += [(index, note) for note in row.notes]
    embedded.unknown_words += row.unknown_words
    embedded.tokens += row.tokens


def _refusal_of_items(errors: dict[int, BaseException], names: Sequence[str] | None) -> Refusal:
    """One refusal for all items that failed; of its own status where one failed by the server's fault."""
    refusals = {index: refusal_of(errors[index]) for index in sorted(errors)}
    places = {index: names[index] if names else f"input[{index}]" for index in refusals}
    worst = max(refusals.values(), key=lambda refusal: refusal.status)
    refusal_texts = "; ".join(f"{places[index]}: {refusal}" for index, refusal in list(refusals.items())[:5])
    more = f"; and {len(refusals) - 5} more" if len(refusals) > 5 else ""
    failures = [ItemFailure(index, str(refusal)) for index, refusal in refusals.items()]
    return Refusal(
        worst.status, refusal_texts + more, worst.code, param=next(iter(places.values())), items=failures
    )


def _check_labels(labels: Sequence[str], templates: Sequence[str], most: int) -> None:
    if len(labels) * len(templates) > most:
        problem = f"{len(labels)} labels in {len(templates)} templates"
        raise Refusal(413, f"{problem}; at most {most} prompts", "too_many_items", param="labels")
    error = None
    if len(labels) < 2:
        error = InputError("labels", found=f"{len(labels)}", expected="at least two class names")
    elif len(set(labels)) < len(labels):
        error = InputError("labels", found="a name that occurs twice", expected="every name once")
    elif not templates or not all("{}" in template for template in templates):
        error = InputError("templates", found="one without {}", expected="{} where the name goes")
    if error:
        raise Refusal(400, str(error), "invalid_input", param=error.source)
