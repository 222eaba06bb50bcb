"""Detectors of the published structure, small enough to build in a test."""

from __future__ import annotations

import torch

from bindplug_detic.config import DeticConfig
from bindplug_detic.network import DeticNetwork

SMALL = {
    "fpn_channels": 32,
    "tower_depth": 1,
    "box_head_width": 32,
    "embedding_width": 16,
    "mask_channels": 16,
    "mask_convs": 1,
    "norm_groups": 8,
    "pre_nms_top_k": 50,
    "post_nms_top_k": 24,
    "canonical_box_size": 64.0,
}


def toy_config(backbone: str = "resnet", norm: str = "frozen_batch") -> DeticConfig:
    return DeticConfig(
        backbone=backbone,
        norm=norm,
        resnet_blocks=(1, 1, 1, 1),
        resnet_stem_width=8,
        swin_width=16,
        swin_depths=(2, 2, 2, 2),
        swin_heads=(1, 2, 4, 8),
        **SMALL,
    )


def toy_network(backbone: str = "resnet", norm: str = "frozen_batch", seed: int = 0) -> DeticNetwork:
    """A network whose random heads propose boxes of some size, rather than points."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = DeticNetwork(toy_config(backbone, norm))
        head = network.proposal_generator.centernet_head
        torch.nn.init.constant_(head.bbox_pred.bias, 2.0)
        torch.nn.init.normal_(head.agn_hm.weight, std=0.1)
        for name, buffer in network.named_buffers():
            if name.endswith("running_mean"):
                buffer.normal_(std=0.1)
            elif name.endswith("running_var"):
                buffer.uniform_(0.5, 1.5)
    return network.eval()


def toy_images(*sizes: tuple[int, int], seed: int = 0) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [
        torch.randint(0, 256, (3, height, width), generator=generator, dtype=torch.uint8)
        for height, width in sizes
    ]


def toy_classes(count: int = 4, width: int = 16, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, width, generator=torch.Generator().manual_seed(seed))
