"""What a detector and a generator make of the demo's files, by the commands a user would type.

Commands are looked up among those that plugins registered, so nothing here knows whose they are, and one that cannot
run leaves its reason instead. Nothing is picked: scenes follow from the seed, and every answer counts.
"""

from __future__ import annotations

import contextlib
import io
import json
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

import bindplug
from bindplug.errors import PluginError
from bindplug.inputs.progress import iterate_with_progress
from bindplug.plugins import registry
from bindplug_toyworld.evaluate_detection import Present, overlaps, present_in
from bindplug_toyworld.evaluate_generation import Judge
from bindplug_toyworld.scene import Scene
from bindplug_toyworld.things import CLASSNAMES, label_of

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

DRAWN = (
    ("dog", "audio"),
    ("helicopter", "audio"),
    ("bell", "depth"),
    ("fire", "thermal"),
    ("running", "imu"),
    ("bee", "text"),
)
"""What pictures are made from, one each."""

BLEND = (("bicycle", "image"), ("dog", "audio"))
"""Two files whose sum becomes a picture."""

MORPH = (("dog", "audio"), ("train", "audio"))
MORPH_PICTURES = 6
JUDGE = "toy_foreign_clip"
"""A CLIP that shares no weights with the model and says what the pictures show."""

Asked = tuple[str, str]
"""A thing and a modality."""


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


@dataclass(frozen=True)
class Drawing:
    """One generated picture.

    Attributes:
        asked: what it was made from; two for a blend or a step between two.
        picture: the file.
        seen: the two things that the judge sees most likely in it, best first.
        right: whether the first of them is what was asked for; for two, whether both are those.
    """

    asked: tuple[Asked, ...]
    picture: Path
    seen: tuple[str, ...]
    right: bool


@dataclass(frozen=True)
class Gallery:
    """Generated pictures.

    Attributes:
        commands: what was run, with paths as seen from the output directory.
        judge: which model tells what they show.
        single: from one file each.
        blend: from a sum of two.
        morph: on the way from one sound to another.
    """

    commands: tuple[str, ...]
    judge: str
    single: tuple[Drawing, ...]
    blend: Drawing
    morph: tuple[Drawing, ...]

    @property
    def right(self) -> tuple[int, int]:
        """Pictures from one file each that show its thing, of all those."""
        return sum(drawing.right for drawing in self.single), len(self.single)


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
    prompts = [item for thing, modality in PROMPTS for item in _source(files, thing, modality)]
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
    return Search(_typed("detect", arguments, directory), PROMPTS, tuple(routes), tuple(pictures))


def generate(
    exhibits: Iterable[Exhibit],
    directory: Path,
    model_options: Sequence[str],
    *,
    pipeline: str,
    seed: int = 0,
    quiet: bool = False,
) -> Gallery:
    """Make pictures of the demo's files, by ``bindplug generate``, and let another CLIP say what they show.

    Args:
        exhibits: whose files are the queries.
        directory: gets ``drawn`` with the pictures.
        model_options: which model, as on the command line.
        pipeline: which diffusers pipeline.
        seed: of the noise that pictures start from; the same for all.
        quiet: draw no progress bar.

    Raises:
        BindplugError: the command cannot run; e.g. MissingDependency, UnknownModel.
    """
    find_command("generate")
    files = {exhibit.thing: exhibit.files for exhibit in exhibits}
    drawn = directory / "drawn"
    drawn.mkdir(parents=True, exist_ok=True)
    morph = [str(MORPH_PICTURES)]
    wanted = {
        "each.png": (DRAWN, ["--each"]),
        "sum.png": (BLEND, []),
        "morph.png": (MORPH, ["--interpolate", *morph]),
    }
    commands = []
    for name, (asked, how) in iterate_with_progress(
        wanted.items(), label="drawing pictures", quiet=quiet or None
    ):
        sources = [item for thing, modality in asked for item in _source(files, thing, modality)]
        arguments = [*sources, *how, "--seed", str(seed), "--pipeline", pipeline, "-o", str(drawn / name)]
        run_command("generate", [*arguments, *model_options, "--quiet"])
        commands.append(_typed("generate", arguments, directory))
    single = [((asked,), drawn / f"each-{number + 1}.png") for number, asked in enumerate(DRAWN)]
    between = [(MORPH, drawn / f"morph-{number + 1}.png") for number in range(MORPH_PICTURES)]
    judged = _judged([*single, (BLEND, drawn / "sum.png"), *between])
    count = len(single)
    return Gallery(tuple(commands), JUDGE, tuple(judged[:count]), judged[count], tuple(judged[count + 1 :]))


def find_command(name: str) -> Any:
    """A command that a plugin registered.

    Raises:
        PluginError: no plugin in use brings it.
        MissingDependency: a package that it needs is absent.
    """
    entry = registry().commands.get(name)
    if entry is None:
        raise PluginError(
            f"no plugin in use brings the command `bindplug {name}`; `bindplug plugins` shows why"
        )
    return entry.load(entry.card.target)


def run_command(name: str, arguments: Sequence[str]) -> None:
    """Run a command that a plugin registered; what it prints is dropped.

    Raises:
        BindplugError: as :func:`find_command`, and whatever the command raises.
    """
    command = find_command(name)
    with contextlib.redirect_stdout(io.StringIO()):
        command.main(list(arguments), prog_name=f"bindplug {name}", standalone_mode=False)


def _source(files: Mapping[str, Mapping[str, Path]], thing: str, modality: str) -> list[str]:
    path = files[thing][modality]
    given = path.read_text(encoding="utf-8").strip() if modality == "text" else str(path)
    return [f"--{modality}", given]


def _typed(name: str, arguments: Sequence[str], directory: Path) -> str:
    """The command as a person would type it in ``directory``."""
    inside = f"{directory}/"
    return shlex.join(["bindplug", name, *(argument.removeprefix(inside) for argument in arguments)])


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


def _judged(made: Sequence[tuple[tuple[Asked, ...], Path]]) -> list[Drawing]:
    judge = Judge(bindplug.load(JUDGE, modalities=["image", "text"]))
    pictures = []
    for _, path in made:
        with Image.open(path) as file:
            pictures.append(file.convert("RGB"))
    best = judge.scores(pictures).topk(2, dim=1).indices.tolist()
    drawings = []
    for (asked, path), answer in zip(made, best, strict=True):
        seen = tuple(CLASSNAMES[label] for label in answer)
        wanted = {CLASSNAMES[label_of(thing)] for thing, _ in asked}
        drawings.append(Drawing(tuple(asked), path, seen, set(seen[: len(wanted)]) == wanted))
    return drawings
