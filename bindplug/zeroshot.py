"""Zero-shot classification and ranking on top of any encoder."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from bindplug.encoder import Encoder, Template
from bindplug.errors import InputError
from bindplug.query import Query, embedding
from bindplug.templates import GENERIC_TEMPLATES, OPENAI_IMAGENET_TEMPLATES, SIMPLE_IMAGENET_TEMPLATES
from bindplug.thresholds import Cutoffs, as_cutoffs, space_of

__all__ = [
    "GENERIC_TEMPLATES",
    "NONE_OF_THESE",
    "OPENAI_IMAGENET_TEMPLATES",
    "SIMPLE_IMAGENET_TEMPLATES",
    "Ranked",
    "Ranking",
    "class_queries",
    "classify",
    "rank",
    "zero_shot_classifier",
]

NONE_OF_THESE = "none of these"
"""Label of the first entry where no class scores above its cut-off."""


@dataclass(frozen=True)
class Ranked:
    """A candidate in a ranking.

    Attributes:
        label: the class name, or the candidate query as text; :data:`NONE_OF_THESE` if no class is above its cut-off.
        index: its place among the candidates given; -1 for :data:`NONE_OF_THESE`.
        score: cosine with the query, in [-1, 1]; for :data:`NONE_OF_THESE` the cut-off.
        probability: softmax over all candidates given, also where only the first few are kept; 0 for
            :data:`NONE_OF_THESE`, which takes no part in it.
    """

    label: str
    index: int
    score: float
    probability: float


@dataclass(frozen=True)
class Ranking:
    """Candidates for one query.

    Attributes:
        query: what they were compared with.
        entries: best first; at least one.
    """

    query: Query
    entries: tuple[Ranked, ...]

    @property
    def best(self) -> Ranked:
        """The first entry."""
        return self.entries[0]

    @property
    def is_none_of_these(self) -> bool:
        """Whether no class scores above its cut-off."""
        return self.best.index < 0

    @property
    def labels(self) -> tuple[str, ...]:
        """Labels, best first."""
        return tuple(entry.label for entry in self.entries)

    def __str__(self) -> str:
        lines = [f"{entry.probability:7.1%}  {entry.label}" for entry in self.entries]
        return "\n".join([f"{self.query!r}", *lines])


def zero_shot_classifier(
    model: Encoder,
    classnames: Sequence[str],
    templates: Sequence[Template] = OPENAI_IMAGENET_TEMPLATES,
    *,
    batch_size: int = 256,
    progress: bool | None = None,
) -> Tensor:
    """(D, C) weights of a linear classifier made from class names; see :meth:`Encoder.zero_shot_classifier`."""
    return model.zero_shot_classifier(classnames, templates, batch_size=batch_size, progress=progress)


def class_queries(
    model: Encoder,
    classnames: Sequence[str],
    templates: Sequence[Template] = GENERIC_TEMPLATES,
    *,
    batch_size: int = 256,
    progress: bool | None = None,
) -> list[Query]:
    """A query for each class name, as :func:`classify` compares with it: the mean of its prompts' rows.

    Arguments and errors are those of :meth:`Encoder.zero_shot_classifier`.
    """
    columns = model.zero_shot_classifier(classnames, templates, batch_size=batch_size, progress=progress).T
    return [embedding(row, model.embedding_space, modality="text") for row in columns]


def classify(
    model: Encoder,
    queries: Sequence[Query] | Query,
    classnames: Sequence[str],
    templates: Sequence[Template] = GENERIC_TEMPLATES,
    *,
    top_k: int | None = None,
    scale: float | None = None,
    none_of_these: Cutoffs | str | os.PathLike[str] | None = None,
    batch_size: int = 32,
    progress: bool | None = None,
) -> list[Ranking]:
    """Rank class names for every query, of whatever modality.

    Args:
        model: the encoder.
        queries: N queries, or one.
        classnames: C names.
        templates: prompts with ``{}`` for the name; the default suits every modality, photos do better with
            :data:`OPENAI_IMAGENET_TEMPLATES` at 80 prompts a class.
        top_k: keep this many of the best; all by default.
        scale: factor on cosines instead of the modalities' own, see :meth:`Encoder.similarity`.
        none_of_these: cut-offs from :func:`bindplug.cutoffs`, or their file. A query of which no class scores above
            the cut-off of its modality gets a first entry :data:`NONE_OF_THESE`.
        batch_size, progress: as in :meth:`Encoder.embed`.

    Returns:
        N rankings.

    Raises:
        InputError: no names, no templates, something that is no query, ``top_k`` below 1, or no cut-off for a query's
            modality.
        SpaceMismatch: the cut-offs are of another model's space.

    Warns:
        DifferentData: the queries or the classes differ visibly from those of the cut-offs.
    """
    several = _listed(queries)
    limits = None if none_of_these is None else as_cutoffs(none_of_these)
    if limits is not None:
        limits.ensure(space_of(model))
        for query in several:
            limits.pair("text", _modality_of(query))
    classes = class_queries(model, classnames, templates, batch_size=batch_size, progress=progress)
    return _rankings(
        model, several, classes, list(classnames), top_k, scale, batch_size, progress, limits=limits
    )


def none_mask(
    limits: Cutoffs, modalities: Sequence[str], rows: Tensor, class_rows: Tensor, cosines: Tensor
) -> list[float | None]:
    """For each row the cut-off that none of its cosines exceeds; None where one does.

    Args:
        limits: of the rows' space.
        modalities: of each of N rows.
        rows: (N, D) unit rows.
        class_rows: (C, D) unit rows of the classes.
        cosines: (N, C).

    Warns:
        DifferentData: rows of a modality, or the classes, differ visibly from those of the cut-offs.
    """
    best = cosines.detach().double().cpu().amax(1)
    result: list[float | None] = [None] * len(modalities)
    for modality in dict.fromkeys(modalities):
        threshold = limits.threshold("text", modality)
        places = [index for index, other in enumerate(modalities) if other == modality]
        limits.warn("text", modality, best[places], rows=rows[places], query_rows=class_rows, stacklevel=4)
        for index in places:
            if not best[index] > threshold:
                result[index] = threshold
    return result


def _modality_of(query: Query) -> str:
    modality = query.modality if isinstance(query, Query) else None
    if modality is None:
        raise InputError(
            "classify()", found="a query whose modality is not known", expected="one, to choose its cut-off"
        )
    return modality.value


def rank(
    model: Encoder,
    query: Query,
    candidates: Sequence[Query],
    *,
    top_k: int | None = None,
    scale: float | None = None,
    batch_size: int = 32,
    progress: bool | None = None,
) -> Ranking:
    """Rank candidate queries, e.g. files of any modality, by how well each fits ``query``.

    Args:
        model: the encoder.
        query: what they are compared with.
        candidates: at least one; their labels are their ``repr``.
        top_k, scale, batch_size, progress: as in :func:`classify`.

    Raises:
        InputError, ModalityNotLoaded, NoDirection, SpaceMismatch: as :meth:`Encoder.embed`; or there are no candidates.
    """
    labels = [repr(candidate) for candidate in candidates]
    return _rankings(model, [query], list(candidates), labels, top_k, scale, batch_size, progress)[0]


def _rankings(
    model: Encoder,
    queries: list[Query],
    candidates: list[Query],
    labels: list[str],
    top_k: int | None,
    scale: float | None,
    batch_size: int,
    progress: bool | None,
    *,
    limits: Cutoffs | None = None,
) -> list[Ranking]:
    if not candidates:
        raise InputError("ranking", found="no candidates", expected="at least one")
    if top_k is not None and top_k < 1:
        raise InputError("ranking", found=f"top_k={top_k}", expected="at least 1")
    rows = model.embed([*queries, *candidates], batch_size=batch_size, progress=progress)
    mine, theirs = rows[: len(queries)], rows[len(queries) :]
    cosines = model.scores(mine, theirs)
    factors = model.scales(queries, candidates) if scale is None else scale
    probabilities = (cosines * factors).softmax(-1)
    count = min(top_k or len(candidates), len(candidates))
    none: list[float | None] = [None] * len(queries)
    if limits is not None and queries:
        none = none_mask(limits, [_modality_of(query) for query in queries], mine, theirs, cosines)
    return [
        Ranking(
            query,
            _none_entry(none[i])
            + tuple(
                Ranked(labels[j], j, cosines[i, j].item(), probabilities[i, j].item())
                for j in cosines[i].argsort(descending=True, stable=True)[:count].tolist()
            ),
        )
        for i, query in enumerate(queries)
    ]


def _none_entry(threshold: float | None) -> tuple[Ranked, ...]:
    return () if threshold is None else (Ranked(NONE_OF_THESE, -1, threshold, 0.0),)


def _listed(queries: Sequence[Query] | Query) -> list[Query]:
    return [queries] if isinstance(queries, Query) else list(queries)
