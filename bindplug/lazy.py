"""Public names that are imported when first used, and packages that an extra installs.

A package that should be cheap to import lists its names with the modules that hold them::

    if TYPE_CHECKING:
        from my_package.detector import Detector

    __all__ = ["Detector"]
    __getattr__, __dir__ = lazy_names(__name__, {"Detector": "detector"}, __all__)
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from types import ModuleType
from typing import Any

from bindplug.errors import MissingDependency

__all__ = ["lazy_names", "require"]


def lazy_names(
    package: str,
    modules: Mapping[str, str],
    public: Iterable[str] = (),
    *,
    before: Callable[[str], object] | None = None,
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """``__getattr__`` and ``__dir__`` for a package whose names are imported when first used.

    Args:
        package: ``__name__`` of the package.
        modules: for each name, the module inside the package that defines it, as ``"detector"`` or
            ``"detector.boxes"``.
        public: ``__all__``, the names that ``dir()`` lists beside those imported already.
        before: called with the module's name before it is imported, for instance to :func:`require` a package.

    Returns:
        The two functions, to be assigned to ``__getattr__`` and ``__dir__``.
    """
    all_names = frozenset(public) | frozenset(modules)

    def get(name: str) -> Any:
        if name not in modules:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        if before is not None:
            before(modules[name])
        value = getattr(import_module(f"{package}.{modules[name]}"), name)
        setattr(sys.modules[package], name, value)
        return value

    def names() -> list[str]:
        return sorted({*vars(sys.modules[package]), *all_names})

    return get, names


def require(module: str, *, owner: str, extra: str, oldest: tuple[int, ...] = ()) -> ModuleType:
    """Import a package that an extra installs.

    Args:
        module: what to import, as ``"diffusers"`` or ``"open_clip.factory"``.
        owner: which part of bindplug, or which plugin, needs it.
        extra: the extra of the distribution that installs it.
        oldest: the oldest release that works, as ``(0, 32)``; any for ``()``.

    Returns:
        The module.

    Raises:
        MissingDependency: it is absent, too old, or fails to import; the message has the pip line.
    """
    package = module.partition(".")[0]
    try:
        loaded_module = import_module(module)
        version = str(getattr(import_module(package), "__version__", "")) if oldest else ""
    except ImportError as error:
        absent = isinstance(error, ModuleNotFoundError) and error.name == package
        raise MissingDependency(owner, package, extra, "absent" if absent else str(error)) from error
    except OSError as error:  # a shared library that the package loads
        raise MissingDependency(owner, package, extra, str(error)) from error
    numbers = tuple(int(part) for part in re.findall(r"\d+", version)[: len(oldest)])
    if oldest and numbers and numbers < oldest:
        raise MissingDependency(owner, package, extra, "too old")
    return loaded_module
