"""A binding run from pairs to directory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from bindplug import Encoder, list_models
from bindplug.bound import BOUND, ArrayTower, absolute_id, is_bound, write_bound
from bindplug.directories import staged
from bindplug.errors import BindplugError, InputError
from bindplug.imagebind import ImageBind
from bindplug.inputs import Preprocess, make_preprocess
from bindplug.training import (
    BindingRecipe,
    BindingResult,
    Checkpoints,
    FilePairs,
    PreparedPairs,
    RowCache,
    RunOptions,
    Validation,
    bind,
    bind_tower,
    cut_windows,
    ensure_sees,
    is_own_sense,
    merge_adapters,
    open_pairs,
    prepare_pairs,
    save_adapters,
)
from bindplug_lab.binding.card import environment, license_note, write_card, write_skipped
from bindplug_lab.binding.curve import draw_curve
from bindplug_lab.binding.estimate import Estimate, estimate
from bindplug_lab.binding.figures import HeldOutFigures, measure
from bindplug_lab.binding.machine import Machine, main_process_first
from bindplug_lab.binding.places import run_directory
from bindplug_lab.binding.settings import BindSettings, choose_recipe
from bindplug_lab.binding.towers import BuiltTower, build_tower, require_sense

FEWEST_HELD_OUT = 2
"""Pairs that can be contrasted."""

FEWEST_STEPS = 10
"""Between two checkpoints of a short run."""

CHECKPOINTS = 20
"""Of a short run."""

NORMALIZED_BY = 512
"""Samples that an array tower's mean and deviation are taken from."""

Say = Callable[[str], None]
LoadModel = Callable[[str, set[str] | None], Encoder]


@dataclass
class ReadyRun:
    """A run before its first step.

    Attributes:
        prepared: the pairs, and what was left out.
        train, held_out: to train on, and to validate on.
        anchor: model that is bound to.
        built: the tower to train, with its recipe and a line that describes it.
        recipe_line: a line that names the recipe.
        estimate: of time and memory.
        notes: remarks for a person.
    """

    prepared: PreparedPairs
    train: FilePairs
    held_out: FilePairs | None
    anchor: Encoder
    built: BuiltTower
    recipe_line: str
    estimate: Estimate
    notes: list[str]

    @property
    def tower(self) -> nn.Module:
        """The network to train."""
        return self.built.network

    @property
    def recipe(self) -> BindingRecipe:
        """Of the run."""
        return self.built.recipe

    def encode(self, sense: str) -> Callable[[Tensor], Tensor]:
        """(B, ...) inputs -> (B, D) rows of the tower."""
        tower = self.tower
        return (lambda inputs: tower.encode(sense, inputs)) if isinstance(tower, ImageBind) else tower


def get_ready(
    settings: BindSettings, machine: Machine, load: LoadModel, directory: Path, say: Say
) -> ReadyRun:
    """List and read the pairs, load the anchor, and build the tower.

    Raises:
        InputError: no pairs, bad options, an anchor without an image tower, and whatever else cannot work.
    """
    sense = settings.sense
    own = is_own_sense(sense)
    pairs = open_pairs(
        settings.pairs, sense, format=settings.format, columns=settings.columns, split=settings.split
    )
    pairs = cut_windows(
        pairs,
        sense,
        seconds=settings.windows_s,
        hop=settings.hop_s,
        options=settings.reader,
        quiet=machine.quiet,
    )
    say(f"{len(pairs)} pairs of a picture and {sense}, {len(pairs.problems)} items left out so far")
    anchor = _load_with(load, settings.anchor, "image")
    ensure_sees(anchor)
    init = None  # a tower of the user's own code is built before its weights are read
    if settings.init and settings.tower is None:
        init = _load_init(load, settings.init, sense)
        require_sense(init, settings)
    preprocess: Preprocess | None = None
    if not own:
        preprocess = (
            make_preprocess([sense]) if init is None or sense not in init.modalities else init.preprocess
        )[sense]
    row_cache = None
    if machine.row_cache is not None and anchor.fingerprint is not None:
        row_cache = RowCache(machine.row_cache, f"{anchor.embedding_space.name}|{anchor.fingerprint}")
    with main_process_first(machine):
        prepared = prepare_pairs(
            pairs,
            sense,
            anchor,
            directory,
            preprocess=preprocess,
            options=settings.reader,
            augment=settings.augment,
            row_cache=row_cache,
            most_bytes=machine.cache_bytes,
            batch_size=machine.anchor_batch,
            workers=machine.workers,
            quiet=machine.quiet,
            strict=machine.strict,
        )
    notes = list(prepared.notes)
    seed = int(settings.changes.get("seed", 0))
    train, held_out = prepared.split(settings.validation, seed=seed)
    if held_out is not None and len(held_out) < FEWEST_HELD_OUT:
        notes.append(f"{len(held_out)} pair would be held out, too few to measure on; all are trained on")
        train, held_out = prepared.pairs, None
    if len(train) < FEWEST_HELD_OUT:
        raise InputError(
            settings.pairs,
            found=f"{len(train)} pair to train on",
            expected="at least 2, and some hundreds to learn anything",
        )
    recipe, recipe_line, remarks = choose_recipe(settings, len(train))
    sample = train.samples(torch.tensor([0]), torch.Generator().manual_seed(0))[0]
    built = build_tower(settings, recipe, anchor, init, len(train), sample)
    tower, recipe = built.network.to(machine.device), built.recipe
    if isinstance(tower, ArrayTower) and init is None:
        indices = torch.arange(min(len(train), NORMALIZED_BY))
        tower.fit_normalization(train.samples(indices, torch.Generator().manual_seed(seed)))
    steps = max(1, round(recipe.epochs * (len(train) // recipe.batch_size)))
    ready = ReadyRun(
        prepared,
        train,
        held_out,
        anchor,
        built,
        recipe_line,
        Estimate(steps),
        notes + remarks,
    )
    ready.estimate = estimate(
        tower,
        ready.encode(sense),
        sample,
        sense=sense,
        anchor=anchor,
        batch=recipe.batch_size,
        parts=machine.accumulation * machine.processes,
        steps=steps,
        device=machine.device,
        precision=machine.precision or "no",
        gradient_checkpointing=machine.gradient_checkpointing,
    )
    return ready


def _load_with(load: LoadModel, name: str, modality: str) -> Encoder:
    """A model with one modality; whole if it lacks it, so that the caller can say what it has instead."""
    try:
        return load(name, {modality})
    except InputError:
        return load(name, None)


def _load_init(load: LoadModel, name: str, sense: str) -> Encoder:
    path = Path(name).expanduser()
    if is_bound(path) and BOUND.read(path)["tower"].get("kind") == "own":
        raise InputError(
            f"--init {name}",
            found="the weights of a tower that was built by your own code",
            expected="that code too",
            remedy="Add --tower FILE.py:function",
        )
    return load(name, None) if is_own_sense(sense) else _load_with(load, name, sense)


def train(settings: BindSettings, machine: Machine, ready: ReadyRun, directory: Path) -> BindingResult:
    """Train the tower; a killed run leaves its checkpoints."""
    validation = None
    if ready.held_out is not None:
        every = max(1.0, ready.recipe.epochs / 50)
        validation = Validation(ready.held_out, every_epochs=every, patience=settings.patience)
    options = RunOptions(
        precision=machine.precision,
        accumulation=machine.accumulation,
        gradient_checkpointing=machine.gradient_checkpointing,
        workers=machine.workers,
        checkpoints=Checkpoints(
            directory / "checkpoints",
            every_steps=machine.checkpoint_steps or _checkpoint_steps(ready),
            resume=machine.resume,
            code=ready.built.code,
        ),
        trackers=machine.trackers,
        log_directory=directory / "logs" if machine.trackers else None,
        project=settings.output.name,
    )
    common: dict[str, Any] = {"validation": validation, "options": options, "quiet": machine.quiet}
    if isinstance(ready.tower, ImageBind):
        return bind(ready.tower, settings.sense, ready.train, ready.recipe, **common)
    return bind_tower(ready.tower, ready.train, ready.recipe, name=settings.sense, **common)


def _checkpoint_steps(ready: ReadyRun) -> int:
    """An epoch, and in short ones enough steps that writing takes little of the time."""
    return max(FEWEST_STEPS, len(ready.train) // ready.recipe.batch_size, ready.estimate.steps // CHECKPOINTS)


def write(
    settings: BindSettings, machine: Machine, ready: ReadyRun, result: BindingResult, load: LoadModel
) -> dict[str, Any]:
    """Measure the tower on the held-out pairs, and write its directory, whole or not at all.

    Returns:
        The card.
    """
    sense, tower = settings.sense, ready.tower
    device = next(tower.parameters()).device
    figures = None
    if ready.held_out is not None:
        figures = measure(ready.held_out, ready.encode(sense), device, ready.recipe.batch_size)
        if figures is None:
            ready.notes.append(
                "the held-out pairs have one picture only, so that retrieval cannot be measured"
            )
    similarity_scale = None if figures is None else figures.similarity_scale
    if isinstance(tower, ImageBind) and similarity_scale is not None:
        tower.similarity_scales = {sense: similarity_scale}
    license = license_of(settings.anchor, ready.anchor)
    card = _card(settings, ready, result, figures, license, device)
    try:
        with staged(settings.output, overwrite=machine.overwrite) as partial:
            if settings.lora is not None and not settings.merge:
                scales = {"scale": result.scale, "similarity_scale": similarity_scale}
                base = ready.built.base
                save_adapters(tower, sense, partial, base=base, license=license, extra=scales)
            else:
                write_bound(
                    partial,
                    sense=sense,
                    tower=merge_adapters(tower) if settings.lora is not None else tower,
                    anchor=ready.anchor,
                    anchor_id=settings.anchor,
                    anchor_modalities=modalities_of(settings.anchor, ready.anchor, load),
                    scale=result.scale,
                    similarity_scale=similarity_scale,
                    license=license,
                )
            has_curve = draw_curve(
                partial / "curve.png", result.losses, result.steps, result.validations, settings.output.name
            )
            write_skipped(partial, ready.prepared.problems)
            write_card(partial, card, has_curve=has_curve)
    except (OSError, SafetensorError) as error:
        raise InputError(
            str(settings.output),
            found=f"a directory that could not be written ({getattr(error, 'strerror', None) or error})",
            expected="room on the disk and the right to write",
            remedy=f"The checkpoints stay in {run_directory(settings.output)}: say --resume once it is mended",
        ) from error
    return card


def _card(
    settings: BindSettings,
    ready: ReadyRun,
    result: BindingResult,
    figures: HeldOutFigures | None,
    license: str,
    device: torch.device,
) -> dict[str, Any]:
    problems, fingerprint = ready.prepared.problems, ready.anchor.fingerprint
    unpaired = sum(problem.kind == "unpaired" for problem in problems)
    return {
        "name": settings.output.name,
        "sense": settings.sense,
        "anchor": {
            "id": settings.anchor,
            "space": ready.anchor.embedding_space.name,
            "width": ready.anchor.embedding_space.width,
            "fingerprint": None if fingerprint is None else str(fingerprint),
            "fingerprint_digest": None if fingerprint is None else fingerprint.digest,
            "license": license,
        },
        "license_note": license_note(license, settings.anchor),
        "tower": ready.built.line,
        "tower_code": dict(ready.built.code),
        "base": "" if settings.merge else absolute_id(ready.built.base),
        "recipe_name": ready.recipe_line,
        "recipe": ready.recipe.to_dict(),
        "settings": settings.to_dict(),
        "data": {
            "source": settings.pairs,
            "listed": ready.prepared.listed,
            "trained": len(ready.train),
            "held_out": 0 if ready.held_out is None else len(ready.held_out),
            "unpaired": unpaired,
            "bad": len(problems) - unpaired,
        },
        "training": {
            "steps": result.steps,
            "seconds": result.seconds,
            "device": str(device),
            "losses": result.losses,
            "validations": result.validations,
            "best_step": result.best_step,
            "is_stopped_early": result.is_stopped_early,
            "is_selected": ready.held_out is not None,
            "scale": result.scale,
        },
        "held_out": None if figures is None else figures.to_dict(),
        "notes": ready.notes,
        "environment": environment(),
    }


def summary(ready: ReadyRun, settings: BindSettings) -> dict[str, Any]:
    """What a dry run says."""
    problems = ready.prepared.problems
    return {
        "pairs": settings.pairs,
        "listed": ready.prepared.listed,
        "trained": len(ready.train),
        "held_out": 0 if ready.held_out is None else len(ready.held_out),
        "problems": [asdict(problem) for problem in problems],
        "tower": ready.built.line,
        "recipe": ready.recipe_line,
        "recipe_values": ready.recipe.to_dict(),
        "steps": ready.estimate.steps,
        "seconds": ready.estimate.seconds,
        "memory_bytes": ready.estimate.memory_bytes,
        "memory": ready.estimate.memory.to_dict() | {"anchor": ready.estimate.anchor_bytes},
        "notes": ready.notes,
    }


def license_of(anchor_id: str, anchor: Encoder) -> str:
    """The license of the anchor's weights, as far as it is stated; empty if not."""
    stated = next((card.license for card in list_models() if card.name == anchor_id), "")
    own = getattr(anchor, "license", "")
    return stated or (own if isinstance(own, str) else "")


def modalities_of(anchor_id: str, anchor: Encoder, load: LoadModel) -> list[str]:
    """What the anchor embeds when it is loaded whole."""
    registered = next((card.modalities for card in list_models() if card.name == anchor_id), None)
    if registered is not None:
        return list(registered)
    try:
        return list(load(anchor_id, {"image", "text"}).modalities)
    except BindplugError:  # an anchor of pictures alone
        return list(anchor.modalities)
