"""Indexes as a command line names them: the path, and the model that embeds files and queries."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from bindplug.cli.building import ModelChoice, check_reader_options
from bindplug.indexes import create_vector_index, find_index_card, open_vector_index
from bindplug_search.file_index import Index
from bindplug_search.opening import remembered_name
from bindplug_search.searchable import query_model


def open_existing(path: str, choice: ModelChoice, *, bridge: str | None = None) -> Index:
    """The index at a path, with the model that ``--model`` names or else its own.

    Raises:
        InputError: there is no index at the path, or it is damaged.
    """
    store = open_vector_index(path)
    name = query_model(store)
    if name and not _is_typed("model"):
        choice = replace(choice, name=name)
    return Index(store, load=choice.load, bridge=bridge)


def open_or_create(
    path: str, choice: ModelChoice, kinds: Iterable[str], options: Mapping[str, Mapping[str, Any]]
) -> Index:
    """The index at a path; a new one if nothing is there.

    Args:
        path: of the index.
        choice: makes the rows of a new one.
        kinds: that are to be added.
        options: of their readers, to be checked before anything is made.

    Raises:
        InputError: it is damaged, or cannot be made.
    """
    if Path(path).exists():
        index = open_existing(path, choice)
        if options:
            check_reader_options(index.model_for(kinds), options)
        return index
    entry = find_index_card(path)  # a wrong suffix is told before a model is loaded
    entry.card.ensure_available(entry.plugin.name, entry.plugin.distribution)
    model = choice.load(kinds)
    check_reader_options(model, options)
    store = create_vector_index(path, model=remembered_name(choice.name), space=model.embedding_space)
    index = Index(store, load=choice.load)
    index.keep_model(model)
    return index


def _is_typed(parameter: str) -> bool:
    context = click.get_current_context(silent=True)
    source = context.get_parameter_source(parameter) if context else None
    return source is click.core.ParameterSource.COMMANDLINE
