"""An index that is searched by whole queries: sums and differences of several modalities, filters, cut-offs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bindplug.bridges import AnyBridge, as_bridge, map_queries
from bindplug.encoder import Encoder
from bindplug.errors import InputError, OptionError
from bindplug.indexes import Condition, IndexInfo, IndexMatch, VectorIndex
from bindplug.models import load
from bindplug.query import Leaf, Query
from bindplug.thresholds import Cutoffs, as_cutoffs
from bindplug_search.arguments import Kinds, Where, conditions_of, kinds_of

OVERFETCH = 4
"""Rows that a search asks of the store for each file, where windows of one file count once."""

Load = Callable[[Iterable[str]], Encoder]


class Searchable:
    """Rows of any store, searched by whole queries of every kind.

    Args:
        store: where the rows are.
        load: gives a model with the towers of some modalities; the index's own model by default.
        bridge: from that model's space to the rows', where these differ; a registered one by default.

    Attributes:
        store: where the rows are.
    """

    def __init__(
        self,
        store: VectorIndex,
        *,
        load: Load | None = None,
        bridge: AnyBridge | str | Path | None = None,
    ) -> None:
        self.store = store
        self._load = load or self._own_model
        self._bridge: Any = bridge if bridge is not None else getattr(store, "bridge", None)
        self._model: Encoder | None = None

    def info(self) -> IndexInfo:
        """What the index holds."""
        return self.store.info()

    def __len__(self) -> int:
        return self.info().rows

    def model_for(self, modalities: Iterable[str]) -> Encoder:
        """The model with the towers of these modalities, and of those it was loaded with before."""
        names = set(modalities)
        if self._model is None or not names <= set(self._model.modalities):
            self._model = self._load(names | set(self._model.modalities if self._model else ()))
        return self._model

    def keep_model(self, model: Encoder) -> None:
        """Use a loaded model for the modalities that it was loaded with."""
        self._model = model

    def _own_model(self, modalities: Iterable[str]) -> Encoder:
        name = query_model(self.store)
        if not name:
            raise InputError(
                self.info().path,
                found="rows of a model that is not known",
                expected="a model",
                remedy="Say which embeds the query: open_index(path, model=...)",
            )
        return load(name, modalities=set(modalities))

    def search(
        self,
        query: Query,
        k: int = 10,
        *,
        kind: Kinds = None,
        where: Where = None,
        all_windows: bool = False,
        recenter: bool | None = None,
        min_score: float | None = None,
        cutoffs: Cutoffs | str | Path | None = None,
        exact: bool = False,
    ) -> list[IndexMatch]:
        """The rows nearest to a query, best first.

        Args:
            query: what to find, of any modalities; a sum or difference is one query.
            k: most matches to give.
            kind: a kind, or several, to look among; all by default.
            where: conditions on metadata that must all be met: a mapping for equal values, or a sequence of
                :class:`~bindplug.indexes.Condition` or texts such as ``"year>=2020"``.
            all_windows: give every window of a recording, where else its best one stands for it.
            recenter: move the sources of a query to where the rows that are searched lie on average, which makes sums
                better. By default for sums, if the model knows where rows of their modalities lie.
            min_score: leave out matches of a lower cosine.
            cutoffs: leave out matches whose cosine is not above the threshold of their kind: what
                :func:`bindplug.cutoffs` made, or its file. For a query of one source and no other space.
            exact: compare with every row, where a large index would search approximately.

        Returns:
            At most ``k`` matches; ``score`` is the cosine.

        Raises:
            InputError: no row has the metadata of a condition, or a source cannot be read.
            NoDirection: the terms of the query cancel.
            SpaceMismatch: the model lives in another space than the index, and no bridge is registered.
        """
        if k < 1:
            raise InputError("search", found=f"k={k}", expected="at least 1")
        kinds = kinds_of(kind)
        conditions = conditions_of(where)
        limits = None if cutoffs is None else self._limits(as_cutoffs(cutoffs), query, recenter)
        vector = self.vector_of(query, kinds=kinds, recenter=recenter)
        matches = self._nearest(vector, k, kinds, conditions, exact, all_windows)
        if limits is not None:
            modality = query.terms[0][1].modality or ""
            matches = [match for match in matches if match.score > limits.threshold(modality, match.kind)]
        return [match for match in matches if min_score is None or match.score >= min_score]

    def _limits(self, limits: Cutoffs, query: Query, recenter: bool | None) -> Cutoffs:
        """The cut-offs, if their promise holds for a query.

        Raises:
            SpaceMismatch: they are of another space than the index.
            InputError: they are of another score, or for a query of one source as it is.
        """
        limits.ensure(self.store.space)
        if len(query.terms) != 1 or query.terms[0][0] < 0 or query.modality is None or recenter:
            raise InputError(
                "cut-offs",
                found=f"the query {query!r}{', recentered' if recenter else ''}",
                expected="one source as it is, for which cut-offs are measured",
                remedy="For sums use min_score",
            )
        model = self.model_for({query.modality.value})
        limits.ensure(model.embedding_space)
        return limits

    def _nearest(
        self,
        vector: np.ndarray,
        k: int,
        kinds: Sequence[str],
        conditions: Sequence[Condition],
        exact: bool,
        all_windows: bool,
    ) -> list[IndexMatch]:
        limit = k if all_windows else k * OVERFETCH
        while True:
            matches = self.store.search(vector, limit, kinds=kinds, where=conditions, exact=exact)
            if all_windows:
                return matches
            best: dict[tuple[str, str], IndexMatch] = {}
            for match in matches:
                best.setdefault((match.row.path, match.row.kind), match)
            if len(best) >= k or len(matches) < limit:
                return list(best.values())[:k]
            limit *= OVERFETCH

    def vector_of(
        self, query: Query, *, kinds: Sequence[str] = (), recenter: bool | None = None
    ) -> np.ndarray:
        """The row (D,) of a query in the index's space, of unit length.

        Args:
            query: of any modalities.
            kinds: that are to be searched, for ``recenter``.
            recenter: as in :meth:`search`.
        """
        if not isinstance(query, Query):
            remedy = f"Say what it is: text({query!r})" if isinstance(query, str) else ""
            raise InputError("search", found=f"a {type(query).__name__}", expected="a query", remedy=remedy)
        leaves = [leaf for _, leaf in query.terms]
        model = self.model_for({leaf.modality.value for leaf in leaves if isinstance(leaf, Leaf)})
        of_store = self._bridge is not None and self._bridge == getattr(self.store, "bridge", None)
        needless = of_store and self.store.space.matches(model.embedding_space)
        bridge = as_bridge(
            None if needless else self._bridge,
            source=model.embedding_space,
            target=self.store.space,
            doing=f"searching {self.store.model or 'an index'}",
        )
        if recenter is None:
            centered = {"image", *model.centers} if "image" in model.centers else set(model.centers)
            names = {leaf.modality.value for leaf in leaves if leaf.modality is not None}
            all_have_kinds = all(leaf.modality is not None for leaf in leaves)
            recenter = (
                bridge is None and len(leaves) > 1 and all_have_kinds and names <= (centered | {"video"})
            )
        if recenter and bridge is not None:
            raise OptionError("recenter needs a model of the index's own space; this one takes a bridge")
        mean = torch.from_numpy(self.store.mean(kinds)) if recenter else None
        rows = map_queries(model, bridge, [query], recenter=mean, progress=False)
        vector: np.ndarray = rows[0].detach().cpu().float().numpy()
        return vector


def query_model(store: VectorIndex) -> str:
    """Name or path of the model that queries of an index are made with: its own, unless the store names another."""
    return getattr(store, "query_model", "") or store.model
