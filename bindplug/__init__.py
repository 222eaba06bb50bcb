"""ImageBind as a CLIP-compatible encoder: existing CLIP tools hear, feel depth, see heat and sense motion.

import bindplug
from bindplug import audio, image, text

model = bindplug.load("imagebind_tiny")
model.similarity([audio("dog.wav")], [text("a dog"), text("a car")])
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bindplug.errors import BindplugError
from bindplug.lazy import lazy_names
from bindplug.modality import Modality
from bindplug.query import Query, audio, depth, embedding, image, imu, interpolate, text, thermal, video
from bindplug.space import IMAGEBIND_SPACE, EmbeddingSpace

if TYPE_CHECKING:
    from bindplug.adapters import Upgraded, upgrade
    from bindplug.bridges import map_queries
    from bindplug.cards import (
        AdapterCard,
        BridgeCard,
        CommandCard,
        IndexCard,
        InputCard,
        ModelCard,
        ModelSourceCard,
        is_instance_by_name,
    )
    from bindplug.combined import combine
    from bindplug.encoder import Encoder
    from bindplug.fast import compile, pack, quantize
    from bindplug.hookspecs import hookimpl
    from bindplug.models import find_model, list_models, load
    from bindplug.plugins import list_plugins, read
    from bindplug.thresholds import Cutoffs, cutoffs
    from bindplug.zeroshot import classify, rank

__version__ = "0.1.0"

__all__ = [
    "IMAGEBIND_SPACE",
    "AdapterCard",
    "BindplugError",
    "BridgeCard",
    "CommandCard",
    "Cutoffs",
    "EmbeddingSpace",
    "Encoder",
    "IndexCard",
    "InputCard",
    "Modality",
    "ModelCard",
    "ModelSourceCard",
    "Query",
    "Upgraded",
    "audio",
    "classify",
    "combine",
    "compile",
    "cutoffs",
    "depth",
    "embedding",
    "find_model",
    "hookimpl",
    "image",
    "imu",
    "interpolate",
    "is_instance_by_name",
    "list_models",
    "list_plugins",
    "load",
    "map_queries",
    "pack",
    "quantize",
    "rank",
    "read",
    "text",
    "thermal",
    "upgrade",
    "video",
]

_MODULES = {
    "AdapterCard": "cards",
    "BridgeCard": "cards",
    "CommandCard": "cards",
    "Cutoffs": "thresholds",
    "Encoder": "encoder",
    "IndexCard": "cards",
    "InputCard": "cards",
    "ModelCard": "cards",
    "ModelSourceCard": "cards",
    "Upgraded": "adapters",
    "classify": "zeroshot",
    "combine": "combined",
    "compile": "fast",
    "cutoffs": "thresholds",
    "find_model": "models",
    "hookimpl": "hookspecs",
    "is_instance_by_name": "cards",
    "list_models": "models",
    "list_plugins": "plugins",
    "load": "models",
    "map_queries": "bridges",
    "pack": "fast",
    "quantize": "fast",
    "rank": "zeroshot",
    "read": "plugins",
    "upgrade": "adapters",
}
"""Names whose modules import torch or look for plugins, and are imported when first used."""

__getattr__, __dir__ = lazy_names(__name__, _MODULES, __all__)
