"""What the demo shows: real sensor files of evaluation scenes through the model, and whether the answers are right.

Nothing is picked for being right: scenes follow from the seed, and every answer counts.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any

from torch import Tensor

import bindplug
from bindplug.encoder import Encoder
from bindplug.modality import Modality
from bindplug.progress import iterate_with_progress
from bindplug.query import Query, embedding
from bindplug.templates import OPENAI_IMAGENET_TEMPLATES
from bindplug_toyworld.drawing import Gallery
from bindplug_toyworld.scene import Scene
from bindplug_toyworld.searching import Search
from bindplug_toyworld.things import CLASSNAMES, MOVING, NAMES

SHOWN = ("dog", "bee", "bell", "fire", "train", "helicopter", "bicycle", "running")
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

OF_EACH_PAIR = 3
"""Pictures of every pair of things, among which a sum is to find one."""

TOP = 5
"""A sum is right when a scene with both things is among this many nearest."""


@dataclass(frozen=True)
class Exhibit:
    """One scene and its files by modality; ``text`` is the file with the caption."""

    thing: str
    classname: str
    caption: str
    files: dict[str, Path]


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
        seen, heard: the thing in the picture, and the one in the sound.
        found: the nearest pictures: file, the things in it, cosine.
        rank: place of the scene that holds both, from 1.
        right: whether that is among the first :data:`TOP`.
    """

    seen: str
    heard: str
    found: tuple[tuple[Path, tuple[str, ...], float], ...]
    rank: int
    right: bool


@dataclass
class Showcase:
    """All there is to show.

    Attributes:
        search: things found by a detector; None where none could run.
        gallery: pictures made by a generator; None where none could run.
        absent: why not, by ``"search"`` and ``"gallery"``.
        seconds: how long it took, without loading the model.
    """

    model: str
    space: str
    seed: int
    exhibits: list[Exhibit] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)
    matches: list[Match] = field(default_factory=list)
    sums: list[Sum] = field(default_factory=list)
    search: Search | None = None
    gallery: Gallery | None = None
    absent: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def tally(self) -> dict[str, tuple[int, int]]:
        """Right answers and all answers, by kind."""
        matched = [right for match in self.matches for right in match.right]
        counted = {
            "classified": (sum(a.right for a in self.answers), len(self.answers)),
            "matched": (sum(matched), len(matched)),
            "sums": (sum(s.right for s in self.sums), len(self.sums)),
        }
        if self.search is not None:
            counted["found"] = self.search.found
        if self.gallery is not None:
            counted["drawn"] = self.gallery.right
        return counted

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


def present(
    model: Encoder,
    directory: Path,
    *,
    name: str = "imagebind_tiny",
    seed: int = 0,
    batch_size: int = 32,
    quiet: bool = False,
) -> Showcase:
    """Write sensor files into ``directory``, embed them, and judge the answers.

    Args:
        model: an encoder with all seven modalities.
        directory: made if absent.
        name: what to call the model.
        seed: which evaluation scenes; 0 or more.
        batch_size: as in :meth:`Encoder.embed`.
        quiet: draw no progress bar.
    """
    started = time.monotonic()
    show = Showcase(model=name, space=str(model.embedding_space), seed=seed)
    first = 1_000 * (seed + 1)
    for index, thing in enumerate(
        iterate_with_progress(SHOWN, label="writing sensor files", quiet=quiet or None)
    ):
        show.exhibits.append(_written(Scene(first + index, "eval", labels=[thing]), directory))
    gallery = _gallery(directory / "gallery", first + 100, quiet)
    rows = _embedded(model, show.exhibits, batch_size, quiet)
    show.answers = _answers(model, show.exhibits, rows, quiet)
    show.matches = [_match(query, candidate, show.exhibits, rows) for query, candidate in MATCHES]
    show.sums = _sums(model, show.exhibits, rows, gallery, batch_size)
    show.seconds = time.monotonic() - started
    return show


def _written(scene: Scene, directory: Path) -> Exhibit:
    files = scene.write(directory / scene.label)
    return Exhibit(scene.label, CLASSNAMES[NAMES.index(scene.label)], scene.caption, files)


def _gallery(directory: Path, first: int, quiet: bool) -> list[tuple[Path, tuple[str, ...]]]:
    """Pictures to search: some of every pair of the shown things, and one of each thing alone."""
    directory.mkdir(parents=True, exist_ok=True)
    pairs = [pair for pair in combinations(SHOWN, 2) for _ in range(OF_EACH_PAIR)]
    groups = [*pairs, *((thing,) for thing in SHOWN)]
    gallery = []
    for index, things in enumerate(
        iterate_with_progress(groups, label="painting scenes", quiet=quiet or None)
    ):
        path = directory / f"{index:03d}_{'_'.join(things)}.png"
        Scene(first + index, "eval", labels=things).image.save(path)
        gallery.append((path, tuple(things)))
    return gallery


def query_for(exhibit: Exhibit, modality: str) -> Query:
    """The query for one file of a scene; for text, for the sentence in the file."""
    path = exhibit.files[modality]
    if modality == "text":
        return bindplug.text(path.read_text(encoding="utf-8").strip())
    makers = {m.value: getattr(bindplug, m.value) for m in Modality}
    made: Query = makers[modality](path)
    return made


Rows = dict[tuple[str, str], Tensor]
"""(D,) unit rows by thing and modality."""


def _embedded(model: Encoder, exhibits: Sequence[Exhibit], batch_size: int, quiet: bool) -> Rows:
    wanted = [(e, m) for e in exhibits for m in (*SENSORS, "text") if m in e.files]
    rows: Rows = {}
    by_modality = [[(e, m) for e, m in wanted if m == modality] for modality in (*SENSORS, "text")]
    for group in iterate_with_progress(by_modality, label="embedding", quiet=quiet or None):
        made = model.embed([query_for(e, m) for e, m in group], batch_size=batch_size, progress=False)
        rows |= {(e.thing, m): row for (e, m), row in zip(group, made, strict=True)}
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
            chances = model.similarity([query], columns)[0]
            best = chances.argsort(descending=True)[:3].tolist()
            top = tuple((classes[i], float(chances[i])) for i in best)
            answers.append(Answer(exhibit.thing, modality, top, top[0][0] == exhibit.classname))
    return answers


def _match(query: str, candidate: str, exhibits: Sequence[Exhibit], rows: Rows) -> Match:
    both = [e for e in exhibits if query in e.files and candidate in e.files]
    things = tuple(e.thing for e in both)
    cosines = [[float(rows[a, query] @ rows[b, candidate]) for b in things] for a in things]
    right = tuple(max(range(len(row)), key=row.__getitem__) == i for i, row in enumerate(cosines))
    trained = "image" in (query, candidate)
    return Match(query, candidate, things, tuple(map(tuple, cosines)), right, trained)


def _sums(
    model: Encoder,
    exhibits: Sequence[Exhibit],
    rows: Rows,
    gallery: Sequence[tuple[Path, tuple[str, ...]]],
    batch_size: int,
) -> list[Sum]:
    by_thing = {e.thing: e for e in exhibits}
    queries = [
        query_for(by_thing[seen], "image") + query_for(by_thing[heard], "audio") for seen, heard in SUMS
    ]
    candidates = model.embed(
        [bindplug.image(path) for path, _ in gallery], batch_size=batch_size, progress=False
    )
    # the parts of a sum are moved to where the pictures to be searched lie
    recenter = candidates.mean(0) if {"image", "audio"} <= model.centers.keys() else None
    cosines = model.embed(queries, batch_size=batch_size, progress=False, recenter=recenter) @ candidates.T
    sums = []
    for (seen, heard), row in zip(SUMS, cosines, strict=True):
        order = row.argsort(descending=True).tolist()
        rank = 1 + next(place for place, i in enumerate(order) if set(gallery[i][1]) == {seen, heard})
        found = tuple((*gallery[i], float(row[i])) for i in order[:TOP])
        sums.append(Sum(seen, heard, found, rank, rank <= TOP))
    return sums
