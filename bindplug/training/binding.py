"""Train one tower against the frozen image tower's embeddings."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, fields

import torch
from torch import Tensor, nn

from bindplug.errors import InputError
from bindplug.imagebind import ImageBind
from bindplug.modality import Modality
from bindplug.training.adapters import has_adapters
from bindplug.training.augment import frequency_mask, random_erase
from bindplug.training.batches import Augmentation
from bindplug.training.data import PairDataset
from bindplug.training.loop import Run
from bindplug.training.options import RunOptions
from bindplug.training.processes import Processes
from bindplug.training.recipe import BindingRecipe
from bindplug.training.scales import HeldOut, fit_scale
from bindplug.training.validation import Validation

_OF_IMAGEBIND = ("drop_path", "head", "frequency_mask", "random_erase")


@dataclass
class BindingResult:
    """What a binding run leaves behind.

    Attributes:
        steps: optimizer steps taken, those before a restart included.
        seconds: wall-clock time of training, likewise.
        scale: final inverse temperature, now the modality's output scale.
        losses: mean loss of each epoch.
        similarity_scale: factor on cosines that was fitted on held-out samples, or None where none were given.
        validations: figures of each validation (``loss``, and ``recall@1`` or ``accuracy``), with its ``step``.
        best_step: steps after which the validation was best, whose weights the tower has; None without validation.
        is_stopped_early: whether the validation's patience ended the run.
        resumed_step: the step of the checkpoint that the run went on from; 0 for a run from the beginning.
    """

    steps: int
    seconds: float
    scale: float
    losses: list[float] = field(default_factory=list)
    similarity_scale: float | None = None
    validations: list[dict[str, float]] = field(default_factory=list)
    best_step: int | None = None
    is_stopped_early: bool = False
    resumed_step: int = 0


def bind(
    model: ImageBind,
    modality: str,
    pairs: PairDataset,
    recipe: BindingRecipe,
    *,
    validation: Validation | None = None,
    held_out: HeldOut | None = None,
    options: RunOptions | None = None,
    quiet: bool | None = None,
) -> BindingResult:
    """Bind ``modality`` to the model's space by training its tower on (frozen image, modality) pairs.

    Only that modality's tower changes. Image and text towers may even be absent: the image side comes
    embedded (see :class:`PairDataset`), so no text and no third modality is ever seen. Of a tower that carries peft's
    adapters, only what requires a gradient is trained; of any other the whole tower is.

    Args:
        model: holds the tower to train, freshly initialized or to be continued; trained in place.
        modality: ``"audio"``, ``"depth"``, ``"thermal"`` or ``"imu"``.
        pairs: the training pairs.
        recipe: hyper-parameters; ``drop_path`` and ``head`` are the model config's, and are checked against it.
        validation: what the run is measured on as it goes; the tower then has the weights that were best.
        held_out: samples beside the pairs, with their right answers; the modality's similarity scale is fitted on
            them and kept in ``model.similarity_scales``. A scale fitted earlier is dropped if none are given.
        options: device, precision, accumulation, reader threads, checkpoints, trackers.
        quiet: True shows no progress, None asks the environment.

    Returns:
        Steps, time, losses, the final scale, which is also set as the modality's output scale, and the similarity
        scale.

    Raises:
        InputError: there are fewer pairs than one batch, the config contradicts the recipe, an anchor has another width
            or is not finite, the device does not exist, or the loss is not finite.
        CheckpointError: checkpoints are of another run, damaged, in use, or in the way.
        MissingDependency: accelerate or a tracker is not installed.
        OutOfMemory: the device has too little memory.
        TrainingInterrupted: Ctrl-C or SIGTERM came while checkpoints are written; one of this step exists.
    """
    options = options or RunOptions()
    tower_name = Modality.parse(modality).tower
    _ensure_a_batch(pairs, recipe)
    _check(model, tower_name, recipe)
    tower = model.towers[tower_name]
    processes = Processes(options, _device_of(tower, modality))
    frozen = {name: p.requires_grad for name, p in model.named_parameters()}
    trained = {id(p) for p in tower.parameters() if p.requires_grad or not has_adapters(tower)}

    def augment(inputs: Tensor, generator: torch.Generator) -> Tensor:
        return _augment(modality, inputs, recipe, generator)

    def encode(inputs: Tensor) -> Tensor:
        return model.encode(modality, inputs)

    try:
        for parameter in model.parameters():
            parameter.requires_grad_(id(parameter) in trained)
        model.eval()
        model.to(processes.device)
        result = _run(
            tower, encode, pairs, recipe, augment, modality, validation, held_out, options, processes, quiet
        )
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
    pairs: PairDataset,
    recipe: BindingRecipe,
    *,
    augment: Augmentation | None = None,
    validation: Validation | None = None,
    held_out: HeldOut | None = None,
    name: str = "tower",
    options: RunOptions | None = None,
    quiet: bool | None = None,
) -> BindingResult:
    """Bind a sense of one's own to a frozen CLIP's space: any network, trained on (frozen image, sense) pairs.

    Args:
        tower: maps (B, …) inputs to (B, D) rows of the anchors' width, of any length; trained in place, and left in
            evaluation mode. Its parameters that require no gradient stay as they are.
        pairs: the training pairs.
        recipe: hyper-parameters; those about ImageBind's own towers (``drop_path``, ``head``, ``frequency_mask``,
            ``random_erase``) must be left alone: build them into the tower, and use ``augment``.
        augment: changes a block of inputs (B, …) before the tower sees it, with all chance from the generator.
        validation: what the run is measured on as it goes; the tower then has the weights that were best.
        held_out: samples beside the pairs, with their right answers, on which a similarity scale is fitted.
        name: of the tower, for log, progress and checkpoints.
        options: device, precision, accumulation, reader threads, checkpoints, trackers.
        quiet: True shows no progress, None asks the environment.

    Returns:
        Steps, time, losses, the final scale, and the similarity scale, for ``bindplug.classify(..., scale=)``.

    Raises:
        InputError: there are fewer pairs than one batch, the tower has nothing to learn or makes rows of another
            width, the recipe asks for what only ImageBind's towers do, an anchor is not finite, the device does not
            exist, or the loss is not finite.
        CheckpointError: checkpoints are of another run, damaged, in use, or in the way.
        MissingDependency: accelerate or a tracker is not installed.
        OutOfMemory: the device has too little memory.
        TrainingInterrupted: Ctrl-C or SIGTERM came while checkpoints are written; one of this step exists.

    Source: ImageBind (arXiv 2305.05665), section 3.2.
    """
    options = options or RunOptions()
    _ensure_a_batch(pairs, recipe)
    defaults = {field.name: field.default for field in fields(BindingRecipe) if field.name in _OF_IMAGEBIND}
    foreign = [name for name, default in defaults.items() if getattr(recipe, name) != default]
    if foreign:
        raise ValueError(
            f"the recipe sets {', '.join(foreign)}, which only ImageBind's own towers know: build drop path and head "
            f"into the tower, and give masks and erasing as augment="
        )
    processes = Processes(options, _device_of(tower, name))
    tower.to(processes.device)
    return _run(tower, tower, pairs, recipe, augment, name, validation, held_out, options, processes, quiet)


def _device_of(tower: nn.Module, name: str) -> torch.device:
    parameter = next(tower.parameters(), None)
    if parameter is None:
        raise InputError(name, found="no parameter to learn", expected="a tower with parameters")
    return parameter.device


def _ensure_a_batch(pairs: PairDataset, recipe: BindingRecipe) -> None:
    if recipe.batch_size < 2:
        raise InputError(
            "the recipe",
            found=f"batch_size={recipe.batch_size}",
            expected="at least 2: a pair needs a negative",
        )
    if len(pairs) < recipe.batch_size:
        raise InputError(
            "the pairs",
            found=f"{len(pairs)} pairs do not fill one batch of {recipe.batch_size}",
            expected=f"at least {recipe.batch_size}",
            remedy="Give more pairs, or a smaller batch_size",
        )


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
    pairs: PairDataset,
    recipe: BindingRecipe,
    augment: Augmentation | None,
    name: str,
    validation: Validation | None,
    held_out: HeldOut | None,
    options: RunOptions,
    processes: Processes,
    quiet: bool | None,
) -> BindingResult:
    run = Run(
        tower, encode, pairs, recipe,
        augment=augment, name=name, validation=validation, options=options, processes=processes,
    )  # fmt: skip
    with _gradient_checkpointing(tower, name, options):
        run.train(quiet)
    fitted = None if held_out is None else _fitted(encode, held_out, recipe.batch_size, processes.device)
    progress = run.progress
    return BindingResult(
        steps=progress.step,
        seconds=progress.seconds,
        scale=run.scale,
        losses=progress.losses,
        similarity_scale=fitted,
        validations=progress.validations,
        best_step=None if validation is None else progress.best_step,
        is_stopped_early=progress.is_stopped,
        resumed_step=run.resumed_step,
    )


@contextmanager
def _gradient_checkpointing(tower: nn.Module, name: str, options: RunOptions) -> Iterator[None]:
    """The tower's own switch, on in the block if the options say so."""
    if not options.gradient_checkpointing:
        yield
        return
    before = getattr(tower, "gradient_checkpointing", None)
    if not isinstance(before, bool):
        raise InputError(
            f"gradient checkpointing of {name}",
            found="a tower without it",
            expected="an ImageBind tower, or a network that honors its own attribute gradient_checkpointing",
            remedy="Use torch.utils.checkpoint inside the tower, a smaller batch or more accumulation",
        )
    tower.gradient_checkpointing = True  # type: ignore[assignment]
    try:
        yield
    finally:
        tower.gradient_checkpointing = before  # type: ignore[assignment]


@torch.inference_mode()
def _fitted(
    encode: Callable[[Tensor], Tensor], held_out: HeldOut, batch_size: int, device: torch.device
) -> float:
    batches = held_out.inputs.split(batch_size)
    rows = torch.cat([encode(inputs.float().to(device)).float().cpu() for inputs in batches])
    return fit_scale(rows, held_out.candidates.float().cpu(), held_out.labels.cpu())


def _augment(modality: str, inputs: Tensor, recipe: BindingRecipe, generator: torch.Generator) -> Tensor:
    if modality == "audio":
        return frequency_mask(inputs, recipe.frequency_mask, generator)
    if modality in ("depth", "thermal"):
        return random_erase(inputs, recipe.random_erase, generator)
    return inputs
