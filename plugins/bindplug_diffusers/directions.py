"""From queries to unit rows in the pipeline's space: embed, close the modality gap, cross the bridge."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from bindplug.errors import InputError
from bindplug.modality import Modality
from bindplug_diffusers.prototypes import Prototypes

if TYPE_CHECKING:
    from bindplug.encoder import Encoder
    from bindplug.query import Query
    from bindplug.space import EmbeddingSpace

VISION = (Modality.IMAGE, Modality.VIDEO)


@dataclass(frozen=True)
class Directions:
    """How queries become directions.

    Args:
        model: embeds them.
        bridge: maps the model's unit rows to the pipeline's space; None where the spaces are one.
        recenter: move rows to where the model's image rows lie: always, never, or (None) where the model ships the
            centers that a query needs.
        prototypes: images to lead queries of other modalities to.
    """

    model: Encoder
    bridge: Any = None
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
            self.model.embedding_space.ensure(self.prototypes.space, doing="leading queries to prototypes")

    @property
    def space(self) -> EmbeddingSpace:
        """Where the rows live."""
        return self.model.embedding_space if self.bridge is None else self.bridge.target

    def of(self, queries: Sequence[Query]) -> Tensor:
        """(N, D) float32 unit rows, one a query, on the model's device.

        Raises:
            InputError: the model makes NaN or infinity of a query, or a center is missing.
            BindplugError: as :meth:`bindplug.Encoder.embed`.
        """
        recentered = [self._recenters(query) for query in queries]
        rows = self._embedded(queries, recentered)
        _ensure_finite(rows, queries)
        imagelike = list(recentered)
        if self.prototypes is not None:
            led = [not all(leaf.modality in VISION for _, leaf in query.terms) for query in queries]
            rows = torch.where(
                torch.tensor(led, device=rows.device)[:, None], self.prototypes.blend(rows), rows
            )
            imagelike = [a or b for a, b in zip(recentered, led, strict=True)]
        if self.bridge is not None:
            rows = self.bridge(rows, modality=[_named(q, i) for q, i in zip(queries, imagelike, strict=True)])
            _ensure_finite(rows, queries)
        return rows

    def _embedded(self, queries: Sequence[Query], recentered: Sequence[bool]) -> Tensor:
        if not any(recentered):
            return self.model.embed(queries)
        if all(recentered):
            return self.model.embed(queries, recenter="image")
        moved = self.model.embed([q for q, r in zip(queries, recentered, strict=True) if r], recenter="image")
        unmoved = self.model.embed([q for q, r in zip(queries, recentered, strict=True) if not r])
        sources = {True: iter(moved), False: iter(unmoved)}
        return torch.stack([next(sources[is_moved]) for is_moved in recentered])

    def _recenters(self, query: Query) -> bool:
        if self.recenter is not None:
            return self.recenter
        centers: Mapping[str, Tensor] = getattr(self.model, "centers", {})
        known = {*centers, *(("video",) if "image" in centers else ())}
        return "image" in centers and all(
            leaf.modality is not None and leaf.modality.value in known for _, leaf in query.terms
        )


def _named(query: Query, imagelike: bool) -> str:
    return "image" if imagelike or query.modality is None else query.modality.value


def _ensure_finite(rows: Tensor, queries: Sequence[Query]) -> None:
    bad = (~rows.isfinite().all(dim=1)).nonzero().flatten().tolist()
    if bad:
        raise InputError(
            f"query {bad[0]} ({queries[bad[0]]!r})",
            found="NaN or infinity in its embedding",
            expected="finite numbers",
            remedy="Check the source, or load the model in float32",
        )
