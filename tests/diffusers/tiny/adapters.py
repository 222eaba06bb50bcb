"""IP-Adapters of random weights, in the layout of the published files."""

from __future__ import annotations

from typing import Any

import torch
from diffusers import (
    UNet2DConditionModel,
)

from tests.diffusers.tiny.parts import WIDTH


def with_adapters(pipe: Any, adapters: tuple[str, ...], width: int = WIDTH) -> Any:
    """The pipeline with IP-Adapters of these kinds, as ``load_ip_adapter`` puts them in."""
    if adapters:
        states = [adapter_state(pipe.unet, kind, width, seed) for seed, kind in enumerate(adapters)]
        pipe.unet._load_ip_adapter_weights(states)
    return pipe


def adapter_state(
    network: UNet2DConditionModel, kind: str, width: int, seed: int = 0
) -> dict[str, dict[str, Any]]:
    """Weights of an IP-Adapter in the layout of the published files."""
    generator = torch.Generator().manual_seed(seed)
    cross = network.config.cross_attention_dim

    def random(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator) * 0.3

    attention, number = {}, 1
    for name, _ in network.attn_processors.items():
        if name.endswith("attn2.processor"):
            place = network.get_submodule(name.removesuffix(".processor"))
            attention[f"{number}.to_k_ip.weight"] = random(place.to_k.out_features, cross)
            attention[f"{number}.to_v_ip.weight"] = random(place.to_v.out_features, cross)
            number += 2
    return {"image_proj": _projection(kind, width, cross, random), "ip_adapter": attention}


def _projection(kind: str, width: int, cross: int, random: Any) -> dict[str, torch.Tensor]:
    norm = {"norm.weight": torch.ones(cross), "norm.bias": torch.zeros(cross)}
    if kind == "pooled":
        return {"proj.weight": random(4 * cross, width), "proj.bias": random(4 * cross), **norm}
    if kind == "full":
        return {
            "proj.0.weight": random(width, width),
            "proj.0.bias": random(width),
            "proj.2.weight": random(cross, width),
            "proj.2.bias": random(cross),
            "proj.3.weight": torch.ones(cross),
            "proj.3.bias": torch.zeros(cross),
        }
    if kind == "plus":
        plain = {
            "latents": random(1, 4, 64),
            "proj_in.weight": random(64, width),
            "proj_in.bias": random(64),
            "proj_out.weight": random(cross, 64),
            "proj_out.bias": random(cross),
            "norm_out.weight": torch.ones(cross),
            "norm_out.bias": torch.zeros(cross),
        }
        layer = {
            "0.norm1.weight": torch.ones(64),
            "0.norm1.bias": torch.zeros(64),
            "0.norm2.weight": torch.ones(64),
            "0.norm2.bias": torch.zeros(64),
            "0.to_q.weight": random(64, 64),
            "0.to_kv.weight": random(128, 64),
            "0.to_out.weight": random(64, 64),
            "1.0.weight": torch.ones(64),
            "1.0.bias": torch.zeros(64),
            "1.1.weight": random(256, 64),
            "1.3.weight": random(64, 256),
        }
        return plain | {f"layers.{i}.{name}": tensor for i in range(4) for name, tensor in layer.items()}
    raise AssertionError(kind)
