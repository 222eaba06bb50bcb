"""Class-agnostic proposals: a CenterNet-style head over all pyramid levels, and the selection of its best boxes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bindplug_detic.config import DeticConfig
from bindplug_detic.postprocess import suppress
from bindplug_detic.pyramid import LEVELS, PADDING_UNIT, STRIDES

HEATMAP_PRIOR = 0.01
"""Objectness of a cell before any training. Source: arXiv 1708.02002, section 4.1."""

SMALLEST_EDGE = 0.01
"""Least width and height of a proposal, in pixels."""


class ProposalMaps(NamedTuple):
    """Output of the head for one level.

    Args:
        heatmap: (B, 1, h, w) objectness logits.
        distances: (B, 4, h, w) from a cell's center to the box's left, top, right and bottom, >= 0, in
            units of the level's stride.
    """

    heatmap: Tensor
    distances: Tensor


class Proposals(NamedTuple):
    """Class-agnostic boxes of one image, best first.

    Args:
        boxes: (N, 4) float32 xyxy in pixels of the network input, not clipped to the image.
        scores: (N,) float32 in [0, 1].
    """

    boxes: Tensor
    scores: Tensor


class Scale(nn.Module):
    """One learned factor."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, x: Tensor) -> Tensor:
        """Any shape in and out."""
        return x * self.scale


class CenterNetHead(nn.Module):
    """Objectness and box distances of every cell, by one head that all levels share."""

    def __init__(self, config: DeticConfig) -> None:
        super().__init__()
        width = config.fpn_channels
        self.bbox_tower = nn.Sequential()
        for _ in range(config.tower_depth):
            self.bbox_tower.append(nn.Conv2d(width, width, 3, 1, 1))
            self.bbox_tower.append(nn.GroupNorm(math.gcd(config.norm_groups, width), width))
            self.bbox_tower.append(nn.ReLU())
        self.bbox_pred = nn.Conv2d(width, 4, 3, 1, 1)
        self.agn_hm = nn.Conv2d(width, 1, 3, 1, 1)
        nn.init.constant_(self.agn_hm.bias, math.log(HEATMAP_PRIOR / (1 - HEATMAP_PRIOR)))  # type: ignore[arg-type]
        self.scales = nn.ModuleList(Scale() for _ in LEVELS)

    def forward(self, features: Mapping[str, Tensor]) -> list[ProposalMaps]:
        """Levels p3..p7 -> their maps, in that order."""
        maps = []
        for level, scale in zip(LEVELS, self.scales, strict=True):
            x = self.bbox_tower(features[level])
            maps.append(ProposalMaps(self.agn_hm(x), F.relu(scale(self.bbox_pred(x)))))
        return maps


class ProposalGenerator(nn.Module):
    """The proposal head and the selection of its best boxes.

    Args:
        config: of the detector.
    """

    def __init__(self, config: DeticConfig) -> None:
        super().__init__()
        self.config = config
        self.centernet_head = CenterNetHead(config)

    def forward(
        self, features: Mapping[str, Tensor], sizes: Sequence[tuple[int, int]] | None = None
    ) -> list[Proposals]:
        """Levels p3..p7 -> proposals of each image; see :func:`select_proposals`."""
        return select_proposals(self.centernet_head(features), sizes, self.config)


def cell_centers(height: int, width: int, stride: int, device: torch.device | str = "cpu") -> Tensor:
    """Pixel coordinates (x, y) of a level's cells: (height, width, 2) float32."""
    y = torch.arange(height, device=device, dtype=torch.float32) * stride + stride // 2
    x = torch.arange(width, device=device, dtype=torch.float32) * stride + stride // 2
    return torch.stack((x.expand(height, width), y[:, None].expand(height, width)), -1)


def boxes_from_distances(distances: Tensor, stride: int) -> Tensor:
    """Boxes of a level's cells.

    Args:
        distances: (B, 4, h, w) as in :class:`ProposalMaps`.
        stride: of the level, in pixels.

    Returns:
        (B, h, w, 4) float32 xyxy in pixels.
    """
    reach = distances.float().permute(0, 2, 3, 1) * stride  # (B, 4, h, w) -> (B, h, w, 4)
    height, width = distances.shape[2:]
    centers = cell_centers(height, width, stride, distances.device)
    low = centers - reach[..., :2]
    high = torch.maximum(centers + reach[..., 2:], low + SMALLEST_EDGE)
    return torch.cat((low, high), -1)


def select_proposals(
    maps: Sequence[ProposalMaps], sizes: Sequence[tuple[int, int]] | None, config: DeticConfig
) -> list[Proposals]:
    """The best boxes of every image of a batch, over all levels.

    Args:
        maps: of levels p3..p7.
        sizes: (height, width) of each image in pixels, before padding: what a batch padded an image by, over
            its own next multiple of 32, proposes nothing. None if no image was padded further.
        config: gives thresholds and numbers.
    """
    levels = []
    for (heatmap, distances), stride in zip(maps, STRIDES, strict=True):
        probability = heatmap[:, 0].float().sigmoid()
        if sizes is not None:
            probability = probability * _own_cells(sizes, probability, stride)
        boxes = boxes_from_distances(distances, stride).flatten(1, 2)  # (B, h, w, 4) -> (B, h * w, 4)
        count = min(config.pre_nms_top_k, probability[0].numel())
        best, index = probability.flatten(1).topk(count)  # (B, h * w) -> (B, count)
        levels.append((best, boxes.gather(1, index[..., None].expand(-1, -1, 4))))
    probability, boxes = (torch.cat(parts, 1) for parts in zip(*levels, strict=True))
    return [_suppressed(*image, config) for image in zip(probability, boxes, strict=True)]


def _own_cells(sizes: Sequence[tuple[int, int]], like: Tensor, stride: int) -> Tensor:
    """(B, h, w) with 1 at the cells that an image would have alone, and 0 elsewhere."""
    own = torch.zeros_like(like)
    for mask, (height, width) in zip(own, sizes, strict=True):
        rows, columns = (-(-_padded(edge) // stride) for edge in (height, width))
        mask[:rows, :columns] = 1
    return own


def _padded(edge: int) -> int:
    return edge + -edge % PADDING_UNIT


def _suppressed(probability: Tensor, boxes: Tensor, config: DeticConfig) -> Proposals:
    likely = probability > config.heatmap_threshold
    boxes, scores = boxes[likely], probability[likely].sqrt()
    rows = suppress(boxes, scores, config.proposal_nms_threshold, config.post_nms_top_k, with_ties=True)
    return Proposals(boxes[rows], scores[rows])
