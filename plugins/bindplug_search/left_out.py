"""Files that were removed from an index and that updates leave out until they are added again."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from bindplug.errors import InputError
from bindplug.files import write_whole
from bindplug_search.guards import committing

FILE = "left_out.json"

FileKey = tuple[str, str]
"""Kind and absolute path of a file."""


def read_left_out(index: Path) -> set[FileKey]:
    """The files that updates leave out.

    Raises:
        InputError: the list is damaged.
    """
    path = index / FILE
    try:
        return {(str(kind), str(name)) for kind, name in json.loads(path.read_text(encoding="utf-8"))}
    except FileNotFoundError:
        return set()
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise InputError(
            str(path),
            found=f"damaged ({type(error).__name__}: {error})",
            expected="pairs of kind and path, as bindplug writes them",
            remedy="Delete it; updates then add the files that were removed again",
        ) from None


def leave_out(index: Path, files: Iterable[FileKey]) -> None:
    """Leave further files out.

    Raises:
        InputError: the list is damaged, or cannot be written.
    """
    earlier = read_left_out(index)
    _replace(index, earlier, earlier | set(files))


def take_in(index: Path, files: Iterable[FileKey]) -> None:
    """No longer leave out files, since they are added again.

    Raises:
        InputError: as :func:`leave_out`.
    """
    earlier = read_left_out(index)
    if earlier:
        _replace(index, earlier, earlier - set(files))


def _replace(index: Path, earlier: set[FileKey], files: set[FileKey]) -> None:
    if files != earlier:
        with committing(index):
            write_whole(index / FILE, json.dumps(sorted(files)).encode("ascii"))
