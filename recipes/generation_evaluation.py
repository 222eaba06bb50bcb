"""Whether generated pictures show the thing that was heard, measured, felt, seen or said; a foreign CLIP judges.

Nothing here knows how the generator was made: it takes what ``bindplug.upgrade(pipeline, model)`` gives, or anything
that makes a picture of each query, and counts. The judge shares no weight, seed or width with the model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

from bindplug.errors import InputError
from bindplug.progress import iterate_with_progress
from bindplug.query import Query
from bindplug_toyworld.evaluation import query_of, things_of
from bindplug_toyworld.generation_demo import Judge
from bindplug_toyworld.scene import Scene
from bindplug_toyworld.things import CLASSNAMES, NAMES, label_of
from recipes.card import interval

MODALITIES = ("image", "text", "audio", "depth", "thermal", "imu")
BLENDS = (("image", "audio"), ("text", "audio"), ("audio", "depth"))
THRESHOLD_AUDIO = 0.80
"""What the toy unCLIP promises: the share of pictures from sounds that show what was heard."""
FIRST_SCENE = 7_000_000
"""Seeds of the queries' evaluation scenes start here, each kind's a million further on."""
CHUNK = 50


@dataclass(frozen=True)
class GenerationMeasure:
    """How many pictures of one kind of query the judge finds right.

    Attributes:
        modality: of the queries; ``"image + audio"`` for a blend of two things.
        method: what was done against the modality gap: ``"as they are"``, ``"recentered"``, ...
        value: share of pictures of the thing; of a blend, of either thing.
        count: pictures judged.
        chance: the share a guess would get.
        both: of a blend, the share with both things in the judge's first two; None otherwise.
        classnames: row and column names of the confusion matrix; empty for blends.
        confusion: (K, 20) counts, row = truth, column = answer.
    """

    modality: str
    method: str
    value: float
    count: int
    chance: float
    both: float | None = None
    classnames: tuple[str, ...] = ()
    confusion: tuple[tuple[int, ...], ...] = ()

    @property
    def name(self) -> str:
        """E.g. ``"audio, recentered"``."""
        return f"{self.modality}, {self.method}"

    def to_dict(self) -> dict[str, Any]:
        """Plain values for a card or ``--json``."""
        plain: dict[str, Any] = {
            "value": round(self.value, 4),
            "count": self.count,
            "chance": round(self.chance, 4),
        }
        if self.both is not None:
            plain["both"] = round(self.both, 4)
        if self.confusion:
            plain |= {"classnames": list(self.classnames), "confusion": [list(row) for row in self.confusion]}
        return plain


@dataclass(frozen=True, eq=False)
class QuerySet:
    """Queries, and the things they are about.

    Args:
        modality: of the queries, or the blend's name.
        queries: one for each picture.
        labels: for each query the labels of its things, one or two.
        scenes: for each query the scene of its first source, for contact sheets.
    """

    modality: str
    queries: Sequence[Query]
    labels: Sequence[tuple[int, ...]]
    scenes: Sequence[Scene]


def sensor_queries(modality: str, count: int) -> QuerySet:
    """``count`` queries by one sensor, each of an evaluation scene of one thing, going round the things.

    Raises:
        InputError: another modality than :data:`MODALITIES`.
    """
    if modality not in MODALITIES:
        raise InputError("modality", found=repr(modality), expected=f"one of {', '.join(MODALITIES)}")
    things = things_of(modality)
    first = FIRST_SCENE + 1_000_000 * MODALITIES.index(modality)
    scenes = [
        Scene(first + number, "eval", labels=(things[number % len(things)],)) for number in range(count)
    ]
    queries = [query_of(scene, modality) for scene in scenes]
    return QuerySet(modality, queries, [(label_of(scene.label),) for scene in scenes], scenes)


def blend_queries(first: str, second: str, count: int) -> QuerySet:
    """``count`` sums of one thing's recording by one sensor and another thing's by another."""
    start = FIRST_SCENE + 20_000_000 + 1_000_000 * (6 * MODALITIES.index(first) + MODALITIES.index(second))
    random = np.random.default_rng(11)
    pairs = [random.choice(len(NAMES), size=2, replace=False).tolist() for _ in range(count)]
    scenes = [Scene(start + 2 * n, "eval", labels=(NAMES[a],)) for n, (a, _) in enumerate(pairs)]
    other = [Scene(start + 2 * n + 1, "eval", labels=(NAMES[b],)) for n, (_, b) in enumerate(pairs)]
    queries = [query_of(a, first) + query_of(b, second) for a, b in zip(scenes, other, strict=True)]
    return QuerySet(f"{first} + {second}", queries, [(a, b) for a, b in pairs], scenes)


def generate_all(
    generator: Any, query_set: QuerySet, *, seed: int = 0, quiet: bool | None = None, **options: Any
) -> list[Image.Image]:
    """A picture of each query.

    Args:
        generator: what ``bindplug.upgrade(pipeline, model)`` gave; called with a list of queries.
        query_set: the queries.
        seed: of the first picture; each further one's is one more.
        quiet: True shows no progress, None asks the environment.
        options: of the generator's call, such as ``recenter``, ``prototypes``, ``guidance_scale``.
    """
    pictures: list[Image.Image] = []
    for start in iterate_with_progress(
        range(0, len(query_set.queries), CHUNK), label=f"pictures of {query_set.modality}", quiet=quiet
    ):
        queries = list(query_set.queries[start : start + CHUNK])
        seeds = [seed + start + number for number in range(len(queries))]
        pictures += generator(queries, seed=seeds, **options).images
    return pictures


def judge_pictures(
    judge: Judge, query_set: QuerySet, pictures: Sequence[Image.Image], method: str = "as they are"
) -> GenerationMeasure:
    """Count which of the pictures show what the queries are about.

    Raises:
        InputError: there is not one picture for each query.
    """
    if len(pictures) != len(query_set.labels):
        expected = f"{len(query_set.labels)}, one for each query"
        raise InputError("pictures", found=f"{len(pictures)} pictures", expected=expected)
    ranked = torch.cat([judge.scores(pictures[n : n + CHUNK]) for n in range(0, len(pictures), CHUNK)])
    best = ranked.topk(2, dim=1).indices.tolist()
    right = [answers[0] in labels for answers, labels in zip(best, query_set.labels, strict=True)]
    things = len(query_set.labels[0])
    if things > 1:
        both = [set(answers) == set(labels) for answers, labels in zip(best, query_set.labels, strict=True)]
        return GenerationMeasure(
            query_set.modality,
            method,
            float(np.mean(right)),
            len(right),
            things / len(NAMES),
            float(np.mean(both)),
        )
    rows = [label_of(thing) for thing in things_of(query_set.modality)]
    confusion = np.zeros((len(rows), len(NAMES)), dtype=int)
    for answers, (label,) in zip(best, query_set.labels, strict=True):
        confusion[rows.index(label), answers[0]] += 1
    return GenerationMeasure(
        query_set.modality,
        method,
        float(np.mean(right)),
        len(right),
        1 / len(NAMES),
        classnames=tuple(CLASSNAMES[row] for row in rows),
        confusion=tuple(tuple(int(number) for number in row) for row in confusion),
    )


def evaluate_generation(
    generator: Any,
    judge: Judge,
    query_set: QuerySet,
    methods: Mapping[str, Mapping[str, Any]],
    *,
    quiet: bool | None = None,
    **options: Any,
) -> tuple[list[GenerationMeasure], dict[str, list[Image.Image]]]:
    """Generate and judge a picture of each query, under each method of the modality gap.

    Args:
        generator: what ``bindplug.upgrade(pipeline, model)`` gave.
        judge: of the pictures.
        query_set: the queries.
        methods: for each method's name the options of the call that make it.
        quiet: True shows no progress, None asks the environment.
        options: of every call.

    Returns:
        A measure for each method, and the pictures by its name.
    """
    pictures = {
        method: generate_all(generator, query_set, quiet=quiet, **options, **settings)
        for method, settings in methods.items()
    }
    return [judge_pictures(judge, query_set, group, method) for method, group in pictures.items()], pictures


def format_measures(measures: Sequence[GenerationMeasure]) -> str:
    """A Markdown table, a row a modality or blend, a column a method."""
    methods = list(dict.fromkeys(measure.method for measure in measures))
    lines = [
        "| picture of | " + " | ".join(methods) + " | chance | pictures |",
        "|---" * (len(methods) + 3) + "|",
    ]
    for modality in dict.fromkeys(measure.modality for measure in measures):
        own = {measure.method: measure for measure in measures if measure.modality == modality}
        first = next(iter(own.values()))
        cells = [_cell(own.get(method)) for method in methods]
        lines.append(f"| {modality} | {' | '.join(cells)} | {100 * first.chance:.0f} % | {first.count} |")
    return "\n".join(lines)


def _cell(measure: GenerationMeasure | None) -> str:
    if measure is None:
        return ""
    both = "" if measure.both is None else f", both {100 * measure.both:.0f} %"
    low, high = interval(measure.value, measure.count)
    return f"{100 * measure.value:.1f} % ({100 * low:.0f} to {100 * high:.0f}){both}"


SIDE, NAME, GAP, FRAME, HEAD = 96, 150, 8, 4, 30
RIGHT, WRONG, INK, GROUND = (23, 118, 74), (178, 51, 43), (28, 30, 35), (245, 243, 238)


def contact_sheet(
    query_set: QuerySet,
    pictures: Sequence[Image.Image],
    answers: Sequence[int],
    *,
    title: str,
    rows: int = 20,
    each: int = 6,
) -> Image.Image:
    """A sheet of pictures, a row for each thing or pair, framed green where the judge agrees, else red.

    Args:
        query_set: the queries.
        pictures: one for each.
        answers: the judge's label for each.
        title: written above.
        rows: most rows.
        each: most pictures of a row; the picture of the first one's scene stands before them.
    """
    by_labels: dict[tuple[int, ...], list[int]] = {}
    for number, labels in enumerate(query_set.labels):
        by_labels.setdefault(labels, []).append(number)
    settings = [(labels, numbers[:each]) for labels, numbers in list(by_labels.items())[:rows]]
    columns = 1 + max(len(numbers) for _, numbers in settings)
    cell = SIDE + 2 * FRAME + GAP
    sheet = Image.new("RGB", (NAME + columns * cell + GAP, HEAD + len(settings) * (cell + 12) + GAP), GROUND)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(12)
    draw.text((GAP, GAP), title, INK, ImageFont.load_default(15))
    for row, (labels, numbers) in enumerate(settings):
        y = HEAD + row * (cell + 12)
        draw.text((GAP, y + SIDE // 2), "\n+ ".join(CLASSNAMES[label] for label in labels), INK, font)
        sheet.paste(query_set.scenes[numbers[0]].image.resize((SIDE, SIDE)), (NAME + FRAME, y + FRAME))
        for column, number in enumerate(numbers, start=1):
            x, agrees = NAME + column * cell, answers[number] in labels
            box = (x, y, x + SIDE + 2 * FRAME, y + SIDE + 2 * FRAME)
            draw.rectangle(box, RIGHT if agrees else WRONG)
            enlarged = pictures[number].resize((SIDE, SIDE), Image.Resampling.BICUBIC)
            sheet.paste(enlarged, (x + FRAME, y + FRAME))
            if not agrees or len(labels) > 1:
                draw.text((x + FRAME, box[3]), CLASSNAMES[answers[number]], RIGHT if agrees else WRONG, font)
    return sheet
