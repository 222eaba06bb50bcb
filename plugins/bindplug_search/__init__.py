"""Search over a person's own files: an index of rows, and queries of every sense against it.

from bindplug import audio, image, text
from bindplug_search import create_index, open_index

index = create_index("library.lance", model="imagebind_tiny")
index.add_folder("library", {"audio": "*.wav", "image": "*.jpg"})
index.search(audio("bark.wav") + text("at night") - 0.5 * text("rain"), k=10, kind="image")

Importing this package imports neither torch nor LanceDB.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bindplug.lazy import lazy_names, require

if TYPE_CHECKING:
    from bindplug_search.engine.api import embed_with_ray
    from bindplug_search.file_index import Index
    from bindplug_search.opening import create_index, open_index
    from bindplug_search.report import AddReport, RemoveReport
    from bindplug_search.searchable import query_model

__all__ = [
    "AddReport",
    "Index",
    "RemoveReport",
    "create_index",
    "embed_with_ray",
    "open_index",
    "query_model",
]

_MODULES = {
    "AddReport": "report",
    "Index": "file_index",
    "RemoveReport": "report",
    "create_index": "opening",
    "embed_with_ray": "engine.api",
    "open_index": "opening",
    "query_model": "searchable",
}


def _require_pyarrow(module: str) -> None:
    require("pyarrow", owner=__name__, extra="ray" if module.startswith("engine") else "index")


__getattr__, __dir__ = lazy_names(__name__, _MODULES, __all__, before=_require_pyarrow)
