"""Comparison of a network with golden arrays, step by step and as a whole."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bindplug_detic.masks import paste_masks
from bindplug_detic.network import DeticNetwork
from bindplug_detic.postprocess import RawDetections, keep_best_class
from bindplug_detic.proposals import Proposals
from bindplug_detic.roi_heads import pool
from tests.detic.golden import Golden, golden_image

LEVELS = ("p3", "p4", "p5", "p6", "p7")
SWEEPS = ("native", "resized")


@dataclass
class Sweep:
    """One picture's way to its proposals.

    Args:
        image: (3, H, W).
        x: network input.
        sizes: before padding.
        maps: the backbone's.
        features: pyramid levels.
        proposals: of the picture.
    """

    image: Tensor
    x: Tensor
    sizes: list[tuple[int, int]]
    maps: tuple[Tensor, ...]
    features: dict[str, Tensor]
    proposals: list[Proposals]


@torch.inference_mode()
def sweep(network: DeticNetwork, golden: Golden, name: str) -> Sweep:
    """Run the picture as it is (``"native"``) or ``"resized"`` up to the proposals."""
    size = golden.facts["runs"]["custom_resized"]["network_image_size_hw"] if name == "resized" else None
    image = golden_image(size)
    x, sizes = network.batch([image])
    maps = network.backbone.bottom_up(x)
    features = network.features(x)
    return Sweep(image, x, sizes, maps, features, network.propose(features, sizes))


def check_features(golden: Golden, name: str, result: Sweep) -> None:
    """Input, backbone maps and pyramid levels: slices, whole levels and their statistics."""
    golden.close(f"{name}_network_input_slice", result.x[0, :, 100:108, 200:208], "fpn")
    stats = golden.facts[f"stats_{name}"]
    levels = ("swin1", "swin2", "swin3") if golden.variant == "swinb" else ("layer3", "layer4", "layer5")
    _check_stats(golden, stats["network_input"], result.x)
    for level, value in zip(levels, result.maps, strict=True):
        golden.close(f"{name}_bottom_up_{level}_slice", value[0, :8, :6, :6], "bottom_up")
        _check_stats(golden, stats[f"bottom_up.{level}"], value)
    for level in LEVELS:
        value = result.features[level]
        golden.close(f"{name}_fpn_{level}_slice", value[0, :8, :4, :4], "fpn")
        _check_stats(golden, stats[f"fpn.{level}"], value)
        if f"{name}_fpn_{level}" in golden.arrays:
            golden.close(f"{name}_fpn_{level}", value[0], "fpn")


def _check_stats(golden: Golden, stats: Mapping[str, Any], value: Tensor) -> None:
    assert list(value.shape) == stats["shape"]
    limit = golden.limit("fpn")
    result = {"mean": value.mean(), "std": value.std(), "min": value.min(), "max": value.max()}
    for name, number in result.items():
        # an estimate of the deviation over all cells or over one fewer differs by a share of 1 / cells
        slack = limit + (stats["std"] / value.numel() if name == "std" else 0)
        assert abs(float(number) - stats[name]) <= slack, name


def check_proposals(network: DeticNetwork, golden: Golden, name: str, result: Sweep) -> None:
    """The head's maps and all proposals, in order."""
    with torch.inference_mode():
        maps = network.proposal_maps(result.features)
    for level, (heatmap, distances) in zip(LEVELS, maps, strict=True):
        golden.close(f"{name}_agn_hm_logits_{level}", heatmap[0, 0], "maps")
        golden.close(f"{name}_reg_{level}", distances[0], "maps")
    golden.close(f"{name}_proposal_boxes", result.proposals[0].boxes, "proposal_boxes")
    golden.close(f"{name}_proposal_scores", result.proposals[0].scores, "proposal_scores")


@torch.inference_mode()
def check_stages(network: DeticNetwork, golden: Golden, run: str, result: Sweep) -> None:
    """Every cascade stage's input boxes, deltas and logits, and the scores of all boxes and classes."""
    if f"{run}_stage0_input_boxes" not in golden.arrays:
        return
    vectors = golden.vocabularies[run]
    selected = golden.facts["sel_proposals"] if run == "lvis_all" else slice(None)
    suffix = "_sel" if run == "lvis_all" else ""
    boxes = [result.proposals[0].boxes]
    for stage in range(3):
        quantity = "boxes" if stage else "proposal_boxes"
        golden.close(f"{run}_stage{stage}_input_boxes", boxes[0], quantity)
        output = network.box_stage(stage, result.features, boxes)
        golden.close(f"{run}_stage{stage}_deltas", output.deltas, "deltas")
        name = f"{run}_stage{stage}_class_logits{suffix}"
        assert not golden.arrays[name][:, -1].any(), "the background's logit is 0"
        golden.arrays[name] = golden.arrays[name][:, : len(vectors)]
        golden.close(name, network.classify(output.embeddings, vectors)[selected], "class_logits")
        boxes = network.refine(stage, output, boxes, None if stage == 2 else result.sizes)
    golden.close(f"{run}_stage2_output_boxes_unclipped", boxes[0], "boxes")
    output = network.cascade(result.features, result.proposals, result.sizes, vectors)[0]
    scores = (
        keep_best_class(output.scores)
        if golden.facts["runs"][run]["one_class_per_proposal"]
        else output.scores
    )
    name = f"{run}_final_scores_before_nms{suffix}"
    golden.arrays[name] = golden.arrays[name][:, : len(vectors)]
    golden.close(name, scores[selected], "scores")


@torch.inference_mode()
def check_regions(network: DeticNetwork, golden: Golden, result: Sweep) -> None:
    """Pooled regions, hidden features and embeddings of a few proposals; they depend on no vocabulary."""
    selected = golden.facts["sel_proposals"]
    boxes = [result.proposals[0].boxes]
    pooled = pool(result.features, boxes, 7, network.config.canonical_box_size)
    golden.close("lvis_all_stage0_pooled_sel", pooled[selected], "fpn")
    for stage in range(3):
        output = network.box_stage(stage, result.features, boxes)
        # values up to 90 times a logit's
        golden.close(f"lvis_all_stage{stage}_box_feature_sel", output.features[selected], "deltas")
        golden.close(f"lvis_all_stage{stage}_embedding512_sel", output.embeddings[selected], "deltas")
        boxes = network.refine(stage, output, boxes, result.sizes)


@torch.inference_mode()
def detect(network: DeticNetwork, golden: Golden, run: str, image: Tensor) -> RawDetections:
    """The run of that name, with its settings."""
    settings = golden.facts["runs"][run]
    return network(
        [image],
        golden.vocabularies[run],
        score_threshold=settings["score_thresh"],
        nms_threshold=settings["nms_thresh"],
        top_k=settings["topk"],
        one_class_per_proposal=settings["one_class_per_proposal"],
    )[0]


def check_detections(network: DeticNetwork, golden: Golden, run: str, result: Sweep) -> None:
    """Detections in the network's pixels and in the picture's, with masks; matched by class and box."""
    raw = detect(network, golden, run, result.image)
    rows = matched(golden, f"{run}_det", raw.boxes, raw.labels)
    golden.close(f"{run}_det_boxes_network_coords", raw.boxes[rows], "boxes")
    golden.close(f"{run}_det_scores", raw.scores[rows], "scores")
    assert (raw.proposal_index[rows] == golden.tensor(f"{run}_det_proposal_index")).all()
    assert (raw.scores.diff() <= 0).all()
    assert raw.mask_logits is not None
    golden.close(f"{run}_mask_logits_first10", raw.mask_logits[rows][:10], "mask_logits")
    if f"{run}_mask_pooled_first1" in golden.arrays:
        pooled = pool(result.features, [raw.boxes[rows[:1]]], 14, network.config.canonical_box_size)
        golden.close(f"{run}_mask_pooled_first1", pooled, "boxes")
    _check_output(golden, run, raw, rows, result.sizes[0])


def _check_output(golden: Golden, run: str, raw: RawDetections, rows: Tensor, size: tuple[int, int]) -> None:
    """Rescaled to the picture, without what is empty there."""
    height, width = golden.facts["runs"][run]["output_size_hw"]
    scale = torch.tensor([width / size[1], height / size[0]]).repeat(2)
    boxes = torch.minimum((raw.boxes * scale).clamp(min=0), torch.tensor([width, height, width, height]))
    rows = rows[golden.tensor(f"{run}_det_nonempty")]
    golden.close(f"{run}_out_boxes", boxes[rows], "boxes")
    golden.close(f"{run}_out_scores", raw.scores[rows], "scores")
    assert (raw.labels[rows] == golden.tensor(f"{run}_out_classes")).all()
    assert ((boxes[:, 2:] > boxes[:, :2]).all(1).sum()) == len(rows)
    assert raw.mask_logits is not None
    masks = paste_masks(raw.mask_logits[rows], boxes[rows], (height, width))
    golden.close(f"{run}_mask_area_px", masks.sum((1, 2)), "mask_area")
    bits = np.unpackbits(golden.arrays[f"{run}_mask_bits_first10"], axis=-1)[..., :width]
    differing = (masks[:10].numpy() != bits.astype(bool)).sum((1, 2))
    assert differing.max(initial=0) <= golden.limit("mask_area")


def matched(golden: Golden, prefix: str, boxes: Tensor, labels: Tensor) -> Tensor:
    """For each golden instance, the row of the nearest box of its class; each row is used once."""
    expected_ = golden.tensor(f"{prefix}_boxes_network_coords")
    classes = golden.tensor(f"{prefix}_classes")
    assert len(boxes) == len(expected_), prefix
    distance = (expected_[:, None] - boxes[None]).abs().amax(2)
    distance[classes[:, None] != labels[None]] = float("inf")
    rows = distance.argmin(1)
    assert len(rows.unique()) == len(rows), prefix
    return rows
