"""Reaching the installed open_clip, for everything that this package does not extend."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType
from typing import Any

from bindplug.errors import MissingDependency

OWNER, EXTRA = "bindplug_open_clip", "open-clip"


def upstream(submodule: str = "") -> ModuleType:
    """The installed open_clip, or a module inside it.

    Raises:
        MissingDependency: it is absent, or fails to import; the pip line that mends it is named.
    """
    try:
        return import_module(f"open_clip.{submodule}" if submodule else "open_clip")
    except ImportError as error:
        absent = isinstance(error, ModuleNotFoundError) and error.name == "open_clip"
        raise MissingDependency(OWNER, "open_clip", EXTRA, "absent" if absent else str(error)) from error


def upstream_attribute(submodule: str, name: str) -> Any:
    """An attribute of open_clip or of a module inside it, for a module ``__getattr__``; modules are imported.

    Raises:
        AttributeError: open_clip has no such name either.
        MissingDependency: open_clip is absent.
    """
    if name.startswith("__") and name not in ("__version__",):
        raise AttributeError(f"module {OWNER!r} has no attribute {name!r}")
    module = upstream(submodule)
    try:
        return getattr(module, name)
    except AttributeError:
        here = f"{module.__name__}.{name}"
        try:
            return import_module(here)
        except ModuleNotFoundError as error:
            if error.name != here:
                raise
        raise AttributeError(
            f"module {OWNER!r} has no attribute {name!r}, and neither has {module.__name__} "
            f"{getattr(upstream(), '__version__', '')}".rstrip()
        ) from None


def public_names(module: ModuleType) -> list[str]:
    """What ``from module import *`` takes."""
    return list(getattr(module, "__all__", [name for name in vars(module) if not name.startswith("_")]))
