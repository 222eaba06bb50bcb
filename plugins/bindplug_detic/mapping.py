"""From leaves to rows of the detector's space: each leaf by its own modality, then the weighted sum."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from bindplug.encoder import Encoder
from bindplug.errors import NoDirection
from bindplug.modality import Modality
from bindplug.query import CANCELLED, AnyLeaf, Query

VANISHED = 1e-6
"""A weighted sum shorter than this is float noise and no direction."""


def mapped_leaves(bridge: Any, model: Encoder, leaves: Sequence[AnyLeaf]) -> Tensor:
    """Leaves embedded by the model and mapped, each by the center of its own modality.

    A modality for which the bridge has no center is first moved to where the model's text lies, if the model knows
    both centers, and then mapped as text.

    Args:
        bridge: called as ``bridge(rows, modality=[...])``.
        model: of the bridge's source space.
        leaves: L of them.

    Returns:
        (L, D_target) float32 unit rows on the CPU.
    """
    known = {Modality.parse(name).tower for name in getattr(bridge, "modalities", ())} | {Modality.TEXT.tower}
    as_text = [leaf.modality is None or leaf.modality.tower not in known for leaf in leaves]
    rows = embedded_leaves(model, leaves, recentered=as_text)
    names = [
        "text" if plain or leaf.modality is None else leaf.modality.value
        for plain, leaf in zip(as_text, leaves, strict=True)
    ]
    return bridge(rows, modality=names).detach().float().cpu()


def embedded_leaves(
    model: Encoder, leaves: Sequence[AnyLeaf], recentered: Sequence[bool] | None = None
) -> Tensor:
    """(L, D) unit rows of leaves on the CPU, moved to where text lies where asked and the centers are known.

    Args:
        model: embeds them.
        leaves: L of them.
        recentered: for each, whether to move it; all of them for None.
    """
    moves = [
        asked and movable(model, leaf)
        for asked, leaf in zip(recentered or [True] * len(leaves), leaves, strict=True)
    ]
    rows: list[Tensor | None] = [None] * len(leaves)
    for move in (False, True):
        chosen = [i for i, moved in enumerate(moves) if moved is move]
        if chosen:
            queries = [Query([(1.0, leaves[i])]) for i in chosen]
            made = model.embed(queries, recenter="text" if move else None)
            for i, row in zip(chosen, made.detach().float().cpu(), strict=True):
                rows[i] = row
    return torch.stack([row for row in rows if row is not None])


def compose(query: Query, rows: Mapping[AnyLeaf, Tensor], mean: Tensor | None) -> Tensor:
    """The unit row (D,) of a query from the unit rows of its leaves; see :meth:`Router.rows`.

    Args:
        query: names the leaves and their weights.
        rows: (D,) for each leaf.
        mean: (D,) that the rows of the space share; None for none.

    Raises:
        NoDirection: the terms cancel.
    """
    if len(query.terms) == 1 and query.terms[0][0] > 0:
        return rows[query.terms[0][1]]
    weights = torch.tensor([weight for weight, _ in query.terms])
    weights = weights / weights.abs().max()
    stacked = torch.stack([rows[leaf] for _, leaf in query.terms])
    offsets = stacked if mean is None else stacked - mean.to(stacked)
    total = weights @ offsets
    if not total.norm() > VANISHED:
        raise NoDirection(f"{query!r}: {CANCELLED}")
    if mean is None:
        return torch.nn.functional.normalize(total, dim=0)
    reach = (weights.abs() @ offsets.norm(dim=1)) / weights.abs().sum()
    return torch.nn.functional.normalize(mean.to(total) + reach * total / total.norm(), dim=0)


def movable(model: Encoder, leaf: AnyLeaf) -> bool:
    """Whether the model knows where its text and the leaf's modality lie, so that the leaf can be moved there."""
    if leaf.modality is None or leaf.modality is Modality.TEXT or "text" not in model.centers:
        return False
    kin = ("video", "image") if leaf.modality is Modality.VIDEO else (leaf.modality.value,)
    return any(name in model.centers for name in kin)
