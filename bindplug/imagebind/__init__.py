"""ImageBind's network: config, layers, towers, model, and reading and writing its weights."""

from __future__ import annotations

from bindplug.imagebind.config import ImageBindConfig, TowerConfig
from bindplug.imagebind.model import ImageBind

__all__ = ["ImageBind", "ImageBindConfig", "TowerConfig"]
