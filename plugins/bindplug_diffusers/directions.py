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
        recentre: move rows to where the model's image rows lie: always, never, or (None) where the model ships the
            centres that a query needs.
        prototypes: images to lead queries of other modalities to.
    """

    model: Encoder
    bridge: Any = None
    recentre: bool | None = None
    prototypes: Prototypes | None = None

    def __post_init__(self) -> None:
        if self.recentre not in (None, True, False):
            raise InputError(
                "recentre", found=repr(self.recentre), expected="True, False, or None for the model's own"
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
            InputError: the model makes NaN or infinity of a query, or a centre is missing.
            BindplugError: as :meth:`bindplug.Encoder.embed`.
        """
        recentred = [self._recentres(query) for query in queries]
        rows = self._embedded(queries, recentred)
        _ensure_finite(rows, queries)
        imagelike = list(recentred)
        if self.prototypes is not None:
            led = [not all(leaf.modality in VISION for _, leaf in query.terms) for query in queries]
            rows = torch.where(
                torch.tensor(led, device=rows.device)[:, None], self.prototypes.blend(rows), rows
            )
            imagelike = [a or b for a, b in zip(recentred, led, strict=True)]
        if self.bridge is not None:
            rows = self.bridge(rows, modality=[_named(q, i) for q, i in zip(queries, imagelike, strict=True)])
            _ensure_finite(rows, queries)
        return rows

    def _embedded(self, queries: Sequence[Query], recentred: Sequence[bool]) -> Tensor:
        if not any(recentred):
            return self.model.embed(queries)
        if all(recentred):
            return self.model.embed(queries, recentre="image")
        moved = self.model.embed([q for q, r in zip(queries, recentred, strict=True) if r], recentre="image")
        unmoved = self.model.embed([q for q, r in zip(queries, recentred, strict=True) if not r])
        sources = {True: iter(moved), False: iter(unmoved)}
        return torch.stack([next(sources[is_moved]) for is_moved in recentred])

    def _recentres(self, query: Query) -> bool:
        if self.recentre is not None:
            return self.recentre
        centres: Mapping[str, Tensor] = getattr(self.model, "centres", {})
        known = {*centres, *(("video",) if "image" in centres else ())}
        return "image" in centres and all(
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
