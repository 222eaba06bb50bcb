"""What a detector finds in new pictures for the demo's files, by `bindplug detect`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bindplug_toyworld.commands import Prompt, arguments_for, find_command, run_command, shell_line
from bindplug_toyworld.demo_files import Exhibit
from bindplug_toyworld.scene import Scene
from bindplug_toyworld.things import label_of

PROMPTS = (("dog", "audio"), ("bell", "depth"), ("fire", "thermal"), ("running", "imu"))
"""What the detector looks for: the thing, and the kind of the file that stands for it."""

STREETS = (
    ("dog", "bell", "train"),
    ("fire", "running", "bee"),
    ("running", "dog", "bicycle"),
    ("bell", "fire", "boat"),
)
"""The things of the pictures that are searched; each prompt is in two of the four."""

STREET_PX = 256
ENOUGH_OVERLAP = 0.5
"""IoU from which a box is right. Source: AP50."""


Box = tuple[float, float, float, float]
"""x1, y1, x2, y2 in pixels."""


@dataclass(frozen=True)
class DetectedBox:
    """One detection.

    Attributes:
        prompt: index of the prompt.
        score: in [0, 1].
        box: where it lies.
        right: whether it lies on the prompt's thing.
    """

    prompt: int
    score: float
    box: Box
    right: bool


@dataclass(frozen=True)
class SearchedPicture:
    """One picture and what was detected in it.

    Attributes:
        picture: the file.
        things: what it shows.
        boxes: the detections.
        missed: indices of prompts whose thing is visible in it and was not detected.
    """

    picture: Path
    things: tuple[str, ...]
    boxes: tuple[DetectedBox, ...]
    missed: tuple[int, ...]


@dataclass(frozen=True)
class DetectionResults:
    """Pictures searched by files of other sensors.

    Attributes:
        command: what was run, with paths as seen from the output directory.
        prompts: thing and modality of each.
        routes: how each prompt reached the detector.
        pictures: the results.
    """

    command: str
    prompts: tuple[Prompt, ...]
    routes: tuple[str, ...]
    pictures: tuple[SearchedPicture, ...]

    @property
    def counts(self) -> tuple[int, int]:
        """Things detected, of those that were prompted for and are visible."""
        right = sum(box.right for picture in self.pictures for box in picture.boxes)
        return right, right + sum(len(picture.missed) for picture in self.pictures)

    @property
    def wrong(self) -> int:
        """Boxes on anything else."""
        return sum(not box.right for picture in self.pictures for box in picture.boxes)


class GroundTruth(NamedTuple):
    """What is in one scene.

    Args:
        boxes: (M, 4) xyxy in pixels, one for each thing that can be seen.
        labels: (M,) int.
    """

    boxes: NDArray[Any]
    labels: NDArray[Any]


def overlaps(box: NDArray[Any], others: NDArray[Any]) -> NDArray[Any]:
    """IoU of one xyxy box (4,) with others (M, 4): (M,), 0 for empty boxes."""
    low, high = np.maximum(box[:2], others[:, :2]), np.minimum(box[2:], others[:, 2:])
    intersection = np.prod(np.clip(high - low, 0, None), axis=1)
    areas = np.prod(np.clip(others[:, 2:] - others[:, :2], 0, None), axis=1)
    union = np.prod(np.clip(box[2:] - box[:2], 0, None)) + areas - intersection
    return np.where(union > 0, intersection / np.where(union > 0, union, 1), 0.0)


def ground_truth_of(scene: Scene) -> GroundTruth:
    """The truth of a scene; a thing that is hidden altogether is left out."""
    boxes = scene.boxes
    visible = boxes[:, 2] > boxes[:, 0]
    return GroundTruth(boxes[visible], np.array([label_of(name) for name in scene.labels])[visible])


def run_detection(
    exhibits: Iterable[Exhibit], directory: Path, model_options: Sequence[str], *, detector: str, first: int
) -> DetectionResults:
    """Look in new pictures for what the demo's files stand for, by ``bindplug detect``.

    Args:
        exhibits: whose files are the prompts.
        directory: gets ``files/streets`` with the pictures and ``detections`` with the results.
        model_options: which model, as on the command line.
        detector: which detector.
        first: seed of the first scene.

    Raises:
        BindplugError: the command cannot run; e.g. MissingDependency.
    """
    find_command("detect")  # before anything is painted for it
    files = {exhibit.thing: exhibit.files for exhibit in exhibits}
    scenes = [
        Scene(first + index, "eval", labels=things, canvas=(STREET_PX, STREET_PX))
        for index, things in enumerate(STREETS)
    ]
    streets = directory / "files" / "streets"
    streets.mkdir(parents=True, exist_ok=True)
    paths = [streets / f"{index}_{'_'.join(things)}.png" for index, things in enumerate(STREETS)]
    for scene, path in zip(scenes, paths, strict=True):
        scene.image.save(path)
    prompts = [item for thing, modality in PROMPTS for item in arguments_for(files, thing, modality)]
    output = directory / "detections"
    arguments = [*map(str, paths), *prompts, "--detector", detector, "-o", str(output)]
    run_command("detect", [*arguments, *model_options, "--overwrite", "--quiet"])
    report = json.loads((output / "detections.json").read_text(encoding="utf-8"))
    order = _prompt_order(report["prompts"], files)
    pictures = [
        _searched_picture(entry["detections"], path, scene, order)
        for entry, path, scene in zip(report["pictures"], paths, scenes, strict=True)
    ]
    routes = [report["prompts"][order.index(index)]["route"] for index in range(len(PROMPTS))]
    command = shell_line("detect", arguments, directory)
    return DetectionResults(command, PROMPTS, tuple(routes), tuple(pictures))


def _prompt_order(prompts: Sequence[Mapping[str, str]], files: Mapping[str, Mapping[str, Path]]) -> list[int]:
    """For each prompt as the command counts them, its place in :data:`PROMPTS`."""
    places = {(m, str(files[thing][m])): index for index, (thing, m) in enumerate(PROMPTS)}
    return [places[prompt["modality"], prompt["source"]] for prompt in prompts]


def _searched_picture(
    detections: Sequence[Mapping[str, Any]], picture: Path, scene: Scene, order: Sequence[int]
) -> SearchedPicture:
    truth = ground_truth_of(scene)
    claims = [(order[int(d["prompt"])], float(d["score"]), _box(d["box"])) for d in detections]
    boxes = judge_boxes(claims, truth)
    visible = set(truth.labels.tolist())
    right_prompts = {box.prompt for box in boxes if box.right}
    missed = [
        index
        for index, (thing, _) in enumerate(PROMPTS)
        if label_of(thing) in visible and index not in right_prompts
    ]
    return SearchedPicture(picture, scene.labels, tuple(boxes), tuple(missed))


def judge_boxes(claims: Sequence[tuple[int, float, Box]], truth: GroundTruth) -> list[DetectedBox]:
    """Detections as (prompt, score, box), best first, each with whether it is right; a thing counts only once."""
    free = [True] * len(truth.boxes)
    boxes = []
    for prompt, score, box in sorted(claims, key=lambda claim: -claim[1]):
        shared = overlaps(np.array(box), truth.boxes) * (truth.labels == label_of(PROMPTS[prompt][0])) * free
        right = bool(len(shared)) and float(shared.max()) >= ENOUGH_OVERLAP
        if right:
            free[int(shared.argmax())] = False
        boxes.append(DetectedBox(prompt, score, box, right))
    return boxes


def _box(numbers: Iterable[float]) -> Box:
    x1, y1, x2, y2 = (float(number) for number in numbers)
    return x1, y1, x2, y2
