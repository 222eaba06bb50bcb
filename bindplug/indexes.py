"""Indexes: where rows of many files are kept and searched, whatever store keeps them.

A store is a plugin's: it registers an :class:`~bindplug.cards.IndexCard` and supplies a :class:`VectorIndex`. It knows
rows and vectors only. Queries, models and bridges are the business of whoever searches.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol, runtime_checkable

import numpy as np

from bindplug.cards import IndexCard
from bindplug.errors import InputError, PluginError
from bindplug.modality import Modality
from bindplug.plugins import Entry, registry
from bindplug.space import EmbeddingSpace

__all__ = [
    "OPERATORS",
    "Condition",
    "IndexInfo",
    "IndexMatch",
    "IndexRow",
    "MetadataValue",
    "VectorIndex",
    "create_vector_index",
    "find_index_card",
    "open_vector_index",
]

MetadataValue = str | float | bool
"""What a person may keep beside a row. Whole numbers are kept as floats."""

OPERATORS = ("=", "!=", "<=", ">=", "<", ">")
"""How a :class:`Condition` compares."""


@dataclass(frozen=True)
class Condition:
    """A condition on the metadata of rows; a row without the key never meets one.

    Args:
        key: name of the metadata.
        operator: one of :data:`OPERATORS`.
        value: what it is compared with; text compares with text, a number with numbers.

    Raises:
        InputError: the operator is none of these, or the value is no text, number or truth value.
    """

    key: str
    operator: str
    value: MetadataValue

    def __post_init__(self) -> None:
        if self.operator not in OPERATORS:
            raise InputError(
                f"the condition on {self.key!r}",
                found=f"the operator {self.operator!r}",
                expected=f"one of {' '.join(OPERATORS)}",
            )
        if not isinstance(self.value, (str, int, float, bool)):
            raise InputError(
                f"the condition on {self.key!r}",
                found=f"a {type(self.value).__name__}",
                expected="a text, a number or a truth value",
            )


@dataclass(frozen=True)
class IndexRow:
    """What a row stands for.

    Rows are the same if path, kind and span are.

    Args:
        path: of the file, or for text the sentence itself.
        kind: name of the modality.
        span: start and end in seconds of a window of a recording; None for the whole.
        metadata: what a person keeps beside it.
    """

    path: str
    kind: str
    span: tuple[float, float] | None = None
    metadata: Mapping[str, MetadataValue] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "kind", Modality.parse(self.kind).value)
        object.__setattr__(self, "metadata", MappingProxyType(dict(self.metadata)))

    @property
    def key(self) -> tuple[str, str, tuple[float, float] | None]:
        """Path, kind and span."""
        return self.path, self.kind, self.span


@dataclass(frozen=True)
class IndexMatch:
    """A row that a search gave.

    Args:
        row: what it stands for.
        score: its cosine with the vector searched for, in [-1, 1].
    """

    row: IndexRow
    score: float

    @property
    def path(self) -> str:
        """Of the file, or for text the sentence itself."""
        return self.row.path

    @property
    def kind(self) -> str:
        """Name of the modality."""
        return self.row.kind

    @property
    def span(self) -> tuple[float, float] | None:
        """Start and end in seconds of a window of a recording; None for the whole."""
        return self.row.span

    @property
    def metadata(self) -> Mapping[str, MetadataValue]:
        """What a person keeps beside it."""
        return self.row.metadata


@dataclass(frozen=True)
class IndexInfo:
    """What an index holds.

    Args:
        path: where it is.
        store: name of its :class:`~bindplug.cards.IndexCard`.
        model: name or path of the model that made the rows; empty if it is not known.
        space: where the rows live.
        rows: how many there are.
        kinds: for each kind, how many rows are of it.
        details: what else the store tells: version of its format, recall of an approximate search. JSON values.
    """

    path: str
    store: str
    model: str
    space: EmbeddingSpace
    rows: int
    kinds: Mapping[str, int]
    details: Mapping[str, Any] = field(default_factory=dict)


@runtime_checkable
class VectorIndex(Protocol):
    """Rows of unit length and what they stand for.

    Attributes:
        model: name or path of the model that made the rows; empty if it is not known.
        space: where they live, with its fingerprint where that is known.
    """

    @property
    def model(self) -> str:
        """Name or path of the model that made the rows."""

    @property
    def space(self) -> EmbeddingSpace:
        """Where the rows live."""

    def add(self, vectors: np.ndarray, rows: Sequence[IndexRow]) -> None:
        """Add rows, all or none; rows of the same path, kind and span are replaced.

        Args:
            vectors: (N, D) float32 of unit length.
            rows: what each stands for.

        Raises:
            InputError: the store cannot be written, or takes no rows.
        """

    def search(
        self,
        vector: np.ndarray,
        k: int,
        *,
        kinds: Sequence[str] = (),
        where: Sequence[Condition] = (),
        exact: bool = False,
    ) -> list[IndexMatch]:
        """The ``k`` rows of greatest cosine with a vector, best first.

        Args:
            vector: (D,) float32 of unit length.
            k: most rows to give.
            kinds: rows of these kinds only; of all for none.
            where: rows that meet all of these.
            exact: compare with every row, where the store would search approximately.
        """

    def delete(self, paths: Iterable[str]) -> int:
        """Remove all rows of these paths, and return how many there were."""

    def mean(self, kinds: Sequence[str] = ()) -> np.ndarray:
        """The mean (D,) float32 of the rows of these kinds, of all for none: where they lie on average."""

    def info(self) -> IndexInfo:
        """What the index holds."""


def find_index_card(path: str | Path) -> Entry[IndexCard]:
    """The store that keeps the index at a path, or that would keep a new one there.

    An index that exists is known by what it holds; a new one by its suffix.

    Raises:
        InputError: there is something at the path that no store takes for an index of its own, or no store makes
            indexes of that suffix.
        PluginError: several stores take it for theirs.
    """
    place = Path(path)
    entries = registry().indexes
    owners = [entry for entry in entries.values() if entry.card.recognises(place)]
    if len(owners) > 1:
        names = " and ".join(repr(entry.card.name) for entry in owners)
        raise PluginError(f"{place}: the stores {names} both take it for an index of theirs")
    if owners:
        return owners[0]
    if place.exists():
        raise InputError(
            str(place),
            found="a file or directory that is no index of bindplug",
            expected=f"an index of one of the stores {', '.join(entries) or 'none'}",
            remedy="Make rows of another tool searchable with `bindplug index adopt`",
        )
    makers = [
        entry for entry in entries.values() if entry.card.create and place.suffix in entry.card.suffixes
    ]
    if not makers:
        suffixes = [
            suffix for entry in entries.values() if entry.card.create for suffix in entry.card.suffixes
        ]
        raise InputError(
            str(place),
            found=f"the suffix {place.suffix!r}",
            expected=f"that of an index: {', '.join(suffixes) or 'no store is installed'}",
        )
    return makers[0]


def open_vector_index(path: str | Path) -> VectorIndex:
    """The index at a path, opened by the store that keeps it.

    Raises:
        InputError: there is no index at the path, or it is damaged.
        MissingDependency: the store needs a package that is absent.
        PluginError: what the store gives is no :class:`VectorIndex`.
    """
    place = Path(path)
    if not place.exists():
        raise InputError(
            str(place),
            found="no such file or directory",
            expected="an index",
            remedy=f"Make one: bindplug index add {place} FOLDER --image '*.jpg'",
        )
    entry = find_index_card(place)
    return _checked(entry.call(entry.card.open, place), entry)


def create_vector_index(path: str | Path, *, model: str, space: EmbeddingSpace) -> VectorIndex:
    """A new, empty index at a path where nothing is, made by the store of its suffix.

    Args:
        path: where it goes.
        model: name or path of the model that will make the rows.
        space: where they will live.

    Raises:
        InputError: there is something at the path, no store makes indexes of its suffix, or it cannot be written.
        MissingDependency: the store needs a package that is absent.
        PluginError: what the store gives is no :class:`VectorIndex`.
    """
    place = Path(path)
    if place.exists():
        raise InputError(str(place), found="a file or directory", expected="a place where nothing is yet")
    entry = find_index_card(place)
    return _checked(entry.call(entry.card.create, place, model=model, space=space), entry)


def _checked(index: object, entry: Entry[IndexCard]) -> VectorIndex:
    if not isinstance(index, VectorIndex):
        raise PluginError(
            f"plugin {entry.plugin.name!r}: the store {entry.card.name!r} gave a {type(index).__name__}; expected a "
            f"VectorIndex"
        )
    return index
