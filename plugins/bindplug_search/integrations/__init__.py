"""The embedding functions of LanceDB, Chroma, LangChain and llama-index, for all seven senses.

from bindplug_search.integrations.langchain import BindplugEmbeddings

Each lives in a module of its own, which imports its library; this package imports none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bindplug.lazy import lazy_names

if TYPE_CHECKING:
    from bindplug_search.integrations.chroma import BindplugEmbeddingFunction, QueryLoader
    from bindplug_search.integrations.conversion import QueryEmbedder, to_query
    from bindplug_search.integrations.lancedb import BindplugFunction
    from bindplug_search.integrations.langchain import BindplugEmbeddings
    from bindplug_search.integrations.llama_index import BindplugEmbedding

__all__ = [
    "BindplugEmbedding",
    "BindplugEmbeddingFunction",
    "BindplugEmbeddings",
    "BindplugFunction",
    "QueryEmbedder",
    "QueryLoader",
    "to_query",
]

_MODULES = {
    "BindplugEmbedding": "llama_index",
    "BindplugEmbeddingFunction": "chroma",
    "BindplugEmbeddings": "langchain",
    "BindplugFunction": "lancedb",
    "QueryEmbedder": "conversion",
    "QueryLoader": "chroma",
    "to_query": "conversion",
}

__getattr__, __dir__ = lazy_names(__name__, _MODULES, __all__)
