"""What surrounds every use of a table: the writer's lock, and Lance's errors as bindplug's."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from bindplug.errors import BindplugError, InputError
from bindplug.files import lock_file

LOCK_FILE = "lock"


@contextmanager
def committing(path: Path) -> Iterator[None]:
    """Around a commit to the table of an index.

    Raises:
        InputError: the commit failed; the table is as it was before.
    """
    try:
        with quiet():
            yield
    except BindplugError:
        raise
    except Exception as error:  # Lance raises OSError, RuntimeError or ValueError for one and the same fault
        raise InputError(
            str(path),
            found=f"the table could not be written: {reason_of(error)}",
            expected="a place that can be written, with space left; what was committed before is kept",
        ) from error


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Around reading the table of an index.

    Raises:
        InputError: it cannot be read.
    """
    try:
        with quiet():
            yield
    except BindplugError:
        raise
    except Exception as error:
        raise InputError(
            str(path),
            found=f"a table that cannot be read: {reason_of(error)}",
            expected="an index, as bindplug writes it",
            remedy="Restore it from a copy, or make it again with `bindplug index add`",
        ) from error


def lock(path: Path) -> IO[bytes]:
    """The lock that one writer of an index has, until the file is closed or this process ends, however it ends.

    Raises:
        InputError: another process has it, or the index cannot be written.
    """
    try:
        file = (path / LOCK_FILE).open("ab")
    except OSError as error:
        raise InputError(
            str(path), found=error.strerror or str(error), expected="an index that can be written"
        ) from None
    if not lock_file(file):
        file.close()
        raise InputError(str(path), found="another process writing there", expected="one writer at a time")
    return file


@contextmanager
def quiet() -> Iterator[None]:
    """LanceDB's own deprecations are no business of a person who searches."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        yield


def reason_of(error: Exception) -> str:
    """The first line of an error's message, without the places in Lance's source."""
    text = (str(error) or type(error).__name__).splitlines()[0].split(", /")[0]
    return text if len(text) <= 200 else f"{text[:200]}…"
