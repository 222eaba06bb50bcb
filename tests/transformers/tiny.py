"""The shape of the small ImageBind, and what tests read from it."""

from __future__ import annotations

import torch
import transformers

from bindplug.imagebind import ImageBindConfig as NetworkConfig
from bindplug.imagebind import TowerConfig

TRANSFORMERS_4 = transformers.__version__.startswith("4.")
DTYPE = "torch_dtype" if TRANSFORMERS_4 else "dtype"
SIDE = 56
MODEL_INPUTS = {
    "text": "input_ids",
    "image": "pixel_values",
    "video": "pixel_values_videos",
    "audio": "input_features",
    "depth": "depth_values",
    "thermal": "thermal_values",
    "imu": "imu_values",
}


def small_network() -> NetworkConfig:
    return NetworkConfig(
        vision=TowerConfig(32, 3, 4, kernel=(2, 28, 28)),
        text=TowerConfig(32, 2, 4),
        audio=TowerConfig(24, 2, 4, kernel=(32, 51)),
        depth=TowerConfig(24, 2, 4, kernel=(28, 28)),
        thermal=TowerConfig(24, 2, 4, kernel=(28, 28)),
        imu=TowerConfig(24, 2, 4, kernel=(200,)),
        embed_dim=16,
        image_size=SIDE,
    )


def rows_of(features) -> torch.Tensor:
    """What get_..._features gave, as a tensor under transformers 4 and 5."""
    return features if isinstance(features, torch.Tensor) else features.pooler_output
