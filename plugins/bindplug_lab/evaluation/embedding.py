"""Queries of a task to rows, batch by batch, through the cache."""

from __future__ import annotations

import hashlib
import math
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any

import numpy as np

from bindplug import Encoder, Query
from bindplug.encoder import Embedded, embed_parts
from bindplug.errors import InputError
from bindplug.progress import iterate_with_progress
from bindplug_lab.evaluation.cache import CachedRow, RowCache
from bindplug_lab.evaluation.identity import (
    digest_of_model,
    digest_of_query,
    digest_of_values,
    digests_of_terms,
)

__all__ = ["Embedder", "Rows"]

PART = 256
"""Queries that are embedded between two writes to the cache; an interrupted run loses at most these."""


@dataclass
class Rows:
    """Rows of queries.

    Attributes:
        rows: (len(kept), D) float32 of unit length.
        kept: (len(kept),) index of the query behind each row.
        skipped: ``{"index", "source", "reason"}`` of queries that could not be read or embedded.
        notes: ``{"index", "source", "note"}`` of what readers remarked.
        digest: of all queries with the state of their files, for results to say what they were measured on.
        terms: for each query the digests of its terms, to tell a candidate that is part of a query.
    """

    rows: np.ndarray
    kept: np.ndarray
    skipped: list[dict[str, Any]] = field(default_factory=list)
    notes: list[dict[str, Any]] = field(default_factory=list)
    digest: str = ""
    terms: list[tuple[str | None, ...]] = field(default_factory=list)


@dataclass
class _Part:
    """Queries that are looked up and embedded together: their places among all, their keys, and those to embed."""

    missing: list[int]
    queries: list[Query]
    keys: list[str | None]


class Embedder:
    """Embeds queries with one model, and finds again what it embedded before.

    Args:
        model: loaded.
        name: what it was loaded from.
        cache: of rows; None keeps none.
        batch_size, workers: as in :meth:`bindplug.Encoder.embed`.
        quiet: no progress bars.
        step: queries between two writes to the cache.
    """

    def __init__(
        self,
        model: Encoder,
        name: str,
        cache: RowCache | None = None,
        *,
        batch_size: int = 32,
        workers: int | None = None,
        quiet: bool | None = None,
        step: int = PART,
    ) -> None:
        self.model, self.name, self.cache = model, name, cache
        self.batch_size, self.workers, self.quiet, self.step = batch_size, workers, quiet, step
        self._digests: dict[str, str | None] = {}

    def digest(self, modalities: Iterable[str]) -> str:
        """Of the model as far as rows of these modalities depend on it; empty for one that cannot be told again."""
        names = sorted(set(modalities))
        for modality in names:
            if modality not in self._digests:
                self._digests[modality] = digest_of_model(self.model, modality, self.name)
        digests = [self._digests[modality] for modality in names]
        return "" if None in digests else digest_of_values(digests)

    def embed(self, queries: Sequence[Query], *, label: str = "embedding", strict: bool = False) -> Rows:
        """Rows of queries, in their order; those that cannot be read are left out and listed.

        Queries are taken part by part, so that those made when they are taken are not all in memory at once.

        Args:
            queries: of modalities that the model has.
            label: of the progress bar, and in errors.
            strict: raise at the first query that cannot be embedded.

        Raises:
            InputError: a query cannot be read, with ``strict``; or none of them can.
            ModalityNotLoaded: a query needs a modality that the model lacks.
        """
        result = Rows(np.zeros((0, self.model.embedding_space.width), np.float32), np.zeros(0, np.int64))
        rows: dict[int, np.ndarray] = {}
        parts: deque[_Part] = deque()
        identity = hashlib.sha256()

        def missing() -> Iterator[list[Query]]:  # taken ahead of the rows, by no more than the readers need
            for start in range(0, len(queries), self.step):
                part = self._part(queries, start, rows, result, identity, strict)
                parts.append(part)
                yield part.queries

        embedded = embed_parts(
            self.model,
            missing(),
            batch_size=self.batch_size,
            on_error="raise" if strict else "skip",
            workers=self.workers,
        )
        total = math.ceil(len(queries) / self.step)
        with closing(embedded):
            for batch in iterate_with_progress(embedded, label=label, total=total, quiet=self.quiet):
                self._keep(parts.popleft(), batch, rows, result)
        if len(queries) and not rows:
            reason = result.skipped[0]["reason"]
            raise InputError(
                label,
                found=f"none of {len(queries)} items could be embedded; the first: {reason}",
                expected="readable items",
            )
        result.kept = np.array(sorted(rows), dtype=np.int64)
        if rows:
            result.rows = np.stack([rows[index] for index in result.kept.tolist()])
        result.skipped.sort(key=itemgetter("index"))
        result.notes.sort(key=itemgetter("index"))
        result.digest = identity.hexdigest()[:32]
        return result

    def _part(
        self,
        queries: Sequence[Query],
        start: int,
        rows: dict[int, np.ndarray],
        result: Rows,
        identity: Any,
        strict: bool,
    ) -> _Part:
        """The queries from ``start`` on whose rows are not in the cache; rows that are go to ``rows``."""
        part = _Part([], [], [])
        queries_by_index: dict[int, Query] = {}
        keys: dict[int, str | None] = {}
        for index in range(start, min(start + self.step, len(queries))):
            try:
                queries_by_index[index] = queries[index]
            except InputError as error:  # a picture out of which the item is cut cannot be read
                if strict:
                    raise
                result.skipped.append({"index": index, "source": error.source, "reason": str(error)})
                result.terms.append(())
                identity.update(b"unreadable")
                continue
            terms = digests_of_terms(queries_by_index[index])
            result.terms.append(terms)
            identity.update(repr(terms).encode())
            keys[index] = self._key(queries_by_index[index])
        cached = self.cache.get([key for key in keys.values() if key is not None]) if self.cache else {}
        for index, query in queries_by_index.items():
            key = keys[index]
            hit = cached.get(key) if key is not None else None
            if hit is None or not self._usable(hit.row):
                part.missing.append(index)
                part.queries.append(query)
                part.keys.append(key)
                continue
            rows[index] = hit.row
            result.notes += [{"index": index, "source": source, "note": text} for source, text in hit.notes]
        return part

    def _keep(self, part: _Part, embedded: Embedded, rows: dict[int, np.ndarray], result: Rows) -> None:
        array = embedded.rows.detach().float().cpu().numpy()
        remarks: dict[int, list[tuple[str, str]]] = {}
        for note in embedded.notes:
            remarks.setdefault(note.index, []).append((note.source, note.text))
        fresh: dict[str, CachedRow] = {}
        for row, place in zip(array, embedded.kept, strict=True):
            index, key = part.missing[place], part.keys[place]
            rows[index] = row
            pairs = tuple(remarks.get(place, ()))
            result.notes += [{"index": index, "source": source, "note": text} for source, text in pairs]
            if key is not None:
                fresh[key] = CachedRow(row, pairs)
        for skip in embedded.skipped:
            index = part.missing[skip.index]
            result.skipped.append({"index": index, "source": skip.source, "reason": skip.reason})
        if self.cache is not None and fresh:
            self.cache.put(fresh)

    def _key(self, query: Query) -> str | None:
        if self.cache is None:
            return None
        identity = digest_of_query(query)
        if identity is None:
            return None
        modalities = {leaf.modality.value for _, leaf in query.terms if leaf.modality is not None}
        lacking = modalities - set(self.model.modalities)
        digest = "" if lacking else self.digest(modalities)
        return digest_of_values(digest, identity) if digest else None

    def _usable(self, row: np.ndarray) -> bool:
        right = row.shape == (self.model.embedding_space.width,)
        return bool(right and abs(float(np.linalg.norm(row)) - 1) < 1e-2)
