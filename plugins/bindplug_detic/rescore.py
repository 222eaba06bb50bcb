"""The rescore route: crops of class-agnostic regions, embedded by the image tower and ranked by the prompt.

It needs no bridge, only an encoder with an image tower. A crop is classified among the prompt and distractor texts, so
that its score does not depend on the number of crops.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from PIL import Image
from torch import Tensor
from torchvision.ops import nms

from bindplug import Encoder, Query, image
from bindplug.bridges import can_recenter, compose, distinct_leaves
from bindplug.errors import InputError, ModalityNotLoaded
from bindplug.modality import Modality
from bindplug.query import AnyLeaf
from bindplug_detic.competition import SAME_MEANING, own_classes
from bindplug_detic.results import Detections
from bindplug_detic.routes import text_centered_rows

DISTRACTORS = (
    "a wall", "the sky", "grass", "the ground", "a road", "water", "a tree", "leaves", "a building", "a window",
    "a door", "furniture", "a person", "an animal", "a vehicle", "food", "clothing", "a sign", "a shadow", "nothing",
)  # fmt: skip
"""Alternatives to the prompts, for a detector that does not name its classes."""
CONTEXT = 0.1
"""How much wider a crop is than its box on every side, relative to the box."""
FILL = (122, 116, 104)
"""Grey of the padding, which becomes 0 in the encoder. Source: CLIP's mean color times 255."""
MOST_REGIONS = 64
"""Crops of a picture, the most certain ones: one pass of the image tower."""
REGION_OVERLAP = 0.6
"""IoU above which the less certain of two regions is dropped, whatever their classes."""
OVERLAP = 0.5
"""IoU above which the less certain of two boxes of one prompt is dropped. Source: Detic's own."""


@dataclass(frozen=True, eq=False)
class Alternatives:
    """The texts and queries that a crop is classified among.

    With t the mean of the model's text, d = row - t, and r the mean length of the texts' d, both sides are vectors
    ``r * d / |d|``: the part that all text shares would add the same to every logit, and is left out. A query's
    probability is the softmax over itself, the other queries and the texts, without those of the same meaning.

    Attributes:
        queries: (P, D).
        texts: (V, D).
        same_query: (P, P) bool, the queries of the same meaning, itself among them.
        same_text: (P, V) bool, the texts of the same meaning as a query.
    """

    queries: Tensor
    texts: Tensor
    same_query: Tensor
    same_text: Tensor

    @classmethod
    def of(
        cls, model: Encoder, queries: Sequence[Query], leaves: Mapping[AnyLeaf, Tensor], texts: Tensor
    ) -> Alternatives:
        """Queries against distractor texts.

        Args:
            model: its center of text is the mean t; without one, the mean of ``texts`` is.
            queries: P of them.
            leaves: their leaves' rows, from :func:`leaf_rows`.
            texts: (V, D) unit rows of the distractors in the model's space, V of at least 1.
        """
        has_center = "text" in model.centers
        mean = torch.as_tensor(model.centers["text"]).float().cpu() if has_center else texts.mean(0)
        rows = torch.stack([compose(query, leaves, mean) for query in queries])  # (P, D)
        unit, reach = torch.nn.functional.normalize, (texts - mean).norm(dim=1).mean()
        query_directions, text_directions = unit(rows - mean, dim=1), unit(texts - mean, dim=1)
        same_query = query_directions @ query_directions.T >= SAME_MEANING
        return cls(reach * query_directions, reach * text_directions, same_query, own_classes(rows, texts))


def rescore_regions(
    model: Encoder, regions: Detections, alternatives: Alternatives, limits: Tensor
) -> Detections:
    """Detections of the queries among the regions of one picture.

    Args:
        model: embeds the crops.
        regions: boxes of any class with their picture; scores are the certainty of each.
        alternatives: of P queries.
        limits: (P,) scores have to be above.

    Returns:
        Detections whose ``label_indices`` count the queries; a score is the query's probability times the region's
        certainty.
    """
    regions = regions[distinct_regions(regions.boxes, regions.scores)]
    assert regions.picture is not None
    probabilities = crop_probabilities(model, regions.picture, regions.boxes, alternatives)
    scores = probabilities * regions.scores[:, None]  # (N, P)
    best = [best_boxes(regions.boxes, scores[:, p], float(limits[p])) for p in range(len(limits))]
    rows = torch.cat(best)
    queries = torch.repeat_interleave(torch.tensor([len(indices) for indices in best]))
    return regions[rows].with_labels(queries, [""] * len(rows), scores[rows, queries])


def square_crops(picture: Image.Image, boxes: Tensor, context: float = CONTEXT) -> list[Image.Image]:
    """Crops of boxes with a little context, each in the middle of a grey square.

    Args:
        picture: RGB.
        boxes: (N, 4) xyxy in its pixels.
        context: share of a box's width and height that is added on every side, up to the picture's edge.

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


def distinct_regions(boxes: Tensor, scores: Tensor, top_k: int = MOST_REGIONS) -> Tensor:
    """Indices of the regions to crop: without overlapping ones, the most certain ``top_k``, best first."""
    return nms(boxes, scores, REGION_OVERLAP)[:top_k]


def crop_probabilities(
    model: Encoder, picture: Image.Image, boxes: Tensor, alternatives: Alternatives
) -> Tensor:
    """The probability that each crop shows each query.

    Args:
        model: embeds the crops; its scale of text is the softmax's.
        picture: RGB.
        boxes: (N, 4) xyxy in its pixels.
        alternatives: of P queries.

    Returns:
        (N, P) float32 in [0, 1].
    """
    if not len(boxes):
        return torch.zeros(0, len(alternatives.queries))
    crops = [image(crop) for crop in square_crops(picture, boxes)]
    rows = model.embed(crops, batch_size=len(crops), progress=False).detach().float().cpu()
    rows = model.scale_of("text") * rows
    query_logits, text_logits = rows @ alternatives.queries.T, rows @ alternatives.texts.T  # (N, P), (N, V)
    columns = []
    for p in range(query_logits.shape[1]):
        other_queries = query_logits.masked_fill(alternatives.same_query[p], float("-inf"))
        other_texts = text_logits.masked_fill(alternatives.same_text[p], float("-inf"))
        logits = torch.cat([query_logits[:, p : p + 1], other_queries, other_texts], dim=1)  # (N, 1 + P + V)
        columns.append(logits.softmax(dim=1)[:, 0])
    return torch.stack(columns, dim=1)


def leaf_rows(model: Encoder, queries: Sequence[Query]) -> dict[AnyLeaf, Tensor]:
    """For each leaf its unit row (D,), moved to the center of the model's text.

    Sounds and pictures lie around other means than text, and would win or lose against it for that alone.

    Raises:
        ModalityNotLoaded: the model has no image tower, or no tower for a leaf.
        InputError: the center of a leaf's modality is unknown.
    """
    if "image" not in model.modalities:
        raise ModalityNotLoaded("image", model.modalities)
    leaves = distinct_leaves(queries)
    for leaf in leaves:
        _ensure_centers(model, leaf)
    return text_centered_rows(model, leaves)


def best_boxes(boxes: Tensor, scores: Tensor, threshold: float) -> Tensor:
    """Indices of one prompt's boxes above its threshold, overlapping ones dropped, best first."""
    passing = (scores > threshold).nonzero()[:, 0]
    return passing[nms(boxes[passing], scores[passing], OVERLAP)]


def _ensure_centers(model: Encoder, leaf: AnyLeaf) -> None:
    if leaf.modality is Modality.TEXT or can_recenter(model, leaf, "text"):
        return
    kind = leaf.modality.value if leaf.modality is not None else "vector of unknown modality"
    raise InputError(
        "route='rescore'",
        found=f"a prompt of {kind}, and a model without the centers of {kind} and text",
        expected="both centers, so that the prompt can be compared with texts",
        remedy='Measure them: model.centers = bindplug.centers.measure_centers(model, {"text": [...], "audio": [...]})',
    )
