"""Files and folders that a command line names: lists of lines, directories and patterns."""

from __future__ import annotations

import glob
import sys
from collections.abc import Sequence
from fnmatch import fnmatch
from pathlib import Path

from bindplug.errors import InputError

STANDARD_INPUT = "-"
COMMENT = "#"


def read_lines(path: str, expected: str = "a UTF-8 text file with one item a line") -> list[tuple[int, str]]:
    """Lines of a text file with their numbers; blank lines and those that start with ``#`` are left out.

    Args:
        path: of the file; ``-`` for standard input. A byte order mark is dropped.
        expected: what an error says the file should be.

    Returns:
        ``(number, line)`` without the line's end, numbers from 1.

    Raises:
        InputError: the file cannot be read.
    """
    try:
        raw = sys.stdin.buffer.read() if path == STANDARD_INPUT else Path(path).read_bytes()
        text = raw.decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        name = "standard input" if path == STANDARD_INPUT else path
        raise InputError(name, found=reason, expected=expected) from None
    lines = enumerate(text.splitlines(), start=1)
    return [(number, line) for number, line in lines if line.strip() and not line.startswith(COMMENT)]


def expand(value: str, *, recursive: bool = False, include: Sequence[str] = ()) -> list[str]:
    """The files that a path, a directory or a pattern stands for, sorted by name.

    Args:
        value: a path is itself, whether the file exists or not; a directory stands for its files; and a pattern
            such as ``sounds/*.wav``, where no file has that very name, for the files that match.
        recursive: directories stand for the files of their subdirectories too.
        include: patterns for names, as ``*.wav``; a file of a directory must match one. None takes all files whose
            names do not start with a dot.

    Raises:
        InputError: a directory or pattern stands for no file, or the directory cannot be read.
    """
    path = Path(value)
    if path.is_dir():
        files = _files_of(path, recursive, include)
        if not files:
            description = f"files named {' or '.join(include)}" if include else "files"
            remedy = "" if recursive else "Say --recursive to look into its subdirectories"
            raise InputError(
                value, found=f"no {description} in the directory", expected="at least one", remedy=remedy
            )
        return files
    if glob.has_magic(value) and not path.exists():
        matches = glob.glob(value, recursive=True)  # noqa: PTH207 (Path.glob takes no absolute pattern)
        files = sorted(name for name in matches if Path(name).is_file())
        if not files:
            raise InputError(value, found="no file that matches", expected="a pattern of existing files")
        return files
    return [value]


def _files_of(directory: Path, recursive: bool, include: Sequence[str]) -> list[str]:
    try:
        paths = sorted(directory.rglob("*") if recursive else directory.iterdir())
        return [
            str(path)
            for path in paths
            if _is_included(path.relative_to(directory), include) and path.is_file()
        ]
    except OSError as error:
        detail = error.strerror or str(error)
        raise InputError(str(directory), found=detail, expected="a directory that can be read") from None


def _is_included(path: Path, include: Sequence[str]) -> bool:
    if include:
        return any(fnmatch(path.name, pattern) for pattern in include)
    return not any(part.startswith(".") for part in path.parts)
