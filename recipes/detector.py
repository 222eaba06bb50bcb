"""``python -m recipes.detector``: train the toy detector in another CLIP's space."""

from __future__ import annotations

import argparse
import logging
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import bindplug
from bindplug.encoder import Encoder
from bindplug.errors import InputError
from bindplug.progress import iterate_with_progress
from bindplug.training import parameter_groups, warmup_cosine
from bindplug_detic.network import PIXEL_MEAN, PIXEL_STD, DeticNetwork
from bindplug_detic.proposals import select_proposals
from bindplug_toyworld.things import CLASSNAMES
from recipes.detector_data import (
    DetectionScenes,
    Truth,
    augment,
    render_for_detection,
)
from recipes.detector_loss import (
    cascade_losses,
    mask_loss,
    proposal_losses,
    sample_regions,
)
from recipes.detector_size import FULL, SMOKE, DetectorSize, detector_config
from recipes.options import begin, shared_options
from recipes.stages import run_stage

logger = logging.getLogger("recipes.detector")

FIRST_SCENE = 0
"""Groups have seeds of their own, so that these scenes are nobody else's."""
FIRST_REACH = 4.0
"""Distances that an untrained head says, in strides, so that its ReLU lets gradients through everywhere."""


def build_network(width: int, seed: int) -> DeticNetwork:
    """A toy detector with random weights."""
    torch.manual_seed(seed)
    network = DeticNetwork(detector_config(width))
    nn.init.constant_(network.proposal_generator.centernet_head.bbox_pred.bias, FIRST_REACH)  # type: ignore[arg-type]
    return network


def class_vectors(encoder: Encoder) -> Tensor:
    """(20, D) unit rows of the things' names, each the mean over CLIP's templates."""
    return encoder.zero_shot_classifier(CLASSNAMES, progress=False).T.contiguous().clone()


def train_detector(
    vectors: Tensor, names: Sequence[str], size: DetectorSize, workspace: Path, *, quiet: bool | None = None
) -> tuple[DeticNetwork, dict[str, Any]]:
    """The toy detector, trained now or by an earlier run of the same recipe.

    Args:
        vectors: (C, D) class vectors, one for each thing in the order of labels.
        names: of the classes, for the record.
        size: the recipe.
        workspace: holds the rendered scenes and the finished training.
        quiet: True shows no progress, None asks the environment.

    Returns:
        The network in evaluation mode, float32 numbers that float16 holds exactly; and the figures for its card.

    Raises:
        InputError: there is not one vector for each name.
    """
    if vectors.ndim != 2 or len(vectors) != len(names):
        reason = f"a tensor of shape {tuple(vectors.shape)} for {len(names)} names"
        raise InputError("vectors", found=reason, expected="(C, D), a row for each name")
    vectors = F.normalize(vectors.detach().float(), dim=1)
    network = build_network(vectors.shape[1], size.seed)
    settings = {
        "size": asdict(size),
        "names": list(names),
        "config": network.config.to_dict(),
        "vectors": [[round(number, 5) for number in row] for row in vectors.tolist()],
    }

    def train() -> tuple[DeticNetwork, dict[str, Any]]:
        start_s = time.perf_counter()
        scenes = render_for_detection(
            workspace / "detection", start=FIRST_SCENE, count=size.scenes, side=size.side, quiet=quiet
        )
        rendering = time.perf_counter() - start_s
        logger.info("%d scenes, %.0f s", len(scenes), rendering)
        figures = fit(network, scenes, vectors, size, quiet=quiet)
        network.half().float()  # what is measured is what ships
        return network, {"rendering_seconds": round(rendering, 1)} | figures

    figures = run_stage(workspace / "toy_detector", network, settings, train)
    return network, figures


def fit(
    network: DeticNetwork,
    scenes: DetectionScenes,
    vectors: Tensor,
    size: DetectorSize,
    *,
    quiet: bool | None = None,
) -> dict[str, Any]:
    """Train ``network`` in place; returns seconds, scenes seen and the last mean of each loss."""
    generator = torch.Generator().manual_seed(size.seed)
    groups = parameter_groups(network.named_parameters(), size.weight_decay)
    optimizer = torch.optim.AdamW(groups, lr=size.learning_rate, fused=True)
    network.to(memory_format=torch.channels_last).train()
    recent: deque[dict[str, float]] = deque(maxlen=50)
    order = torch.empty(0, dtype=torch.long)
    start_s = time.perf_counter()
    for step in iterate_with_progress(range(size.steps), total=size.steps, label="toy detector", quiet=quiet):
        if len(order) < size.batch_size:
            order = torch.randperm(len(scenes), generator=generator)
        indices, order = order[: size.batch_size], order[size.batch_size :]
        factor = warmup_cosine(step, total_steps=size.steps, warmup_steps=size.warmup_steps)
        for group in optimizer.param_groups:
            group["lr"] = size.learning_rate * factor
        pixels, truth = augment(*scenes.batch(indices), generator)
        losses = losses_of(
            network, pixels, truth, nearby(vectors, size.vector_noise, generator), size, generator
        )
        optimizer.zero_grad(set_to_none=True)
        torch.stack(list(losses.values())).sum().backward()
        nn.utils.clip_grad_norm_(network.parameters(), size.clip_norm)
        optimizer.step()
        recent.append({name: float(loss.detach()) for name, loss in losses.items()})
        if (step + 1) % 50 == 0:
            rate = (step + 1) * size.batch_size / (time.perf_counter() - start_s)
            logger.info("step %d %s, images/s %.1f", step + 1, _worded(_means(recent)), rate)
    return {
        "seconds": round(time.perf_counter() - start_s, 1),
        "samples_seen": size.steps * size.batch_size,
        "losses": {name: round(value, 4) for name, value in _means(recent).items()},
    }


def losses_of(
    network: DeticNetwork,
    pixels: Tensor,
    truth: Truth,
    vectors: Tensor,
    size: DetectorSize,
    generator: torch.Generator,
) -> dict[str, Tensor]:
    """Every loss of one batch, to be added up.

    Args:
        network: in training mode.
        pixels: (B, 3, H, W) in 0..255.
        truth: of the scenes.
        vectors: (C, D) class vectors.
        size: the recipe.
        generator: of the sampling.
    """
    edges = (pixels.shape[2], pixels.shape[3])
    mean, std = (torch.tensor(rgb).view(1, 3, 1, 1) for rgb in (PIXEL_MEAN, PIXEL_STD))
    x = ((pixels - mean) / std).contiguous(memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16):
        features = network.features(x)
        maps = network.proposal_maps(features)
        losses = proposal_losses(maps, truth)
        with torch.no_grad():
            proposals = select_proposals(maps, None, network.config)
        regions = sample_regions(
            proposals,
            truth,
            edges,
            regions=size.regions,
            things=size.things,
            iou=network.config.cascade_ious[0],
            generator=generator,
        )
        cascade, regions = cascade_losses(network, features, regions, truth, vectors, edges)
        masks = mask_loss(network, features, regions, truth, most=size.masks, generator=generator)
    return losses | cascade | {"masks": masks}


def nearby(vectors: Tensor, length: float, generator: torch.Generator) -> Tensor:
    """Unit rows (C, D), each moved by a random vector of about ``length``."""
    noise = torch.randn(vectors.shape, generator=generator) * length / vectors.shape[1] ** 0.5
    return F.normalize(vectors + noise, dim=1)


def _means(recent: Sequence[dict[str, float]] | deque[dict[str, float]]) -> dict[str, float]:
    return {name: sum(losses[name] for losses in recent) / len(recent) for name in recent[0]}


def _worded(losses: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.3f}" for name, value in losses.items())


def main(arguments: list[str] | None = None) -> None:
    """Train, evaluate and write down; a rerun takes up what an earlier one left in the workspace."""
    from recipes.detector_ship import evaluate_plainly, ship_detector

    options = _parser().parse_args(arguments)
    size = SMOKE if options.smoke else FULL
    run = begin(options, "detector_training.log")
    encoder = bindplug.load(options.encoder, modalities=["text"])
    vectors, space = class_vectors(encoder), encoder.embedding_space
    network, figures = train_detector(vectors, CLASSNAMES, size, run.workspace, quiet=run.quiet)
    measure = evaluate_plainly(network, vectors, space, size.evaluation_scenes, size.side, quiet=run.quiet)
    logger.info("own words: AP50 %.4f on %d boxes", measure.ap50, measure.boxes)
    directory = options.output or run.workspace / "toy_detic"
    ship_detector(network, vectors, space, figures, [measure], size, directory, log=run.log)


def _parser() -> argparse.ArgumentParser:
    shared = shared_options(holds="rendered scenes and training (5 GB)", output="the detector goes")
    parser = argparse.ArgumentParser(prog="python -m recipes.detector", description=__doc__, parents=[shared])
    parser.add_argument(
        "--encoder",
        default="toy_foreign_clip",
        help="the CLIP whose text space it classifies in: registered name or directory",
    )
    return parser


if __name__ == "__main__":
    main()
