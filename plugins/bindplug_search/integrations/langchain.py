"""LangChain's embeddings: sentences as its stores expect them, and every other sense beside."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from bindplug.lazy import require
from bindplug_search.integrations.conversion import DEFAULT_MODEL, QueryEmbedder

require("langchain_core.embeddings", owner="bindplug's embeddings for LangChain", extra="langchain")

from langchain_core.embeddings import Embeddings  # noqa: E402

__all__ = ["BindplugEmbeddings"]


class BindplugEmbeddings(Embeddings):
    """Embeds documents and queries; all rows are lists of numbers and of unit length.

    Args:
        model: a name or path that :func:`bindplug.load` takes, or a loaded encoder.
        device: where a model that is loaded runs.
        batch_size: items in one pass.
    """

    def __init__(self, model: Any = DEFAULT_MODEL, *, device: str = "cpu", batch_size: int = 32) -> None:
        self._embedder = QueryEmbedder(model, device=device, batch_size=batch_size)

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Rows of sentences; pictures, mappings of modalities to sources and ``bindplug.Query`` are taken too."""
        return self._embedder.lists(texts)

    def embed_query(self, text: str) -> list[float]:
        """The row of a sentence, or of anything else that :meth:`embed_documents` takes."""
        return self._embedder.row(text)

    def embed(self, values: Iterable[object], modality: str | None = None) -> list[list[float]]:
        """Rows of queries, or of sources of one modality."""
        return self._embedder.lists(values, modality)

    def embed_image(self, uris: list[str]) -> list[list[float]]:
        """Rows of pictures; stores of LangChain call it for ``add_images``."""
        return self._embedder.lists(uris, "image")

    def embed_video(self, uris: list[str]) -> list[list[float]]:
        """Rows of videos."""
        return self._embedder.lists(uris, "video")

    def embed_audio(self, uris: list[str]) -> list[list[float]]:
        """Rows of sounds."""
        return self._embedder.lists(uris, "audio")

    def embed_depth(self, uris: list[str]) -> list[list[float]]:
        """Rows of depth maps."""
        return self._embedder.lists(uris, "depth")

    def embed_thermal(self, uris: list[str]) -> list[list[float]]:
        """Rows of thermal pictures."""
        return self._embedder.lists(uris, "thermal")

    def embed_imu(self, uris: list[str]) -> list[list[float]]:
        """Rows of motion logs."""
        return self._embedder.lists(uris, "imu")
