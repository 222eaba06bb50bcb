"""One run: a small tower bound to frozen rows, and its zero-shot accuracy on class names it never saw in training."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from bindplug.imagebind import ImageBind, ImageBindConfig, TowerConfig
from bindplug.training import BindingRecipe, bind
from bindplug_lab.ablations.pairs import (
    DEPTH_SIDE,
    evaluation_inputs,
    frozen_encoder,
    open_worlds,
    training_pairs,
)
from bindplug_lab.ablations.settings import RunSettings

INITIAL_TEMPERATURE = 0.07
"""The temperature that a learned one starts from. Source: CLIP (arXiv 2103.00020), section 2.5."""
BATCH = 250
_KERNELS = {"depth": (8, 8), "audio": (16, 17)}


PREPARATIONS: Mapping[str, Callable[[RunSettings, Path], object]] = MappingProxyType(
    {"encoder": frozen_encoder, "worlds": open_worlds, "views": training_pairs}
)
"""What a run needs, in order; each is made once and kept in the cache."""


def run(settings: RunSettings, cache: Path) -> dict[str, Any]:
    """Train and evaluate one tower.

    Args:
        settings: what to do.
        cache: directory of rendered worlds and embedded views, which grows as needed.

    Returns:
        ``accuracy`` and ``accuracy_top5`` (0 to 1), ``class_accuracy`` (one a thing), ``final_loss``, ``scale``,
        ``steps``, ``seconds`` (of training alone) and ``evaluation_seconds``, as plain values.
    """
    encoder = frozen_encoder(settings, cache)
    pairs = training_pairs(settings, cache)
    model = build_model(settings, encoder.classifier.shape[1])
    with sdpa_kernel(SDPBackend.MATH):  # faster than the fused kernel on short sequences on CPUs
        result = bind(model, settings.sense, pairs, binding_recipe(settings), quiet=True)
    inputs, labels = evaluation_inputs(settings, cache)
    start_s = time.perf_counter()
    # (N, K): the classes in the order of their nearness to each input
    order = cosines(model, settings.sense, inputs, encoder.classifier).argsort(dim=1, descending=True)
    is_right = order[:, 0] == labels  # (N,)
    things = encoder.classifier.shape[0]
    return {
        "accuracy": float(is_right.float().mean()),
        "accuracy_top5": float((order[:, :5] == labels[:, None]).any(dim=1).float().mean()),
        "class_accuracy": [float(is_right[labels == thing].float().mean()) for thing in range(things)],
        "final_loss": result.losses[-1],
        "scale": result.scale,
        "steps": result.steps,
        "seconds": round(result.seconds, 2),
        "evaluation_seconds": round(time.perf_counter() - start_s, 2),
    }


def binding_recipe(settings: RunSettings) -> BindingRecipe:
    """The recipe of a run, whose epochs count views instead of scenes."""
    is_learned = settings.temperature == "learned"
    return BindingRecipe(
        epochs=settings.epochs / settings.views,
        batch_size=settings.batch_size,
        learning_rate=settings.learning_rate,
        weight_decay=settings.weight_decay,
        temperature=INITIAL_TEMPERATURE if is_learned else float(settings.temperature),
        learn_temperature=is_learned,
        warmup_epochs=settings.warmup_epochs / settings.views,
        drop_path=settings.drop_path,
        head=settings.head,
        frequency_mask=settings.frequency_mask,
        random_erase=settings.random_erase,
        seed=settings.seed,
    )


def build_model(settings: RunSettings, embed_dim: int) -> ImageBind:
    """A network with the tower to be trained alone, freshly initialized from the run's seed."""
    tower = TowerConfig(
        settings.width, settings.blocks, settings.width // 32,
        kernel=_KERNELS[settings.sense], drop_path=settings.drop_path, head=settings.head,
    )  # fmt: skip
    config = ImageBindConfig(
        vision=_unused(2, 16, 16),
        text=_unused(),
        audio=tower if settings.sense == "audio" else _unused(16, 17),
        depth=tower if settings.sense == "depth" else _unused(16, 16),
        thermal=_unused(16, 16),
        imu=_unused(20),
        embed_dim=embed_dim,
        image_size=DEPTH_SIDE,
        mel_bins=64,
        audio_frames=102,
    )
    torch.manual_seed(settings.seed)
    return ImageBind(config, (settings.sense,))


def _unused(*kernel: int) -> TowerConfig:
    """The shape of a tower that is not built."""
    return TowerConfig(32, 1, 1, kernel=kernel)


@torch.inference_mode()
def cosines(model: ImageBind, sense: str, inputs: Tensor, classifier: Tensor) -> Tensor:
    """(N, K) of each input (N, 1, H, W) and the rows (K, D) of each class name."""
    rows = torch.cat([model.encode(sense, batch, True) for batch in inputs.split(BATCH)])
    # (N, D) @ (D, K) -> (N, K)
    return rows @ classifier.T
