"""The items of a task as an evaluation takes them: read, limited, and known by a digest."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from bindplug import Query
from bindplug.errors import InputError
from bindplug_lab.evaluation.identity import digest_of_query, digest_of_values
from bindplug_lab.evaluation.results import Settings
from bindplug_lab.tasks import FewShotItems, Items, LabeledItems, Task

__all__ = ["TaskData", "balanced_places", "digest_of_data", "digest_of_items", "read_data"]


@dataclass(frozen=True)
class TaskData:
    """Items of a task, perhaps fewer than the data set has.

    Attributes:
        items: to measure on.
        size: items of the data set that are here, before a limit.
        is_limited: whether items were drawn.
        remarks: on what is missing.
    """

    items: Items
    size: int
    is_limited: bool = False
    remarks: list[str] = field(default_factory=list)


def read_data(task: Task, root: str | os.PathLike[str] | None, settings: Settings) -> TaskData:
    """Read a task's items and limit them as the settings say.

    Raises:
        MissingData, InputError: as :meth:`bindplug_lab.tasks.Task.items`; or the items are of other modalities than
            the task says.
    """
    items = task.items(root, allow_missing=settings.allow_missing)
    _check_modalities(task, items)
    remarks = []
    if items.missing_count:
        remarks.append(f"{items.missing_count} items of the data set are missing here")
    size = _size(items)
    if settings.limit is None or settings.limit >= size:
        return TaskData(items, size, remarks=remarks)
    shots = max(task.shots, default=8)
    sample = _limited(items, settings.limit, settings.seed, shots)
    remarks.append(f"{_size(sample)} of {size} items, drawn with seed {settings.seed}")
    return TaskData(sample, size, is_limited=True, remarks=remarks)


def _check_modalities(task: Task, items: Items) -> None:
    """Refuse a task whose items are of other modalities than it names: models are checked, and known, by those."""
    sides = _sides(items)
    present: set[str] = set()
    for queries in sides:
        try:
            query = queries[0]
        except InputError:  # an item that cannot be read tells nothing
            return
        present |= {leaf.modality.value for _, leaf in query.terms if leaf.modality is not None}
    expected = set(task.modalities)
    if task.protocol not in ("retrieval", "arithmetic_retrieval", "cross_sensor_retrieval"):
        expected -= {"text"} - present  # of the class names
    if present != expected:
        raise InputError(
            task.source or f"task {task.name!r}",
            found=f"modalities {', '.join(sorted(task.modalities))}, with data of {', '.join(sorted(present))}",
            expected="the modalities of the data",
        )


def balanced_places(labels: Sequence[int], count: int, seed: int) -> list[int]:
    """Places of ``count`` items drawn at random, as equally many of each class as there are.

    Classes take turns in a random order; those that are used up are passed over.

    Returns:
        Places in ascending order.
    """
    rng = np.random.default_rng(seed)
    by_class: dict[int, list[int]] = {}
    for place in rng.permutation(len(labels)).tolist():
        by_class.setdefault(labels[place], []).append(place)
    classes = [by_class[label] for label in rng.permutation(sorted(by_class)).tolist()]
    selection: list[int] = []
    turn = 0
    while len(selection) < min(count, len(labels)):
        for places in classes:
            if turn < len(places) and len(selection) < count:
                selection.append(places[turn])
        turn += 1
    return sorted(selection)


def digest_of_data(task: Task, items: Items) -> str:
    """A digest of all that a task's figures depend on beside the model; empty where a source cannot be compared."""
    digest = digest_of_items(items)
    rules = [task.protocol, task.templates, task.metrics, task.shots]
    return digest_of_values(digest, rules) if digest else ""


def digest_of_items(items: Items) -> str:
    """A digest of items, their labels, and the state of their files; empty where a source cannot be compared."""
    if isinstance(items, FewShotItems):
        parts = [digest_of_items(items.support), digest_of_items(items.test)]
        return digest_of_values(parts) if all(parts) else ""
    fields: list[object]
    if isinstance(items, LabeledItems):
        fields = [
            items.ids,
            items.labels,
            items.class_names,
            items.synonyms,
            items.folds,
            items.clusters,
        ]
    else:
        fields = [items.left_ids, items.right_ids, [sorted(match) for match in items.matches]]
    digest = hashlib.sha256(digest_of_values(fields).encode())
    for queries in _sides(items):
        for place in range(len(queries)):
            identity = _identity(queries, place)
            if identity is None:
                return ""
            digest.update(identity.encode())
    return digest.hexdigest()[:32]


def _sides(items: Items) -> list[Sequence[Query]]:
    if isinstance(items, FewShotItems):
        return [items.support.queries, items.test.queries]
    return [items.queries] if isinstance(items, LabeledItems) else [items.left, items.right]


def _identity(queries: Sequence[Query], place: int) -> str | None:
    try:
        query = queries[place]
    except InputError:
        return "unreadable"
    return digest_of_query(query)


def _size(items: Items) -> int:
    if isinstance(items, (LabeledItems, FewShotItems)):
        return len(items)
    return len(items.right_ids)


def _limited(items: Items, limit: int, seed: int, shots: int) -> Items:
    if isinstance(items, LabeledItems):
        return items.subset(balanced_places([labels[0] for labels in items.labels], limit, seed))
    if isinstance(items, FewShotItems):
        least = len(items.class_names) * shots
        support = _limited(items.support, max(limit, least), seed, shots)
        test = _limited(items.test, limit, seed, shots)
        assert isinstance(support, LabeledItems)
        assert isinstance(test, LabeledItems)
        return replace(items, support=support, test=test)
    return items.sample(limit, seed=seed)
