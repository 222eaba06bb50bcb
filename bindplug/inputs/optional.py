"""Packages of extras, imported on first use."""

from __future__ import annotations

import importlib
import re
from types import ModuleType

from bindplug.errors import MissingDependency


def import_optional(module: str, owner: str, extra: str, *, minimum: str = "") -> ModuleType:
    """Import a package that an extra installs.

    Args:
        module: what to import.
        owner: which part of bindplug needs it.
        extra: the extra of the distribution that installs it.
        minimum: the lowest release that gives right values, as ``"17.0"``; compared with ``__version__``.

    Raises:
        MissingDependency: it is absent, older than ``minimum``, or fails to import.
    """
    try:
        imported = importlib.import_module(module)
    except ModuleNotFoundError as error:
        reason = "absent" if error.name == module else str(error)
        raise MissingDependency(owner, module, extra, reason) from error
    except (ImportError, OSError) as error:
        raise MissingDependency(owner, module, extra, str(error)) from error
    version = str(getattr(imported, "__version__", ""))
    if minimum and _numbers(version) < _numbers(minimum):
        reason = f"too old: {version or 'unknown release'}, needs {minimum} or later"
        raise MissingDependency(owner, module, extra, reason)
    return imported


def _numbers(version: str) -> tuple[int, ...]:
    """The leading numbers of a release, without zeros at the end: ``"17.0.1rc2" -> (17, 0, 1)``."""
    match = re.match(r"\d+(\.\d+)*", version)
    numbers = [int(part) for part in match[0].split(".")] if match else []
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)
