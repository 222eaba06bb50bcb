"""How each protocol measures a model on a task's items."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np

from bindplug import Query, text
from bindplug.encoder import warn_unknown_words
from bindplug.errors import InputError, UnknownWords
from bindplug_lab.evaluation.embedding import Embedder, Rows
from bindplug_lab.evaluation.measures import Accuracy, FewShotAccuracy, MeanPrecision, Measure, Recall
from bindplug_lab.few_shot.curve import DEFAULT_REPEATS, few_shot_hits
from bindplug_lab.few_shot.supports import ensure_disjoint, ensure_shots
from bindplug_lab.tasks import FewShotItems, Items, LabeledItems, PairedItems, Task

__all__ = [
    "Measurement",
    "class_rows",
    "mean_class_rows",
    "measure_task",
    "modalities_of",
    "zero_shot_scale",
]

RECALLS = (1, 5, 10)
"""Places of retrieval, beside those that a task's metrics name."""


@dataclass
class Measurement:
    """What a protocol measures.

    Attributes:
        measures: whose figures make the result.
        count: items that were measured; of pairs those on the right.
        skipped: ``{"item", "source", "reason"}`` of items that could not be read or embedded.
        notes: ``{"item", "source", "note"}`` of what readers remarked.
        remarks: what a reader of the result should know.
    """

    measures: list[Measure]
    count: int
    skipped: list[dict[str, Any]] = field(default_factory=list)
    notes: list[dict[str, Any]] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    def add(self, rows: Rows, ids: Sequence[str]) -> None:
        """Take over what was skipped and remarked among items of these names."""
        for source, target in ((rows.skipped, self.skipped), (rows.notes, self.notes)):
            for entry in source:
                rest = {key: value for key, value in entry.items() if key != "index"}
                target.append({"item": ids[entry["index"]], **rest})


def modalities_of(task: Task) -> tuple[str, ...]:
    """What a model must have for a task: its modalities, and text where classes are known by their names."""
    prompted = task.protocol in ("zero_shot", "multi_label")
    return tuple(dict.fromkeys((*task.modalities, *(("text",) if prompted else ()))))


def measure_task(
    task: Task, items: Items, embedder: Embedder, *, strict: bool = False, seed: int = 0
) -> Measurement:
    """Measure a model on a task.

    Args:
        task: its protocol is one of :data:`bindplug_lab.tasks.PROTOCOLS`.
        items: of the task, perhaps fewer.
        embedder: of the model.
        strict: raise at the first item that cannot be embedded.
        seed: of drawn supports.

    Raises:
        InputError: nothing can be embedded, or a class has too few examples.
    """
    return _PROTOCOLS[task.protocol](task, items, embedder, strict, seed)


def _zero_shot(task: Task, items: Items, embedder: Embedder, strict: bool, seed: int) -> Measurement:
    labeled = cast("LabeledItems", items)
    names, groups = class_rows(labeled, task.templates, embedder)
    rows = embedder.embed(labeled.queries, label=task.name, strict=strict)
    relevant = labeled.label_matrix[rows.kept]
    clusters = _clusters(labeled, rows.kept)
    measure: Measure
    if task.protocol == "multi_label":
        measure = MeanPrecision(rows.rows, names, groups, relevant, clusters=clusters)
    else:
        folds = np.array(labeled.folds)[rows.kept] if labeled.folds else None
        measure = Accuracy(rows.rows, names, groups, relevant, folds=folds, clusters=clusters)
    measurement = Measurement([measure], len(rows.kept))
    measurement.add(rows, labeled.ids)
    return measurement


def class_rows(
    items: LabeledItems, templates: Sequence[str], embedder: Embedder
) -> tuple[np.ndarray, np.ndarray]:
    """Rows of the classes' names, and the class of each name.

    Args:
        items: with class names and synonyms.
        templates: prompts with ``{}``; a name's row is the normalized mean of its prompts' unit rows. The bare name
            where there are none.
        embedder: of the model.

    Returns:
        (M, D) float32 unit rows and (M,) int64 classes.

    Warns:
        UnknownWords: the model does not know words of the names.
    """
    names = [(name, place) for place, group in enumerate(items.synonyms) for name in group]
    queries = [_prompted(name, templates or ("{}",)) for name, _ in names]
    with warnings.catch_warnings():  # words of templates are not the person's
        warnings.simplefilter("ignore", UnknownWords)
        rows = embedder.embed(queries, label="class names", strict=True)
        bare = [text(name) for name, _ in names]
        report = embedder.model.embed_with_report(bare, batch_size=embedder.batch_size, progress=False)
    warn_unknown_words(report.unknown_words)
    return rows.rows, np.array([place for _, place in names], dtype=np.int64)


def mean_class_rows(rows: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """(C, D) unit rows: for each class the normalized mean of its names' rows."""
    means = np.stack([rows[groups == c].mean(0) for c in range(int(groups.max()) + 1)])
    result: np.ndarray = means / np.linalg.norm(means, axis=1, keepdims=True)
    return result


def _prompted(name: str, templates: Sequence[str]) -> Query:
    return Query(
        (1.0 / len(templates), leaf)
        for template in templates
        for _, leaf in text(template.replace("{}", name)).terms
    )


def _retrieval(task: Task, items: Items, embedder: Embedder, strict: bool, seed: int) -> Measurement:
    pairs = cast("PairedItems", items)
    left = embedder.embed(pairs.left, label=f"{task.name}, {pairs.left_name}", strict=strict)
    right = embedder.embed(pairs.right, label=f"{task.name}, {pairs.right_name}", strict=strict)
    places = {int(old): new for new, old in enumerate(right.kept)}
    matches = [frozenset(places[i] for i in pairs.matches[old] if i in places) for old in left.kept]
    own = _own(left, right)
    ks = sorted({*RECALLS, *(int(m.partition("@")[2]) for m in task.metrics if m.startswith("recall@"))})
    directions = [_Direction(f"{pairs.left_name}_to_{pairs.right_name}", left.rows, right.rows, matches, own)]
    if task.protocol != "arithmetic_retrieval":
        directions.append(directions[0].reverse(f"{pairs.right_name}_to_{pairs.left_name}"))
    measurement = Measurement([], len(right.rows))
    if len(left.rows) != len(right.rows):
        measurement.remarks.append(f"{len(left.rows)} queries of {pairs.left_name}")
    for direction in directions:
        recall, left_out = direction.measure(ks, f"task {task.name!r}")
        measurement.measures.append(recall)
        if left_out:
            measurement.remarks.append(f"{direction.name}: {left_out} queries without a match left out")
    measurement.add(left, pairs.left_ids)
    measurement.add(right, pairs.right_ids)
    return measurement


@dataclass(frozen=True)
class _Direction:
    """Queries that retrieve candidates: rows of both, and for each query the places of its matches and of itself."""

    name: str
    rows: np.ndarray
    candidates: np.ndarray
    matches: Sequence[frozenset[int]]
    own: Sequence[frozenset[int]]

    def reverse(self, name: str) -> _Direction:
        back, own = ([set[int]() for _ in self.candidates] for _ in range(2))
        for place, (match, same) in enumerate(zip(self.matches, self.own, strict=True)):
            for other in match:
                back[other].add(place)
            for other in same:
                own[other].add(place)
        return _Direction(
            name, self.candidates, self.rows, list(map(frozenset, back)), list(map(frozenset, own))
        )

    def measure(self, ks: Sequence[int], where: str) -> tuple[Recall, int]:
        """Recall of the queries that have a match besides themselves, and how many have none."""
        pairs = list(zip(self.matches, self.own, strict=True))
        answerable = [place for place, (match, same) in enumerate(pairs) if match - same]
        if not answerable:
            raise InputError(where, found=f"{self.name}: no query with a match", expected="at least one")
        matches = [self.matches[place] for place in answerable]
        # Captions of one recording are no independent observations, so they are resampled together.
        clusters = [
            min(match) if len(match) == 1 else f"query {place}" for place, match in enumerate(matches)
        ]
        recall = Recall(
            self.rows[answerable],
            self.candidates,
            matches,
            own=[self.own[place] for place in answerable],
            prefix=f"{self.name} ",
            ks=[k for k in ks if k < len(self.candidates)] or [1],
            clusters=clusters,
        )
        return recall, len(pairs) - len(answerable)


def _own(left: Rows, right: Rows) -> list[frozenset[int]]:
    """For each query the candidates that are one of its terms: finding those would be no retrieval."""
    places: dict[str, set[int]] = {}
    for place, index in enumerate(right.kept):
        terms = right.terms[index]
        if len(terms) == 1 and terms[0] is not None:
            places.setdefault(terms[0], set()).add(place)
    return [
        frozenset().union(*(places.get(term, set()) for term in left.terms[index] if term is not None))
        for index in left.kept
    ]


def _few_shot(task: Task, items: Items, embedder: Embedder, strict: bool, seed: int) -> Measurement:
    both = cast("FewShotItems", items)
    support = embedder.embed(both.support.queries, label=f"{task.name}, support", strict=strict)
    test = embedder.embed(both.test.queries, label=f"{task.name}, test", strict=strict)
    ensure_disjoint(support.terms, test.terms, f"task {task.name!r}")
    shots = task.shots or (1, 2, 4, 8)
    support_labels = both.support.label_array[support.kept]
    test_labels = both.test.label_array[test.kept]
    ensure_shots(support_labels, both.class_names, shots, f"task {task.name!r}, support")
    clusters = _clusters(both.test, test.kept)
    names: np.ndarray | None = None
    measures: list[Measure] = []
    if "text" in embedder.model.modalities:
        rows, groups = class_rows(both.test, task.templates, embedder)
        relevant = both.test.label_matrix[test.kept]
        measures.append(Accuracy(test.rows, rows, groups, relevant, clusters=clusters))
        names = mean_class_rows(rows, groups)
    hits = few_shot_hits(
        support.rows,
        support_labels,
        test.rows,
        test_labels,
        shots=shots,
        repeats=DEFAULT_REPEATS,
        seed=seed,
        zero_shot=names,
        scale=zero_shot_scale(embedder, task.modalities),
    )
    correct = {f"{learner} {k}-shot": values for (learner, k), values in hits.items()}
    measures.append(FewShotAccuracy(correct, chance=1 / len(both.class_names), clusters=clusters, seed=seed))
    measurement = Measurement(measures, len(test.kept))
    measurement.add(support, both.support.ids)
    measurement.add(test, both.test.ids)
    return measurement


def zero_shot_scale(embedder: Embedder, modalities: Sequence[str]) -> float:
    """The factor on cosines between text and the first modality that is no text, as probabilities use it."""
    sensors = [name for name in modalities if name != "text"]
    with (
        warnings.catch_warnings()
    ):  # without a trained scale the usual one is used; only the blend depends on it
        warnings.simplefilter("ignore")
        names = [name for name in ("text", *sensors[:1]) if name in embedder.model.modalities]
        if not sensors or sensors[0] in ("image", "video"):
            return embedder.model.scale_of("text")
        return embedder.model.scale_of(names[-1])


def _clusters(items: LabeledItems, kept: np.ndarray) -> Sequence[Hashable] | None:
    return [items.clusters[place] for place in kept] if items.clusters else None


_PROTOCOLS: Mapping[str, Callable[[Task, Items, Embedder, bool, int], Measurement]] = {
    "zero_shot": _zero_shot,
    "multi_label": _zero_shot,
    "retrieval": _retrieval,
    "few_shot": _few_shot,
    "arithmetic_retrieval": _retrieval,
    "cross_sensor_retrieval": _retrieval,
}
