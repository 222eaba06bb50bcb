"""Thresholds from pictures without the things of the prompts, for a rate of false positives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from bindplug.errors import InputError
from bindplug.progress import iterate_with_progress
from bindplug_detic.prompts import Prompt, as_queries, label_of

FLOOR = 0.02
"""Scores below it are ignored. Source: Detic's threshold in evaluation."""


@dataclass(frozen=True)
class Calibration:
    """Thresholds that keep a rate of false positives on the pictures of the calibration.

    Attributes:
        thresholds: one for each prompt, for ``detector(..., threshold=...)``.
        threshold: one for all of them, and for similar prompts: the rate over all pairs of picture and prompt.
        false_positive_rate: the share of pictures that may have a box.
        labels: of the prompts.
        best_scores: (N, P) the best score of each prompt in each picture; 0 where there was none above the floor.
    """

    thresholds: tuple[float, ...]
    threshold: float
    false_positive_rate: float
    labels: tuple[str, ...]
    best_scores: Tensor

    def rates(self, threshold: float | Sequence[float] | None = None) -> dict[str, float]:
        """Share of the pictures with a box for each prompt at a threshold, its own for None."""
        limits = torch.as_tensor(self.thresholds if threshold is None else threshold, dtype=torch.float32)
        shares = (self.best_scores > limits).float().mean(0).tolist()
        return dict(zip(self.labels, shares, strict=True))


def calibrate(
    detector: Any,
    pictures: Sequence[Any],
    prompts: Sequence[Prompt],
    *,
    false_positive_rate: float = 0.05,
    progress: bool | None = None,
    **options: Any,
) -> Calibration:
    """The lowest thresholds at which at most a share of pictures without a thing has a box of it.

    Args:
        detector: a detector upgraded by :func:`bindplug.upgrade`.
        pictures: N without any of the prompts' things. A rate below 1 / N cannot be distinguished from 0; the
            thresholds are then the highest scores.
        prompts: P queries or strings.
        false_positive_rate: share of the pictures that may have a box of a prompt, in [0, 1).
        progress: True or False to force or forbid the bar; None shows it for work over two seconds.
        options: of the detector's call, such as ``route`` and ``suppress``; the same as in later calls.

    Raises:
        InputError: no pictures, no prompts, or a rate out of range.
    """
    if not 0.0 <= false_positive_rate < 1.0:
        raise InputError(
            "calibrate()", found=f"false_positive_rate={false_positive_rate}", expected="a number in [0, 1)"
        )
    queries = as_queries(prompts)
    best = best_scores(detector, pictures, queries, progress=progress, **options)
    return Calibration(
        tuple(_threshold(column, false_positive_rate) for column in best.T),
        _threshold(best.flatten(), false_positive_rate),
        false_positive_rate,
        tuple(label_of(query) for query in queries),
        best,
    )


def best_scores(
    detector: Any,
    pictures: Sequence[Any],
    prompts: Sequence[Prompt],
    *,
    progress: bool | None = None,
    **options: Any,
) -> Tensor:
    """(N, P) float32: the best score of each prompt in each picture, 0 where there is none above the floor.

    Raises:
        InputError: no pictures or no prompts.
    """
    queries, sources = as_queries(prompts), list(pictures)
    if not sources:
        raise InputError("calibrate()", found="no pictures", expected="some without the prompts' things")
    best = torch.zeros(len(sources), len(queries))
    prepared = detector.prepare(queries, options.pop("route", None))
    quiet = None if progress is None else not progress
    for n in iterate_with_progress(range(len(sources)), label="detecting", quiet=quiet):
        detections = detector(sources[n], prepared, threshold=FLOOR, with_masks=False, **options)
        best[n].scatter_reduce_(0, detections.label_indices, detections.scores, "amax")
    return best


def _threshold(scores: Tensor, rate: float) -> float:
    """The lowest score that at most a share of the pictures exceeds."""
    allowed = int(rate * len(scores) + 1e-9)
    return float(scores.sort(descending=True).values[allowed])
