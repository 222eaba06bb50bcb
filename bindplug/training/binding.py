"""Train one tower against the frozen image tower's embeddings."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields

import torch
from torch import Tensor, nn

from bindplug.imagebind import ImageBind
from bindplug.modality import Modality
from bindplug.progress import iterate_with_progress
from bindplug.training.augment import frequency_mask, random_erase
from bindplug.training.data import BindingPairs
from bindplug.training.loss import symmetric_info_nce
from bindplug.training.recipe import BindingRecipe
from bindplug.training.scales import HeldOut, fit_scale
from bindplug.training.schedule import parameter_groups, warmup_cosine

logger = logging.getLogger(__name__)

Augmentation = Callable[[Tensor, torch.Generator], Tensor]
"""Changes a batch of inputs (B, …) in training; all its chance comes from the generator."""
_OF_IMAGEBIND = ("drop_path", "head", "frequency_mask", "random_erase")


@dataclass
class BindingResult:
    """What a binding run leaves behind.

    Attributes:
        steps: optimizer steps taken.
        seconds: wall-clock time of training.
        losses: mean loss of each epoch.
        scale: final inverse temperature, now the modality's output scale.
        similarity_scale: factor on cosines that was fitted on held-out samples, or None where none were given.
    """

    steps: int
    seconds: float
    scale: float
    losses: list[float] = field(default_factory=list)
    similarity_scale: float | None = None


def bind(
    model: ImageBind,
    modality: str,
    pairs: BindingPairs,
    recipe: BindingRecipe,
    *,
    held_out: HeldOut | None = None,
    autocast_dtype: torch.dtype | None = None,
    quiet: bool | None = None,
) -> BindingResult:
    """Bind ``modality`` to the model's space by training its tower on (frozen image, modality) pairs.

    Only that modality's tower changes. Image and text towers may even be absent: the image side comes
    embedded (see :class:`BindingPairs`), so no text and no third modality is ever seen.

    Args:
        model: holds the tower to train, freshly initialized or to be continued; trained in place.
        modality: ``"audio"``, ``"depth"``, ``"thermal"`` or ``"imu"``.
        pairs: the training pairs.
        recipe: hyper-parameters; ``drop_path`` and ``head`` are the model config's, and are checked against it.
        held_out: samples beside the pairs, with their right answers; the modality's similarity scale is fitted on
            them and kept in ``model.similarity_scales``. A scale fitted earlier is dropped if none are given.
        autocast_dtype: ``torch.bfloat16`` for mixed precision, None for float32.
        quiet: True shows no progress, None asks the environment.

    Returns:
        Steps, time, losses, the final scale, which is also set as the modality's output scale, and the similarity
        scale.

    Raises:
        ValueError: there are fewer pairs than one batch, the config contradicts the recipe, or the loss is not finite.
    """
    tower_name = Modality.parse(modality).tower
    _ensure_a_batch(pairs, recipe)
    _check(model, tower_name, recipe)
    tower = model.towers[tower_name]
    frozen = {name: p.requires_grad for name, p in model.named_parameters()}
    model.requires_grad_(False)
    tower.requires_grad_(True)
    model.eval()

    def augment(inputs: Tensor, generator: torch.Generator) -> Tensor:
        return _augment(modality, inputs, recipe, generator)

    def encode(inputs: Tensor) -> Tensor:
        return model.encode(modality, inputs)

    try:
        result = _run(tower, encode, pairs, recipe, augment, modality, held_out, autocast_dtype, quiet)
    finally:
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(frozen[name])
    model.set_scale(modality, result.scale)
    others = {name: scale for name, scale in model.similarity_scales.items() if name != modality}
    fitted = {} if result.similarity_scale is None else {modality: result.similarity_scale}
    model.similarity_scales = others | fitted
    return result


def bind_tower(
    tower: nn.Module,
    pairs: BindingPairs,
    recipe: BindingRecipe,
    *,
    augment: Augmentation | None = None,
    held_out: HeldOut | None = None,
    name: str = "tower",
    autocast_dtype: torch.dtype | None = None,
    quiet: bool | None = None,
) -> BindingResult:
    """Bind a sense of one's own to a frozen CLIP's space: any network, trained on (frozen image, sense) pairs.

    Args:
        tower: maps (B, …) inputs to (B, D) rows of the anchors' width, of any length; trained in place, and left in
            evaluation mode. Its parameters that require no gradient stay as they are.
        pairs: the training pairs.
        recipe: hyper-parameters; those about ImageBind's own towers (``drop_path``, ``head``, ``frequency_mask``,
            ``random_erase``) must be left alone: build them into the tower, and use ``augment``.
        augment: changes a batch of inputs (B, …) before the tower sees it, with all chance from the generator.
        held_out: samples beside the pairs, with their right answers, on which a similarity scale is fitted.
        name: of the tower, for log and progress.
        autocast_dtype: ``torch.bfloat16`` for mixed precision, None for float32.
        quiet: True shows no progress, None asks the environment.

    Returns:
        Steps, time, losses, the final scale, and the similarity scale, for ``bindplug.classify(..., scale=)``.

    Raises:
        ValueError: there are fewer pairs than one batch, the tower has nothing to learn or makes rows of another
            width, the recipe asks for what only ImageBind's towers do, or the loss is not finite.

    Source: ImageBind (arXiv 2305.05665), section 3.2.
    """
    _ensure_a_batch(pairs, recipe)
    plain = {field.name: field.default for field in fields(BindingRecipe) if field.name in _OF_IMAGEBIND}
    asked = [name for name, default in plain.items() if getattr(recipe, name) != default]
    if asked:
        raise ValueError(
            f"the recipe sets {', '.join(asked)}, which only ImageBind's own towers know: build drop path and head "
            f"into the tower, and give masks and erasing as augment="
        )
    return _run(tower, tower, pairs, recipe, augment, name, held_out, autocast_dtype, quiet)


def _ensure_a_batch(pairs: BindingPairs, recipe: BindingRecipe) -> None:
    if len(pairs) < recipe.batch_size:
        raise ValueError(f"{len(pairs)} pairs do not fill one batch of {recipe.batch_size}")


def _check(model: ImageBind, tower_name: str, recipe: BindingRecipe) -> None:
    config = model.config.tower(tower_name)
    for name in ("drop_path", "head"):
        if getattr(config, name) != getattr(recipe, name):
            raise ValueError(
                f"the recipe's {name} is {getattr(recipe, name)!r} but the {tower_name} tower was built with "
                f"{getattr(config, name)!r}: build the model from the recipe's values"
            )


def _run(
    tower: nn.Module,
    encode: Callable[[Tensor], Tensor],
    pairs: BindingPairs,
    recipe: BindingRecipe,
    augment: Augmentation | None,
    name: str,
    held_out: HeldOut | None,
    autocast_dtype: torch.dtype | None,
    quiet: bool | None,
) -> BindingResult:
    groups = parameter_groups(tower.named_parameters(), recipe.weight_decay)
    trained = [p for group in groups for p in group["params"]]
    if not trained:
        raise ValueError(f"{name} has no parameter to learn: none requires a gradient")
    device = trained[0].device
    log_scale = torch.tensor(math.log(1.0 / recipe.temperature), requires_grad=recipe.learn_temperature)
    if recipe.learn_temperature:
        groups[1]["params"].append(log_scale)
        trained.append(log_scale)
    generator = torch.Generator().manual_seed(recipe.seed)
    torch.manual_seed(recipe.seed)  # drop path and dropout draw from the global generator
    steps_per_epoch = len(pairs) // recipe.batch_size
    total = max(1, round(recipe.epochs * steps_per_epoch))
    warmup = min(round(recipe.warmup_epochs * steps_per_epoch), total // 2)
    optimizer = torch.optim.AdamW(groups, lr=recipe.learning_rate, betas=recipe.betas)
    losses: list[float] = []
    running: list[float] = []
    batches = _batches(len(pairs), recipe.batch_size, generator)
    started = time.perf_counter()
    tower.train()
    try:
        for step in iterate_with_progress(range(total), total=total, label=f"binding {name}", quiet=quiet):
            chosen = next(batches)
            for group in optimizer.param_groups:
                group["lr"] = recipe.learning_rate * warmup_cosine(
                    step, total_steps=total, warmup_steps=warmup
                )
            anchors = pairs.anchors(chosen).to(device)
            inputs = pairs.samples(chosen, generator)
            inputs = (augment(inputs, generator) if augment else inputs).to(device)
            with torch.autocast(device.type, autocast_dtype, enabled=autocast_dtype is not None):
                embedded = encode(inputs)
            loss = symmetric_info_nce(anchors, embedded, log_scale.exp())
            running.append(_finite(loss, name, step))
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(trained, recipe.clip_grad_norm)
            optimizer.step()
            if len(running) == steps_per_epoch or step == total - 1:
                losses.append(sum(running) / len(running))
                logger.info("%s: step %d of %d, loss %.4f", name, step + 1, total, losses[-1])
                running = []
    finally:
        tower.eval()
    seconds = time.perf_counter() - started
    similarity_scale = None if held_out is None else _fitted(encode, held_out, recipe.batch_size, device)
    return BindingResult(total, seconds, float(log_scale.detach().exp()), losses, similarity_scale)


@torch.inference_mode()
def _fitted(
    encode: Callable[[Tensor], Tensor], held_out: HeldOut, batch_size: int, device: torch.device
) -> float:
    batches = held_out.inputs.split(batch_size)
    rows = torch.cat([encode(inputs.float().to(device)).float().cpu() for inputs in batches])
    return fit_scale(rows, held_out.candidates.float().cpu(), held_out.labels.cpu())


def _batches(count: int, size: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Indices (size,) without end, each epoch in an order of its own; what fills no batch is left out of it."""
    while True:
        order = torch.randperm(count, generator=generator)
        yield from order[: count // size * size].split(size)


def _finite(loss: Tensor, name: str, step: int) -> float:
    value = float(loss.detach())
    if not math.isfinite(value):
        raise ValueError(
            f"binding {name}: the loss is {value} at step {step + 1}. Inputs or anchors hold NaN or infinity, or the "
            f"learning rate is too high"
        )
    return value


def _augment(modality: str, inputs: Tensor, recipe: BindingRecipe, generator: torch.Generator) -> Tensor:
    if modality == "audio":
        return frequency_mask(inputs, recipe.frequency_mask, generator)
    if modality in ("depth", "thermal"):
        return random_erase(inputs, recipe.random_erase, generator)
    return inputs
