"""Recipes of adapters, and rows of a small model that has them."""

from __future__ import annotations

import torch
from torch import nn

from bindplug.imagebind import ImageBind
from bindplug.training import LoraRecipe

SHAPES = {
    "image": (2, 3, 224, 224),
    "text": (2, 77),
    "audio": (2, 1, 128, 204),
    "depth": (2, 1, 224, 224),
    "thermal": (2, 1, 224, 224),
    "imu": (2, 6, 2000),
}
KINDS = {
    "lora": LoraRecipe(rank=3),
    "dora": LoraRecipe(rank=2, alpha=8, dora=True),
    "head": LoraRecipe(rank=2, targets=("q_proj", "head")),
    "all": LoraRecipe(rank=2, targets=("all-linear",)),
}


def inputs(modality: str) -> torch.Tensor:
    generator = torch.Generator().manual_seed(4)
    if modality == "text":
        return torch.randint(1, 49000, SHAPES["text"], generator=generator)
    return torch.randn(SHAPES[modality], generator=generator)


def rows(model: ImageBind, modality: str) -> torch.Tensor:
    with torch.no_grad():
        return model.encode(modality, inputs(modality))


def train(model: nn.Module, seed: int = 5) -> None:
    """Give the adapters numbers as training would: none of them zero."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if ".lora_magnitude_vector" in name:
                parameter.mul_(1.2)
            elif ".lora_" in name:
                parameter.copy_(0.2 * torch.randn(parameter.shape, generator=generator))
