"""Packages of extras, imported on first use."""

from __future__ import annotations

import importlib
from types import ModuleType

from bindplug.errors import MissingDependency


def import_optional(module: str, owner: str, extra: str) -> ModuleType:
    """Import a package that an extra installs.

    Args:
        module: what to import.
        owner: which part of bindplug needs it.
        extra: the extra of the distribution that installs it.

    Raises:
        MissingDependency: it is absent, or fails to import.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        reason = "absent" if error.name == module else str(error)
        raise MissingDependency(owner, module, extra, reason) from error
    except (ImportError, OSError) as error:
        raise MissingDependency(owner, module, extra, str(error)) from error
