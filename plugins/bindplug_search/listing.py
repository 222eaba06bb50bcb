"""The files of a folder, each of the kind whose pattern it matches."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path

from bindplug.errors import InputError
from bindplug_search.manifest import Folder, is_index

WILD = "*?[]"


@dataclass
class Listing:
    """What a folder holds.

    Attributes:
        files: pairs of kind and absolute path, by path.
        unmatched: patterns that no file matches.
        unreadable: directories that cannot be listed, with the reason.
    """

    files: list[tuple[str, str]] = field(default_factory=list)
    unmatched: list[str] = field(default_factory=list)
    unreadable: list[tuple[str, str]] = field(default_factory=list)


def list_folder(folder: str, patterns: Sequence[tuple[str, str]], *, recursive: bool = True) -> Listing:
    """The files of a folder that match a pattern.

    A pattern without ``/`` is compared with a file's name, one with ``/`` with its path inside the folder. A file that
    matches patterns of several kinds is of the kind whose pattern spells out more characters: ``room_depth.png`` is a
    depth map for ``--image '*.png' --depth '*_depth.png'``. Hidden files, hidden directories and indexes are left out.

    Args:
        folder: to list.
        patterns: pairs of kind and pattern.
        recursive: look into subdirectories too.

    Raises:
        InputError: the folder cannot be listed, or two patterns of different kinds that match a file spell out equally
            many characters.
    """
    root = os.path.abspath(folder)  # noqa: PTH100 (keeps symbolic links)
    if not Path(root).is_dir():
        detail = "a file" if Path(root).exists() else "no such directory"
        raise InputError(folder, found=detail, expected="a folder")
    listing = Listing()
    used: set[str] = set()

    def note(error: OSError) -> None:
        listing.unreadable.append((str(error.filename), error.strerror or str(error)))

    for directory, names, files in os.walk(root, onerror=note):
        names[:] = sorted(n for n in names if not n.startswith(".") and not is_index(Path(directory, n)))
        if not recursive:
            names.clear()
        for name in sorted(files):
            if name.startswith("."):
                continue
            path = os.path.join(directory, name)  # noqa: PTH118 (a path of os.walk may be no UTF-8)
            match = _best(name, os.path.relpath(path, root), patterns, used)
            if match is not None:
                listing.files.append((match, path))
    if listing.unreadable and listing.unreadable[0][0] == root:
        raise InputError(folder, found=listing.unreadable[0][1], expected="a folder that can be listed")
    listing.unmatched = [pattern for _, pattern in patterns if pattern not in used]
    return listing


def kind_in_folder(path: str, folder: Folder) -> str | None:
    """The kind that a file has in a folder; None if it is not there or matches no pattern.

    Raises:
        InputError: as :func:`list_folder`.
    """
    inner = os.path.relpath(path, folder.path)
    if inner.startswith(os.pardir) or (not folder.recursive and os.path.dirname(inner)):  # noqa: PTH120
        return None
    return _best(os.path.basename(path), inner, folder.patterns, set())  # noqa: PTH119


def _best(name: str, inner: str, patterns: Sequence[tuple[str, str]], used: set[str]) -> str | None:
    """The kind of a file; None if no pattern matches it."""
    matches = [(kind, p) for kind, p in patterns if fnmatch(inner if "/" in p else name, p)]
    used.update(pattern for _, pattern in matches)
    if not matches:
        return None
    most = max(_literal(pattern) for _, pattern in matches)
    nearest = {kind: pattern for kind, pattern in matches if _literal(pattern) == most}
    if len(nearest) > 1:
        described = " and ".join(f"--{kind} {pattern!r}" for kind, pattern in nearest.items())
        raise InputError(
            inner,
            found=f"the patterns {described}, which both match it",
            expected="one kind for a file",
            remedy="Spell out more of one pattern, as '*_depth.png', or add the folders apart",
        )
    return next(iter(nearest))


def _literal(pattern: str) -> int:
    """How many characters a pattern spells out; those in brackets do not count."""
    count, depth = 0, 0
    for character in pattern:
        depth += (character == "[") - (character == "]" and depth > 0)
        count += depth == 0 and character not in WILD
    return count
