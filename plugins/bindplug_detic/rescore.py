"""The rescore route: boxes of anything, their crops through the image tower, ranked by the query.

It needs no bridge, only that the encoder sees pictures. A crop is classified among the query and distractor texts, so
that its score does not depend on how many crops there are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from PIL import Image
from torch import Tensor
from torchvision.ops import nms

from bindplug.encoder import Encoder
from bindplug.errors import InputError, ModalityNotLoaded
from bindplug.modality import Modality
from bindplug.query import AnyLeaf, Query, image
from bindplug_detic.competition import own_words
from bindplug_detic.mapping import compose, embedded_leaves, movable

DISTRACTORS = (
    "a wall", "the sky", "grass", "the ground", "a road", "water", "a tree", "leaves", "a building", "a window",
    "a door", "furniture", "a person", "an animal", "a vehicle", "food", "clothing", "a sign", "a shadow", "nothing",
)  # fmt: skip
"""What a crop may show instead, for a detector that does not name its classes."""
CONTEXT = 0.1
"""How much wider a crop is than its box on every side, relative to the box."""
FILL = (122, 116, 104)
"""Grey of the padding, which becomes 0 in the encoder. Source: CLIP's mean color times 255."""
MOST_REGIONS = 64
"""Crops of a picture, the most certain ones: one pass of the image tower."""
REGION_OVERLAP = 0.6
"""IoU above which the less certain of two regions is dropped, whatever their classes."""
SAME_MEANING = 0.6
"""Centered cosine from which two queries do not compete. Unrelated texts lie around 0."""
OVERLAP = 0.5
"""IoU above which the less certain of two boxes of one prompt is dropped. Source: Detic's own."""


def square_crops(picture: Image.Image, boxes: Tensor, context: float = CONTEXT) -> list[Image.Image]:
    """What is in each box and a little around it, in the middle of a grey square.

    Args:
        picture: RGB.
        boxes: (N, 4) xyxy in its pixels.
        context: share of a box's width and height that is added on every side, as far as the picture goes.

    Returns:
        N squares of at least 1 pixel.
    """
    crops = []
    for x1, y1, x2, y2 in boxes.tolist():
        more_x, more_y = context * (x2 - x1), context * (y2 - y1)
        left = min(max(int(x1 - more_x), 0), picture.width - 1)
        top = min(max(int(y1 - more_y), 0), picture.height - 1)
        right = max(min(round(x2 + more_x), picture.width), left + 1)
        bottom = max(min(round(y2 + more_y), picture.height), top + 1)
        side = max(right - left, bottom - top)
        square = Image.new("RGB", (side, side), FILL)
        place = ((side - (right - left)) // 2, (side - (bottom - top)) // 2)
        square.paste(picture.crop((left, top, right, bottom)), place)
        crops.append(square)
    return crops


def distinct(boxes: Tensor, scores: Tensor, top_k: int = MOST_REGIONS) -> Tensor:
    """Indices of the regions worth a crop: no two on one place, the most certain ``top_k``, best first."""
    return nms(boxes, scores, REGION_OVERLAP)[:top_k]


def chances(model: Encoder, picture: Image.Image, boxes: Tensor, contest: Contest) -> Tensor:
    """How likely each crop shows what each query asks for.

    Args:
        model: embeds the crops; its scale of text is the softmax's.
        picture: RGB.
        boxes: (N, 4) xyxy in its pixels.
        contest: of P queries.

    Returns:
        (N, P) float32 in [0, 1].
    """
    if not len(boxes):
        return torch.zeros(0, len(contest.queries))
    crops = [image(crop) for crop in square_crops(picture, boxes)]
    seen = model.embed(crops, batch_size=len(crops), progress=False).detach().float().cpu()
    scaled = model.scale_of("text") * seen
    return _softmax_of_each(scaled @ contest.queries.T, scaled @ contest.words.T, contest.same, contest.own)


@dataclass(frozen=True, eq=False)
class Contest:
    """What the crops are classified among.

    With t the mean of the model's text, d = row - t, and r the mean length of the words' d, both sides are vectors
    ``r * d / |d|``: what all text shares would add the same to every logit, and is left out. A query's chance is the
    softmax over itself, the other queries and the words, without those that mean the same.

    Attributes:
        queries: (P, D).
        words: (V, D).
        same: (P, P) bool, which queries mean the same; itself among them.
        own: (P, V) bool, the words that mean what a query means.
    """

    queries: Tensor
    words: Tensor
    same: Tensor
    own: Tensor


def contest(
    model: Encoder, queries: Sequence[Query], leaves: Mapping[AnyLeaf, Tensor], words: Tensor
) -> Contest:
    """Queries against distractors.

    Args:
        model: its center of text is the mean t; without one, the words' mean is.
        queries: P of them.
        leaves: their leaves' rows, from :func:`leaf_rows`.
        words: (V, D) unit rows of the distractors in the model's space, V of at least 1.
    """
    known = "text" in model.centers
    mean = torch.as_tensor(model.centers["text"]).float().cpu() if known else words.mean(0)
    asked = torch.stack([compose(query, leaves, mean) for query in queries])
    unit, reach = torch.nn.functional.normalize, (words - mean).norm(dim=1).mean()
    directions, rivals = unit(asked - mean, dim=1), unit(words - mean, dim=1)
    same = directions @ directions.T >= SAME_MEANING
    return Contest(reach * directions, reach * rivals, same, own_words(asked, words))


def leaf_rows(model: Encoder, queries: Sequence[Query]) -> dict[AnyLeaf, Tensor]:
    """For each leaf its unit row (D,), moved to where the model's text lies.

    Sounds and pictures lie around other means than text, and would win or lose against it for that alone.

    Raises:
        ModalityNotLoaded: the model does not see pictures, or has no tower for a leaf.
        InputError: a leaf's modality has no known center.
    """
    if "image" not in model.modalities:
        raise ModalityNotLoaded("image", model.modalities)
    leaves = list(dict.fromkeys(leaf for query in queries for _, leaf in query.terms))
    for leaf in leaves:
        _ensure_movable(model, leaf)
    return dict(zip(leaves, embedded_leaves(model, leaves), strict=True))


def best_boxes(boxes: Tensor, scores: Tensor, threshold: float) -> Tensor:
    """Indices of one prompt's boxes above its threshold, overlapping ones dropped, best first."""
    passing = (scores > threshold).nonzero()[:, 0]
    return passing[nms(boxes[passing], scores[passing], OVERLAP)]


def _softmax_of_each(queries: Tensor, words: Tensor, same_query: Tensor, same_word: Tensor) -> Tensor:
    columns = []
    for p in range(queries.shape[1]):
        others = queries.masked_fill(same_query[p], float("-inf"))
        rest = words.masked_fill(same_word[p], float("-inf"))
        logits = torch.cat([queries[:, p : p + 1], others, rest], dim=1)
        columns.append(logits.softmax(dim=1)[:, 0])
    return torch.stack(columns, dim=1)


def _ensure_movable(model: Encoder, leaf: AnyLeaf) -> None:
    if leaf.modality is Modality.TEXT or movable(model, leaf):
        return
    kind = leaf.modality.value if leaf.modality is not None else "vector of unknown modality"
    raise InputError(
        "route='rescore'",
        found=f"a prompt of {kind}, and a model that does not know where its {kind} and its text lie",
        expected="known centers of both, so that the prompt can stand against texts",
        remedy='Measure them: model.centers = bindplug.centers.measure_centers(model, {"text": [...], "audio": [...]})',
    )
