"""Networks with weights made from their names, as the golden numbers were."""

from __future__ import annotations

import json
import math
import zlib
from pathlib import Path

import numpy as np
import torch

GOLDEN = Path(__file__).parents[1] / "golden" / "imagebind"
LOG_SCALES = {"text": 1 / 0.07, "audio": 20.0, "depth": 5.0, "thermal": 10.0, "imu": 5.0}
INPUT_SHAPES = {
    "vision": (2, 3, 224, 224),
    "audio": (2, 3, 1, 128, 204),
    "audio_single_clip": (2, 1, 128, 204),
    "depth": (2, 1, 224, 224),
    "thermal": (2, 1, 224, 224),
    "imu": (2, 6, 2000),
    "video": (1, 2, 3, 2, 224, 224),
}


def noise(name: str, shape: tuple[int, ...]) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(zlib.crc32(name.encode())))


def weight_by_name(name: str, shape: tuple[int, ...]) -> torch.Tensor:
    """Synthetic weights that anyone can rebuild, for every name of the official checkpoint."""
    last = name.rsplit(".", 1)[-1]
    if last == "mask":
        return torch.full(shape, float("-inf")).triu(1)
    if last == "log_logit_scale":
        return torch.tensor(math.log(LOG_SCALES[name.split(".")[1]]))
    n = noise(name, shape)
    if last in ("pos_embed", "cls_token", "bias_k", "bias_v") or name.endswith("token_embedding.weight"):
        return 0.1 * n
    if len(shape) >= 2:
        return n / math.sqrt(math.prod(shape[1:]))
    return 1 + 0.1 * n if last == "weight" else 0.02 * n


def state_by_name(keys_file: str, towers: set[str] | None = None) -> dict[str, torch.Tensor]:
    keys = json.loads((GOLDEN / keys_file).read_text())
    return {
        name: weight_by_name(name, tuple(shape))
        for name, (shape, _) in keys.items()
        if towers is None or name.split(".")[1] in towers
    }


def golden_input(name: str, golden: dict[str, np.ndarray]) -> torch.Tensor:
    return (
        torch.from_numpy(golden["text_tokens"])
        if name == "text"
        else noise(f"input.{name}", INPUT_SHAPES[name])
    )


def load_golden(name: str) -> dict[str, np.ndarray]:
    with np.load(GOLDEN / name) as archive:
        return dict(archive)
