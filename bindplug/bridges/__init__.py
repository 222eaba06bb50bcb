"""Bridges: maps from one embedding space to another, learned from the same words in both.

bridge = LinearBridge.fit(rows_here, rows_there, source=HERE, target=THERE)
bridge(model.embed([audio("bark.wav")]), modality="audio")      # (1, D) unit rows in the space THERE
"""

from __future__ import annotations

from bindplug.bridges.base import Bridge, load_bridge
from bindplug.bridges.fitting import TextEmbedder, fit_bridge
from bindplug.bridges.learning import fit
from bindplug.bridges.linear import LinearBridge
from bindplug.bridges.lookup import as_bridge, fit_command, registered_bridge
from bindplug.bridges.mapping import (
    can_recenter,
    compose,
    distinct_leaves,
    embed_leaves,
    map_leaves,
    map_queries,
)
from bindplug.bridges.pairs_report import PairsReport
from bindplug.bridges.protocol import AnyBridge
from bindplug.bridges.quality import BridgeQuality, BridgeReport, Retrieval
from bindplug.bridges.targets import open_target, read_names
from bindplug.bridges.vocabulary import VocabularyBridge

__all__ = [
    "AnyBridge",
    "Bridge",
    "BridgeQuality",
    "BridgeReport",
    "LinearBridge",
    "PairsReport",
    "Retrieval",
    "TextEmbedder",
    "VocabularyBridge",
    "as_bridge",
    "can_recenter",
    "compose",
    "distinct_leaves",
    "embed_leaves",
    "fit",
    "fit_bridge",
    "fit_command",
    "load_bridge",
    "map_leaves",
    "map_queries",
    "open_target",
    "read_names",
    "registered_bridge",
]
