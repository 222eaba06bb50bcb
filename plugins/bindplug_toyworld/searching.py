"""What a detector finds in new pictures for the demo's files, by `bindplug detect`.

Nothing is picked: scenes follow from the seed, and every answer counts.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bindplug_toyworld.commands import Asked, arguments_for, find_command, run_command, typed
from bindplug_toyworld.evaluate_detection import Present, overlaps, present_in
from bindplug_toyworld.scene import Scene
from bindplug_toyworld.things import label_of

if TYPE_CHECKING:
    from bindplug_toyworld.showcase import Exhibit

PROMPTS = (("dog", "audio"), ("bell", "depth"), ("fire", "thermal"), ("running", "imu"))
"""What is looked for: the thing, and the kind of the file that stands for it."""

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


@dataclass(frozen=True)
class Spot:
    """One detection.

    Attributes:
        prompt: index of the prompt.
        score: in [0, 1].
        box: x1, y1, x2, y2 in pixels.
        right: whether it lies on the prompt's thing.
    """

    prompt: int
    score: float
    box: tuple[float, float, float, float]
    right: bool


@dataclass(frozen=True)
class Searched:
    """One picture that was searched.

    Attributes:
        picture: the file.
        things: what it shows.
        spots: what was found.
        missed: indices of prompts whose thing can be seen in it and was not found.
    """

    picture: Path
    things: tuple[str, ...]
    spots: tuple[Spot, ...]
    missed: tuple[int, ...]


@dataclass(frozen=True)
class Search:
    """Pictures searched by files of other sensors.

    Attributes:
        command: what was run, with paths as seen from the output directory.
        prompts: thing and modality of each.
        routes: how each prompt reached the detector.
        pictures: the results.
    """

    command: str
    prompts: tuple[Asked, ...]
    routes: tuple[str, ...]
    pictures: tuple[Searched, ...]

    @property
    def found(self) -> tuple[int, int]:
        """Things found, of those that were asked for and can be seen."""
        right = sum(spot.right for picture in self.pictures for spot in picture.spots)
        return right, right + sum(len(picture.missed) for picture in self.pictures)

    @property
    def wrong(self) -> int:
        """Boxes on anything else."""
        return sum(not spot.right for picture in self.pictures for spot in picture.spots)


def search(
    exhibits: Iterable[Exhibit], directory: Path, model_options: Sequence[str], *, detector: str, first: int
) -> Search:
    """Look in new pictures for what the demo's files stand for, by ``bindplug detect``.

    Args:
        exhibits: whose files are the prompts.
        directory: gets ``files/searched`` with the pictures and ``found`` with the results.
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
    place = directory / "files" / "searched"
    place.mkdir(parents=True, exist_ok=True)
    paths = [place / f"{index}_{'_'.join(things)}.png" for index, things in enumerate(STREETS)]
    for scene, path in zip(scenes, paths, strict=True):
        scene.image.save(path)
    prompts = [item for thing, modality in PROMPTS for item in arguments_for(files, thing, modality)]
    found = directory / "found"
    arguments = [*map(str, paths), *prompts, "--detector", detector, "-o", str(found)]
    run_command("detect", [*arguments, *model_options, "--quiet"])
    told = json.loads((found / "detections.json").read_text(encoding="utf-8"))
    order = _prompt_order(told["prompts"], files)
    pictures = [
        _searched(entry["detections"], path, scene, order)
        for entry, path, scene in zip(told["pictures"], paths, scenes, strict=True)
    ]
    routes = [told["prompts"][order.index(index)]["route"] for index in range(len(PROMPTS))]
    return Search(typed("detect", arguments, directory), PROMPTS, tuple(routes), tuple(pictures))


def _prompt_order(told: Sequence[Mapping[str, str]], files: Mapping[str, Mapping[str, Path]]) -> list[int]:
    """For each prompt as the command counts them, its place in :data:`PROMPTS`."""
    places = {(m, str(files[thing][m])): index for index, (thing, m) in enumerate(PROMPTS)}
    return [places[prompt["modality"], prompt["source"]] for prompt in told]


def _searched(
    detections: Sequence[Mapping[str, object]], picture: Path, scene: Scene, order: Sequence[int]
) -> Searched:
    truth = present_in(scene)
    claimed = [
        (order[int(str(one["prompt"]))], float(str(one["score"])), _box(one["box"])) for one in detections
    ]
    spots = judge_spots(claimed, truth)
    seen = set(truth.labels.tolist())
    found = {spot.prompt for spot in spots if spot.right}
    asked = [index for index, (thing, _) in enumerate(PROMPTS) if label_of(thing) in seen]
    return Searched(
        picture, scene.labels, tuple(spots), tuple(index for index in asked if index not in found)
    )


def judge_spots(
    claimed: Sequence[tuple[int, float, tuple[float, float, float, float]]], truth: Present
) -> list[Spot]:
    """Detections as (prompt, score, box), best first, each with whether it is right; a thing is found only once."""
    free = [True] * len(truth.boxes)
    spots = []
    for prompt, score, box in sorted(claimed, key=lambda one: -one[1]):
        shared = overlaps(np.array(box), truth.boxes) * (truth.labels == label_of(PROMPTS[prompt][0])) * free
        right = bool(len(shared)) and float(shared.max()) >= ENOUGH_OVERLAP
        if right:
            free[int(shared.argmax())] = False
        spots.append(Spot(prompt, score, box, right))
    return spots


def _box(numbers: object) -> tuple[float, float, float, float]:
    x1, y1, x2, y2 = (float(number) for number in numbers)  # type: ignore[attr-defined]
    return x1, y1, x2, y2
