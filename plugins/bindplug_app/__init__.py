"""A page in the browser: a person's files, searched by every sense.

from bindplug_app import Finder, create_page, toy_library

model = bindplug.load("imagebind_tiny")
index = bindplug_search.open_index(toy_library(model), model=model)
demo = create_page(Finder(index, model, detector="toy_detic", pipeline="toy_unclip"))
demo.launch()
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bindplug.lazy import lazy_names, require

if TYPE_CHECKING:
    from bindplug_app.finder import Finder, Term
    from bindplug_app.library import toy_library
    from bindplug_app.page import create_page

__all__ = ["Finder", "Term", "create_page", "toy_library"]

_MODULES = {"Finder": "finder", "Term": "finder", "create_page": "page", "toy_library": "library"}


def _require_packages(module: str) -> None:
    require("lancedb", owner=__name__, extra="app")
    if module == "page":
        require("gradio", owner=__name__, extra="app")


__getattr__, __dir__ = lazy_names(__name__, _MODULES, __all__, before=_require_packages)
