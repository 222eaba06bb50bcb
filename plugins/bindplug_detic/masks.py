"""Class-agnostic masks of boxes."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from bindplug_detic.config import DeticConfig


class MaskHead(nn.Module):
    """Convolutions over a pooled region, then one logit a cell at twice its resolution.

    Args:
        config: of the detector.
    """

    def __init__(self, config: DeticConfig) -> None:
        super().__init__()
        channels, width = config.fpn_channels, config.mask_channels
        self.names = tuple(f"mask_fcn{index + 1}" for index in range(config.mask_convs))
        for name in self.names:
            self.add_module(name, nn.Conv2d(channels, width, 3, 1, 1))
            channels = width
        self.deconv = nn.ConvTranspose2d(channels, width, 2, 2)
        self.predictor = nn.Conv2d(width, 1, 1)

    def forward(self, pooled: Tensor) -> Tensor:
        """(N, fpn_channels, resolution, resolution) -> logits (N, 2 resolution, 2 resolution)."""
        for name in self.names:
            pooled = F.relu(self.get_submodule(name)(pooled))
        return self.predictor(F.relu(self.deconv(pooled)))[:, 0]
