"""Queries to unit rows in the space of a pipeline: embed, recenter, blend with prototypes, cross a bridge."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from bindplug.bridges import AnyBridge, map_queries
from bindplug.errors import InputError
from bindplug.modality import Modality
from bindplug.query import embedding
from bindplug_diffusers.prototypes import Prototypes

if TYPE_CHECKING:
    from bindplug.encoder import Encoder
    from bindplug.query import Query
    from bindplug.space import EmbeddingSpace

VISION = (Modality.IMAGE, Modality.VIDEO)


@dataclass(frozen=True)
class QueryEmbedder:
    """How queries become unit rows in a pipeline's space.

    Args:
        model: embeds the queries.
        bridge: from the model's space to the pipeline's; None where they are one space.
        recenter: whether to move rows to where the model's image rows lie. None moves those queries for which the
            model has all centers.
        prototypes: images that queries of other modalities are blended with; None for none.

    Raises:
        InputError: an argument of another type.
        SpaceMismatch: the prototypes are of another space than the model.
    """

    model: Encoder
    bridge: AnyBridge | None = None
    recenter: bool | None = None
    prototypes: Prototypes | None = None

    def __post_init__(self) -> None:
        if self.recenter not in (None, True, False):
            raise InputError(
                "recenter", found=repr(self.recenter), expected="True, False, or None for the model's own"
            )
        if self.prototypes is not None:
            if not isinstance(self.prototypes, Prototypes):
                expected = "bindplug_diffusers.Prototypes, as Prototypes.from_folder(model, folder)"
                raise InputError("prototypes", found=f"a {type(self.prototypes).__name__}", expected=expected)
            self.model.embedding_space.ensure(self.prototypes.space, doing="blending queries with prototypes")

    @property
    def space(self) -> EmbeddingSpace:
        """The space of the rows."""
        return self.model.embedding_space if self.bridge is None else self.bridge.target

    def embed(self, queries: Sequence[Query]) -> Tensor:
        """(N, D) float32 unit rows, one for each query, on the model's device.

        Queries that are blended with prototypes cross the bridge as images, all others leaf by leaf.

        Raises:
            InputError: a row has NaN or infinity, or a center is missing.
            BindplugError: as :meth:`bindplug.Encoder.embed`.
        """
        blended = [
            self.prototypes is not None and any(leaf.modality not in VISION for _, leaf in query.terms)
            for query in queries
        ]
        rows = torch.zeros(len(queries), self.space.width, device=self.model.device)
        for is_blended in (False, True):
            for recenter in (None, "image"):
                indices = [
                    index
                    for index, query in enumerate(queries)
                    if blended[index] == is_blended and self._recenters(query) == (recenter is not None)
                ]
                if indices:
                    group = [queries[index] for index in indices]
                    embedded = self._blend(group, recenter) if is_blended else self._map(group, recenter)
                    ensure_finite(embedded, group)
                    rows[indices] = embedded
        return rows

    def _map(self, queries: Sequence[Query], recenter: str | None) -> Tensor:
        return map_queries(self.model, self.bridge, queries, recenter=recenter)

    def _blend(self, queries: Sequence[Query], recenter: str | None) -> Tensor:
        assert self.prototypes is not None
        rows = self.model.embed(queries, recenter=recenter)
        ensure_finite(rows, queries)
        rows = self.prototypes.blend(rows)
        if self.bridge is None:
            return rows
        space = self.model.embedding_space
        return self._map([embedding(row, space, modality="image") for row in rows], None)

    def _recenters(self, query: Query) -> bool:
        if self.recenter is not None:
            return self.recenter
        centers = getattr(self.model, "centers", {})
        names = {*centers, *(("video",) if "image" in centers else ())}
        return "image" in centers and all(
            leaf.modality is not None and leaf.modality.value in names for _, leaf in query.terms
        )


def ensure_finite(rows: Tensor, queries: Sequence[Query]) -> None:
    """Check the rows of queries, (N, D).

    Raises:
        InputError: a row has NaN or infinity; the message names its query.
    """
    bad = (~rows.isfinite().all(dim=1)).nonzero().flatten().tolist()
    if bad:
        raise InputError(
            f"query {bad[0]} ({queries[bad[0]]!r})",
            found="NaN or infinity in its embedding",
            expected="finite numbers",
            remedy="Check the source, or load the model in float32",
        )
