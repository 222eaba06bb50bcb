"""Bridges: maps from one embedding space to another, learned from the same words in both.

bridge = LinearBridge.fit(rows_here, rows_there, source=HERE, target=THERE)
bridge(model.embed([audio("bark.wav")]), modality="audio")      # (1, D) unit rows in the space THERE
"""

from __future__ import annotations

from bindplug.bridges.base import Bridge
from bindplug.bridges.fitting import TextEmbedder, fit_bridge
from bindplug.bridges.linear import LinearBridge
from bindplug.bridges.quality import BridgeQuality, BridgeReport, Retrieval
from bindplug.bridges.storage import load_bridge
from bindplug.bridges.vocabulary import VocabularyBridge

__all__ = [
    "Bridge",
    "BridgeQuality",
    "BridgeReport",
    "LinearBridge",
    "Retrieval",
    "TextEmbedder",
    "VocabularyBridge",
    "fit_bridge",
    "load_bridge",
]
