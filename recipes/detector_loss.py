"""What a detector in training is told: losses of proposals, cascade and masks, for whole batches at once.

Shape letters: B scenes, G rows of truth a scene, N cells of all levels, R regions a scene, C classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.ops import generalized_box_iou_loss

from bindplug_detic.boxes import encode_boxes
from bindplug_detic.network import DeticNetwork
from bindplug_detic.proposals import ProposalMaps, Proposals, boxes_from_distances, cell_centers
from bindplug_detic.pyramid import STRIDES
from bindplug_detic.roi_heads import StageOutput
from recipes.detector_data import Truth
from recipes.detector_pooling import pool_by_products

LEVEL_RANGES = ((0.0, 80.0), (64.0, 160.0), (128.0, 320.0), (256.0, 640.0), (512.0, 1e6))
"""Longer edges, in pixels, of the boxes that each level is to propose. Source: arXiv 2103.07461, section 5."""
SPREAD = 0.54 / 6
"""Standard deviation of a box's bump on the heatmap, in its edges. Source: TTFNet, arXiv 1909.00700, section 3.2."""
REGRESSED = 0.3
"""Height of the bump from which a cell learns distances."""
JITTERED = 6
"""Shaken copies of each true box among the candidates: an untrained head proposes nothing that overlaps one."""
JITTER = 0.15
"""Standard deviation of the shaking, in edges of the box."""


class ProposalTargets(NamedTuple):
    """What the proposal head should say at each cell of the levels, one after the other.

    Args:
        heat: (B, N) in [0, 1], 1 at the cells nearest to a thing's center.
        boxes: (B, N, 4) of the thing whose bump is highest there.
        levels: cells of each level.
    """

    heat: Tensor
    boxes: Tensor
    levels: list[int]


class Regions(NamedTuple):
    """Boxes for the cascade to learn from.

    Args:
        boxes: (B, R, 4).
        used: (B, R) bool; the others only fill up.
    """

    boxes: Tensor
    used: Tensor


class Matches(NamedTuple):
    """The truth of regions.

    Args:
        rows: (B, R) int64, the row of truth that overlaps the region most.
        is_thing: (B, R) bool, whether it overlaps enough.
    """

    rows: Tensor
    is_thing: Tensor


def proposal_targets(truth: Truth, maps: Sequence[ProposalMaps]) -> ProposalTargets:
    """Elliptic bumps around the centers of things, each on the levels that suit its size."""
    boxes = truth.boxes
    center, size = (boxes[..., :2] + boxes[..., 2:]) / 2, boxes[..., 2:] - boxes[..., :2]
    longer = size.amax(-1)
    heats, chosen, levels = [], [], []
    for (heatmap, _), stride, (low, high) in zip(maps, STRIDES, LEVEL_RANGES, strict=True):
        height, width = heatmap.shape[-2:]
        fits = truth.present & (longer >= low) & (longer < high)
        cells = cell_centers(height, width, stride, boxes.device).view(-1, 2)
        away = (cells[:, None] - center[:, None]) / (SPREAD * size[:, None]).clamp(min=1e-6)
        bump = torch.exp(-0.5 * away.square().sum(-1)) * fits[:, None]  # (B, cells, G)
        # a small thing may lie between cells: its nearest one is its peak all the same
        nearest = (cells[:, None] - center[:, None]).square().sum(-1).argmin(1, keepdim=True)
        bump = torch.where(torch.zeros_like(bump).scatter_(1, nearest, 1.0).bool() & fits[:, None], 1.0, bump)
        heat, row = bump.max(-1)
        heats.append(heat)
        chosen.append(boxes.gather(1, row[..., None].expand(-1, -1, 4)))
        levels.append(height * width)
    return ProposalTargets(torch.cat(heats, 1), torch.cat(chosen, 1), levels)


def heatmap_loss(logits: Tensor, heat: Tensor) -> Tensor:
    """Focal loss that forgives cells beside a peak, a sum over cells divided by the number of peaks.

    Args:
        logits: (B, N).
        heat: (B, N) in [0, 1].

    Source: CenterNet, arXiv 1904.07850, equation 1, with its exponents 2 and 4.
    """
    logits = logits.float()
    probability = logits.sigmoid()
    peak = heat == 1
    missed_loss = (1 - probability).square() * F.logsigmoid(logits)
    false_alarm = (1 - heat).pow(4) * probability.square() * F.logsigmoid(-logits)
    return -torch.where(peak, missed_loss, false_alarm).sum() / peak.sum().clamp(min=1)


def proposal_losses(maps: Sequence[ProposalMaps], truth: Truth) -> dict[str, Tensor]:
    """Losses ``heatmap`` and ``proposal_boxes`` (1 - GIoU, weighted by the bump) of the proposal head."""
    targets = proposal_targets(truth, maps)
    logits = torch.cat([level.heatmap.flatten(1) for level in maps], 1)
    boxes = torch.cat(
        [
            boxes_from_distances(level.distances, stride).flatten(1, 2)
            for level, stride in zip(maps, STRIDES, strict=True)
        ],
        1,
    )
    near = targets.heat >= REGRESSED
    weight = targets.heat[near]
    apart = generalized_box_iou_loss(boxes[near], targets.boxes[near])
    return {
        "heatmap": heatmap_loss(logits, targets.heat),
        "proposal_boxes": (weight * apart).sum() / weight.sum().clamp(min=1),
    }


def overlaps(boxes: Tensor, others: Tensor) -> Tensor:
    """IoU of (B, R, 4) with (B, G, 4) boxes: (B, R, G), 0 where a box is empty."""
    low = torch.maximum(boxes[:, :, None, :2], others[:, None, :, :2])
    high = torch.minimum(boxes[:, :, None, 2:], others[:, None, :, 2:])
    intersection = (high - low).clamp(min=0).prod(-1)
    area, other = ((b[..., 2:] - b[..., :2]).clamp(min=0).prod(-1) for b in (boxes, others))
    return intersection / (area[:, :, None] + other[:, None] - intersection).clamp(min=1e-6)


def match(boxes: Tensor, truth: Truth, iou: float) -> Matches:
    """Each region's best overlapping thing, and whether they overlap by at least ``iou``."""
    best, rows = (overlaps(boxes, truth.boxes) * truth.present[:, None]).max(-1)
    return Matches(rows, best >= iou)


def sample_regions(
    proposals: Sequence[Proposals],
    truth: Truth,
    size: tuple[int, int],
    *,
    regions: int,
    things: float,
    iou: float,
    generator: torch.Generator,
) -> Regions:
    """A fixed number of proposals, true boxes and shaken true boxes a scene.

    Args:
        proposals: of each scene.
        truth: of the scenes.
        size: (height, width) of the pictures.
        regions: R.
        things: the largest share of them that overlaps a thing.
        iou: from which on a region counts as that thing.
        generator: of the draws.
    """
    most = max(len(scene.boxes) for scene in proposals)
    proposed = torch.stack([F.pad(scene.boxes, (0, 0, 0, most - len(scene.boxes))) for scene in proposals])
    there = torch.arange(most)[None] < torch.tensor([len(scene.boxes) for scene in proposals])[:, None]
    copies = truth.boxes.repeat(1, JITTERED, 1)
    edges = (copies[..., 2:] - copies[..., :2]).repeat(1, 1, 2)
    shaken = copies + torch.randn(copies.shape, generator=generator) * JITTER * edges
    height, width = size
    candidates = torch.cat((proposed, truth.boxes, shaken), 1)
    limit = candidates.new_tensor((width, height, width, height))
    candidates = torch.minimum(candidates.clamp(min=0), limit)
    whole = (candidates[..., 2:] - candidates[..., :2] > 1).all(-1)
    usable = torch.cat((there, truth.present, truth.present.repeat(1, JITTERED)), 1) & whole
    is_thing = match(candidates, truth, iou).is_thing & usable
    draw = torch.rand(usable.shape, generator=generator)
    # the things drawn first may come, then the background, then things beyond their share
    rank = torch.where(is_thing, draw, 2.0).argsort(1).argsort(1)
    favoured = is_thing & (rank < things * regions)
    order = draw + 2.0 * favoured + 1.0 * (usable & ~is_thing) - 4.0 * ~usable
    best = order.topk(min(regions, order.shape[1]), dim=1).indices
    boxes = candidates.gather(1, best[..., None].expand(-1, -1, 4))
    return Regions(boxes, usable.gather(1, best))


def class_loss(logits: Tensor, classes: Tensor, used: Tensor) -> Tensor:
    """Binary cross-entropy summed over classes, mean over the regions in use.

    Args:
        logits: (B * R, C).
        classes: (B * R,), C for background.
        used: (B * R,) bool.
    """
    count = logits.shape[1]
    target = F.one_hot(classes, count + 1)[:, :count].to(logits)
    losses = F.binary_cross_entropy_with_logits(logits, target, reduction="none").sum(1)
    return (losses * used).sum() / used.sum().clamp(min=1)


def cascade_losses(
    network: DeticNetwork,
    features: Mapping[str, Tensor],
    regions: Regions,
    truth: Truth,
    classifier: Tensor,
    size: tuple[int, int],
) -> tuple[dict[str, Tensor], Regions]:
    """Losses ``classes k`` and ``boxes k`` of each stage k, and the regions as the last stage got them."""
    losses: dict[str, Tensor] = {}
    config = network.config
    sizes = [size] * len(regions.boxes)
    for stage, (weights, iou) in enumerate(zip(config.cascade_weights, config.cascade_ious, strict=True)):
        matches = match(regions.boxes, truth, iou)
        output = _box_stage(network, stage, features, regions.boxes)
        is_matched = matches.is_thing & regions.used
        classes = torch.where(is_matched, truth.classes.gather(1, matches.rows), len(classifier))
        with torch.autocast(
            regions.boxes.device.type, enabled=False
        ):  # a logit of 50 has no room in bfloat16
            logits = network.classify(output.embeddings, classifier)
        losses[f"classes {stage + 1}"] = class_loss(logits, classes.flatten(), regions.used.flatten())
        regression_targets = truth.boxes.gather(1, matches.rows[..., None].expand(-1, -1, 4))
        deltas = encode_boxes(regression_targets[is_matched], regions.boxes[is_matched], weights)
        error = (output.deltas.float()[is_matched.flatten()] - deltas).abs().sum()
        losses[f"boxes {stage + 1}"] = error / regions.used.sum().clamp(min=1)
        if stage + 1 < len(config.cascade_ious):
            refined = torch.stack(network.refine(stage, _detached(output), list(regions.boxes), sizes))
            whole = (refined[..., 2:] - refined[..., :2] > 1).all(-1)
            # an untrained stage may fold a box up: it stays as it was, and is not learned from
            boxes = torch.where(whole[..., None], refined, regions.boxes)
            regions = Regions(boxes, regions.used & whole)
    return losses, regions


def _box_stage(
    network: DeticNetwork, stage: int, features: Mapping[str, Tensor], boxes: Tensor
) -> StageOutput:
    config, heads = network.config, network.roi_heads
    pooled = pool_by_products(features, boxes, config.box_resolution, config.canonical_box_size)
    return heads.box_predictor[stage](heads.box_head[stage](pooled))


def _detached(output: StageOutput) -> StageOutput:
    return StageOutput(*(part.detach() for part in output))


def mask_loss(
    network: DeticNetwork,
    features: Mapping[str, Tensor],
    regions: Regions,
    truth: Truth,
    *,
    most: int,
    generator: torch.Generator,
) -> Tensor:
    """Binary cross-entropy of the masks of at most ``most`` regions a scene that overlap things."""
    matches = match(regions.boxes, truth, 0.5)
    eligible = matches.is_thing & regions.used
    draw = torch.where(eligible, torch.rand(eligible.shape, generator=generator), -1.0)
    best = draw.topk(min(most, draw.shape[1]), dim=1).indices
    matches_of_best = eligible.gather(1, best).flatten()
    boxes = regions.boxes.gather(1, best[..., None].expand(-1, -1, 4))
    config = network.config
    pooled = pool_by_products(features, boxes, config.mask_resolution, config.canonical_box_size)
    logits = network.roi_heads.mask_head(pooled).float()
    target = visible_in(truth.owners, boxes, matches.rows.gather(1, best) + 1, logits.shape[-1])
    losses = F.binary_cross_entropy_with_logits(logits, target.float(), reduction="none").mean((1, 2))
    return (losses * matches_of_best).sum() / matches_of_best.sum().clamp(min=1)


def visible_in(owners: Tensor, boxes: Tensor, owner: Tensor, resolution: int) -> Tensor:
    """Where a thing is seen within a box, on a grid of its cells' centers.

    Args:
        owners: (B, H, W) as in :class:`Truth`.
        boxes: (B, M, 4) xyxy in pixels.
        owner: (B, M), the value of each box's thing in ``owners``.
        resolution: cells along an edge.

    Returns:
        (B * M, resolution, resolution) bool.
    """
    share = (torch.arange(resolution, device=boxes.device) + 0.5) / resolution
    x, y = (
        (boxes[..., axis, None] + (boxes[..., axis + 2] - boxes[..., axis])[..., None] * share)
        .long()
        .clamp(0, owners.shape[2 - axis] - 1)
        for axis in (0, 1)
    )
    scene = torch.arange(len(owners), device=boxes.device)[:, None, None, None]
    visible = owners[scene, y[..., :, None], x[..., None, :]] == owner[..., None, None]
    return visible.flatten(0, 1)
