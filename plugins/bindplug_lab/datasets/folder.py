"""A data set's folder: finding its files, and saying what is missing, how much of it, and where to get it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bindplug.errors import InputError
from bindplug_lab.datasets.leftovers import explain_missing, is_lfs_pointer

__all__ = ["DataFolder", "FileIndex", "MissingData"]

EXAMPLES = 3
"""How many names of missing files an error lists."""


class MissingData(InputError):  # noqa: N818 - named as the errors of the core are
    """Files of a data set are not on this machine; the message says which, of how many, and where to get them."""


@dataclass(frozen=True)
class DataFolder:
    """Where a data set lies, and what to tell a person who lacks a part of it.

    Attributes:
        root: the folder.
        title: the data set's name.
        url: where to get it; text, never fetched.
        terms: under which terms.
        layout: the expected files, as a tree.
        names: of the folder that its archive unpacks into, or that a person may give it; with none every folder
            directly below the root is searched as well.
        allow_missing: read what is there instead of raising.
    """

    root: Path
    title: str = "the data set"
    url: str = ""
    terms: str = ""
    layout: str = ""
    names: tuple[str, ...] = ()
    allow_missing: bool = field(default=False, kw_only=True)
    _bases: list[Path] = field(default_factory=list, init=False, repr=False, compare=False)

    @property
    def base(self) -> Path:
        """The folder that the last file was met in, and before that the first in which the data set may lie."""
        if self._bases:
            return self._bases[-1]
        return next(self._candidates()) if self.root.is_dir() else self.root

    @property
    def remedy(self) -> str:
        """What is still to be unpacked or downloaded; where to get the data, under which terms, where files belong."""
        hint = explain_missing(self.root) if self.root.is_dir() else ""
        parts = [hint] if hint else []
        if self.url:
            parts.append(
                f"Get {self.title} from {self.url} (terms: {self.terms.rstrip('.') or 'see there'})."
            )
        if self.layout:
            parts.append(f"Its files: {', '.join(layout_paths(self.layout))}")
        return " ".join(parts)

    def find(self, *candidates: str, what: str = "the annotations") -> Path:
        """The first of several files, or folders, that exists below the root or below the data set's folder in it.

        Archives unpack into a folder of their own, so each candidate is also tried one folder deeper, and later ones
        first where the one before was met. Names are compared without regard to case where the exact one is absent.

        Args:
            candidates: paths relative to the root; a trailing ``/`` stands for a folder.
            what: what errors call it.

        Raises:
            MissingData: none exists.
        """
        path = self.find_optional(*candidates)
        if path is None:
            names = " or ".join(candidates)
            if not self.root.is_dir():
                found = "a file" if self.root.exists() else "no such folder"
                raise MissingData(
                    str(self.root), found=found, expected=f"the folder of {self.title}", remedy=self.remedy
                )
            raise MissingData(str(self.root), found=f"{what} missing", expected=names, remedy=self.remedy)
        return path

    def find_optional(self, *candidates: str) -> Path | None:
        """As :meth:`find`, but None if none exists."""
        if not self.root.is_dir():
            return None
        for base in (self.base, *self._candidates()):
            for candidate in candidates:
                path = _existing(base, candidate)
                if path is not None:
                    self._bases.append(base)
                    return path
        return None

    def _candidates(self) -> Iterator[Path]:
        """Where the data set may lie: in the folder of its name, the root, or a folder of a similar name.

        Other data sets beside it may have files of the same names.
        """
        inner = [entry for entry in sorted(self.root.iterdir()) if entry.is_dir()]
        names = [_letters(name) for name in self.names if _letters(name)]
        yield from (entry for entry in inner if _letters(entry.name) in names)
        yield self.root
        for entry in inner:
            plain = _letters(entry.name)
            if not self.names or any(name in plain or plain in name for name in names):
                yield entry

    def select(self, paths: Sequence[Path | None], names: Sequence[str], what: str) -> list[int]:
        """Places of the files that exist.

        Args:
            paths: N paths; None where none was met.
            names: N names, as the annotations list them.
            what: what the files are, as ``"sounds"``.

        Raises:
            MissingData: some are missing without ``allow_missing``, or all of them.
        """
        places = [place for place, path in enumerate(paths) if path is not None]
        if not paths:
            raise InputError(
                str(self.root), found=f"annotations that list no {what}", expected="at least one"
            )
        self.require(
            len(places), len(paths), what, [n for n, path in zip(names, paths, strict=True) if path is None]
        )
        return places

    def require(self, present: int, expected: int, what: str, missing: Iterable[str] = ()) -> None:
        """Refuse an incomplete data set.

        Raises:
            MissingData: fewer are present than expected without ``allow_missing``, or none.
        """
        if present >= expected and present > 0:
            return
        if self.allow_missing and present > 0:
            return
        names = list(missing)
        examples = ", ".join(names[:EXAMPLES]) + (", ..." if len(names) > EXAMPLES else "")
        found = f"{expected - present:,} of {expected:,} {what} missing or empty" + (
            f" ({examples})" if examples else ""
        )
        offer = (
            ""
            if present == 0
            else "Evaluate on what is there with allow_missing (--allow-missing), or get the rest. "
        )
        raise MissingData(
            str(self.root), found=found, expected=f"all {expected:,} {what}", remedy=offer + self.remedy
        )


def layout_paths(layout: str) -> list[str]:
    """The files of a layout that is drawn as a tree, as paths: errors of the command line are one line."""
    parents: list[str] = []
    paths = []
    for line in layout.splitlines():
        name = line.lstrip("│├└─ \u00a0")
        if not name:
            continue
        depth = (len(line) - len(name)) // 4
        del parents[depth:]
        if name.partition(" (")[0].endswith("/"):
            parents.append(name.partition(" (")[0])
        elif name != "...":
            paths.append("".join(parents) + name)
    return paths


class FileIndex:
    """Files below a folder by their stem without blanks at its ends, listed once.

    A second suffix, as downloaders leave it in ``video.mp4.webm``, is no part of the stem.

    Args:
        folder: where to look, at any depth; symbolic links to folders are not followed.
        suffixes: which files, in the order of preference where one stem has several. Empty files and pointers of
            Git LFS come last.
    """

    def __init__(self, folder: Path, suffixes: Sequence[str]) -> None:
        self.folder = folder
        self._by_stem: dict[str, Path] = {}
        ranks = {suffix: rank for rank, suffix in enumerate(suffixes)}
        for path in walk(folder):
            rank = ranks.get(path.suffix.lower())
            if rank is None:
                continue
            inner = Path(path.stem)
            stem = (inner.stem if inner.suffix.lower() in ranks else path.stem).strip()
            other = self._by_stem.get(stem)
            if other is None or (not is_file(path), rank) < (not is_file(other), ranks[other.suffix.lower()]):
                self._by_stem[stem] = path

    def __len__(self) -> int:
        return len(self._by_stem)

    @property
    def stems(self) -> tuple[str, ...]:
        """Stems in their order."""
        return tuple(sorted(self._by_stem))

    def get(self, *stems: str) -> Path | None:
        """The file of the first stem that there is one of."""
        return next((self._by_stem[stem] for stem in stems if stem in self._by_stem), None)


def walk(folder: Path) -> Iterator[Path]:
    """Files below a folder, sorted, hidden ones (``._x.wav`` of macOS) left out."""
    for directory, folders, files in os.walk(folder):
        folders.sort()
        folders[:] = [name for name in folders if not name.startswith((".", "__MACOSX"))]
        for name in sorted(files):
            if not name.startswith("."):
                yield Path(directory, name)


def _letters(name: str) -> str:
    return "".join(letter for letter in name.casefold() if letter.isalnum())


def is_file(path: Path) -> bool:
    """Whether a path is a file that is neither empty, as half-downloaded files often are, nor a pointer of Git LFS."""
    try:
        return path.is_file() and path.stat().st_size > 0 and not is_lfs_pointer(path)
    except OSError:
        return False


def _existing(base: Path, candidate: str) -> Path | None:
    """``base / candidate``, its parts also in another case."""
    path = base
    parts = [part for part in candidate.split("/") if part]
    for part in parts:
        exact = path / part
        if exact.exists():
            path = exact
            continue
        if not path.is_dir():
            return None
        same = [entry for entry in sorted(path.iterdir()) if entry.name.casefold() == part.casefold()]
        if not same:
            return None
        path = same[0]
    return path if path.is_dir() == candidate.endswith("/") else None
