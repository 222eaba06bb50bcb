"""Opening and creating indexes of files."""

from __future__ import annotations

from pathlib import Path

from bindplug.bridges import AnyBridge
from bindplug.encoder import Encoder
from bindplug.indexes import create_vector_index, open_vector_index
from bindplug.models import load
from bindplug_search.file_index import Index
from bindplug_search.report import absolute
from bindplug_search.searchable import Load, query_model


def open_index(
    path: str | Path,
    *,
    model: str | Encoder | None = None,
    bridge: AnyBridge | str | Path | None = None,
    device: str = "cpu",
) -> Index:
    """An index that exists.

    Args:
        path: of the index.
        model: embeds queries and files: a name, a path or a loaded one; the index's own by default.
        bridge: from its space to the index's, where they differ: a bridge, its directory or its name; a registered
            one by default.
        device: where a model that is loaded runs.

    Raises:
        InputError: there is no index at the path, or it is damaged.
        MissingDependency: its store needs a package that is absent.
    """
    store = open_vector_index(path)
    return Index(store, load=_loader(model or query_model(store) or None, device), bridge=bridge)


def create_index(path: str | Path, *, model: str | Encoder = "imagebind_tiny", device: str = "cpu") -> Index:
    """A new, empty index at a path where nothing is.

    Args:
        path: ends in ``.lance``.
        model: makes the rows: a name or path; the index remembers it. Of a loaded one it remembers the space alone.
        device: where a model that is loaded runs.

    Raises:
        InputError: there is something at the path, or it cannot be written.
        UnknownModel, WeightsNotFound, CheckpointError: as :func:`bindplug.load`.
    """
    loaded = load(model, device=device) if isinstance(model, str) else model
    name = remembered_name(model) if isinstance(model, str) else ""
    store = create_vector_index(path, model=name, space=loaded.embedding_space)
    return Index(store, load=lambda _: loaded)


def remembered_name(model: str) -> str:
    """A model's name, or its absolute path, as an index keeps it."""
    return absolute(model) if Path(model).exists() else model


def _loader(model: str | Encoder | None, device: str) -> Load | None:
    if model is None:
        return None
    if isinstance(model, str):
        return lambda modalities: load(model, modalities=set(modalities) or None, device=device)
    return lambda _: model
