"""What a detector finds in cluttered scenes that it has never seen, prompted by words or recordings.

It takes what ``bindplug.upgrade(detector, model)`` gives, or any
function from pictures to detections.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

import bindplug
from bindplug.progress import iterate_with_progress
from bindplug.query import Query
from bindplug_detic.prompted_detector import MeaninglessPrompt
from bindplug_toyworld.dataset import group_at
from bindplug_toyworld.detection_demo import GroundTruth, ground_truth_of, overlaps
from bindplug_toyworld.evaluation import query_of, things_of
from bindplug_toyworld.scene import Scene
from bindplug_toyworld.things import CLASSNAMES, NAMES, label_of

MODALITIES = ("text", "audio", "depth", "thermal", "imu", "image")
THRESHOLD_AP50 = 0.60
"""What sound-prompted detection promises, and so what text-prompted detection has to exceed."""
SHARE_OF_TEXT = 0.85
"""What share of its text-prompted AP50 a detector keeps when it is prompted by sound."""
FLOOR = 0.02
"""Score from which detections are counted. Source: Detic's threshold in evaluation."""
DEFAULT_THRESHOLD = 0.3
"""Score above which a detection where nothing is counts as a false positive: the default of upgraded detectors."""
TEXT_PROMPT = "a photo of a {}."
RECORDINGS = 25
"""Recordings of each thing that the scenes take turns with."""
FIRST_RECORDING = 5_000_000
"""Seeds of the recordings start here, those of each modality a million further on: no other evaluation uses them."""

Floats = NDArray[np.float32]


class Detections(NamedTuple):
    """Detections in one scene.

    Args:
        boxes: (N, 4) xyxy in pixels.
        scores: (N,).
        labels: (N,) int, labels of the things.
    """

    boxes: NDArray[Any]
    scores: NDArray[Any]
    labels: NDArray[Any]


@dataclass(frozen=True)
class DetectionMeasure:
    """How well one kind of prompt finds things by one route.

    Attributes:
        modality: of the prompts.
        route: that they took; ``"own words"`` for the detector's own vocabulary.
        ap50: mean over the things of the average precision at IoU 0.5.
        per_thing: the average precision of each.
        boxes: true boxes it was measured on.
        scenes: number of scenes.
        false_positive_rate: of all pairs of a scene and a thing that is not in it, the share in which the thing was
            seen with a score above ``threshold``.
        threshold: of the false positives.
    """

    modality: str
    route: str
    ap50: float
    per_thing: Mapping[str, float]
    boxes: int
    scenes: int
    false_positive_rate: float
    threshold: float

    @property
    def name(self) -> str:
        """E.g. ``"audio, linear"``."""
        return f"{self.modality}, {self.route}"

    def to_dict(self) -> dict[str, Any]:
        """Plain values for a card or ``--json``."""
        return {
            "ap50": round(self.ap50, 4),
            "boxes": self.boxes,
            "scenes": self.scenes,
            "false_positive_rate": round(self.false_positive_rate, 4),
            "threshold": self.threshold,
            "per_thing": {name: round(value, 4) for name, value in self.per_thing.items()},
        }


def average_precision(
    detections: Sequence[Detections], truths: Sequence[GroundTruth], label: int, *, iou: float = 0.5
) -> float | None:
    """Area under a thing's interpolated curve of precision over recall, all scenes' detections ranked together.

    A detection is right if it overlaps a true box of its scene enough that no better-scored one has matched;
    of several it takes the one it overlaps most.

    Args:
        detections: detections of each scene.
        truths: the truth of each scene.
        label: the thing.
        iou: how much is enough.

    Returns:
        A number in [0, 1], or None where no scene has the thing.

    Source: Everingham et al., The Pascal VOC Challenge: A Retrospective (2015), section 3.2.1.
    """
    true_boxes = [scene.boxes[scene.labels == label] for scene in truths]
    total = sum(len(boxes) for boxes in true_boxes)
    if not total:
        return None
    by_score = [
        (float(score), number, box)
        for number, scene in enumerate(detections)
        for box, score in zip(
            scene.boxes[scene.labels == label], scene.scores[scene.labels == label], strict=True
        )
    ]
    by_score.sort(key=lambda entry: -entry[0])
    free = [np.ones(len(boxes), dtype=bool) for boxes in true_boxes]
    right = np.zeros(len(by_score))
    for rank, (_, number, box) in enumerate(by_score):
        near = overlaps(box, true_boxes[number]) * free[number]
        if len(near) and near.max() >= iou:
            free[number][near.argmax()] = False
            right[rank] = 1
    hits = np.cumsum(right)
    precision = hits / np.arange(1, len(by_score) + 1)
    best_beyond = np.maximum.accumulate(precision[::-1])[::-1]
    return float((best_beyond * right).sum() / total)


def false_positive_rate(
    detections: Sequence[Detections], truths: Sequence[GroundTruth], labels: Sequence[int], threshold: float
) -> float:
    """Of all pairs of a scene and an absent thing of ``labels``, the share with a detection above ``threshold``."""
    absent = wrong = 0
    for scene, truth in zip(detections, truths, strict=True):
        claimed_labels = set(scene.labels[scene.scores > threshold].tolist())
        for label in set(labels) - set(truth.labels.tolist()):
            absent += 1
            wrong += label in claimed_labels
    return wrong / absent if absent else 0.0


def measure(
    modality: str,
    route: str,
    detections: Sequence[Detections],
    truths: Sequence[GroundTruth],
    labels: Sequence[int],
    *,
    threshold: float = DEFAULT_THRESHOLD,
) -> DetectionMeasure:
    """All figures of detections whose prompts were the things ``labels``."""
    precisions = {label: average_precision(detections, truths, label) for label in labels}
    by_name = {NAMES[label]: value for label, value in precisions.items() if value is not None}
    return DetectionMeasure(
        modality=modality,
        route=route,
        ap50=float(np.mean(list(by_name.values()))) if by_name else 0.0,
        per_thing=by_name,
        boxes=int(sum(np.isin(scene.labels, list(labels)).sum() for scene in truths)),
        scenes=len(truths),
        false_positive_rate=false_positive_rate(detections, truths, labels, threshold),
        threshold=threshold,
    )


def cluttered_scenes(count: int, *, start: int = 0, side: int = 256) -> list[Scene]:
    """``count`` evaluation scenes of two to five things."""
    return [group_at("eval", start + index, canvas=(side, side)) for index in range(count)]


def recordings(modality: str, number: int) -> tuple[Query, ...]:
    """One query for each thing of a modality: the thing alone in an evaluation scene, or its name as text.

    Args:
        modality: one of :data:`MODALITIES`.
        number: of the recording; each is of other scenes.
    """
    things = things_of(modality)
    if modality == "text":
        return tuple(bindplug.text(TEXT_PROMPT.format(CLASSNAMES[label_of(thing)])) for thing in things)
    first = FIRST_RECORDING + 1_000_000 * MODALITIES.index(modality) + number * len(NAMES)
    return tuple(
        query_of(Scene(first + row, "eval", labels=(thing,)), modality) for row, thing in enumerate(things)
    )


def evaluate_detection(
    detector: Any,
    modality: str,
    route: str | None = None,
    *,
    scenes: int = 400,
    recordings_of_each: int = RECORDINGS,
    start: int = 0,
    side: int = 256,
    threshold: float = DEFAULT_THRESHOLD,
    quiet: bool | None = None,
    **options: Any,
) -> DetectionMeasure:
    """Prompt every scene for all things at once, each by another scene's recording of the thing alone.

    Args:
        detector: what ``bindplug.upgrade(detector, model)`` gave.
        modality: of the prompts, one of :data:`MODALITIES`; ``"imu"`` asks for the things that move one.
        route: of the prompts; the detector's choice for None.
        scenes: number of evaluation scenes of two to five things; 300 have a thousand boxes.
        recordings_of_each: recordings of a thing that the scenes take turns with.
        start: number of the first scene.
        side: height and width of the scenes in pixels.
        threshold: of the false positives.
        quiet: True shows no progress, None asks the environment.
        options: of the detector's call, such as ``suppress``.
    """
    labels = [label_of(thing) for thing in things_of(modality)]
    turns = 1 if modality == "text" else min(recordings_of_each, scenes)
    groups = cluttered_scenes(scenes, start=start, side=side)
    detections: dict[int, Detections] = {}
    route_used = ""
    for number in iterate_with_progress(range(turns), total=turns, label=f"{modality} prompts", quiet=quiet):
        prompts = detector.prepare(recordings(modality, number), route)
        route_used = prompts.routes[0]
        for index in range(number, scenes, turns):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", MeaninglessPrompt)  # a dropped recording counts as a miss
                boxes = detector(groups[index].image, prompts, threshold=FLOOR, with_masks=False, **options)
            detections[index] = as_arrays(boxes, labels)
    ordered = [detections[index] for index in range(scenes)]
    return measure(
        modality, route_used, ordered, [ground_truth_of(s) for s in groups], labels, threshold=threshold
    )


def evaluate_own_words(
    detect: Callable[[Image.Image], Any],
    *,
    scenes: int = 400,
    start: int = 0,
    side: int = 256,
    threshold: float = DEFAULT_THRESHOLD,
    quiet: bool | None = None,
) -> DetectionMeasure:
    """The same count for a detector that looks for the twenty things by itself.

    Args:
        detect: picture to detections from :data:`FLOOR` on, whose ``label_indices`` are labels of things.
        scenes: number of evaluation scenes.
        start: number of the first scene.
        side: height and width of the scenes in pixels.
        threshold: of the false positives.
        quiet: True shows no progress, None asks the environment.
    """
    labels = list(range(len(NAMES)))
    groups = cluttered_scenes(scenes, start=start, side=side)
    detections = [
        as_arrays(detect(scene.image), labels)
        for scene in iterate_with_progress(groups, label="own words", quiet=quiet)
    ]
    return measure(
        "text", "own words", detections, [ground_truth_of(s) for s in groups], labels, threshold=threshold
    )


def as_arrays(detections: Any, labels: Sequence[int]) -> Detections:
    """Detections as arrays; row i of what was looked for is the thing ``labels[i]``."""
    boxes, scores, rows = (
        torch.as_tensor(getattr(detections, name)).detach().cpu().numpy()
        for name in ("boxes", "scores", "label_indices")
    )
    return Detections(boxes, scores, np.asarray(labels, dtype=np.int64)[rows])


def format_measures(measures: Sequence[DetectionMeasure]) -> str:
    """A Markdown table, a row a measure; ``of text`` is the share of the same route's AP50 prompted by text."""
    by_text = {m.route: m.ap50 for m in measures if m.modality == "text"}
    lines = [
        "| prompted by | route | AP50 | of text | false positives | boxes |",
        "|---|---|---|---|---|---|",
    ]
    for m in measures:
        share = f"{100 * m.ap50 / by_text[m.route]:.0f} %" if by_text.get(m.route) else ""
        lines.append(
            f"| {m.modality} | {m.route} | {m.ap50:.3f} | {share} | {100 * m.false_positive_rate:.1f} % | {m.boxes} |"
        )
    return "\n".join(lines)


def format_meaningless_prompts(measured: Mapping[str, Mapping[str, float]]) -> str:
    """A Markdown table, a row a route, a column a prompt."""
    names = list(next(iter(measured.values())))
    lines = ["| route | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
    lines += [
        f"| {route} | " + " | ".join(f"{100 * rates[name]:.0f} %" for name in names) + " |"
        for route, rates in measured.items()
    ]
    return "\n".join(lines)
