"""One encoder tried on a sample of rows: in which number format and after which transform they agree best."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from bindplug.space import EmbeddingSpace
from bindplug_search.adopt.number_formats import NumberFormat, formats_of
from bindplug_search.adopt.row_file import RowFile
from bindplug_search.adopt.samples import Embedded
from bindplug_search.adopt.statistics import Agreement, accepted_cosine, compare, distinct_items
from bindplug_search.adopt.survey import Survey, unit_rows
from bindplug_search.adopt.transforms import (
    Transform,
    fitted_rotation,
    fitted_selection,
    fitted_stretch,
    simple_transforms,
)

COMPARISONS_PER_ENCODER = 24
"""Formats times transforms, and readings; the error probability is shared among them."""

ROTATION_GATE = 0.9
"""Correlation of the cosines of pairs of rows with those of the encoder's, from which on a rotation is fitted. It
only saves work: what was fitted on half of the items is judged on the other half."""


@dataclass(frozen=True)
class Trial:
    """How well the sampled rows agree with one encoder.

    Attributes:
        encoder: its name.
        space: where its rows live.
        number_format: of the file, in which they agree best.
        transform: after which they agree best.
        agreement: the figures; of items that the transform was not fitted on.
        items: (n,) indexes of the items that the figures are of.
        squashed: whether pictures were squashed to a square first.
        pair_correlation: of cosines between pairs of rows with those of the encoder's rows; a rotation keeps them.
        fitted_items: how many items a fitted transform was fitted on.
    """

    encoder: str
    space: EmbeddingSpace
    number_format: NumberFormat
    transform: Transform
    agreement: Agreement
    items: np.ndarray
    squashed: bool = False
    pair_correlation: float = 0.0
    fitted_items: int = 0

    def identified(self, comparisons: int) -> bool:
        """Whether the rows are this encoder's."""
        return self.agreement.significant(comparisons) and self.agreement.complete

    @property
    def rank(self) -> tuple[bool, int, float]:
        """What trials are ordered by."""
        return self.agreement.complete, self.agreement.count, self.agreement.median


@dataclass(frozen=True)
class Sample:
    """Sampled rows of a file.

    Attributes:
        file: that they are of.
        survey: of all its rows.
        stored: (n, width) numbers of the sampled rows.
        formats: that the numbers may be in.
    """

    file: RowFile
    survey: Survey
    stored: np.ndarray
    formats: Sequence[NumberFormat] = field(default_factory=tuple)

    @classmethod
    def of(cls, file: RowFile, survey: Survey, positions: np.ndarray) -> Sample:
        """The rows at some positions."""
        return cls(file, survey, file.take(positions), tuple(formats_of(file, survey)))

    def constant(self, number_format: NumberFormat) -> np.ndarray:
        """(W,) bool: decoded dimensions that are zero in all rows."""
        width = number_format.width_of(self.file.width)
        return self.survey.constant_columns if width == self.file.width else np.zeros(width, dtype=bool)


def try_encoder(
    sample: Sample,
    name: str,
    space: EmbeddingSpace,
    embedded: Embedded,
    comparisons: int,
    *,
    squashed: bool = False,
) -> Trial | None:
    """The best agreement of sampled rows with an encoder, but for rotations; None where widths rule it out.

    Args:
        sample: of the file.
        name: of the encoder.
        space: of its rows.
        embedded: what the encoder makes of the sample's items.
        comparisons: of the whole run.
        squashed: whether its pictures were squashed.
    """
    trials: list[Trial] = []
    for number_format in sample.formats:
        rows = number_format.decode(sample.stored[embedded.items])
        constant = sample.constant(number_format)
        for transform in simple_transforms(rows.shape[1], space.width, constant):
            judged = np.arange(len(rows))
            trials.append(
                _judged(sample, name, space, number_format, transform, embedded, rows, judged, squashed)
            )
    if not trials:
        return None
    best = max(trials, key=lambda trial: trial.rank)
    if best.identified(comparisons):
        return best
    trials += _fitted(sample, name, space, embedded, squashed)
    fitted = max(trials, key=lambda trial: trial.rank)
    return fitted if fitted.identified(comparisons) else _with_pairs(sample, best, embedded)


def try_rotation(sample: Sample, trial: Trial, embedded: Embedded) -> Trial:
    """The agreement after a rotation that is fitted on half of the items and judged on the other half.

    Args:
        sample: of the file, with more items than dimensions if there are as many.
        trial: an earlier one of the same encoder.
        embedded: what the encoder makes of the sample's items.
    """
    rows = trial.number_format.decode(sample.stored[embedded.items])
    fit, judge = _halves(len(rows))
    transform = fitted_rotation(rows[fit], embedded.rows[fit])
    judged = _judged(
        sample,
        trial.encoder,
        trial.space,
        trial.number_format,
        transform,
        embedded,
        rows,
        judge,
        trial.squashed,
    )
    final = fitted_rotation(rows, embedded.rows)
    return _replaced(judged, final, len(rows), trial.pair_correlation)


def _fitted(
    sample: Sample, name: str, space: EmbeddingSpace, embedded: Embedded, squashed: bool
) -> list[Trial]:
    trials = []
    for number_format in sample.formats:
        rows = number_format.decode(sample.stored[embedded.items])
        if len(rows) < 12 or number_format.name == "bits":
            continue
        fit, judge = _halves(len(rows))
        for solve in (fitted_selection, fitted_stretch):
            if solve is fitted_stretch and rows.shape[1] != space.width:
                continue
            transform = solve(rows[fit], embedded.rows[fit])
            final = solve(rows, embedded.rows)
            if transform is None or final is None:
                continue
            trial = _judged(sample, name, space, number_format, transform, embedded, rows, judge, squashed)
            trials.append(_replaced(trial, final, len(rows), 0.0))
    return trials


def _judged(
    sample: Sample,
    name: str,
    space: EmbeddingSpace,
    number_format: NumberFormat,
    transform: Transform,
    embedded: Embedded,
    rows: np.ndarray,
    judge: np.ndarray,
    squashed: bool,
) -> Trial:
    """The figures on the items at ``judge`` that do not look alike to the encoder."""
    own = transform.of_encoder(embedded.rows)
    if len(embedded.reread):
        reread, first = transform.of_encoder(embedded.reread), own[embedded.reread_items]
    else:
        reread = first = own
    accepted = accepted_cosine(number_format.through(reread, sample.file), first)
    distinct = judge[distinct_items(own[judge], accepted)] if len(judge) else judge
    agreement = compare(transform.of_rows(rows[distinct]), own[distinct], accepted)
    return Trial(name, space, number_format, transform, agreement, embedded.items[distinct], squashed)


def _with_pairs(sample: Sample, trial: Trial, embedded: Embedded) -> Trial:
    rows = trial.number_format.decode(sample.stored[embedded.items])
    values = {**trial.__dict__, "pair_correlation": pair_correlation(rows, embedded.rows)}
    return Trial(**values)


def _replaced(trial: Trial, transform: Transform, items: int, correlation: float) -> Trial:
    return Trial(
        **{**trial.__dict__, "transform": transform, "fitted_items": items, "pair_correlation": correlation}
    )


def pair_correlation(rows: np.ndarray, own: np.ndarray) -> float:
    """Correlation over all pairs of items of the cosine between their rows with that between an encoder's rows."""
    if len(rows) < 4:
        return 0.0
    first, second = (unit_rows(values) @ unit_rows(values).T for values in (rows, own))
    above = np.triu_indices(len(rows), 1)
    if first[above].std() < 1e-9 or second[above].std() < 1e-9:
        return 0.0
    return float(np.corrcoef(first[above], second[above])[0, 1])


def _halves(count: int) -> tuple[np.ndarray, np.ndarray]:
    return np.arange(0, count, 2), np.arange(1, count, 2)
