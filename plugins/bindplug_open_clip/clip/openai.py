"""Access to OpenAI's ``clip`` package, which may be installed or not."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import Any

PACKAGE = "bindplug_open_clip.clip"
INSTALL = "pip install git+https://github.com/openai/CLIP.git"


def openai_clip(submodule: str = "") -> ModuleType | None:
    """OpenAI's package or one of its modules; None if it is absent or does not import.

    Other packages named ``clip`` are not mistaken for it.
    """
    try:
        if find_spec("clip") is None:
            return None
        package = import_module("clip")
        if not all(hasattr(package, name) for name in ("load", "tokenize", "available_models")):
            return None
        return import_module(f"clip.{submodule}") if submodule else package
    except (ImportError, ValueError):  # ValueError: a module of that name without a spec
        return None


def openai_attribute(submodule: str, name: str) -> Any:
    """An attribute of OpenAI's package, for use in a module's ``__getattr__``.

    Raises:
        AttributeError: OpenAI's package is not installed, or has no such name.
    """
    module = None if name.startswith("__") else openai_clip(submodule)
    if module is not None and hasattr(module, name):
        return getattr(module, name)
    path = f"{PACKAGE}.{submodule}" if submodule else PACKAGE
    hint = "" if module is not None else f". OpenAI's package may have it and is not installed: {INSTALL}"
    raise AttributeError(f"module {path!r} has no attribute {name!r}{hint}")
