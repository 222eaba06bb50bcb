"""The factor on cosines at which a softmax over candidates gives probabilities that come true."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

MAX_SCALE = 100.0
"""Largest scale that is fitted. Where every answer is right no scale is large enough. Source: CLIP (arXiv
2103.00020), section 2.5, clips its own here."""
MIN_SCALE = 0.01
HALVINGS = 60


@dataclass(frozen=True)
class HeldOut:
    """Samples that training did not see, each with its right answer among the same candidates.

    For class names, ``candidates`` are the columns of ``model.zero_shot_classifier(names).T`` and ``labels`` the
    classes. For pairs with images, they are the images' rows and ``torch.arange(N)``.

    Attributes:
        inputs: (N, ...) inputs of the modality, as its tower takes them.
        candidates: (K, D) rows of any length, K at least 2.
        labels: (N,) int64, the index of each sample's candidate.
    """

    inputs: Tensor
    candidates: Tensor
    labels: Tensor

    def __post_init__(self) -> None:
        _check(len(self.inputs), self.candidates, self.labels)


@torch.no_grad()
def fit_scale(rows: Tensor, candidates: Tensor, labels: Tensor) -> float:
    """The scale at which ``softmax(scale * cosine)`` gives the right candidates the highest likelihood.

    The likelihood is concave in the scale, so it has one maximum. Fit on samples that neither the training nor
    the evaluation uses.

    Args:
        rows: (N, D) embeddings of the samples, of any length.
        candidates: (K, D) embeddings of the candidates, K at least 2.
        labels: (N,) int64, the index of each sample's candidate.

    Returns:
        The scale, in [0.01, 100].

    Raises:
        ValueError: shapes contradict each other, a label is no candidate's index, or a number is not finite.

    Source: temperature scaling, Guo et al., On Calibration of Modern Neural Networks (arXiv 1706.04599), section 4.2.
    """
    _check(len(rows), candidates, labels)
    if rows.ndim != 2 or rows.shape[1] != candidates.shape[1]:
        raise ValueError(f"rows of shape {tuple(rows.shape)} for candidates of {tuple(candidates.shape)}")
    cosines = F.normalize(rows.double(), dim=1) @ F.normalize(candidates.double(), dim=1).T  # (N, K)
    if not cosines.isfinite().all():
        raise ValueError("rows or candidates hold NaN or infinity")
    gaps = cosines.gather(1, labels[:, None]) - cosines  # (N, K), how much better the right candidate is
    low, high = MIN_SCALE, MAX_SCALE
    for _ in range(HALVINGS):
        scale = (low + high) / 2
        slope = float(
            ((scale * cosines).softmax(dim=1) * gaps).sum(dim=1).mean()
        )  # of the mean log-likelihood
        low, high = (scale, high) if slope > 0 else (low, scale)
    return (low + high) / 2


def calibration_error(probabilities: Tensor, labels: Tensor, *, bins: int = 15) -> float:
    """Expected calibration error: how far the first answer's probability is from the share of right answers.

    Answers are sorted into bins of equal width by their probability; the error is the mean over bins of
    |mean probability - share of right answers|, weighted by the answers in each. 0 is calibrated.

    Args:
        probabilities: (N, K), rows that sum to 1.
        labels: (N,) int64, the right candidates.
        bins: of equal width over [0, 1].

    Source: Guo et al. (arXiv 1706.04599), section 2.
    """
    confidence, answers = probabilities.double().max(dim=1)
    right = (answers == labels).double()
    place = (confidence * bins).long().clamp(0, bins - 1)
    gaps = torch.zeros(bins, dtype=torch.double).index_add_(0, place, confidence - right)
    return float(gaps.abs().sum() / len(labels))


def _check(count: int, candidates: Tensor, labels: Tensor) -> None:
    if candidates.ndim != 2 or len(candidates) < 2:
        raise ValueError(
            f"candidates of shape {tuple(candidates.shape)}; expected (K, D) with K of 2 or more"
        )
    if labels.shape != (count,) or not count:
        raise ValueError(f"labels of shape {tuple(labels.shape)} for {count} samples; expected one a sample")
    if labels.is_floating_point() or not 0 <= int(labels.min()) <= int(labels.max()) < len(candidates):
        raise ValueError(f"labels must be indices of the {len(candidates)} candidates")
