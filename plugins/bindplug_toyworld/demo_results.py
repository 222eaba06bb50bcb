"""The demo: sensor files of evaluation scenes through the model, and whether the answers are right.

Scenes follow from the seed, and every answer counts.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

import bindplug
from bindplug.encoder import Encoder
from bindplug.models import find_model
from bindplug.progress import iterate_with_progress
from bindplug.query import embedding
from bindplug.templates import OPENAI_IMAGENET_TEMPLATES
from bindplug_toyworld.demo_files import Exhibit, GalleryPicture, query_for, write_exhibit, write_gallery
from bindplug_toyworld.detection_demo import DetectionResults
from bindplug_toyworld.generation_demo import GenerationResults
from bindplug_toyworld.scene import Scene
from bindplug_toyworld.things import CLASSNAMES, MOVING, NAMES

DEMO_THINGS = ("dog", "bee", "bell", "fire", "train", "helicopter", "bicycle", "running")
"""The things of the demo's scenes; the last four move an IMU."""

SENSORS = ("image", "video", "audio", "depth", "thermal", "imu")

MATCHES = (
    ("image", "text"),
    ("audio", "text"),
    ("audio", "image"),
    ("depth", "audio"),
    ("thermal", "depth"),
    ("imu", "audio"),
)
"""Pairs of sensors whose files are matched with each other, query first."""

SUMS = (("bicycle", "bell"), ("dog", "train"), ("helicopter", "fire"), ("running", "bee"))
"""Embedding arithmetic: a picture of the first thing plus the sound of the second."""

TOP = 5
"""A sum is right when a scene with both things is among this many nearest."""


@dataclass(frozen=True)
class Answer:
    """Zero-shot classes of one file, best first, and whether the first is right."""

    thing: str
    modality: str
    top: tuple[tuple[str, float], ...]
    right: bool


@dataclass(frozen=True)
class Match:
    """Files of one sensor against files of another, both of the same scenes in the same order.

    Attributes:
        query, candidate: modalities.
        things: the scenes; a row and a column each.
        cosines: (K, K), row = query.
        right: for each row, whether its own scene is nearest.
        trained: whether the model saw such pairs in training; if not, the alignment emerged through images.
    """

    query: str
    candidate: str
    things: tuple[str, ...]
    cosines: tuple[tuple[float, ...], ...]
    right: tuple[bool, ...]
    trained: bool


@dataclass(frozen=True)
class Sum:
    """A picture plus a sound, and the pictures found.

    Attributes:
        picture, sound: the thing in each.
        nearest: the nearest pictures: file, the things in it, cosine.
        rank: place of the scene that holds both, from 1.
        right: whether that is among the first :data:`TOP`.
    """

    picture: str
    sound: str
    nearest: tuple[tuple[Path, tuple[str, ...], float], ...]
    rank: int
    right: bool


@dataclass
class DemoResults:
    """What the demo reports.

    Attributes:
        detection: things found by a detector; None where none could run.
        generation: pictures embeddings by a generator; None where none could run.
        unavailable: why not, by ``"detection"`` and ``"generation"``.
        card_averages: what the models' cards measured on many scenes, as text, by kinds of :attr:`tally`.
        seconds: how long it took, without loading the model.
    """

    model: str
    space: str
    seed: int
    exhibits: list[Exhibit] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)
    matches: list[Match] = field(default_factory=list)
    sums: list[Sum] = field(default_factory=list)
    detection: DetectionResults | None = None
    generation: GenerationResults | None = None
    unavailable: dict[str, str] = field(default_factory=dict)
    card_averages: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def tally(self) -> dict[str, tuple[int, int]]:
        """Right answers and all answers, by kind."""
        is_right = [right for match in self.matches for right in match.right]
        counts = {
            "classified": (sum(a.right for a in self.answers), len(self.answers)),
            "matched": (sum(is_right), len(is_right)),
            "sums": (sum(s.right for s in self.sums), len(self.sums)),
        }
        if self.detection is not None:
            counts["detected"] = self.detection.counts
        if self.generation is not None:
            counts["generated"] = self.generation.counts
        return counts

    def answer(self, thing: str, modality: str) -> Answer | None:
        """The answer for one file, if there is such a file."""
        return next((a for a in self.answers if (a.thing, a.modality) == (thing, modality)), None)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        plain = _plain(asdict(self))
        plain["tally"] = {kind: {"right": right, "of": count} for kind, (right, count) in self.tally.items()}
        return plain


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else round(value, 5) if isinstance(value, float) else value


def card_averages(model: str, detector: str, pipeline: str) -> dict[str, str]:
    """What the cards of models in use measured on many scenes, by kinds of the tally; only what their cards hold."""
    averages = {}
    own = _evaluation(model, "encoder")
    zero_shot = [own[f"{sensor} -> text"] for sensor in SENSORS if f"{sensor} -> text" in own]
    if zero_shot:
        averages["classified"] = (
            f"card: {_mean(zero_shot, 'value'):.0%} of {zero_shot[0]['count']} files a sensor"
        )
    if "image + audio -> scene" in own:
        sums = own["image + audio -> scene"]
        averages["sums"] = f"card: {sums['value']:.0%} of {sums['count']}, among {sums['count']} scenes"
    detector_card = _evaluation(detector, "detector")
    linear = [detector_card[f"{m}, linear"] for m in SENSORS[2:] if f"{m}, linear" in detector_card]
    if linear:
        averages["detected"] = f"card: AP50 {_mean(linear, 'ap50'):.2f} over {linear[0]['scenes']} scenes"
    generator_card = _evaluation(pipeline, "generator")
    methods = [f"{m}, prototypes" for m in ("text", *SENSORS[2:])]
    single = [generator_card[name] for name in methods if name in generator_card]
    if single:
        averages["generated"] = f"card: {_mean(single, 'value'):.0%} of {single[0]['count']} a kind of file"
    return averages


def _mean(entries: Sequence[Mapping[str, Any]], name: str) -> float:
    return float(sum(entry[name] for entry in entries)) / len(entries)


def _evaluation(name: str, tool: str) -> dict[str, Any]:
    """The ``evaluation`` of the card beside a bundled model's weights; empty for any other model."""
    toys = {card.name for card in bindplug.list_models(tool) if card.toy}
    if name not in toys:
        return {}
    card = json.loads((find_model(name, tool=tool) / "card.json").read_text(encoding="utf-8"))
    evaluation: dict[str, Any] = card["evaluation"]
    return evaluation


def run_demo(
    model: Encoder,
    directory: Path,
    *,
    name: str = "imagebind_tiny",
    seed: int = 0,
    batch_size: int = 32,
    quiet: bool = False,
) -> DemoResults:
    """Write sensor files into ``directory``, embed them, and judge the answers.

    Args:
        model: an encoder with all seven modalities.
        directory: embeddings if absent.
        name: what to call the model.
        seed: which evaluation scenes; 0 or more.
        batch_size: as in :meth:`Encoder.embed`.
        quiet: draw no progress bar.
    """
    start_s = time.monotonic()
    results = DemoResults(model=name, space=str(model.embedding_space), seed=seed)
    first = 1_000 * (seed + 1)
    for index, thing in enumerate(
        iterate_with_progress(DEMO_THINGS, label="writing sensor files", quiet=quiet or None)
    ):
        results.exhibits.append(write_exhibit(Scene(first + index, "eval", labels=[thing]), directory))
    gallery = write_gallery(directory / "gallery", DEMO_THINGS, first + 100, quiet)
    rows = _embed(model, results.exhibits, batch_size, quiet)
    results.answers = _answers(model, results.exhibits, rows, quiet)
    results.matches = [_match(query, candidate, results.exhibits, rows) for query, candidate in MATCHES]
    results.sums = _sums(model, results.exhibits, gallery, batch_size)
    results.seconds = time.monotonic() - start_s
    return results


Rows = dict[tuple[str, str], Tensor]
"""(D,) unit rows by thing and modality."""


def _embed(model: Encoder, exhibits: Sequence[Exhibit], batch_size: int, quiet: bool) -> Rows:
    files = [(e, m) for e in exhibits for m in (*SENSORS, "text") if m in e.files]
    rows: Rows = {}
    by_modality = [[(e, m) for e, m in files if m == modality] for modality in (*SENSORS, "text")]
    for group in iterate_with_progress(by_modality, label="embedding", quiet=quiet or None):
        embeddings = model.embed([query_for(e, m) for e, m in group], batch_size=batch_size, progress=False)
        rows |= {(e.thing, m): row for (e, m), row in zip(group, embeddings, strict=True)}
    return rows


def _answers(model: Encoder, exhibits: Sequence[Exhibit], rows: Rows, quiet: bool) -> list[Answer]:
    answers = []
    names = {False: CLASSNAMES, True: tuple(CLASSNAMES[NAMES.index(thing)] for thing in MOVING)}
    classifier = model.zero_shot_classifier(
        CLASSNAMES, OPENAI_IMAGENET_TEMPLATES, progress=False if quiet else None
    ).T
    for exhibit in exhibits:
        for modality in (m for m in SENSORS if m in exhibit.files):
            classes = names[modality == "imu"]  # what stands still has no motion to be told by
            columns = classifier[[CLASSNAMES.index(name) for name in classes]]
            query = embedding(rows[exhibit.thing, modality], model.embedding_space, modality=modality)
            probabilities = model.similarity([query], columns)[0]
            best = probabilities.argsort(descending=True)[:3].tolist()
            top = tuple((classes[i], float(probabilities[i])) for i in best)
            answers.append(Answer(exhibit.thing, modality, top, top[0][0] == exhibit.classname))
    return answers


def _match(query: str, candidate: str, exhibits: Sequence[Exhibit], rows: Rows) -> Match:
    usable_exhibits = [e for e in exhibits if query in e.files and candidate in e.files]
    things = tuple(e.thing for e in usable_exhibits)
    cosines = [[float(rows[a, query] @ rows[b, candidate]) for b in things] for a in things]
    right = tuple(max(range(len(row)), key=row.__getitem__) == i for i, row in enumerate(cosines))
    is_trained = "image" in (query, candidate)
    return Match(query, candidate, things, tuple(map(tuple, cosines)), right, is_trained)


def _sums(
    model: Encoder,
    exhibits: Sequence[Exhibit],
    gallery: Sequence[GalleryPicture],
    batch_size: int,
) -> list[Sum]:
    by_thing = {e.thing: e for e in exhibits}
    queries = [
        query_for(by_thing[picture], "image") + query_for(by_thing[sound], "audio") for picture, sound in SUMS
    ]
    candidates = model.embed(
        [bindplug.image(path) for path, _ in gallery], batch_size=batch_size, progress=False
    )
    # the parts of a sum are moved to where the pictures to be searched lie
    recenter = candidates.mean(0) if {"image", "audio"} <= model.centers.keys() else None
    cosines = model.embed(queries, batch_size=batch_size, progress=False, recenter=recenter) @ candidates.T
    sums = []
    for (picture, sound), row in zip(SUMS, cosines, strict=True):
        order = row.argsort(descending=True).tolist()
        rank = 1 + next(place for place, i in enumerate(order) if set(gallery[i][1]) == {picture, sound})
        nearest = tuple((*gallery[i], float(row[i])) for i in order[:TOP])
        sums.append(Sum(picture, sound, nearest, rank, rank <= TOP))
    return sums
