"""Competition between prompts and the detector's own classes, so that the prompt of an absent thing has no boxes.

A prompt for a train scores something on a bus, and a few prompts alone give no sign that it is a bus. The detector's
own classes do: a prompt keeps a box only if, among all of them, the prompt's meaning is the better name for it.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from bindplug.errors import InputError
from bindplug_detic.prompts import DetectorClasses

DEFAULT_SUPPRESSION = 0.9
"""A prompt's score may be this share of the best rival's. Not tuned on real pictures."""
NEAREST_SHARE = 0.75
"""A class counts as a prompt's own from this share of the nearest class's similarity on."""
NEAREST_FLOOR = 0.35
"""Least cosine of a prompt and its own class. Cosines are centered: those of unrelated classes lie around 0 with a
standard deviation of 0.1. Source: measured on Detic's LVIS class vectors."""

SAME_MEANING = 0.6
"""Centered cosine from which two texts mean the same. Unrelated texts lie around 0."""
FEWEST_RIVALS = 7
MARGIN = 0.4
"""Standard deviations. Source: imagebind_tiny on the vocabulary of toy_detic, 80 prompts of each modality: it drops no
sound, 3 pictures, 8 depth maps and 10 thermal pictures; silence, 13 of 20 noises and 16 of 17 unknown words."""


def checked_suppression(suppress: float | bool) -> float:
    """The number that ``suppress`` stands for: True is the default, False is 0, which keeps every box.

    Raises:
        InputError: it is negative or not finite.
    """
    if isinstance(suppress, bool):
        return DEFAULT_SUPPRESSION if suppress else 0.0
    if not isinstance(suppress, (int, float)) or not 0.0 <= suppress < float("inf"):
        raise InputError("suppress", found=repr(suppress), expected="True, False, or a number of at least 0")
    return float(suppress)


def own_classes(prompts: Tensor, classes: Tensor) -> Tensor:
    """The classes that have the same meaning as a prompt.

    A class is a prompt's own if its centered cosine with the prompt is at least :data:`NEAREST_SHARE` of the nearest
    class's and at least :data:`NEAREST_FLOOR`. Rows are centered by the mean of the classes.

    Args:
        prompts: (P, D) unit rows.
        classes: (V, D) unit rows, V of at least 1.

    Returns:
        (P, V) bool.
    """
    mean = classes.mean(0) if len(classes) > 1 else torch.zeros_like(classes[0])
    cosines = (
        torch.nn.functional.normalize(prompts - mean, dim=1)
        @ torch.nn.functional.normalize(classes - mean, dim=1).T
    )  # (P, D) @ (D, V) -> (P, V)
    nearest = cosines.amax(1, keepdim=True)
    return cosines >= (NEAREST_SHARE * nearest).clamp(min=NEAREST_FLOOR)


def survivors(prompt_scores: Tensor, class_scores: Tensor, own: Tensor, suppress: float) -> Tensor:
    """Whether a prompt keeps a proposal: ``max(score, scores of its own classes) >= suppress * best rival's score``.

    The prompt's own classes count for it, because a mapped vector scores lower than the text of the same meaning.

    Args:
        prompt_scores: (N, P), of each proposal for each prompt.
        class_scores: (N, V), of each proposal for each of the detector's classes.
        own: (P, V) bool, from :func:`own_classes`.
        suppress: least share of the best rival's score; 0 keeps everything.

    Returns:
        (N, P) bool.
    """
    if suppress <= 0.0 or not class_scores.shape[1]:
        return torch.ones_like(prompt_scores, dtype=torch.bool)
    columns = []
    for p in range(prompt_scores.shape[1]):  # one prompt at a time: (N, P, V) may be large
        own_score = class_scores.masked_fill(~own[p], 0.0).amax(1)  # (N, V) -> (N,)
        rival_score = class_scores.masked_fill(own[p], 0.0).amax(1)
        columns.append(torch.maximum(prompt_scores[:, p], own_score) >= suppress * rival_score)
    return torch.stack(columns, dim=1)


def competing_rows(classes: DetectorClasses | None, suppress: float) -> Tensor | None:
    """(V, D) unit rows of the classes that compete, or None without competition."""
    if classes is None or suppress <= 0.0 or not len(classes.embeddings):
        return None
    return classes.unit()


def stands_out(row: Tensor, classes: Tensor) -> bool:
    """Whether one class is nearer to a row than chance would bring it.

    Cosines are centered by the mean of the classes. Those of a row without meaning scatter like random numbers, whose
    largest of V lies at most about ``sqrt(2 ln V)`` standard deviations above their mean. The nearest class has to
    lie :data:`MARGIN` above that, measured by the mean and deviation of the classes of another meaning.

    Args:
        row: (D,) moved to the center of text.
        classes: (V, D) unit rows of class names; with fewer than :data:`FEWEST_RIVALS` of another meaning every row
            stands out.
    """
    unit = torch.nn.functional.normalize
    directions = unit(classes - classes.mean(0), dim=1)  # (V, D)
    cosines = directions @ unit(row - classes.mean(0), dim=0)  # (V,)
    nearest = int(cosines.argmax())
    others = cosines[directions @ directions[nearest] < SAME_MEANING]
    if len(others) < FEWEST_RIVALS:
        return True
    distance = (cosines[nearest] - others.mean()) / others.std()
    return bool(distance >= math.sqrt(2 * math.log(len(classes))) + MARGIN)
