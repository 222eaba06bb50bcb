"""A description beside an official checkpoint, for networks whose shapes do not tell all of it.

``weights.pth`` is described by ``weights.config.json``: the network's config, which holds the numbers of heads, and
the space its embeddings live in. The published checkpoint needs none.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from bindplug.directories import damage_named, read_json
from bindplug.imagebind.config import ImageBindConfig
from bindplug.space import EmbeddingSpace

if TYPE_CHECKING:
    from bindplug.imagebind.model import ImageBind


def sidecar_of(path: Path) -> Path:
    """Where the description of a checkpoint file stands: ``weights.pth`` -> ``weights.config.json``."""
    return path.with_suffix(".config.json")


def is_published(config: ImageBindConfig) -> bool:
    """Whether a network is the published one, which shapes alone identify."""
    return config == ImageBindConfig.huge()


def write_sidecar(model: ImageBind, path: Path) -> Path:
    """Describe a model's network and space beside its checkpoint; returns the description's path."""
    description = {"config": model.config.to_dict(), "embedding_space": asdict(model.embedding_space)}
    sidecar = sidecar_of(path)
    sidecar.write_text(json.dumps(description, indent=2) + "\n", encoding="utf-8")
    return sidecar


def read_sidecar(path: Path) -> tuple[ImageBindConfig, EmbeddingSpace] | None:
    """The config and space described beside a checkpoint file; None where there is no description.

    Raises:
        CheckpointError: the description is damaged.
    """
    sidecar = sidecar_of(path)
    if not sidecar.is_file():
        return None
    with damage_named(sidecar):
        description = read_json(sidecar)
        space = EmbeddingSpace.from_dict(description["embedding_space"])
        return ImageBindConfig.from_dict(description["config"]), space
