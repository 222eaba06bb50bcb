"""From queries and items that hold none of them to cut-offs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from bindplug.encoder import Encoder
from bindplug.errors import InputError
from bindplug.query import Query
from bindplug.space import EmbeddingSpace
from bindplug.thresholds.bounds import (
    check_promise,
    exact_interval,
    least_sample_size,
    most_above,
    rate_interval,
)
from bindplug.thresholds.pair import QUANTILES, PairCutoff, sketch
from bindplug.thresholds.table import COSINE, Cutoffs, modalities_of


@runtime_checkable
class Scorer(Protocol):
    """A tool with a score of its own, such as a detector.

    Attributes:
        score_name: of the score, so that cut-offs of one tool are not used by another.
        score_space: the space that tells which weights the scores come from.
    """

    score_name: str

    @property
    def score_space(self) -> EmbeddingSpace:
        """The space that tells which weights the scores come from."""

    def match_scores(self, known: Sequence[Query], items: Sequence[Any]) -> tuple[Tensor, list[str]]:
        """(N, C) scores of N items for C queries, and the modality of each item."""


def cutoffs(
    model: Encoder | Scorer,
    known: Sequence[Query],
    absent: Sequence[Any],
    *,
    fpr: float = 0.01,
    bound: str = "conformal",
    confidence: float = 0.95,
    present: Sequence[Any] | None = None,
    batch_size: int = 32,
    progress: bool | None = None,
) -> Cutoffs:
    """The scores from which on a match is a match, a pair of modalities at a time.

    An absent item's score is its highest over the known queries of a modality, as in classification. The threshold
    is one of these scores, so chosen that a further item of the same kind, which holds none of the known either,
    scores above it with a probability of at most ``fpr``: for any of the known, so all the more for one of them.

    Args:
        model: an encoder, whose score is the cosine, or a tool with a score of its own (a :class:`Scorer`).
        known: C queries that will be looked for; classes as ``class_queries(model, names)`` has them.
        absent: N queries for items that hold none of the known, varied as the data to judge are; an upgraded
            detector takes pictures.
        fpr: the highest rate of false positives.
        bound: ``"conformal"`` keeps the rate on average over samples of absent items, and needs 1 / fpr - 1 of them
            a modality; ``"binomial"`` keeps it in a share ``confidence`` of all samples, and needs about 3 / fpr.
        confidence: of the binomial bound.
        present: items that each hold something known, to report how many of them the cut-off keeps.
        batch_size, progress: as in :meth:`Encoder.embed`.

    Returns:
        The cut-offs, for each modality of ``known`` with each of ``absent``.

    Raises:
        InputError: no queries, something that is no query, a query of unknown modality, scores that are not finite,
            or fewer absent items of a modality than could promise ``fpr``.
        ModalityNotLoaded, NoDirection, SpaceMismatch: as :meth:`Encoder.embed`.
    """
    check_promise(fpr, bound, confidence)
    known, absent = _listed(known, "known"), _listed(absent, "absent")
    present_items = [] if present is None else _listed(present, "present")
    known_modalities = _modalities(known, "known")
    known_rows: Tensor | None = None
    absent_rows: Tensor | None = None
    if isinstance(model, Encoder):
        absent_modalities, other_modalities = (
            _modalities(absent, "absent"),
            _modalities(present_items, "present"),
        )
        _check_sizes(absent_modalities, fpr, bound, confidence)

        def embedded(queries: list[Query]) -> Tensor:
            return model.embed(queries, batch_size=batch_size, progress=progress)

        known_rows, absent_rows = embedded(known), embedded(absent)
        scores = model.scores(absent_rows, known_rows)  # (N, C)
        other_scores = model.scores(embedded(present_items), known_rows) if present_items else None
        space, name = space_of(model), COSINE
    elif isinstance(model, Scorer):
        scores, absent_modalities = model.match_scores(known, absent)
        _check_sizes(absent_modalities, fpr, bound, confidence)
        other_scores, other_modalities = (
            model.match_scores(known, present_items) if present_items else (None, [])
        )
        space, name = model.score_space, model.score_name
    else:
        problem = f"a {type(model).__name__}"
        raise InputError("cutoffs()", found=problem, expected="an Encoder, or a detector that it upgraded")
    if not scores.isfinite().all():
        raise InputError("cutoffs()", found="scores that are not finite", expected="finite scores")
    pairs = []
    for query_modality in modalities_of(known_modalities):
        columns = _positions(known_modalities, query_modality)
        for row_modality in modalities_of(absent_modalities):
            lines = _positions(absent_modalities, row_modality)
            known_scores = None
            if other_scores is not None and row_modality in other_modalities:
                known_scores = other_scores[_positions(other_modalities, row_modality)][:, columns].amax(1)
            pairs.append(
                _pair(
                    query_modality,
                    row_modality,
                    scores[lines][:, columns].amax(1),
                    fpr=fpr,
                    bound=bound,
                    confidence=confidence,
                    kept=known_scores,
                    rows=None if absent_rows is None else absent_rows[lines],
                    known_rows=None if known_rows is None else known_rows[columns],
                    known=len(columns),
                )
            )
    return Cutoffs(space, float(fpr), bound, float(confidence), tuple(pairs), name)


def space_of(model: Encoder) -> EmbeddingSpace:
    """The space of a model with the fingerprint of its weights, where either knows it."""
    space = model.embedding_space
    if space.fingerprint is not None or model.fingerprint is None:
        return space
    return EmbeddingSpace(space.name, space.width, str(model.fingerprint))


def _pair(
    query_modality: str,
    row_modality: str,
    scores: Tensor,
    *,
    fpr: float,
    bound: str,
    confidence: float,
    kept: Tensor | None,
    rows: Tensor | None,
    known_rows: Tensor | None,
    known: int,
) -> PairCutoff:
    descending = scores.detach().double().cpu().sort(descending=True).values
    size = len(descending)
    most = most_above(size, fpr, bound, confidence)
    assert most is not None  # _check_sizes saw to it
    threshold = float(descending[most])
    above = int((descending > threshold).sum())
    low, high = rate_interval(most, size, above)
    quantiles = torch.quantile(descending, torch.linspace(0.0, 1.0, QUANTILES, dtype=torch.float64))
    share = count = None
    interval: tuple[float, float] | tuple[None, None] = (None, None)
    if kept is not None:
        count = int((kept.detach().double().cpu() > threshold).sum())
        share, interval = count / len(kept), exact_interval(count, len(kept))
    mean = None if rows is None else rows.detach().float().cpu().mean(0)
    spread = 0.0
    if rows is not None and mean is not None:
        spread = float((rows.detach().float().cpu() - mean).square().sum(1).mean().sqrt())
    return PairCutoff(
        query_modality=query_modality,
        row_modality=row_modality,
        threshold=threshold,
        sample_size=size,
        known=known,
        above=above,
        rate_low=low,
        rate_high=high,
        score_quantiles=tuple(quantiles.clamp(descending[-1], descending[0]).cummax(0).values.tolist()),
        kept=share,
        kept_low=interval[0],
        kept_high=interval[1],
        kept_size=0 if kept is None else len(kept),
        mean_row=() if mean is None else tuple(mean.tolist()),
        spread=spread,
        known_sketch=() if known_rows is None else sketch(known_rows),
    )


def _check_sizes(modalities: Sequence[str], fpr: float, bound: str, confidence: float) -> None:
    least = least_sample_size(fpr, bound, confidence)
    for modality in modalities_of(modalities):
        size = (
            modalities.count(modality) if isinstance(modalities, list) else list(modalities).count(modality)
        )
        if size < least:
            raise InputError(
                "cutoffs()",
                found=f"{size} absent items of {modality}",
                expected=f"at least {least}, the fewest that can promise fpr={fpr:g} ({bound})",
                remedy="Give more of them, or promise a higher fpr",
            )


def _listed(queries: Sequence[Any], name: str) -> list[Any]:
    if isinstance(queries, (Query, str, bytes)) or not hasattr(queries, "__iter__"):
        problem = f"a {type(queries).__name__} as {name}"
        raise InputError("cutoffs()", found=problem, expected="a sequence of queries")
    several = list(queries)
    if not several:
        raise InputError("cutoffs()", found=f"no {name} queries", expected="some")
    return several


def _modalities(queries: Sequence[Any], name: str) -> list[str]:
    modalities = []
    for index, query in enumerate(queries):
        if not isinstance(query, Query):
            problem = f"a {type(query).__name__} at {name}[{index}]"
            remedy = f"Say what it is: text({query!r})" if isinstance(query, str) else ""
            raise InputError("cutoffs()", found=problem, expected="queries", remedy=remedy)
        if query.modality is None:
            raise InputError(
                "cutoffs()",
                found=f"{name}[{index}], whose modality is not known",
                expected="queries that tell what they embed",
                remedy="Say embedding(vector, space, modality=...)",
            )
        modalities.append(query.modality.value)
    return modalities


def _positions(names: Sequence[str], name: str) -> list[int]:
    return [index for index, other in enumerate(names) if other == name]
