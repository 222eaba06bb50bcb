"""Opening indexes, and making empty ones; targets of the store's card."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from bindplug.errors import InputError
from bindplug.lazy import require
from bindplug.space import EmbeddingSpace
from bindplug_search.guards import quiet, reason_of
from bindplug_search.lance_table import TABLE
from bindplug_search.manifest import Manifest
from bindplug_search.store import LanceIndex
from bindplug_search.table import schema


def open_store(path: Path) -> LanceIndex:
    """The index at a path."""
    return LanceIndex(path)


def create_store(path: Path, *, model: str, space: EmbeddingSpace) -> LanceIndex:
    """A new, empty index, which appears whole or not at all.

    Raises:
        InputError: it cannot be written.
        MissingDependency: LanceDB is not installed.
    """
    lancedb = require("lancedb", owner="bindplug_search", extra="index")
    place = path.absolute()
    if not place.parent.is_dir():
        raise InputError(
            str(path),
            found=f"no directory {str(place.parent)!r}",
            expected="a place in a directory that exists",
        )
    temporary = place.with_name(f".{place.name}.{os.getpid()}.tmp")
    try:
        temporary.mkdir()
        with quiet():
            lancedb.connect(str(temporary)).create_table(TABLE, schema=schema(space.width))
        Manifest(model, space).write(temporary)
        temporary.rename(place)
    except Exception as error:
        shutil.rmtree(temporary, ignore_errors=True)
        if place.exists():
            raise InputError(
                str(path),
                found="an index or another file that appeared there meanwhile",
                expected="a place where nothing is yet",
                remedy="If another process made the index, give the same command again",
            ) from None
        raise InputError(
            str(path), found=reason_of(error), expected="a place that can be written, with space left"
        ) from error
    return LanceIndex(Path(path))
