"""Zero-shot classification and ranking on top of any encoder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from bindplug.encoder import Encoder, Template
from bindplug.errors import InputError
from bindplug.query import Query, embedding
from bindplug.templates import GENERIC_TEMPLATES, OPENAI_IMAGENET_TEMPLATES, SIMPLE_IMAGENET_TEMPLATES

__all__ = [
    "GENERIC_TEMPLATES",
    "OPENAI_IMAGENET_TEMPLATES",
    "SIMPLE_IMAGENET_TEMPLATES",
    "Ranked",
    "Ranking",
    "classify",
    "rank",
    "zero_shot_classifier",
]


@dataclass(frozen=True)
class Ranked:
    """A candidate in a ranking.

    Attributes:
        label: the class name, or the candidate query as text.
        index: its place among the candidates given.
        score: cosine with the query, in [-1, 1].
        probability: softmax over all candidates given, also where only the first few are kept.
    """

    label: str
    index: int
    score: float
    probability: float


@dataclass(frozen=True)
class Ranking:
    """Candidates for one query, best first."""

    query: Query
    entries: tuple[Ranked, ...]

    @property
    def best(self) -> Ranked:
        """The first entry."""
        return self.entries[0]

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


def classify(
    model: Encoder,
    queries: Sequence[Query] | Query,
    classnames: Sequence[str],
    templates: Sequence[Template] = GENERIC_TEMPLATES,
    *,
    top_k: int | None = None,
    scale: float | None = None,
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
        batch_size, progress: as in :meth:`Encoder.embed`.

    Returns:
        N rankings.

    Raises:
        InputError: no names, no templates, something that is no query, or ``top_k`` below 1.
    """
    columns = model.zero_shot_classifier(classnames, templates, batch_size=batch_size, progress=progress).T
    classes = [embedding(row, model.embedding_space, modality="text") for row in columns]
    return _rankings(model, _listed(queries), classes, list(classnames), top_k, scale, batch_size, progress)


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

    Arguments and errors are those of :func:`classify`.
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
    kept = min(top_k or len(candidates), len(candidates))
    return [
        Ranking(
            query,
            tuple(
                Ranked(labels[j], j, cosines[i, j].item(), probabilities[i, j].item())
                for j in cosines[i].argsort(descending=True, stable=True)[:kept].tolist()
            ),
        )
        for i, query in enumerate(queries)
    ]


def _listed(queries: Sequence[Query] | Query) -> list[Query]:
    return [queries] if isinstance(queries, Query) else list(queries)
