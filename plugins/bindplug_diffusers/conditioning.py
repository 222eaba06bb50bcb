"""From a request to what enters the pipeline's slots."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from bindplug.errors import InputError, SpaceMismatch, UnsupportedTarget
from bindplug.query import Query
from bindplug_diffusers.batching import Batch
from bindplug_diffusers.entrances import Conditions, Entrance, Slot, SlotRows
from bindplug_diffusers.query_embedder import QueryEmbedder
from bindplug_diffusers.request import Request
from bindplug_diffusers.strength import strengths_of

LIKELY_CLIPS = {
    768: "ViT-L/14, as open_clip:ViT-L-14:openai",
    1024: "ViT-H/14, as open_clip:ViT-H-14:laion2b_s32b_b79k",
    1280: "ViT-bigG/14, as open_clip:ViT-bigG-14:laion2b_s39b_b160k",
}
"""CLIP models of published pipelines by the width of their embeddings."""


@dataclass(frozen=True)
class Conditioner:
    """Makes the conditions of one call.

    Args:
        entrance: where the rows enter.
        embedder: makes rows of queries.
        strength: of queries for which the request gives none.
        norm: length of a row at strength 1; None for the entrance's own.
    """

    entrance: Entrance
    embedder: QueryEmbedder
    strength: float
    norm: float | None

    def conditions(self, request: Request, batch: Batch, *, is_guided: bool) -> Conditions:
        """What enters each slot in a call.

        Raises:
            InputError: strengths of another count than queries, or rows that are not finite.
            UnsupportedTarget: a query is for a slot that takes none.
        """
        strength = self.strength if request.strength is None else request.strength
        # one list of queries for several slots is embedded once
        rows = {id(queries): self._rows(queries, strength, batch) for queries in request.query_lists}
        negative = self._rows(request.negative, self.strength, batch)
        slots = [
            self._slot_rows(number, slot, request, batch, rows, negative)
            for number, slot in enumerate(self.entrance.slots)
        ]
        norm = request.norm or self.norm or self.entrance.norm
        return Conditions(slots, norm, is_guided, request.count > 1, batch.pictures)

    def _slot_rows(
        self,
        number: int,
        slot: Slot,
        request: Request,
        batch: Batch,
        rows: dict[int, Tensor],
        negative: Tensor,
    ) -> SlotRows:
        entry = request.slots.get(number, ())
        zeros = batch.rows(torch.zeros(1, slot.width))
        if isinstance(entry, Tensor):
            return SlotRows(entry, zeros, is_native=True)
        if slot.refusal:
            raise slot_refusal(self.entrance.pipe, number, slot)
        if not entry:
            return SlotRows(zeros, zeros)
        return SlotRows(rows[id(entry)], negative if request.negative else zeros)

    def _rows(self, queries: Sequence[Query], strength: Any, batch: Batch) -> Tensor:
        """(B, D) unit rows times their strength. Queries without terms or strength are zeros."""
        if not queries:
            return torch.zeros(0)
        strengths = strengths_of(strength, len(queries))
        rows = torch.zeros(len(queries), self.embedder.space.width)
        present = [i for i, (q, s) in enumerate(zip(queries, strengths, strict=True)) if q.terms and s > 0]
        if present:
            rows[present] = self.embedder.embed([queries[i] for i in present]).to("cpu", torch.float32)
        return batch.rows(rows * torch.tensor(strengths)[:, None])


def check_widths(entrance: Entrance, embedder: QueryEmbedder, slots: Sequence[int]) -> None:
    """Check that slots take rows of the embedder's space.

    Raises:
        InputError: there is no slot of that number.
        UnsupportedTarget: a slot takes no pooled embedding.
        SpaceMismatch: a slot takes embeddings of another width.
    """
    for number in slots:
        if number not in range(len(entrance.slots)):
            expected = f"one of {list(range(len(entrance.slots)))}"
            raise InputError("pipe()", found=f"a query for IP-Adapter {number}", expected=expected)
        slot = entrance.slots[number]
        if slot.refusal:
            raise slot_refusal(entrance.pipe, number, slot)
        if slot.width != embedder.space.width:
            likely = f" ({LIKELY_CLIPS[slot.width]}, for example)" if slot.width in LIKELY_CLIPS else ""
            raise SpaceMismatch(
                f"this {type(entrance.pipe).__name__} takes embeddings of {slot.width} numbers{likely}, and queries "
                f"are embedded in {embedder.space}. Map them with a bridge to the pipeline's CLIP: "
                f"bindplug bridge fit ... -o my-bridge, then upgrade(pipe, model, bridge='my-bridge')"
            )


def slot_refusal(pipe: Any, number: int, slot: Slot) -> UnsupportedTarget:
    """The error for a query that is for a slot without a pooled embedding."""
    return UnsupportedTarget(
        f"IP-Adapter {number} of this {type(pipe).__name__} is {slot.refusal}, and a query is one pooled embedding. "
        f"Name the adapters that a query is for, and pass tensors in the pipeline's own form for the others: "
        f"pipe({{0: query, 1: tensor}})"
    )
