"""Access to the installed open_clip for everything that this package does not define itself."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec, spec_from_loader
from types import ModuleType
from typing import Any

from bindplug.lazy import require

PACKAGE = "bindplug_open_clip"
EXTRA = "open-clip"


def upstream(submodule: str = "") -> ModuleType:
    """The installed open_clip, or one of its submodules.

    Raises:
        MissingDependency: open_clip is absent or fails to import; the message has the ``pip install`` line.
    """
    return require(f"open_clip.{submodule}" if submodule else "open_clip", owner=PACKAGE, extra=EXTRA)


def upstream_attribute(submodule: str, name: str) -> Any:
    """An attribute of open_clip or of one of its submodules, for use in a module's ``__getattr__``.

    Raises:
        AttributeError: open_clip has no such name.
        MissingDependency: open_clip is absent.
    """
    if name.startswith("__") and name != "__version__":
        raise AttributeError(f"module {PACKAGE!r} has no attribute {name!r}")
    module = upstream(submodule)
    try:
        return getattr(module, name)
    except AttributeError:
        nested = f"{module.__name__}.{name}"
        try:
            return import_module(nested)
        except ModuleNotFoundError as error:
            if error.name != nested:
                raise
        raise AttributeError(
            f"module {PACKAGE!r} has no attribute {name!r}, and neither has {module.__name__} "
            f"{getattr(upstream(), '__version__', '')}".rstrip()
        ) from None


def public_names(module: ModuleType) -> list[str]:
    """The names that ``from module import *`` imports."""
    return list(getattr(module, "__all__", [name for name in vars(module) if not name.startswith("_")]))


class UpstreamFinder(MetaPathFinder, Loader):
    """Imports ``bindplug_open_clip.NAME`` as ``open_clip.NAME`` where this package has no module of that name.

    The module that is imported is open_clip's own, so ``from bindplug_open_clip.loss import ClipLoss`` gives the same
    class as ``from open_clip.loss import ClipLoss``.
    """

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """A spec for a submodule of this package that open_clip has; None for every other name."""
        prefix, _, submodule = fullname.partition(".")
        # clip/ is OpenAI's package and has modules of its own only
        if prefix != PACKAGE or not submodule or submodule.split(".")[0] == "clip":
            return None
        upstream()
        if find_spec(f"open_clip.{submodule}") is None:
            return None
        return spec_from_loader(fullname, self)

    def exec_module(self, module: ModuleType) -> None:
        """Put open_clip's module in place of the empty one, which the import system then returns."""
        sys.modules[module.__name__] = upstream(module.__name__.partition(".")[2])


def install_finder() -> None:
    """Add the finder behind the others, once."""
    if not any(isinstance(finder, UpstreamFinder) for finder in sys.meta_path):
        sys.meta_path.append(UpstreamFinder())
