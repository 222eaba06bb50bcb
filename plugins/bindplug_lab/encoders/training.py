"""Train an image encoder once, and find it again."""

from __future__ import annotations

import hashlib
import json
import logging
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from bindplug.directories import staged
from bindplug.errors import CheckpointError, InputError
from bindplug.progress import iterate_with_progress
from bindplug.training import parameter_groups, warmup_cosine
from bindplug_lab.encoders.network import SIZES, ImageEncoder
from bindplug_lab.encoders.objectives import objective_of
from bindplug_lab.encoders.pictures import Pictures, training_pictures
from bindplug_toyworld import NAMES

logger = logging.getLogger(__name__)

METHODS = ("clip", "supervised", "dino", "random")
"""How an encoder learns: from captions, from labels, from the pictures alone, or not at all."""


@dataclass(frozen=True)
class EncoderRecipe:
    """How long and how fast an encoder learns.

    Attributes:
        scenes: pictures of the toy world that it sees.
        steps: optimizer steps.
        batch_size: pictures in a step.
        learning_rate: peak of a cosine schedule that ends at zero.
        warmup_steps: steps of linear warm-up.
        weight_decay: AdamW's, on matrices only.
        clip_grad_norm: largest gradient norm let through.
    """

    scenes: int = 10_000
    steps: int = 1500
    batch_size: int = 128
    learning_rate: float = 1e-3
    warmup_steps: int = 80
    weight_decay: float = 0.05
    clip_grad_norm: float = 1.0


RECIPES = MappingProxyType(
    {
        "clip": EncoderRecipe(),
        "supervised": EncoderRecipe(steps=1000),
        "dino": EncoderRecipe(steps=1000, batch_size=96),
    }
)
"""The recipe of each method, the same for every size. ``"random"`` has none."""


def train_image_encoder(
    method: str,
    size: str = "base",
    directory: str | Path = "encoders",
    seed: int = 0,
    *,
    recipe: EncoderRecipe | None = None,
    quiet: bool | None = None,
) -> ImageEncoder:
    """The image encoder of that method, size and seed, trained on the toy world or read from ``directory``.

    Args:
        method: one of :data:`METHODS`.
        size: a name in :data:`~bindplug_lab.encoders.SIZES`.
        directory: a cache that holds the rendered pictures in ``worlds``, and a directory for each encoder with its
            weights, its card and its training log.
        seed: of initial weights, order and augmentation.
        recipe: instead of the method's in :data:`RECIPES`.
        quiet: True shows no progress, None asks the environment.

    Returns:
        The encoder in evaluation mode, its parameters frozen. One whose training was cut short is trained again.

    Raises:
        InputError: there is no such method or size.
        CheckpointError: the cached weights are damaged.
    """
    if method not in METHODS:
        raise InputError("method", found=repr(method), expected=f"one of {', '.join(METHODS)}")
    if size not in SIZES:
        raise InputError("size", found=repr(size), expected=f"one of {', '.join(SIZES)}")
    if method == "random":
        return _frozen(ImageEncoder(method, size, seed))
    recipe = recipe or RECIPES[method]
    card: dict[str, Any] = {"method": method, "size": size, "seed": seed, "recipe": asdict(recipe)}
    path = Path(directory) / _name(method, size, seed, recipe)
    if _card_of(path, card) is None:
        pictures = training_pictures(Path(directory) / "worlds", recipe.scenes, quiet=quiet)
        encoder = ImageEncoder(method, size, seed)
        log = train(encoder, pictures, recipe, quiet=quiet)
        with staged(path, overwrite=True) as stage:
            save_file(encoder.state_dict(), stage / "encoder.safetensors")
            (stage / "training.json").write_text(json.dumps(log, indent=1) + "\n", encoding="utf-8")
            (stage / "card.json").write_text(json.dumps(card, indent=1) + "\n", encoding="utf-8")
        return _frozen(encoder)
    return _frozen(_read(path, method, size, seed))


def train(
    encoder: ImageEncoder, pictures: Pictures, recipe: EncoderRecipe, *, quiet: bool | None = None
) -> dict[str, Any]:
    """Train ``encoder`` in place by its method.

    Returns:
        The log: seconds of wall-clock time, and the mean loss of every 50 steps.
    """
    if len(pictures) < recipe.batch_size:
        raise InputError(
            "pictures",
            found=f"{len(pictures)} scenes",
            expected=f"at least one batch of {recipe.batch_size}",
        )
    with torch.random.fork_rng():
        torch.manual_seed(encoder.seed)
        objective = objective_of(encoder, len(NAMES))
    generator = torch.Generator().manual_seed(encoder.seed)
    named = objective.parameters()
    optimizer = torch.optim.AdamW(
        parameter_groups(named, recipe.weight_decay), lr=recipe.learning_rate, betas=(0.9, 0.98)
    )
    encoder.train()
    losses: list[float] = []
    running: list[float] = []
    order = torch.empty(0, dtype=torch.long)
    started = time.perf_counter()
    label = f"{encoder.method} encoder, {encoder.size}"
    for step in iterate_with_progress(range(recipe.steps), label=label, quiet=quiet):
        if len(order) < recipe.batch_size:
            order = torch.randperm(len(pictures), generator=generator)
        indices, order = order[: recipe.batch_size], order[recipe.batch_size :]
        factor = warmup_cosine(step, total_steps=recipe.steps, warmup_steps=recipe.warmup_steps)
        for group in optimizer.param_groups:
            group["lr"] = recipe.learning_rate * factor
        # plain attention is faster than the fused kernel on short sequences on CPUs
        with torch.autocast("cpu", torch.bfloat16), sdpa_kernel(SDPBackend.MATH):
            loss = objective.loss(pictures, indices, generator, step / recipe.steps)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_([parameter for _, parameter in named], recipe.clip_grad_norm)
        optimizer.step()
        objective.after_step((step + 1) / recipe.steps)
        running.append(float(loss.detach()))
        if len(running) == 50 or step == recipe.steps - 1:
            losses.append(round(sum(running) / len(running), 4))
            logger.info("%s: step %d of %d, loss %.4f", label, step + 1, recipe.steps, losses[-1])
            running = []
    return {"seconds": round(time.perf_counter() - started, 1), "losses": losses}


def _name(method: str, size: str, seed: int, recipe: EncoderRecipe) -> str:
    """The encoder's directory: another recipe than the method's own has one of its own."""
    name = f"{method}-{size}-{seed}"
    if recipe == RECIPES[method]:
        return name
    return f"{name}-{hashlib.sha256(json.dumps(asdict(recipe)).encode()).hexdigest()[:8]}"


def _card_of(path: Path, expected: dict[str, Any]) -> dict[str, Any] | None:
    """The card in ``path`` if it holds an encoder of exactly that recipe."""
    try:
        card: dict[str, Any] = json.loads((path / "card.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return card if card == expected else None


def _read(path: Path, method: str, size: str, seed: int) -> ImageEncoder:
    encoder = ImageEncoder(method, size, seed)
    file = path / "encoder.safetensors"
    try:
        state: dict[str, Tensor] = load_file(file)
        encoder.load_state_dict(state)
    except Exception as error:
        raise CheckpointError(
            f"{file}: the encoder's weights cannot be read ({type(error).__name__}). Delete {path} to train it again."
        ) from error
    return encoder


def _frozen(encoder: ImageEncoder) -> ImageEncoder:
    return encoder.requires_grad_(False).eval()
