"""Train one tower against the frozen image tower's embeddings."""

from __future__ import annotations

import logging
import math
import time
from dataclasses import dataclass, field

import torch
from torch import Tensor

from bindplug.imagebind import ImageBind
from bindplug.inputs.progress import iterate_with_progress
from bindplug.modality import Modality
from bindplug.training.augment import frequency_mask, random_erase
from bindplug.training.data import BindingPairs
from bindplug.training.loss import symmetric_info_nce
from bindplug.training.recipe import BindingRecipe
from bindplug.training.schedule import parameter_groups, warmup_cosine

logger = logging.getLogger(__name__)


@dataclass
class BindingResult:
    """What a binding run leaves behind.

    Attributes:
        steps: optimiser steps taken.
        seconds: wall-clock time of training.
        losses: mean loss of each epoch.
        scale: final inverse temperature, now the modality's output scale.
    """

    steps: int
    seconds: float
    scale: float
    losses: list[float] = field(default_factory=list)


def bind(
    model: ImageBind,
    modality: str,
    pairs: BindingPairs,
    recipe: BindingRecipe,
    *,
    autocast_dtype: torch.dtype | None = None,
    quiet: bool | None = None,
) -> BindingResult:
    """Bind ``modality`` to the model's space by training its tower on (frozen image, modality) pairs.

    Only that modality's tower changes. Image and text towers may even be absent: the image side comes
    embedded (see :class:`BindingPairs`), so no text and no third modality is ever seen.

    Args:
        model: holds the tower to train, freshly initialised or to be continued; trained in place.
        modality: ``"audio"``, ``"depth"``, ``"thermal"`` or ``"imu"``.
        pairs: the training pairs.
        recipe: hyper-parameters; ``drop_path`` and ``head`` are the model config's, and are checked against it.
        autocast_dtype: ``torch.bfloat16`` for mixed precision, None for float32.
        quiet: True shows no progress, None asks the environment.

    Returns:
        Steps, time, losses and the final scale, which is also set as the modality's output scale.

    Raises:
        ValueError: there are fewer pairs than one batch, or the config contradicts the recipe.
    """
    tower_name = Modality.parse(modality).tower
    _check(model, tower_name, pairs, recipe)
    tower = model.towers[tower_name]
    frozen = {name: p.requires_grad for name, p in model.named_parameters()}
    model.requires_grad_(False)
    tower.requires_grad_(True)
    log_scale = torch.tensor(math.log(1.0 / recipe.temperature), requires_grad=recipe.learn_temperature)
    started = time.perf_counter()
    model.eval()
    tower.train()
    try:
        losses, steps = _run(model, modality, pairs, recipe, log_scale, autocast_dtype, quiet)
    finally:
        tower.eval()
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(frozen[name])
    scale = float(log_scale.detach().exp())
    model.set_scale(modality, scale)
    return BindingResult(steps, time.perf_counter() - started, scale, losses)


def _check(model: ImageBind, tower_name: str, pairs: BindingPairs, recipe: BindingRecipe) -> None:
    if len(pairs) < recipe.batch_size:
        raise ValueError(f"{len(pairs)} pairs do not fill one batch of {recipe.batch_size}")
    config = model.config.tower(tower_name)
    for name in ("drop_path", "head"):
        if getattr(config, name) != getattr(recipe, name):
            raise ValueError(
                f"the recipe's {name} is {getattr(recipe, name)!r} but the {tower_name} tower was built with "
                f"{getattr(config, name)!r}: build the model from the recipe's values"
            )


def _run(
    model: ImageBind,
    modality: str,
    pairs: BindingPairs,
    recipe: BindingRecipe,
    log_scale: Tensor,
    autocast_dtype: torch.dtype | None,
    quiet: bool | None,
) -> tuple[list[float], int]:
    device = next(model.parameters()).device
    generator = torch.Generator().manual_seed(recipe.seed)
    torch.manual_seed(recipe.seed)  # drop path and dropout draw from the global generator
    steps_per_epoch = len(pairs) // recipe.batch_size
    total = max(1, round(recipe.epochs * steps_per_epoch))
    warmup = min(round(recipe.warmup_epochs * steps_per_epoch), total // 2)
    groups = parameter_groups(model.named_parameters(), recipe.weight_decay)
    if recipe.learn_temperature:
        groups[1]["params"].append(log_scale)
    optimiser = torch.optim.AdamW(groups, lr=recipe.learning_rate, betas=recipe.betas)
    trained = [p for group in groups for p in group["params"]]
    epoch_losses: list[float] = []
    running: list[float] = []
    order = torch.empty(0, dtype=torch.long)
    for step in iterate_with_progress(range(total), total=total, label=f"binding {modality}", quiet=quiet):
        if len(order) < recipe.batch_size:
            order = torch.randperm(len(pairs), generator=generator)
        chosen, order = order[: recipe.batch_size], order[recipe.batch_size :]
        for group in optimiser.param_groups:
            group["lr"] = recipe.learning_rate * warmup_cosine(step, total_steps=total, warmup_steps=warmup)
        anchors = pairs.anchors(chosen).to(device)
        inputs = _augment(modality, pairs.samples(chosen, generator), recipe, generator).to(device)
        with torch.autocast(device.type, autocast_dtype, enabled=autocast_dtype is not None):
            embedded = model.encode(modality, inputs)
        loss = symmetric_info_nce(anchors, embedded, log_scale.exp())
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, recipe.clip_grad_norm)
        optimiser.step()
        running.append(float(loss.detach()))
        if len(running) == steps_per_epoch or step == total - 1:
            epoch_losses.append(sum(running) / len(running))
            logger.info("%s: step %d of %d, loss %.4f", modality, step + 1, total, epoch_losses[-1])
            running = []
    return epoch_losses, total


def _augment(modality: str, inputs: Tensor, recipe: BindingRecipe, generator: torch.Generator) -> Tensor:
    if modality == "audio":
        return frequency_mask(inputs, recipe.frequency_mask, generator)
    if modality in ("depth", "thermal"):
        return random_erase(inputs, recipe.random_erase, generator)
    return inputs
