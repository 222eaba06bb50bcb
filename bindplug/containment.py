"""Running code of plugins so that it neither ends the process nor writes into a command's output."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from io import StringIO
from typing import TextIO

from bindplug.errors import BindplugError, printable

MOST_TEXT = 500
"""Characters of an error's text that are kept."""


class Failure(Exception):  # noqa: N818 - what happened, for a report
    """What code of a plugin raised, as one printable line."""


@contextmanager
def contained(output: TextIO | None = None) -> Iterator[None]:
    """Run code of a plugin so that it neither ends the process nor writes into the output of a command.

    What it prints goes to stderr. Errors of bindplug, absent modules and an interrupt by the user pass as they are.

    Args:
        output: where what it prints goes instead.

    Raises:
        Failure: it raised anything else, :class:`SystemExit` among it.
    """
    limit = sys.getrecursionlimit()
    try:
        with redirect_stdout(CapturedOutput() if output is None else output), _descriptor_to_stderr():
            yield
    except (BindplugError, ModuleNotFoundError, KeyboardInterrupt):
        raise
    except SystemExit as error:
        raise Failure(f"it called sys.exit({error.code!r})") from error
    except BaseException as error:  # a plugin may raise whatever it likes, and stops nobody
        raise Failure(describe_error(error)) from error
    finally:
        sys.setrecursionlimit(limit)


@contextmanager
def _descriptor_to_stderr() -> Iterator[None]:
    """What is written past ``sys.stdout``, by a library in C or a process that a plugin starts, goes to stderr too."""
    real = sys.__stdout__
    try:
        assert real is not None
        assert sys.__stderr__ is not None
        real.flush()
        stdout, stderr = real.fileno(), sys.__stderr__.fileno()
        saved_stdout = os.dup(stdout)
    except (AssertionError, OSError, ValueError):  # there is no such stream, or it is closed
        yield
        return
    try:
        os.dup2(stderr, stdout)
        yield
    finally:
        with suppress(OSError, ValueError):
            real.flush()
        os.dup2(saved_stdout, stdout)
        os.close(saved_stdout)


class CapturedOutput(StringIO):
    """What code of a plugin prints instead of stdout: kept, or passed on to stderr. It may not close it."""

    def __init__(self, *, keep: bool = False) -> None:
        super().__init__()
        self._keep = keep

    def write(self, text: str) -> int:
        return super().write(text) if self._keep else sys.stderr.write(text)

    def close(self) -> None:
        """Nothing: the reader is bindplug, not the plugin."""


def describe_error(error: BaseException) -> str:
    """An error as one printable line, whatever its text holds."""
    try:
        text = str(error)
    except Exception:
        text = "an error without text"
    return one_line(f"{type(error).__name__}: {text}")


def one_line(text: str) -> str:
    """The text on one line, shortened, its control characters and lone surrogates written as escapes."""
    text = " ".join(text.split())
    text = text if len(text) <= MOST_TEXT else f"{text[:MOST_TEXT]}…"
    return printable(text)
