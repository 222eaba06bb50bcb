"""llama-index's multi-modal embedding: text and images as it expects them, and every other sense beside."""

from __future__ import annotations

import asyncio
from typing import Any

from bindplug.lazy import require
from bindplug_search.integrations.conversion import DEFAULT_MODEL, QueryEmbedder

require("llama_index.core.embeddings", owner="bindplug's embedding for llama-index", extra="llama-index")

from llama_index.core.embeddings import MultiModalEmbedding  # noqa: E402
from pydantic import PrivateAttr  # noqa: E402

__all__ = ["BindplugEmbedding"]


class BindplugEmbedding(MultiModalEmbedding):
    """Embeds nodes and queries; all rows are lists of numbers and of unit length.

    A query of another sense goes into a query bundle:
    ``retriever.retrieve(QueryBundle("", embedding=embedding.get_embedding(audio("bark.wav"))))``.

    Args:
        model: a name or path that :func:`bindplug.load` takes, or a loaded encoder.
        device: where a model that is loaded runs.
        values: fields of llama-index's own, as ``embed_batch_size``.
    """

    device: str = "cpu"
    _embedder: QueryEmbedder = PrivateAttr()

    def __init__(self, model: Any = DEFAULT_MODEL, *, device: str = "cpu", **values: Any) -> None:
        embedder = QueryEmbedder(model, device=device)
        name = values.pop("model_name", None) or embedder.name or type(model).__name__
        super().__init__(model_name=name, **{"device": device, **values})
        self._embedder = embedder

    @classmethod
    def class_name(cls) -> str:
        """The name under which llama-index stores the class."""
        return "BindplugEmbedding"

    def get_embedding(self, value: object, modality: str | None = None) -> list[float]:
        """The row of a query, a mapping of modalities to sources, a sentence, a picture, or a source of a modality."""
        return self._embedder.row(value, modality)

    def get_embeddings(self, values: list[Any], modality: str | None = None) -> list[list[float]]:
        """Rows of several; see :meth:`get_embedding`."""
        return self._embedder.lists(values, modality)

    def _get_query_embedding(self, query: str) -> list[float]:
        return self._embedder.row(query)

    def _get_text_embedding(self, text: str) -> list[float]:
        return self._embedder.row(text, "text")

    def _get_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        return self._embedder.lists(texts, "text")

    def _get_image_embedding(self, img_file_path: Any) -> list[float]:
        return self._embedder.row(img_file_path, "image")

    def _get_image_embeddings(self, img_file_paths: list[Any]) -> list[list[float]]:
        return self._embedder.lists(img_file_paths, "image")

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return await asyncio.to_thread(self._get_query_embedding, query)

    async def _aget_text_embedding(self, text: str) -> list[float]:
        return await asyncio.to_thread(self._get_text_embedding, text)

    async def _aget_image_embedding(self, img_file_path: Any) -> list[float]:
        return await asyncio.to_thread(self._get_image_embedding, img_file_path)
