"""The cut-off of one pair of modalities, and what is kept of the sample it rests on."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

import torch
from torch import Tensor

QUANTILES = 201
"""Numbers kept of the sample's distribution of scores: every half per cent, least and greatest among them."""
SKETCH_SEED = 20_26


@dataclass(frozen=True)
class PairCutoff:
    """The cut-off between queries of one modality and rows of another.

    Attributes:
        query_modality: of what is looked for.
        row_modality: of what is judged.
        threshold: a score above it, not one equal to it, counts as a match.
        sample_size: absent items that the promise rests on.
        known: queries that each of them was compared with; the sample's scores are the highest over them.
        above: absent items of the sample that score above the threshold.
        rate_low, rate_high: with 95 % confidence the false positive rate of this very cut-off lies between them.
        kept: of items that hold something known the share above the threshold; None if there were none to judge by.
        kept_low, kept_high: its exact 95 % interval.
        kept_size: how many such items there were.
        score_quantiles: of the sample's scores, evenly spaced from the least to the greatest.
        mean_row: of the sample's unit rows; empty where the score is no cosine of rows.
        spread: root mean square distance of the sample's rows from their mean.
        known_sketch: for each known query a number by which its row is told from others.
    """

    query_modality: str
    row_modality: str
    threshold: float
    sample_size: int
    known: int
    above: int
    rate_low: float
    rate_high: float
    score_quantiles: tuple[float, ...]
    kept: float | None = None
    kept_low: float | None = None
    kept_high: float | None = None
    kept_size: int = 0
    mean_row: tuple[float, ...] = ()
    spread: float = 0.0
    known_sketch: tuple[float, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready fields."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], width: int) -> PairCutoff:
        """The cut-off of :meth:`to_dict`.

        Raises:
            KeyError, TypeError, ValueError: fields are missing, unknown or do not fit together.
        """
        unknown = set(values) - {field.name for field in fields(cls)}
        if unknown:
            raise ValueError(f"unknown fields {sorted(unknown)}")
        arguments = dict(values)
        for name in ("score_quantiles", "mean_row", "known_sketch"):
            arguments[name] = tuple(_number(value, name) for value in arguments[name])
        for name in ("threshold", "rate_low", "rate_high", "spread"):
            arguments[name] = _number(arguments[name], name)
        for name in ("kept", "kept_low", "kept_high"):
            arguments[name] = None if arguments[name] is None else _number(arguments[name], name)
        for name in ("sample_size", "known", "above", "kept_size"):
            value = arguments[name]
            if isinstance(value, bool) or not isinstance(value, int) or value < 0:
                raise ValueError(f"{name} cannot be {value!r}")
        pair = cls(**arguments)
        quantiles = pair.score_quantiles
        if len(quantiles) != QUANTILES or list(quantiles) != sorted(quantiles):
            raise ValueError("score_quantiles are not in order")
        if not pair.above < pair.sample_size or not quantiles[0] <= pair.threshold <= quantiles[-1]:
            raise ValueError("the threshold is none of the sample's")
        # Of evenly spaced quantiles as large a share lies above the threshold as of the sample, but for one of them.
        steps = sum(quantile > pair.threshold for quantile in quantiles)
        if abs(steps - (QUANTILES - 1) * pair.above / max(1, pair.sample_size - 1)) > 1.01:
            raise ValueError(
                f"score_quantiles do not have {pair.above} of {pair.sample_size} above the threshold"
            )
        if not 0.0 <= pair.rate_low <= pair.rate_high <= 1.0:
            raise ValueError("rate_low and rate_high are no interval")
        share = (pair.kept_low, pair.kept, pair.kept_high)
        if (pair.kept_size > 0) != all(number is not None for number in share):
            raise ValueError("kept, its interval and kept_size do not fit together")
        if not 0.0 <= (pair.kept_low or 0.0) <= (pair.kept or 0.0) <= (pair.kept_high or 0.0) <= 1.0:
            raise ValueError("kept_low, kept and kept_high are no interval")
        if pair.spread < 0.0:
            raise ValueError(f"spread cannot be {pair.spread}")
        if len(pair.mean_row) not in (0, width):
            raise ValueError(f"mean_row has {len(pair.mean_row)} numbers in a space of {width}")
        return pair

    def __str__(self) -> str:
        share = "" if self.kept is None else f", keeps {self.kept:.1%} of {self.kept_size}"
        return (
            f"{self.query_modality} -> {self.row_modality}: above {self.threshold:.4f}, "
            f"from {self.sample_size} absent, {self.known} known, "
            f"rate {self.rate_low:.2%} to {self.rate_high:.2%}{share}"
        )


def sketch(rows: Tensor) -> tuple[float, ...]:
    """A number for each of the unit rows (C, D), equal for equal rows within rounding."""
    generator = torch.Generator().manual_seed(SKETCH_SEED)
    direction = torch.randn(rows.shape[1], generator=generator)
    return tuple((rows.detach().float().cpu() @ (direction / direction.norm())).tolist())


def _number(value: Any, name: str) -> float:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not number or not math.isfinite(value):
        raise ValueError(f"{name} cannot be {str(value)[:40]!r}")
    return float(value)
