"""A network small enough to be built and run in any test, with every tower."""

from __future__ import annotations

from bindplug.imagebind import ImageBindConfig
from bindplug.imagebind.config import TowerConfig

SMALL = ImageBindConfig(
    vision=TowerConfig(32, 1, 2, kernel=(2, 56, 56)),
    text=TowerConfig(32, 1, 2),
    audio=TowerConfig(32, 1, 2, kernel=(16, 16), stride=(16, 16)),
    depth=TowerConfig(32, 1, 2, kernel=(56, 56)),
    thermal=TowerConfig(32, 1, 2, kernel=(56, 56)),
    imu=TowerConfig(32, 1, 2, kernel=(100,)),
    embed_dim=16,
)
