"""Files of embeddings that other tools wrote, made searchable by every sense without embedding a file again.

from bindplug_search.adopt import adopt, encoders_at_hand, open_adopted

adopt("photos.parquet", encoders_at_hand(["imagebind_tiny"])).identification.reason
index = open_adopted("photos.parquet")        # a bindplug.indexes.VectorIndex
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bindplug.lazy import lazy_names

if TYPE_CHECKING:
    from bindplug_search.adopt.adopted_index import AdoptedIndex, open_adopted
    from bindplug_search.adopt.adoption import Adoption, adopt
    from bindplug_search.adopt.candidates import encoders_at_hand
    from bindplug_search.adopt.identification import Candidate, Identification, identify
    from bindplug_search.adopt.row_file import RowFile
    from bindplug_search.adopt.row_files import open_rows

__all__ = [
    "AdoptedIndex",
    "Adoption",
    "Candidate",
    "Identification",
    "RowFile",
    "adopt",
    "encoders_at_hand",
    "identify",
    "open_adopted",
    "open_rows",
]

_MODULES = {
    "AdoptedIndex": "adopted_index",
    "Adoption": "adoption",
    "Candidate": "identification",
    "Identification": "identification",
    "RowFile": "row_file",
    "adopt": "adoption",
    "encoders_at_hand": "candidates",
    "identify": "identification",
    "open_adopted": "adopted_index",
    "open_rows": "row_files",
}

__getattr__, __dir__ = lazy_names(__name__, _MODULES, __all__)
