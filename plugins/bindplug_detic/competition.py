"""Competition: the classes a detector knows by itself stand against the prompts, so that an absent sound finds no box.

A prompt for a train scores something on a bus, and with few prompts nothing says that it is a bus. The detector's own
words do: a box is kept for a prompt only if, among all of them, what the prompt means is the better name for it.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torchvision.ops import box_iou

from bindplug.errors import InputError
from bindplug_detic.prompts import Words

DEFAULT_SUPPRESSION = 0.9
"""A prompt may fall this little behind the best rival. Not tuned on real pictures."""
NEAREST_SHARE = 0.75
"""A word counts as a prompt's own if it is this near to it, relative to the nearest word."""
NEAREST_FLOOR = 0.35
"""... and has at least this cosine. Cosines are centered: those of unrelated words lie around 0 with a spread of 0.1.
Source: measured on Detic's LVIS class vectors."""
SAME_PLACE = 0.7
"""IoU from which two boxes of a detector that tells only its final boxes count as one place."""


def checked_suppression(suppress: float | bool) -> float:
    """The number behind ``suppress``: True is the default, False is 0, which keeps every box.

    Raises:
        InputError: it is negative or not finite.
    """
    if isinstance(suppress, bool):
        return DEFAULT_SUPPRESSION if suppress else 0.0
    if not isinstance(suppress, (int, float)) or not 0.0 <= suppress < float("inf"):
        raise InputError("suppress", found=repr(suppress), expected="True, False, or a number of at least 0")
    return float(suppress)


def own_words(prompts: Tensor, words: Tensor) -> Tensor:
    """Which words mean what a prompt means.

    A word is a prompt's own if its centered cosine with the prompt is at least :data:`NEAREST_SHARE` of the nearest
    word's and at least :data:`NEAREST_FLOOR`. Rows are centered by the mean of the words.

    Args:
        prompts: (P, D) unit rows.
        words: (V, D) unit rows, V of at least 1.

    Returns:
        (P, V) bool.
    """
    mean = words.mean(0) if len(words) > 1 else torch.zeros_like(words[0])
    cosines = (
        torch.nn.functional.normalize(prompts - mean, dim=1)
        @ torch.nn.functional.normalize(words - mean, dim=1).T
    )
    nearest = cosines.amax(1, keepdim=True)
    return cosines >= (NEAREST_SHARE * nearest).clamp(min=NEAREST_FLOOR)


def survivors(prompt_scores: Tensor, word_scores: Tensor, own: Tensor, suppress: float) -> Tensor:
    """Which proposals a prompt may keep: ``max(score, scores of its own words) >= suppress * best rival's score``.

    The prompt's own words speak for it, because a mapped vector scores lower than the text it stands for.

    Args:
        prompt_scores: (N, P), of each proposal for each prompt.
        word_scores: (N, V), of each proposal for each of the detector's words.
        own: (P, V) bool, from :func:`own_words`.
        suppress: how near to the best rival a prompt must come; 0 keeps everything.

    Returns:
        (N, P) bool.
    """
    if suppress <= 0.0 or not word_scores.shape[1]:
        return torch.ones_like(prompt_scores, dtype=torch.bool)
    kept = []
    for p in range(prompt_scores.shape[1]):
        mine = word_scores.masked_fill(~own[p], 0.0).amax(1)
        rival = word_scores.masked_fill(own[p], 0.0).amax(1)
        kept.append(torch.maximum(prompt_scores[:, p], mine) >= suppress * rival)
    return torch.stack(kept, dim=1)


def surviving_boxes(boxes: Tensor, scores: Tensor, labels: Tensor, own: Tensor, suppress: float) -> Tensor:
    """As :func:`survivors` for a detector of which only the final boxes are known.

    Boxes of IoU :data:`SAME_PLACE` or more count as one place. Labels below P are prompts, P + v is word v.

    Args:
        boxes: (N, 4) xyxy.
        scores: (N,).
        labels: (N,) int64.
        own: (P, V) bool.
        suppress: as there.

    Returns:
        (M,) int64 indices of the prompts' boxes that are kept, in the order given.
    """
    count = len(own)
    mine = (labels < count).nonzero()[:, 0]
    theirs = (labels >= count).nonzero()[:, 0]
    here = box_iou(boxes[mine], boxes[theirs]) >= SAME_PLACE
    seen = scores[theirs][None].expand(len(mine), -1) * here
    word_scores = seen.new_zeros(len(mine), own.shape[1])
    word_scores.scatter_reduce_(1, (labels[theirs] - count)[None].expand(len(mine), -1), seen, "amax")
    kept = [
        bool(survivors(scores[m][None, None], word_scores[i : i + 1], own[labels[m]][None], suppress))
        for i, m in enumerate(mine)
    ]
    return mine[torch.tensor(kept, dtype=torch.bool)]


def rivals(words: Words | None, suppress: float) -> Tensor | None:
    """(V, D) unit rows of the words that compete, or None where none do."""
    if words is None or suppress <= 0.0 or not len(words.embeddings):
        return None
    return words.unit()
