"""LanceDB's embedding function, registered under the name ``"bindplug"``.

from lancedb.embeddings import get_registry
import bindplug_search.integrations.lancedb

sounds = get_registry().get("bindplug").create(name="imagebind_tiny", modality="audio")

class Sound(LanceModel):
    path: str = sounds.SourceField()
    vector: Vector(sounds.ndims()) = sounds.VectorField()
"""

from __future__ import annotations

from typing import Any

import numpy as np

from bindplug.lazy import require
from bindplug.modality import Modality
from bindplug_search.integrations.conversion import DEFAULT_MODEL, QueryEmbedder

require("lancedb", owner="bindplug's function for LanceDB", extra="index")

from lancedb.embeddings import EmbeddingFunction, register  # noqa: E402
from pydantic import PrivateAttr  # noqa: E402

__all__ = ["BindplugFunction"]


@register("bindplug")
class BindplugFunction(EmbeddingFunction):
    """Embeds a column of sources, and queries of every sense.

    Attributes:
        name: of the model, or its path.
        modality: of the source column: ``"image"`` for paths or bytes of pictures, ``"text"`` for sentences, and so on.
            It is never guessed from a file's name.
        device: where the model runs.
        batch_size: items in one pass.
    """

    name: str = DEFAULT_MODEL
    modality: str = "image"
    device: str = "cpu"
    batch_size: int = 32
    max_retries: int = 0
    _embedder: QueryEmbedder = PrivateAttr()

    def __init__(self, **values: Any) -> None:
        super().__init__(**values)
        self.modality = Modality.parse(self.modality).value
        self._embedder = QueryEmbedder(self.name, device=self.device, batch_size=self.batch_size)

    def ndims(self) -> int:
        """Numbers of a row."""
        return self._embedder.width

    def compute_query_embeddings(self, query: Any, *args: Any, **kwargs: Any) -> list[Any]:
        """One unit row, for a sentence, a PIL picture, a mapping of modalities to sources, or a ``bindplug.Query``."""
        return list(self._embedder.rows([query]))

    def compute_query_embeddings_with_retry(self, *args: Any, **kwargs: Any) -> list[Any]:
        """As :meth:`compute_query_embeddings`: what cannot be read now cannot be read in a second either."""
        return self.compute_query_embeddings(*args, **kwargs)

    def compute_source_embeddings_with_retry(self, *args: Any, **kwargs: Any) -> list[Any]:
        """As :meth:`compute_source_embeddings`."""
        return self.compute_source_embeddings(*args, **kwargs)

    def compute_source_embeddings(self, sources: Any, *args: Any, **kwargs: Any) -> list[Any]:
        """A unit row for each source of the column, None for a null."""
        values: Any = self.sanitize_input(sources)
        if isinstance(values, (bytes, Modality)) or not hasattr(values, "__len__"):
            values = [values]
        present = [index for index, value in enumerate(values) if value is not None]
        rows: list[np.ndarray | None] = [None] * len(values)
        for index, row in zip(
            present, self._embedder.rows([values[i] for i in present], self.modality), strict=True
        ):
            rows[index] = row
        return rows
