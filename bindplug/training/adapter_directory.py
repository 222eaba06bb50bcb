"""Adapters as a directory that peft reads too: its two files, and a card with the fingerprint of their base."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from bindplug.bound import absolute_id
from bindplug.bound_encoder import BoundEncoder
from bindplug.directories import Manifest, damage_named, is_finite, staged, verified, write_tensors
from bindplug.errors import CheckpointError, InputError
from bindplug.fingerprint import Fingerprint, joined, sample_positions
from bindplug.imagebind import ImageBind, open_safetensors
from bindplug.modality import Modality
from bindplug.training.adapters import (
    ADAPTER,
    SPACE_TOWERS,
    add_adapters,
    has_adapters,
    lora_config,
    remove_adapters,
    set_similarity_scale,
    state_of,
    tower_of,
    tuner_layers,
)
from bindplug.training.lora_recipe import LoraRecipe

MANIFEST = Manifest(
    "bindplug-adapters",
    version=1,
    holds="set of adapters",
    fields={"base": str, "base_fingerprint": str, "modality": str, "recipe": dict, "adapters": dict},
    remedy="Write one with `bindplug bind --lora` or save_adapters(); peft opens directories that it wrote itself",
)
WEIGHTS = "adapter_model.safetensors"
PEFT_PREFIX = "base_model.model."
"""What peft puts before every name in its file."""

SAMPLES = 4
"""Numbers of each tensor in a tower's fingerprint: some 800 of a tower of twelve blocks."""


def save_adapters(
    target: nn.Module,
    modality: str,
    directory: str | Path,
    *,
    base: str | Path = "",
    license: str = "",
    extra: Mapping[str, Any] | None = None,
    overwrite: bool = False,
) -> Path:
    """Write the adapters of a tower as a directory, without the base's weights; all of it or nothing.

    peft reads it as well: ``PeftModel.from_pretrained(base_model, directory)``.

    Args:
        target: an :class:`ImageBind`, the encoder of a bound tower, or the tower itself, with adapters of
            :func:`add_adapters`.
        modality: of the tower.
        directory: to make; it may exist if it is empty.
        base: what :func:`bindplug.load` takes for the base, a name or a path, so that ``bindplug.load(directory)``
            gives base and adapters; without it :func:`load_adapters` is the way to read them.
        license: of the adapters, as an SPDX identifier; the base's own should be named, where it binds them.
        extra: further JSON-ready fields for the card.
        overwrite: whether to replace a directory that is not empty.

    Returns:
        The directory.

    Raises:
        CheckpointError: the directory is occupied.
        InputError: the tower has no adapters, or they hold NaN or infinity.
    """
    tower = tower_of(target, modality)
    if not has_adapters(tower):
        raise InputError(
            "save_adapters()", found=f"no adapters on {modality}", expected="a tower with adapters"
        )
    state = state_of(tower)
    prefix = _prefix(target, modality)
    tensors = {
        PEFT_PREFIX + prefix + name: tensor.detach().float().cpu().contiguous()
        for name, tensor in _adapter_state(tower).items()
    }
    broken = [name for name, tensor in tensors.items() if not is_finite(tensor)]
    if broken:
        raise InputError(
            "save_adapters()", found=f"NaN or infinity in {broken[0]}", expected="trained adapters"
        )
    # A target matches a layer or the layer that peft has put around it: the names are the same.
    config = lora_config(state.recipe, _layer_names(tower), prefix)
    config.inference_mode = True
    model = target if isinstance(target, ImageBind | BoundEncoder) else None
    with staged(directory, overwrite=overwrite) as partial:
        config.save_pretrained(str(partial))
        card = {
            "base": absolute_id(str(base)),
            "base_fingerprint": str(tower_fingerprint(tower)),
            "modality": modality,
            "recipe": state.recipe.to_dict(),
            "adapters": write_tensors(tensors, partial / WEIGHTS),
            "parameters": sum(tensor.numel() for tensor in tensors.values()),
            "license": license,
            "embedding_space": None if model is None else asdict(model.embedding_space),
            "scale": _scale(target, modality),
            "similarity_scale": None if model is None else model.similarity_scales.get(modality),
            **(extra or {}),
        }
        MANIFEST.write(partial, card)
    return Path(directory)


def load_adapters(target: nn.Module, directory: str | Path) -> nn.Module:
    """Put the adapters of a directory on the base that they were trained on.

    Args:
        target: the base: an :class:`ImageBind` with the tower, the encoder of a bound tower, or the tower itself;
            changed in place.
        directory: what :func:`save_adapters` wrote.

    Returns:
        ``target``, whose output scale and similarity scale of the modality are the adapters' too.

    Raises:
        CheckpointError: the directory is damaged, or its adapters were trained on another base.
        InputError: the tower has adapters already.
        WeightsNotFound: there is no such directory.
    """
    directory = Path(directory)
    card = MANIFEST.read(directory)
    manifest = directory / MANIFEST.file
    modality = card["modality"]
    with damage_named(manifest):
        recipe = LoraRecipe.from_dict(card["recipe"])
        scale = _checked_scale(card.get("scale"))
        similarity_scale = _checked_scale(card.get("similarity_scale"))
        if isinstance(target, ImageBind):
            Modality.parse(modality)
    tower = tower_of(target, modality)
    if has_adapters(tower):
        add_adapters(target, modality, recipe)  # raises
    _require_base(tower, card, directory)
    tensors = open_safetensors(verified(directory / WEIGHTS, card["adapters"], what="the file of adapters"))
    prefix = PEFT_PREFIX + _prefix(target, modality)
    add_adapters(target, modality, recipe)
    try:
        _copy(tensors, prefix, tower, directory)
    except BaseException:
        remove_adapters(target)
        raise
    if isinstance(target, ImageBind | BoundEncoder):
        if scale is not None:
            target.set_scale(modality, scale)
        set_similarity_scale(target, modality, similarity_scale)
    if isinstance(target, ImageBind) and Modality.parse(modality).tower in SPACE_TOWERS:
        digest = str(card["adapters"]["sha256"])[:16]
        target.embedding_space = replace(target.embedding_space, fingerprint=f"lora-{digest}")
    target.eval()
    return target


def is_adapter_directory(directory: str | Path) -> bool:
    """Whether a directory's manifest says that it holds adapters."""
    try:
        MANIFEST.read(directory)
    except (CheckpointError, FileNotFoundError):
        return False
    return True


def tower_fingerprint(tower: nn.Module) -> Fingerprint:
    """Numbers sampled from every weight of a tower but its adapters; equal with and without adapters."""
    parameters = {
        name.replace(".base_layer.", "."): parameter
        for name, parameter in tower.named_parameters()
        if ".lora_" not in name
    }
    samples = []
    for name in sorted(parameters):
        flat = parameters[name].detach().reshape(-1)
        positions = torch.from_numpy(sample_positions(SAMPLES, flat.numel())).to(flat.device)
        samples.append(flat[positions].float().cpu().numpy())
    sizes = (len(parameters), sum(parameter.numel() for parameter in parameters.values()))
    return Fingerprint(sizes, joined(samples))


def _require_base(tower: nn.Module, card: Mapping[str, Any], directory: Path) -> None:
    stored = Fingerprint.parse(card["base_fingerprint"])
    if stored is None:
        raise CheckpointError(f"{directory / MANIFEST.file} is damaged: its fingerprint cannot be read")
    own = tower_fingerprint(tower)
    if not own.matches(stored):
        base = f" {card['base']!r}" if card["base"] else ""
        raise CheckpointError(
            f"the adapters in {directory} were trained on another base{base}: its {card['modality']} tower has "
            f"{stored.sizes[-1]} weights and fingerprint {stored.digest}, this one {own.sizes[-1]} and {own.digest}"
        )


def _copy(tensors: Mapping[str, Tensor], prefix: str, tower: nn.Module, directory: Path) -> None:
    """Copy numbers into the adapters, strictly."""
    own = {prefix + name: tensor for name, tensor in _adapter_state(tower).items()}
    with damage_named(directory / WEIGHTS):
        if own.keys() != tensors.keys():
            apart = sorted(own.keys() ^ tensors.keys())
            raise ValueError(f"{len(apart)} names are missing or unexpected, such as {apart[0]}")
        for name, tensor in own.items():
            if tensor.shape != tensors[name].shape or not is_finite(tensors[name]):
                raise ValueError(f"{name} has shape {tuple(tensors[name].shape)} or holds NaN or infinity")
        with torch.no_grad():
            for name, tensor in own.items():
                tensor.copy_(tensors[name])


def _adapter_state(tower: nn.Module) -> dict[str, Tensor]:
    """The adapters' tensors, which share memory, under peft's names inside the tower."""
    from peft import get_peft_model_state_dict

    state: dict[str, Tensor] = get_peft_model_state_dict(
        tower, adapter_name=ADAPTER, save_embedding_layers=False
    )
    return state


def _layer_names(tower: nn.Module) -> tuple[str, ...]:
    return tuple(name for name, _ in tuner_layers(tower))


def _prefix(target: nn.Module, modality: str) -> str:
    """What stands before the names inside a tower: its place in the ImageBind that it is a part of."""
    if isinstance(target, BoundEncoder):
        return _prefix(target.tower, modality)
    return f"towers.{Modality.parse(modality).tower}." if isinstance(target, ImageBind) else ""


def _scale(target: nn.Module, modality: str) -> float | None:
    """The output scale that training set; None for images and for a mere tower, which have none."""
    if isinstance(target, BoundEncoder):
        return target.scale_of(modality)
    if not isinstance(target, ImageBind) or Modality.parse(modality).tower == "vision":
        return None
    return target.scale_of(modality)


def _checked_scale(scale: Any) -> float | None:
    if scale is not None and not (type(scale) in (int, float) and 0 < scale < math.inf):
        raise ValueError(f"a scale is {scale!r}")
    return None if scale is None else float(scale)
