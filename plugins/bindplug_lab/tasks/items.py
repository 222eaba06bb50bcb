"""What a task evaluates on: labeled items, pairs to be retrieved, and support sets.

Queries are made one at a time, when they are taken, and files are read when a model embeds them: a data set costs the
memory of its list of paths.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar, overload

import numpy as np

from bindplug.errors import InputError, OptionError
from bindplug.query import Query

__all__ = ["FewShotItems", "Items", "LabeledItems", "PairedItems", "Queries"]

Record = TypeVar("Record")


class Queries(Sequence[Query], Generic[Record]):
    """A sequence of queries that are made when they are taken.

    Args:
        records: N records, such as paths.
        make: the query of one record; a function of a module, or a partial of one, so that worker processes can be
            given it.
    """

    def __init__(self, records: Sequence[Record], make: Callable[[Record], Query]) -> None:
        self.records, self.make = records, make

    def __len__(self) -> int:
        return len(self.records)

    @overload
    def __getitem__(self, index: int) -> Query: ...
    @overload
    def __getitem__(self, index: slice) -> Queries[Record]: ...
    def __getitem__(self, index: int | slice) -> Query | Queries[Record]:
        if isinstance(index, slice):
            return Queries(self.records[index], self.make)
        return self.make(self.records[index])

    def __iter__(self) -> Iterator[Query]:
        return map(self.make, self.records)


@dataclass(frozen=True)
class LabeledItems:
    """Items and the classes they are of.

    Attributes:
        ids: N names, each once, that stay the same from run to run; embeddings are cached by them.
        queries: N queries.
        labels: for each item the indices of its classes, at least one. Where an item has several, a multi-label metric
            asks for all of them and accuracy for any one.
        class_names: C names, as results print them.
        synonyms: for each class the names whose best score is the class's. By default its own name alone.
        folds: for each item the fold of a cross-validation that it is tested in; empty without folds. A metric is the
            mean over the folds.
        clusters: for each item what it is no independent observation of, such as the recording or picture that several
            items are cut from; intervals resample them together. Empty where items stand alone.
        expected: how many items the data set lists; ``expected - len(items)`` are missing.
        missing: names of the first few missing ones.
    """

    ids: tuple[str, ...]
    queries: Sequence[Query]
    labels: tuple[tuple[int, ...], ...]
    class_names: tuple[str, ...]
    synonyms: tuple[tuple[str, ...], ...] = ()
    folds: tuple[int, ...] = ()
    clusters: tuple[str, ...] = ()
    expected: int = 0
    missing: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _check_ids(self.ids, "items")
        _check_lengths("items", len(self.ids), queries=self.queries, labels=self.labels)
        if self.folds:
            _check_lengths("items", len(self.ids), folds=self.folds)
        if self.clusters:
            _check_lengths("items", len(self.ids), clusters=self.clusters)
        duplicates = _duplicates(self.class_names)
        if duplicates:
            raise InputError("class names", found=f"{duplicates[0]!r} twice", expected="each name once")
        if not self.synonyms:
            object.__setattr__(self, "synonyms", tuple((name,) for name in self.class_names))
        _check_lengths("classes", len(self.class_names), synonyms=self.synonyms)
        for name, group in zip(self.class_names, self.synonyms, strict=True):
            if not group:
                raise InputError(f"class {name!r}", found="no synonyms", expected="at least one name")
        for item, indices in zip(self.ids, self.labels, strict=True):
            if not indices or len(set(indices)) != len(indices):
                raise InputError(
                    f"item {item!r}", found=f"labels {indices}", expected="each label once, at least one"
                )
            if not all(0 <= index < len(self.class_names) for index in indices):
                expected = f"indices of {len(self.class_names)} classes"
                raise InputError(f"item {item!r}", found=f"labels {indices}", expected=expected)
        object.__setattr__(self, "expected", max(self.expected, len(self.ids)))

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def missing_count(self) -> int:
        """How many items of the data set are not here."""
        return self.expected - len(self.ids)

    @property
    def is_multi_label(self) -> bool:
        """Whether some item has several labels."""
        return any(len(indices) > 1 for indices in self.labels)

    @property
    def label_array(self) -> np.ndarray:
        """(N,) int64, the class of each item.

        Raises:
            InputError: an item has several labels.
        """
        if self.is_multi_label:
            raise InputError("items", found="several labels for an item", expected="one label for each")
        return np.array([indices[0] for indices in self.labels], dtype=np.int64)

    @property
    def label_matrix(self) -> np.ndarray:
        """(N, C) bool, the classes of each item."""
        matrix = np.zeros((len(self.ids), len(self.class_names)), dtype=bool)
        for row, indices in zip(matrix, self.labels, strict=True):
            row[list(indices)] = True
        return matrix

    def subset(self, indices: Iterable[int]) -> LabeledItems:
        """The items at these places, in this order, with all classes."""
        places = [int(index) for index in indices]
        return replace(
            self,
            ids=tuple(self.ids[place] for place in places),
            queries=_subset(self.queries, places),
            labels=tuple(self.labels[place] for place in places),
            folds=tuple(self.folds[place] for place in places) if self.folds else (),
            clusters=tuple(self.clusters[place] for place in places) if self.clusters else (),
            expected=0,
            missing=(),
        )

    def sample(self, count: int, *, seed: int = 0) -> LabeledItems:
        """``count`` items drawn at random without replacement, in their order; all if there are no more."""
        return self.subset(_draw(len(self), count, seed))


@dataclass(frozen=True)
class PairedItems:
    """Queries on the left that should retrieve candidates on the right, and the other way around.

    Several captions of one sound are several items on the left with the same match. Queries of several terms, such as
    a picture plus a sound, make arithmetic retrieval.

    Attributes:
        left_ids, right_ids: L and R names, each once in its list.
        left, right: L and R queries.
        matches: for each item on the left the indices of its matches on the right, at least one.
        left_name, right_name: what the sides hold, as ``"text"`` and ``"audio"``; results name the directions by them.
        expected: how many items the right side of the data set lists.
        missing: names of the first few missing ones.
    """

    left_ids: tuple[str, ...]
    left: Sequence[Query]
    right_ids: tuple[str, ...]
    right: Sequence[Query]
    matches: tuple[frozenset[int], ...]
    left_name: str = "left"
    right_name: str = "right"
    expected: int = 0
    missing: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _check_ids(self.left_ids, f"items of {self.left_name}")
        _check_ids(self.right_ids, f"items of {self.right_name}")
        _check_lengths(self.left_name, len(self.left_ids), left=self.left, matches=self.matches)
        _check_lengths(self.right_name, len(self.right_ids), right=self.right)
        for item, indices in zip(self.left_ids, self.matches, strict=True):
            if not indices or not all(0 <= index < len(self.right_ids) for index in indices):
                expected = f"at least one index of {len(self.right_ids)} candidates"
                raise InputError(f"item {item!r}", found=f"matches {sorted(indices)}", expected=expected)
        object.__setattr__(self, "expected", max(self.expected, len(self.right_ids)))

    def __len__(self) -> int:
        return len(self.left_ids)

    @property
    def missing_count(self) -> int:
        """How many items of the right side are not here."""
        return self.expected - len(self.right_ids)

    @property
    def match_matrix(self) -> np.ndarray:
        """(L, R) bool."""
        matrix = np.zeros((len(self.left_ids), len(self.right_ids)), dtype=bool)
        for row, indices in zip(matrix, self.matches, strict=True):
            row[list(indices)] = True
        return matrix

    def reverse(self) -> PairedItems:
        """The other direction: the right side's items retrieve the left's. Items that nothing matches are left out."""
        matches: list[set[int]] = [set() for _ in self.right_ids]
        for left, indices in enumerate(self.matches):
            for right in indices:
                matches[right].add(left)
        places = [place for place, indices in enumerate(matches) if indices]
        return PairedItems(
            tuple(self.right_ids[place] for place in places),
            _subset(self.right, places),
            self.left_ids,
            self.left,
            tuple(frozenset(matches[place]) for place in places),
            self.right_name,
            self.left_name,
        )

    def sample(self, count: int, *, seed: int = 0) -> PairedItems:
        """``count`` candidates of the right side drawn at random, in their order, with every item that matches one."""
        rights = _draw(len(self.right_ids), count, seed)
        new_place = {old: new for new, old in enumerate(rights)}
        matches = [frozenset(new_place[i] for i in indices if i in new_place) for indices in self.matches]
        lefts = [place for place, indices in enumerate(matches) if indices]
        return replace(
            self,
            left_ids=tuple(self.left_ids[place] for place in lefts),
            left=_subset(self.left, lefts),
            right_ids=tuple(self.right_ids[place] for place in rights),
            right=_subset(self.right, rights),
            matches=tuple(matches[place] for place in lefts),
            expected=0,
            missing=(),
        )


@dataclass(frozen=True)
class FewShotItems:
    """Items to learn classes from and items to test on.

    Attributes:
        support: labeled items from which k of each class are drawn.
        test: labeled items of the same classes.
    """

    support: LabeledItems
    test: LabeledItems

    def __post_init__(self) -> None:
        if self.support.class_names != self.test.class_names:
            difference = sorted(set(self.support.class_names) ^ set(self.test.class_names))
            found = (
                f"classes that one side lacks: {', '.join(difference[:5])}" if difference else "another order"
            )
            raise InputError(
                "support and test items", found=found, expected="the same classes in the same order"
            )
        if len(self.class_names) < 2:
            raise InputError(
                "support and test items",
                found=f"one class, {self.class_names[0]!r}",
                expected="at least two classes to tell apart",
            )

    def __len__(self) -> int:
        return len(self.test)

    @property
    def class_names(self) -> tuple[str, ...]:
        """C names."""
        return self.test.class_names

    @property
    def missing_count(self) -> int:
        """How many items of both sides are not here."""
        return self.support.missing_count + self.test.missing_count


Items = LabeledItems | PairedItems | FewShotItems


def _subset(queries: Sequence[Query], places: Sequence[int]) -> Sequence[Query]:
    if isinstance(queries, Queries):
        records: Sequence[Any] = queries.records
        return Queries([records[place] for place in places], queries.make)
    return [queries[place] for place in places]


def _draw(size: int, count: int, seed: int) -> list[int]:
    if isinstance(count, bool) or not isinstance(count, int) or count < 1:
        raise OptionError(f"count={count!r}; expected a whole number of at least 1")
    if count >= size:
        return list(range(size))
    places = np.random.default_rng(seed).choice(size, count, replace=False)
    return sorted(int(place) for place in places)


def _duplicates(names: Iterable[str]) -> list[str]:
    met: set[str] = set()
    return [name for name in names if name in met or met.add(name)]  # type: ignore[func-returns-value]


def _check_ids(ids: Sequence[str], what: str) -> None:
    if not ids:
        raise InputError(what, found="none", expected="at least one")
    duplicates = _duplicates(ids)
    if duplicates:
        found = f"{len(duplicates)} ids twice, as {duplicates[0]!r}"
        raise InputError(what, found=found, expected="each id once")


def _check_lengths(what: str, length: int, **columns: Sequence[object]) -> None:
    for name, column in columns.items():
        if len(column) != length:
            raise InputError(what, found=f"{len(column)} {name} for {length} ids", expected="as many of each")
