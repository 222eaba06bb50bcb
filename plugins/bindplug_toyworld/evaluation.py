"""What a model bound to the toy world can do, measured on scenes it has never seen.

Nothing here knows how the model was trained: it takes any encoder with bindplug's face, goes through the same
readers and the same ``embed`` as a user's files, and counts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import torch
from torch import Tensor

import bindplug
from bindplug.encoder import Encoder
from bindplug.progress import iterate_with_progress
from bindplug.query import Query, embedding
from bindplug_toyworld.scene import Scene
from bindplug_toyworld.things import CLASSNAMES, MOVING, NAMES, label_of

THRESHOLDS = {
    "image -> text": 0.97,
    "audio -> text": 0.92,
    "depth -> text": 0.85,
    "thermal -> text": 0.75,
    "imu -> text": 0.90,
    "audio -> depth": 0.75,
    "audio -> imu": 0.75,
    "image + audio -> scene": 0.80,
}
"""What the embedded default promises on evaluation scenes, as fractions."""

CHUNK = 50


@dataclass(frozen=True)
class Measure:
    """One line of the evaluation.

    Attributes:
        name: e.g. ``"audio -> text"``.
        value: fraction right, 0..1.
        count: how many queries it was measured on.
        chance: the fraction a guess would get.
        classnames: row and column names of the confusion matrix; empty where there is none.
        confusion: (K, K) counts, row = truth, column = answer.
    """

    name: str
    value: float
    count: int
    chance: float
    classnames: tuple[str, ...] = ()
    confusion: tuple[tuple[int, ...], ...] = ()

    @property
    def threshold(self) -> float | None:
        """What is promised for this measure, if anything is."""
        return THRESHOLDS.get(self.name)

    @property
    def holds(self) -> bool:
        """Whether the promise is kept; true where there is none."""
        return self.threshold is None or self.value >= self.threshold

    def to_dict(self) -> dict[str, Any]:
        """Plain values for a card or ``--json``."""
        plain: dict[str, Any] = {
            "value": round(self.value, 4),
            "count": self.count,
            "chance": round(self.chance, 4),
        }
        if self.threshold is not None:
            plain["threshold"] = self.threshold
        if self.confusion:
            plain |= {"classnames": list(self.classnames), "confusion": [list(row) for row in self.confusion]}
        return plain


def things_of(modality: str) -> tuple[str, ...]:
    """The things a modality can tell apart: all of them, or those that move one for IMU."""
    return tuple(MOVING if modality == "imu" else NAMES)


def query_of(scene: Scene, modality: str) -> Query:
    """The scene's recording by one sensor, as a query."""
    makers: dict[str, Callable[[], Query]] = {
        "image": lambda: bindplug.image(scene.image),
        "video": lambda: bindplug.video(scene.video, fps=scene.fps),
        "text": lambda: bindplug.text(scene.caption),
        "audio": lambda: bindplug.audio(scene.audio, sample_rate=scene.sample_rate_hz),
        "depth": lambda: bindplug.depth(scene.depth, unit="m"),
        "thermal": lambda: bindplug.thermal(scene.thermal, unit="celsius"),
        "imu": lambda: bindplug.imu(scene.imu, sample_rate=200.0),
    }
    return makers[modality]()


def evaluation_scenes(things: Sequence[str], count: int, start: int) -> Iterator[Scene]:
    """``count`` evaluation scenes from seed ``start``, class-balanced over ``things``, one thing each."""
    for index in range(count):
        yield Scene(start + index, "eval", labels=(things[index % len(things)],))


def embed_scenes(
    model: Encoder, modality: str, scenes: Iterator[Scene], count: int, *, quiet: bool | None
) -> Tensor:
    """(count, D) unit rows, one a scene; renders, reads and embeds in chunks so that memory stays small."""
    rows: list[Tensor] = []
    chunk: list[Query] = []
    for index, scene in enumerate(iterate_with_progress(scenes, total=count, label=modality, quiet=quiet)):
        chunk.append(query_of(scene, modality))
        if len(chunk) == CHUNK or index == count - 1:
            rows.append(model.embed(chunk, progress=False))
            chunk = []
    return torch.cat(rows)


def _labels(things: Sequence[str], count: int) -> np.ndarray:
    return np.arange(count) % len(things)


def classification(model: Encoder, modality: str, embeddings: Tensor) -> Measure:
    """Zero-shot accuracy of sensor embeddings (rows cycle through the modality's things) against text prompts.

    Prompts are CLIP's 80 ImageNet templates, averaged (ImageBind, appendix B.3).
    """
    things = things_of(modality)
    names = [CLASSNAMES[label_of(thing)] for thing in things]
    classifier = model.zero_shot_classifier(names, progress=False)
    answers = (embeddings @ classifier.to(embeddings)).argmax(dim=1).numpy()
    truth = _labels(things, len(embeddings))
    confusion = np.zeros((len(things), len(things)), dtype=int)
    np.add.at(confusion, (truth, answers), 1)
    return Measure(
        name=f"{modality} -> text",
        value=float((truth == answers).mean()),
        count=len(embeddings),
        chance=1 / len(things),
        classnames=tuple(names),
        confusion=tuple(tuple(int(n) for n in row) for row in confusion),
    )


def retrieval(query: str, gallery: str, queries: Tensor, candidates: Tensor) -> Measure:
    """Fraction of queries whose nearest candidate, of another sensor and other scenes, is of the same class."""
    common = [thing for thing in things_of(query) if thing in things_of(gallery)]
    query_names = np.array(things_of(query))[_labels(things_of(query), len(queries))]
    gallery_names = np.array(things_of(gallery))[_labels(things_of(gallery), len(candidates))]
    is_query, is_candidate = np.isin(query_names, common), np.isin(gallery_names, common)
    nearest = (queries[is_query] @ candidates[is_candidate].T).argmax(dim=1).numpy()
    right = gallery_names[is_candidate][nearest] == query_names[is_query]
    return Measure(f"{query} -> {gallery}", float(right.mean()), int(is_query.sum()), 1 / len(common))


def arithmetic(model: Encoder, count: int, *, top: int = 5, quiet: bool | None = True) -> list[Measure]:
    """Image of one thing plus sound of another: do the nearest scenes hold both?

    The gallery is ``count`` scenes of two things that go round the pairs; each query adds an image and a sound
    from scenes of one thing each, and is right when one of the ``top`` nearest scenes holds both things.

    Args:
        model: an encoder of image and audio, with their centers.
        count: queries, and scenes to find.
        top: how many of the nearest count.
        quiet: True shows no progress, None asks the environment.

    Returns:
        Three measures: with the parts of each sum moved to the mean of the scenes to be searched, as they are, and
        moved to the mean of pictures of one thing. Scenes of two things lie around another mean than pictures of one.
    """
    pairs = list(combinations(NAMES, 2))
    # as many pairs as let each stand in some ``top`` scenes, which keeps small evaluations as hard as large ones
    order = np.random.default_rng(5).permutation(len(pairs))[: max(1, count // top)]
    scene_pairs = [pairs[order[index % len(order)]] for index in range(count)]
    crowded_scenes = (Scene(800_000 + i, "eval", labels=pair) for i, pair in enumerate(scene_pairs))
    gallery = embed_scenes(model, "image", crowded_scenes, count, quiet=quiet)
    # which of a pair is the picture and which the sound takes turns
    pictures = (Scene(810_000 + i, "eval", labels=(pair[i % 2],)) for i, pair in enumerate(scene_pairs))
    sounds = (Scene(820_000 + i, "eval", labels=(pair[1 - i % 2],)) for i, pair in enumerate(scene_pairs))
    picture_rows = embed_scenes(model, "image", pictures, count, quiet=quiet)
    sound_rows = embed_scenes(model, "audio", sounds, count, quiet=quiet)
    space = model.embedding_space
    sums = [
        embedding(picture, space, modality="image") + embedding(sound, space, modality="audio")
        for picture, sound in zip(picture_rows, sound_rows, strict=True)
    ]
    chance = 1 - (1 - 1 / len(order)) ** top
    measures = []
    for name, recenter in (
        ("image + audio -> scene", gallery.mean(0)),
        ("image + audio -> scene, as they are", None),
        ("image + audio -> scene, moved to images", "image"),
    ):
        best = (model.embed(sums, recenter=recenter, progress=False) @ gallery.T).topk(top, dim=1).indices
        right = [
            any(scene_pairs[g] == pair for g in row)
            for pair, row in zip(scene_pairs, best.tolist(), strict=True)
        ]
        measures.append(Measure(name, float(np.mean(right)), count, chance))
    return measures


def evaluate(model: Encoder, count: int = 1000, *, quiet: bool | None = None) -> list[Measure]:
    """Every measure of the embedded default, on evaluation scenes.

    Args:
        model: an encoder with image, text, audio, depth, thermal and IMU.
        count: scenes a modality; sensors of one measure never look at the same scene.
        quiet: True shows no progress, None asks the environment.
    """
    sensors = ("image", "audio", "depth", "thermal", "imu")
    embedded = {
        sensor: embed_scenes(
            model, sensor, evaluation_scenes(things_of(sensor), count, 100_000 * number), count, quiet=quiet
        )
        for number, sensor in enumerate(sensors, start=1)
    }
    measures = [classification(model, sensor, embedded[sensor]) for sensor in sensors]
    for query, gallery in (("audio", "depth"), ("audio", "imu"), ("image", "audio"), ("thermal", "audio")):
        measures.append(retrieval(query, gallery, embedded[query], embedded[gallery]))
    return measures + arithmetic(model, count, quiet=quiet)


def format_confusion(measure: Measure) -> str:
    """The confusion matrix as text: a row a truth, a column an answer, in the order of the class names."""
    width = max(len(name) for name in measure.classnames)
    header = " " * (width + 2) + " ".join(f"{name[:4]:>4}" for name in measure.classnames)
    rows = [
        f"{name:<{width}}  " + " ".join(f"{n or '·':>4}" for n in row)
        for name, row in zip(measure.classnames, measure.confusion, strict=True)
    ]
    return "\n".join([header, *rows])
