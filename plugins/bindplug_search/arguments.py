"""Arguments of an index's methods as its parts take them: kinds, conditions, files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bindplug.errors import InputError, OptionError
from bindplug.indexes import Condition, MetadataValue
from bindplug.modality import Modality
from bindplug.query import Leaf, Query
from bindplug_search.adding import TEXT, Item
from bindplug_search.metadata import Changes, parse_condition
from bindplug_search.recipe import RECORDED, Recipe
from bindplug_search.report import absolute

Kinds = str | Modality | Sequence[str | Modality] | None
Where = Mapping[str, MetadataValue] | Sequence[Condition | str] | None


def kinds_of(kind: Kinds) -> list[str]:
    """Names of kinds; none for all.

    Raises:
        UnknownModality: one is none of the modalities.
    """
    several = [] if kind is None else [kind] if isinstance(kind, (str, Modality)) else list(kind)
    return [Modality.parse(name).value for name in several]


def conditions_of(where: Where) -> list[Condition]:
    """Conditions on metadata.

    Raises:
        InputError: one is no condition.
    """
    if where is None:
        return []
    if isinstance(where, Mapping):
        return [Condition(key, "=", value) for key, value in where.items()]
    if isinstance(where, str):
        return [parse_condition(where)]
    return [parse_condition(item) if isinstance(item, str) else item for item in where]


def recipe_of(kind: str, options: Mapping[str, Any], windows: float | None, hop: float | None) -> Recipe:
    """How files of a kind become rows.

    Raises:
        OptionError: a hop without windows.
    """
    if hop is not None and windows is None:
        raise OptionError("hop needs windows, the length of a window in seconds")
    if windows is None or kind not in RECORDED:
        return Recipe(dict(options))
    return Recipe(dict(options), float(windows), float(windows if hop is None else hop))


def item_of(query: Query, metadata: Changes, windows: float | None, hop: float | None) -> Item:
    """The file of a query.

    Raises:
        InputError: the query is no single file or sentence.
    """
    terms = query.terms if isinstance(query, Query) else ()
    leaf = terms[0][1] if len(terms) == 1 and terms[0][0] == 1.0 else None
    if not isinstance(leaf, Leaf) or not isinstance(leaf.source, (str, Path)):
        raise InputError(
            "add()", found=repr(query), expected='one file or sentence, as audio("bark.wav") or text("a dog")'
        )
    kind = leaf.modality.value
    path = str(leaf.source) if kind == TEXT else absolute(leaf.source)
    return Item(kind, path, recipe_of(kind, leaf.options, windows, hop), metadata)
