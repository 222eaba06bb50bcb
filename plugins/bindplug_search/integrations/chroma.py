"""Chroma's embedding function, registered under the name ``"bindplug"``.

collection = client.create_collection("library", embedding_function=BindplugEmbeddingFunction("imagebind_tiny"))
collection.add(ids=["1"], embeddings=function.embed([audio("bark.wav")]), uris=["bark.wav"])
collection.query(query_texts=["a dog"])
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from bindplug.errors import InputError
from bindplug.lazy import require
from bindplug.modality import Modality
from bindplug.query import Query
from bindplug_search.integrations.conversion import DEFAULT_MODEL, QueryEmbedder, named, to_query

require("chromadb", owner="bindplug's function for Chroma", extra="chroma")

from chromadb.api.types import EmbeddingFunction  # noqa: E402
from chromadb.utils.embedding_functions import register_embedding_function  # noqa: E402

__all__ = ["BindplugEmbeddingFunction", "QueryLoader"]

KEYS = ("model", "device")


@register_embedding_function
class BindplugEmbeddingFunction(EmbeddingFunction):
    """Embeds Chroma's documents (sentences) and images (arrays), and through :meth:`embed` every sense.

    Args:
        model: a name or path that :func:`bindplug.load` takes, or a loaded encoder.
        device: where a model that is loaded runs.
    """

    def __init__(self, model: Any = DEFAULT_MODEL, device: str = "cpu") -> None:
        self._embedder = QueryEmbedder(model, device=device)

    def __call__(self, input: Any) -> list[np.ndarray]:
        """A unit row for each document (a string), image (an array (H, W, 3) uint8) or ``bindplug.Query``."""
        values = [to_query(value, "image" if isinstance(value, np.ndarray) else None) for value in input]
        return list(self._embedder.rows(values))

    def embed(self, values: Iterable[object], modality: str | None = None) -> list[np.ndarray]:
        """Unit rows for ``query_embeddings=`` and ``embeddings=``.

        Args:
            values: queries, mappings of modalities to sources, sentences, pictures; or sources of ``modality``.
            modality: of the sources.
        """
        return list(self._embedder.rows(values, modality))

    @staticmethod
    def name() -> str:
        """The name under which Chroma stores the function's configuration."""
        return "bindplug"

    def default_space(self) -> Any:
        """Rows have unit length, and are compared by cosine."""
        return "cosine"

    def supported_spaces(self) -> list[Any]:
        """All of Chroma's: of unit rows they rank alike."""
        return ["cosine", "l2", "ip"]

    @staticmethod
    def build_from_config(config: dict[str, Any]) -> BindplugEmbeddingFunction:
        """The function of a configuration that :meth:`get_config` gave."""
        BindplugEmbeddingFunction.validate_config(config)
        return BindplugEmbeddingFunction(config["model"], config.get("device", "cpu"))

    def get_config(self) -> dict[str, Any]:
        """The model's name and device, by which Chroma makes the function again."""
        return {"model": named(self._embedder, "Chroma"), "device": self._embedder.device}

    def is_legacy(self) -> bool:
        """False, unless a loaded model was given, which cannot be stored."""
        return not self._embedder.name

    def validate_config_update(self, old_config: dict[str, Any], new_config: dict[str, Any]) -> None:
        """Refuse another model for rows that are there.

        Raises:
            InputError: the model would change.
        """
        if new_config.get("model", old_config.get("model")) != old_config.get("model"):
            raise InputError(
                "Chroma: model", found=repr(new_config["model"]), expected=repr(old_config.get("model"))
            )

    @staticmethod
    def validate_config(config: Mapping[str, Any]) -> None:
        """Refuse a configuration of another form.

        Raises:
            InputError: it lacks the model's name or has keys of its own.
        """
        if not isinstance(config.get("model"), str) or set(config) - set(KEYS):
            raise InputError(
                "Chroma: configuration", found=str(dict(config))[:200], expected=f"{', '.join(KEYS)}"
            )


class QueryLoader:
    """Chroma's data loader: files of one modality, as queries, for ``collection.add(uris=[...])``.

    Args:
        modality: of the files.
    """

    def __init__(self, modality: str) -> None:
        self.modality = Modality.parse(modality)

    def __call__(self, uris: Iterable[str | None]) -> list[Query | None]:
        """A query for each path."""
        return [None if uri is None else to_query(uri, self.modality) for uri in uris]
