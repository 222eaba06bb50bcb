"""One's own data: a CSV table of labeled files, or of pairs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from bindplug.errors import InputError, OptionError
from bindplug.query import Query, text
from bindplug_lab.datasets.annotations import Row, read_csv
from bindplug_lab.datasets.folder import DataFolder, is_file
from bindplug_lab.datasets.labels import ClassList, Entry, check_choice, labeled_items
from bindplug_lab.datasets.own_folder import MAKERS, query_of_entry
from bindplug_lab.datasets.suffixes import SUFFIXES
from bindplug_lab.tasks.items import LabeledItems, PairedItems, Queries

__all__ = ["read_pairs", "read_table"]

TERM_KEYS = ("modality", "column", "weight", "reader_options")


def read_table(
    folder: DataFolder,
    *,
    file: str,
    modality: str,
    path: str = "path",
    label: str = "label",
    separator: str = "",
    fold: str = "",
    start: str = "",
    end: str = "",
    where: Mapping[str, str] | None = None,
    classes: list[str] | None = None,
    base: str = "",
    reader_options: Mapping[str, Any] | None = None,
) -> LabeledItems:
    """Labeled files that a table lists.

    Args:
        folder: the data.
        file: the table, ``.csv`` or ``.tsv`` with a header, relative to the folder.
        modality: of the files.
        path, label, fold, start, end: names of its columns; without a fold, start or end for ``""``.
        separator: between labels of one item, as ``"|"``; an item has one label for ``""``.
        where: rows to take, as ``{split = "test"}``; all by default.
        classes: the class names in their order; the labels of the whole table in alphabetical order by default.
        base: folder of the files, relative to the folder; that of the table by default.
        reader_options: of the modality's reader, as ``{unit = "mm"}``.

    Raises:
        MissingData: the table or files are missing.
        InputError: the table is damaged, a label is none of the classes, or a file stands twice.
        OptionError: an option has a value that it does not take.
    """
    check_choice("modality", modality, tuple(SUFFIXES))
    if bool(start) != bool(end):
        raise OptionError(f"start = {start!r}, end = {end!r}; expected both or neither")
    table = folder.find(file, what="the table")
    columns = [name for name in (path, label, fold, start, end, *(where or {})) if name]
    rows = list(read_csv(table, columns, delimiter=_delimiter(table)))
    labels = [_labels(row, label, separator) for row in rows]
    names = sorted({name for group in labels for name in group}) if classes is None else classes
    class_list = ClassList(names, source=str(table) if classes is None else "classes")
    top = folder.base / base if base else table.parent
    entries = []
    for row, group in zip(rows, labels, strict=True):
        if not _is_taken(row, where):
            continue
        span = (row.seconds(start), row.seconds(end)) if start else (None, None)
        name = row.text(path)
        entries.append(
            Entry(
                name if span[0] is None else f"{name}_{span[0]:g}_{span[1]:g}",
                _file(top, name),
                tuple(class_list.place(name, row.place) for name in group),
                row.number(fold) if fold else 0,
                cluster=name if start else "",
                start=span[0],
                end=span[1],
            )
        )
    _check_taken(entries, where, table)
    make = partial(query_of_entry, modality, dict(reader_options or {}))
    return labeled_items(folder, entries, class_list, make, "files", with_folds=bool(fold))


@dataclass(frozen=True, slots=True)
class Term:
    """A part of a query: which column, read as what, with which weight."""

    modality: str
    column: str
    weight: float
    reader_options: tuple[tuple[str, Any], ...]


def read_pairs(
    folder: DataFolder,
    *,
    file: str,
    left: Sequence[Mapping[str, Any]],
    right: Sequence[Mapping[str, Any]],
    where: Mapping[str, str] | None = None,
    base: str = "",
) -> PairedItems:
    """Pairs that a table lists, a row for each; equal cells are one item, so a side may repeat in several rows.

    Args:
        folder: the data.
        file: the table, ``.csv`` or ``.tsv`` with a header, relative to the folder.
        left: terms of the left side, as ``[{modality = "image", column = "photo", weight = 0.5}, {modality = "audio",
            column = "sound", weight = 0.5}]``; the weight is 1 by default, ``reader_options`` may be added.
        right: terms of the right side.
        where: rows to take, as ``{split = "test"}``; all by default.
        base: folder of the files, relative to the folder; that of the table by default.

    Raises:
        MissingData: the table or files are missing. A pair is missing if one of its files is.
        InputError: the table is damaged or a pair stands twice.
        OptionError: an option has a value that it does not take.
    """
    sides = (_terms(left, "left"), _terms(right, "right"))
    table = folder.find(file, what="the table")
    columns = list(dict.fromkeys(term.column for side in sides for term in side))
    rows = [
        row
        for row in read_csv(table, [*columns, *(where or {})], delimiter=_delimiter(table))
        if _is_taken(row, where)
    ]
    _check_taken(rows, where, table)
    top = folder.base / base if base else table.parent
    records = [tuple(_record(row, side, top) for side in sides) for row in rows]
    names = [" + ".join(row.text(term.column) for side in sides for term in side) for row in rows]
    is_whole = [all(cell is not None for side in record for cell in side) for record in records]
    places = folder.select([top if whole else None for whole in is_whole], names, "pairs")
    tables: tuple[dict[str, tuple[Any, ...]], dict[str, tuple[Any, ...]]] = ({}, {})
    indices: tuple[dict[str, int], dict[str, int]] = ({}, {})
    matches: dict[int, set[int]] = {}
    for place in places:
        row = rows[place]
        keys = [" + ".join(row[term.column] for term in side) for side in sides]
        for key, record, held, numbers in zip(keys, records[place], tables, indices, strict=True):
            held.setdefault(key, record)
            numbers.setdefault(key, len(numbers))
        first, second = indices[0][keys[0]], indices[1][keys[1]]
        if second in matches.setdefault(first, set()):
            raise InputError(row.place, found=f"the pair {names[place]!r} twice", expected="each pair once")
        matches[first].add(second)
    rights = {" + ".join(row[term.column] for term in sides[1]) for row in rows}
    return PairedItems(
        left_ids=tuple(tables[0]),
        left=Queries(list(tables[0].values()), partial(_sum, sides[0])),
        right_ids=tuple(tables[1]),
        right=Queries(list(tables[1].values()), partial(_sum, sides[1])),
        matches=tuple(frozenset(matches[place]) for place in range(len(matches))),
        left_name="+".join(term.modality for term in sides[0]),
        right_name="+".join(term.modality for term in sides[1]),
        expected=len(rights),
        missing=tuple(name for name, whole in zip(names, is_whole, strict=True) if not whole)[:10],
    )


def _terms(side: Sequence[Mapping[str, Any]], name: str) -> tuple[Term, ...]:
    if not isinstance(side, list) or not side or not all(isinstance(term, Mapping) for term in side):
        raise OptionError(
            f'{name} = {side!r}; expected a list of terms, as [{{modality = "text", column = "caption"}}]'
        )
    terms = []
    for term in side:
        unknown = [key for key in term if key not in TERM_KEYS]
        if unknown or "modality" not in term or "column" not in term:
            problem = f"an unknown key {unknown[0]!r}" if unknown else "no modality or no column"
            raise OptionError(f"{name}: {problem}; expected {', '.join(TERM_KEYS)}")
        check_choice(f"{name}.modality", term["modality"], ("text", *MAKERS))
        weight = term.get("weight", 1.0)
        if isinstance(weight, bool) or not isinstance(weight, (int, float)) or weight == 0:
            raise OptionError(f"{name}.weight = {weight!r}; expected a number other than 0")
        options = tuple(dict(term.get("reader_options", {})).items())
        terms.append(Term(str(term["modality"]), str(term["column"]), float(weight), options))
    return tuple(terms)


def _record(row: Row, side: Sequence[Term], top: Path) -> tuple[Any, ...]:
    """The source of each term: a text, or a path that exists, else None."""
    cells = [(term.modality, row.text(term.column)) for term in side]
    return tuple(cell if modality == "text" else _file(top, cell) for modality, cell in cells)


def _sum(side: Sequence[Term], record: Sequence[Any]) -> Query:
    queries = []
    for term, source in zip(side, record, strict=True):
        options = dict(term.reader_options)
        query = (
            text(source, **options) if term.modality == "text" else MAKERS[term.modality](source, **options)
        )
        queries.append(term.weight * query)
    return sum(queries[1:], queries[0])


def _delimiter(table: Path) -> str:
    return "\t" if table.suffix.lower() in (".tsv", ".tab") else ","


def _labels(row: Row, column: str, separator: str) -> tuple[str, ...]:
    value = row.text(column)
    parts = [part.strip() for part in value.split(separator)] if separator else [value]
    return tuple(dict.fromkeys(part for part in parts if part)) or (row.text(column),)


def _file(top: Path, name: str) -> Path | None:
    """The file of a cell; one written with backslashes is met as well."""
    for candidate in (name, name.replace("\\", "/")):
        if is_file(top / candidate):
            return top / candidate
    return None


def _is_taken(row: Row, where: Mapping[str, str] | None) -> bool:
    return all(row[column] == str(value) for column, value in (where or {}).items())


def _check_taken(rows: Sequence[object], where: Mapping[str, str] | None, table: Path) -> None:
    if not rows:
        raise InputError(str(table), found=f"no row where {dict(where or {})}", expected="at least one")
