"""The one road of queries into another space.

Every leaf of a query is embedded and mapped by its own modality. The rows of a text-trained space share a large
mean, on which classifiers are calibrated: a mapped leaf is a unit row ``y = m + d`` with that mean ``m``. The mean
is subtracted before the weighted sum and added after it, so that a difference of two leaves keeps it:
``normalize(m + r * D / |D|)``, where ``D = sum(w d)`` and ``r`` is the mean length of the ``d``, weighted by ``|w|``.
A single leaf of positive weight comes out as the bridge maps it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor

from bindplug.bridges.protocol import AnyBridge
from bindplug.centers import shift_between
from bindplug.encoder import Encoder
from bindplug.errors import InputError, NoDirection
from bindplug.modality import Modality
from bindplug.query import CANCELLED, AnyLeaf, Query
from bindplug.sums import CANCELLATION_NORM, unit, weighted_sum


def map_queries(
    model: Encoder,
    bridge: AnyBridge | None,
    queries: Query | Sequence[Query],
    *,
    recenter: str | Tensor | None = None,
    batch_size: int = 32,
    progress: bool | None = None,
    workers: int | None = None,
) -> Tensor:
    """Rows of queries in the space that a bridge leads to.

    Each distinct leaf is read, embedded and mapped once.

    Args:
        model: embeds the leaves.
        bridge: from the model's space to the target space. None if the target space is the model's: the rows are
            then ``model.embed(queries, recenter=recenter)``.
        queries: N queries, or one.
        recenter: the name of a modality, usually ``"image"``: every leaf is moved to where the model's rows of
            that modality lie and is mapped as one of them. Without a bridge also a mean row (D,), as in
            :meth:`Encoder.embed`. None maps every leaf as its own modality.
        batch_size, progress, workers: as in :meth:`Encoder.embed`.

    Returns:
        (N, D_target) float32 unit rows on the model's device.

    Raises:
        SpaceMismatch: the model lives in another space than the bridge starts from.
        InputError: something that is no query, or a center is missing for ``recenter``.
        ModalityNotLoaded: a query needs a tower that was not loaded.
        NoDirection: the terms of a query cancel, or the bridge maps a leaf to nothing.
    """
    if bridge is None:
        return model.embed(
            queries, recenter=recenter, batch_size=batch_size, progress=progress, workers=workers
        )
    bridge.source.ensure(model.embedding_space, doing=f"a bridge to {bridge.target.name!r}")
    several = [queries] if isinstance(queries, Query) else list(queries)
    leaves = distinct_leaves(several)
    rows, modalities = embed_leaves(
        model, bridge, leaves, recenter=recenter, batch_size=batch_size, progress=progress, workers=workers
    )
    target_rows = map_leaves(bridge, leaves, rows, modalities)
    if not several:
        return torch.empty(0, bridge.target.width, device=model.device)
    return torch.stack([compose(query, target_rows, bridge.target_mean) for query in several])


def distinct_leaves(queries: Iterable[Query]) -> list[AnyLeaf]:
    """The leaves of queries, each once, in the order in which they first occur.

    Raises:
        InputError: an item is no query.
        NoDirection: the terms of a query cancel.
    """
    leaves: dict[AnyLeaf, None] = {}
    for index, query in enumerate(queries):
        if not isinstance(query, Query):
            problem = f"a {type(query).__name__}"
            remedy = f"Say what it is: text({query!r})" if isinstance(query, str) else ""
            raise InputError(f"queries: item {index}", found=problem, expected="a query", remedy=remedy)
        if not query.terms:
            raise NoDirection(f"queries: item {index}: {CANCELLED}")
        leaves.update((leaf, None) for _, leaf in query.terms)
    return list(leaves)


def embed_leaves(
    model: Encoder,
    bridge: AnyBridge,
    leaves: Sequence[AnyLeaf],
    *,
    recenter: str | Tensor | None = None,
    batch_size: int = 32,
    progress: bool | None = None,
    workers: int | None = None,
) -> tuple[Tensor, list[str]]:
    """Unit rows of leaves in the model's space, and the modality that the bridge is to map each one as.

    A leaf of a modality for which the bridge has no center is moved to where the model's text lies, if the model
    knows both centers, and counts as text.

    Args:
        model: embeds them.
        bridge: that they are to cross.
        leaves: L of them.
        recenter: the name of a modality to move every leaf to; each then counts as one of that modality.
        batch_size, progress, workers: as in :meth:`Encoder.embed`.

    Returns:
        (L, D_source) float32 unit rows on the model's device, and L names of modalities.

    Raises:
        InputError: ``recenter`` names a modality, and a center that it needs is not known.
    """
    if recenter is not None:
        if not isinstance(recenter, str):
            raise InputError(
                "recenter",
                found=f"a {type(recenter).__name__} with a bridge",
                expected="the name of a modality, by whose center the bridge maps",
            )
        modalities = [Modality.parse(recenter).value] * len(leaves)
        moved = [leaf.modality is None or leaf.modality.value != modalities[0] for leaf in leaves]
        destination = modalities[0]
    else:
        towers = {Modality.parse(name).tower for name in bridge.modalities} | {Modality.TEXT.tower}
        as_text = [leaf.modality is None or leaf.modality.tower not in towers for leaf in leaves]
        modalities = [
            "text" if plain or leaf.modality is None else leaf.modality.value
            for plain, leaf in zip(as_text, leaves, strict=True)
        ]
        moved = [
            plain and can_recenter(model, leaf, "text") for plain, leaf in zip(as_text, leaves, strict=True)
        ]
        destination = "text"
    # Before anything is read, so that a missing center costs nothing.
    shifts = {
        index: shift_between(model.centers, leaf.modality, destination)
        for index, leaf in enumerate(leaves)
        if moved[index]
    }
    if not leaves:
        return torch.empty(0, bridge.source.width, device=model.device), modalities
    queries = [Query([(1.0, leaf)]) for leaf in leaves]
    rows = model.embed(queries, batch_size=batch_size, progress=progress, workers=workers).detach().float()
    for index, shift in shifts.items():
        rows[index] = unit(rows[index] + shift.to(rows))
    return rows, modalities


def map_leaves(
    bridge: AnyBridge, leaves: Sequence[AnyLeaf], rows: Tensor, modalities: Sequence[str]
) -> dict[AnyLeaf, Tensor]:
    """Rows of leaves across a bridge: for each leaf (D_target,) of unit length.

    Args:
        bridge: from the rows' space.
        leaves: L of them.
        rows: (L, D_source), one for each leaf; :func:`embed_leaves` returns them.
        modalities: what the bridge maps each row as.
    """
    if not leaves:
        return {}
    target_rows = bridge(rows, modality=list(modalities)).detach().float()
    return dict(zip(leaves, target_rows, strict=True))


def compose(query: Query, rows: Mapping[AnyLeaf, Tensor], mean: Tensor | None = None) -> Tensor:
    """The unit row (D,) of a query from the unit rows of its leaves, by the formula at the top of this module.

    Args:
        query: names the leaves and their weights.
        rows: for each leaf its unit row (D,), already in the space of the result.
        mean: (D,) that the rows of the space share; None for a plain weighted sum, as in :meth:`Encoder.embed`.

    Raises:
        NoDirection: the terms cancel.
    """
    if len(query.terms) == 1 and query.terms[0][0] > 0:
        return rows[query.terms[0][1]]
    if mean is None:
        return weighted_sum(query, rows)
    term_rows = torch.stack([rows[leaf] for _, leaf in query.terms])  # (T, D)
    offsets = term_rows - mean.to(term_rows)
    weights = torch.tensor([weight for weight, _ in query.terms], dtype=torch.float64)
    weights = (weights / weights.abs().max()).to(
        term_rows
    )  # (T,), the heaviest 1: no weight over- or underflows
    total = weights @ offsets  # (T,) @ (T, D) -> (D,)
    if not total.norm() > CANCELLATION_NORM:
        raise NoDirection(f"{query!r}: {CANCELLED}")
    reach = (weights.abs() @ offsets.norm(dim=1)) / weights.abs().sum()
    return unit(mean.to(total) + reach * total / total.norm())


def can_recenter(model: Encoder, leaf: AnyLeaf, target: str) -> bool:
    """Whether the model knows where rows of the leaf's modality lie and where those of ``target`` do.

    A video counts as an image where the model has no center for videos. False for a leaf of that modality itself,
    which needs no move.
    """
    if leaf.modality is None or leaf.modality.value == target or target not in model.centers:
        return False
    names = ("video", "image") if leaf.modality is Modality.VIDEO else (leaf.modality.value,)
    return any(name in model.centers for name in names)
