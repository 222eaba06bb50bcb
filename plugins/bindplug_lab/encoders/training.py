"""Train an image encoder once, and find it again."""

from __future__ import annotations

import hashlib
import json
import logging
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from bindplug.directories import staged
from bindplug.errors import CheckpointError, InputError
from bindplug.progress import iterate_with_progress
from bindplug.training import warmup_cosine
from bindplug_lab.encoders.network import SIZES, ImageEncoder
from bindplug_lab.encoders.pictures import Pictures, training_pictures
from bindplug_lab.encoders.recipes import METHODS, RECIPES, EncoderRecipe
from bindplug_lab.encoders.state import TrainingState

logger = logging.getLogger(__name__)

CHECKPOINT_STEPS = 100
"""Steps after which the state of a training is written: a training that is cut short loses no more."""
LOG_STEPS = 50
"""Steps whose mean loss is logged."""
_CARD_VERSION = 2
"""What cards of encoders say that were trained by this version of the code."""


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
        The encoder in evaluation mode, its parameters frozen. A training that was cut short goes on where it was,
        to the same weights.

    Raises:
        InputError: there is no such method or size.
        CheckpointError: the cached weights, or the state of a training that was cut short, are damaged.
    """
    if method not in METHODS:
        raise InputError("method", found=repr(method), expected=f"one of {', '.join(METHODS)}")
    if size not in SIZES:
        raise InputError("size", found=repr(size), expected=f"one of {', '.join(SIZES)}")
    if method == "random":
        return _frozen(ImageEncoder(method, size, seed))
    recipe = recipe or RECIPES[method]
    card: dict[str, Any] = {"method": method, "size": size, "seed": seed, "recipe": asdict(recipe)}
    card["version"] = _CARD_VERSION
    path = Path(directory) / _name(method, size, seed, recipe)
    if _card_of(path, card) is None:
        pictures = training_pictures(Path(directory) / "worlds", recipe.scenes, near=recipe.near, quiet=quiet)
        encoder = ImageEncoder(method, size, seed, narrow=recipe.narrow)
        checkpoint = path.with_name(f"{path.name}.checkpoint")
        log = train(encoder, pictures, recipe, checkpoint=checkpoint, quiet=quiet)
        with staged(path, overwrite=True) as stage:
            save_file(encoder.state_dict(), stage / "encoder.safetensors")
            (stage / "training.json").write_text(json.dumps(log, indent=1) + "\n", encoding="utf-8")
            (stage / "card.json").write_text(json.dumps(card, indent=1) + "\n", encoding="utf-8")
        checkpoint.unlink(missing_ok=True)
        return _frozen(encoder)
    return _frozen(_read(path, method, size, seed))


def train(
    encoder: ImageEncoder,
    pictures: Pictures,
    recipe: EncoderRecipe,
    *,
    checkpoint: Path | None = None,
    quiet: bool | None = None,
) -> dict[str, Any]:
    """Train ``encoder`` in place by its method.

    Args:
        encoder: freshly initialized.
        pictures: to learn from.
        recipe: how long and how fast.
        checkpoint: a file that the state of the training is written to every :data:`CHECKPOINT_STEPS` steps. If it is
            there, training goes on from it to the same weights as without a break.
        quiet: True shows no progress, None asks the environment.

    Returns:
        The log: seconds of wall-clock time, and the mean loss of every 50 steps.

    Raises:
        InputError: there are fewer pictures than a batch.
        CheckpointError: ``checkpoint`` is damaged, or of another training.
    """
    if len(pictures) < recipe.batch_size:
        raise InputError(
            "pictures",
            found=f"{len(pictures)} scenes",
            expected=f"at least one batch of {recipe.batch_size}",
        )
    state = TrainingState(encoder, recipe, len(pictures))
    if checkpoint is not None and checkpoint.is_file():
        state.read(checkpoint)
        logger.info("%s encoder goes on from step %d", encoder.method, state.step)
    encoder.train()
    label = f"{encoder.method} encoder, {encoder.size}"
    started = time.perf_counter() - state.seconds
    steps = range(state.step, recipe.steps)
    for step in iterate_with_progress(steps, label=label, quiet=quiet):
        loss = _step(state, pictures, recipe)
        state.losses.append(loss)
        if (step + 1) % LOG_STEPS == 0:
            recent = state.losses[-LOG_STEPS:]
            logger.info(
                "%s: step %d of %d, loss %.4f", label, step + 1, recipe.steps, sum(recent) / len(recent)
            )
        state.step, state.seconds = step + 1, time.perf_counter() - started
        if checkpoint is not None and state.step % CHECKPOINT_STEPS == 0 and state.step < recipe.steps:
            state.write(checkpoint)
    parts = [state.losses[first : first + LOG_STEPS] for first in range(0, recipe.steps, LOG_STEPS)]
    losses = [round(sum(part) / len(part), 4) for part in parts]
    return {"seconds": round(state.seconds, 1), "losses": losses}


def _step(state: TrainingState, pictures: Pictures, recipe: EncoderRecipe) -> float:
    """One optimizer step; returns its loss."""
    indices = state.next_batch(recipe.batch_size)
    factor = warmup_cosine(state.step, total_steps=recipe.steps, warmup_steps=recipe.warmup_steps)
    for group in state.optimizer.param_groups:
        group["lr"] = recipe.learning_rate * factor
    # plain attention is faster than the fused kernel on short sequences on CPUs
    with torch.autocast("cpu", torch.bfloat16), sdpa_kernel(SDPBackend.MATH):
        loss = state.objective.loss(pictures, indices, state.generator, state.step / recipe.steps)
    state.optimizer.zero_grad(set_to_none=True)
    loss.backward()
    trained = [parameter for _, parameter in state.objective.trained_parameters()]
    nn.utils.clip_grad_norm_(trained, recipe.clip_grad_norm)
    state.optimizer.step()
    state.objective.after_step((state.step + 1) / recipe.steps)
    return float(loss.detach())


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
