"""What surrounds every use of a table: the writer's lock, and Lance's errors as bindplug's."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bindplug.errors import BindplugError, InputError

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


def lock(path: Path) -> int:
    """The lock that one writer of an index has; it ends with this process however it ends.

    Returns:
        A file descriptor to close; -1 where the system has no such locks.

    Raises:
        InputError: another process has it, or the index cannot be written.
    """
    try:
        import fcntl
    except ImportError:
        return -1
    try:
        handle = os.open(path / LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise InputError(
            str(path), found=error.strerror or str(error), expected="an index that can be written"
        ) from None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        raise InputError(
            str(path), found="another process writing there", expected="one writer at a time"
        ) from None
    return handle


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
