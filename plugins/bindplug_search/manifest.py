"""What an index says of itself: ``bindplug.json`` in its directory, replaced whole or not at all."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from bindplug.errors import InputError
from bindplug.files import write_whole
from bindplug.space import EmbeddingSpace

FILE = "bindplug.json"
FORMAT_VERSION = 1


@dataclass(frozen=True)
class Approximation:
    """An approximate search, and how often it agrees with the exact one.

    Args:
        rows: of the index when it was measured.
        nprobes: partitions that a search looks into.
        refine: a search compares the full vectors of this many candidates for each row that it gives.
        recall: share of the exact search's first ``k`` rows that it gives, in [0, 1].
        k: rows of a search.
        sample: searches that were compared.
    """

    rows: int
    nprobes: int
    refine: int
    recall: float
    k: int
    sample: int


@dataclass(frozen=True)
class Folder:
    """A folder that was added, so that an update finds its new files.

    Args:
        path: absolute.
        patterns: pairs of kind and pattern, in order.
        recursive: whether its subdirectories count.
        recipes: for each kind, how its files become rows (see :class:`bindplug_search.recipe.Recipe`).
        metadata_file: table of metadata to join; empty for none.
        values: metadata of all files.
    """

    path: str
    patterns: tuple[tuple[str, str], ...]
    recursive: bool
    recipes: dict[str, str]
    metadata_file: str = ""
    values: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Manifest:
    """What an index says of itself.

    Args:
        model: name or path of the model that made the rows.
        space: where they live.
        folders: that were added.
        approximation: None where every search is exact.
        tables: metadata tables of files that were added one by one.
    """

    model: str
    space: EmbeddingSpace
    folders: tuple[Folder, ...] = ()
    approximation: Approximation | None = None
    tables: tuple[str, ...] = ()

    def write(self, directory: Path) -> None:
        """Put it in place of the one before.

        Raises:
            OSError: it cannot be written.
        """
        values = {"format_version": FORMAT_VERSION, **asdict(self)}
        write_whole(directory / FILE, json.dumps(values, indent=1).encode("ascii"))

    @classmethod
    def read(cls, directory: Path) -> Manifest:
        """The manifest of an index.

        Raises:
            InputError: it is damaged, or of a newer version of bindplug.
        """
        path = directory / FILE
        expected = "the description of an index, as bindplug writes it"
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            version = values.pop("format_version")
        except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
            reason = getattr(error, "strerror", None) or f"damaged ({type(error).__name__}: {error})"
            raise InputError(str(path), found=reason, expected=expected) from None
        if not isinstance(version, int) or version > FORMAT_VERSION:
            raise InputError(
                str(path),
                found=f"format_version {version!r}",
                expected=f"at most {FORMAT_VERSION}, which this version of bindplug reads",
                remedy="Install a newer bindplug",
            )
        try:
            approximation = values["approximation"]
            folders = [
                Folder(**{**folder, "patterns": tuple(tuple(pair) for pair in folder["patterns"])})
                for folder in values["folders"]
            ]
            if not isinstance(values["model"], str):
                raise ValueError(f"the model {values['model']!r}")
            return cls(
                model=values["model"],
                space=EmbeddingSpace.from_dict(values["space"]),
                folders=tuple(folders),
                approximation=None if approximation is None else Approximation(**approximation),
                tables=tuple(map(str, values.get("tables", ()))),
            )
        except (KeyError, TypeError, ValueError) as error:
            detail = f"damaged ({type(error).__name__}: {error})"
            raise InputError(str(path), found=detail, expected=expected) from None


def is_index(path: Path) -> bool:
    """Whether there is an index at a path."""
    return (path / FILE).is_file()
