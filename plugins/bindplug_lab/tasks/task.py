"""A task: what a benchmark asks, of which files, and which figures are published."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from bindplug.errors import InputError, OptionError
from bindplug_lab.datasets.folder import DataFolder
from bindplug_lab.datasets.registry import READERS
from bindplug_lab.tasks.items import FewShotItems, Items, LabeledItems, PairedItems

__all__ = ["PROTOCOLS", "Published", "Task"]

PROTOCOLS: Mapping[str, type] = {
    "zero_shot": LabeledItems,
    "multi_label": LabeledItems,
    "retrieval": PairedItems,
    "few_shot": FewShotItems,
    "arithmetic_retrieval": PairedItems,
    "cross_sensor_retrieval": PairedItems,
}
"""Protocols, and what the items of each are."""


@dataclass(frozen=True)
class Published:
    """A figure that somebody published for a task.

    Attributes:
        model: whose figure it is, as ``"imagebind_huge"``; ``"chance"`` for the score of guessing.
        metric: one of the task's metrics.
        value: in percent.
        source: where it is published.
        direction: of retrieval, as ``"text_to_audio"``; empty otherwise.
    """

    model: str
    metric: str
    value: float
    source: str
    direction: str = ""


@dataclass(frozen=True)
class Task:
    """What a benchmark asks of a model.

    Attributes:
        name: as ``bindplug eval --tasks`` takes it.
        title: for people.
        protocol: one of :data:`PROTOCOLS`.
        modalities: which a model must have, besides text where classes are given by prompts.
        metrics: ``"accuracy"``, ``"accuracy@5"``, ``"mean_class_accuracy"``, ``"mAP"`` or ``"recall@K"``; the first is
            the main one.
        templates: prompts with ``{}`` for a class name; empty where nothing is prompted.
        reader: a key of :data:`~bindplug_lab.datasets.READERS`.
        options: keyword options of the reader.
        support: options that replace those for the support items of few-shot tasks.
        shots: examples a class of few-shot tasks.
        synonyms: by class name, the names whose best score is the class's score.
        published: figures of others.
        folder: name of the data set's folder below the folder of all data.
        size: items of the test set, as published; 0 if unknown.
        url, terms, layout, citation: where to get the data, under which terms, its files as a tree, the paper.
        notes: what differs from the paper, or is unknown.
        groups: names under which several tasks are asked for at once.
        source: the file that the task stands in.
    """

    name: str
    title: str
    protocol: str
    modalities: tuple[str, ...]
    metrics: tuple[str, ...]
    reader: str
    options: Mapping[str, Any] = field(default_factory=dict)
    support: Mapping[str, Any] = field(default_factory=dict)
    shots: tuple[int, ...] = ()
    templates: tuple[str, ...] = ()
    synonyms: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    published: tuple[Published, ...] = ()
    folder: str = ""
    size: int = 0
    url: str = ""
    terms: str = ""
    layout: str = ""
    citation: str = ""
    notes: str = ""
    groups: tuple[str, ...] = ()
    source: str = ""

    @property
    def needs_data(self) -> bool:
        """Whether the task reads files that a person must have; procedural tasks need none."""
        return READERS[self.reader].needs_data

    def with_options(self, **options: Any) -> Task:
        """The task with other options of its reader, as ``with_options(folds=[1])``.

        Raises:
            InputError: the reader has no such option.
        """
        READERS[self.reader].check(options, self.reader, f"task {self.name!r}")
        return replace(self, options={**self.options, **options})

    def items(self, root: str | os.PathLike[str] | None = None, *, allow_missing: bool = False) -> Items:
        """What to evaluate on.

        Args:
            root: the data set's folder, or the folder that holds it under :attr:`folder`; not needed where
                :attr:`needs_data` is false.
            allow_missing: leave out items whose files are not there instead of raising; the items count them.

        Returns:
            Items of the type that :data:`PROTOCOLS` has for the protocol. Nothing is decoded yet.

        Raises:
            MissingData: files are missing; says which, of how many, and where to get them under which terms.
            InputError: annotations are damaged, labels are none of the classes, or ids stand twice.
        """
        if root is None and self.needs_data:
            remedy = f"Get it from {self.url} (terms: {self.terms or 'see there'})." if self.url else ""
            raise InputError(
                f"task {self.name!r}",
                found="no folder of data",
                expected=f"the folder of {self.title}",
                remedy=remedy,
            )
        if not isinstance(allow_missing, bool):
            raise OptionError(f"allow_missing={allow_missing!r}; expected True or False")
        folder = DataFolder(
            Path(root or "."),
            self.title,
            self.url,
            self.terms,
            self.layout,
            (self.folder,) if self.folder else (),
            allow_missing=allow_missing,
        )
        items = self._read(folder, self.options)
        if self.protocol == "few_shot":
            support = self._read(folder, {**self.options, **self.support})
            if not isinstance(items, LabeledItems) or not isinstance(support, LabeledItems):
                raise InputError(
                    f"task {self.name!r}", found="pairs", expected="labeled items for few-shot learning"
                )
            items = FewShotItems(support, items)
        expected = PROTOCOLS[self.protocol]
        if not isinstance(items, expected):
            found = f"{type(items).__name__} from the reader {self.reader!r}"
            remedy = f"The protocol {self.protocol!r} cannot use this reader."
            raise InputError(f"task {self.name!r}", found=found, expected=expected.__name__, remedy=remedy)
        return items

    def _read(self, folder: DataFolder, options: Mapping[str, Any]) -> Items:
        items: Items = READERS[self.reader].load()(folder, **options)
        return self._with_synonyms(items) if isinstance(items, LabeledItems) else items

    def _with_synonyms(self, items: LabeledItems) -> LabeledItems:
        unknown = [name for name in self.synonyms if name not in items.class_names]
        if unknown:
            close = get_close_matches(unknown[0], items.class_names, 1)
            raise InputError(
                f"task {self.name!r}, synonyms",
                found=f"{unknown[0]!r}, which is no class of the data",
                expected=f"one of {', '.join(items.class_names[:12])}",
                remedy=f"Did you mean {close[0]!r}?" if close else "",
            )
        if not self.synonyms:
            return items
        groups = zip(items.class_names, items.synonyms, strict=True)
        return replace(items, synonyms=tuple(self.synonyms.get(name, group) for name, group in groups))
