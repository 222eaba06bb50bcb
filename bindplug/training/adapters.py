"""LoRA and DoRA adapters on a tower: add, merge, remove. The layers are peft's."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from bindplug.bound_encoder import BoundEncoder
from bindplug.errors import InputError, ModalityNotLoaded
from bindplug.imagebind import ImageBind
from bindplug.lazy import require
from bindplug.modality import Modality
from bindplug.training.lora_recipe import LoraRecipe, target_layers

if TYPE_CHECKING:
    from bindplug.space import EmbeddingSpace

SPACE_TOWERS = ("vision", "text")
"""Towers that define the embedding space: with adapters on one of them the rows live in another space."""

ADAPTER = "default"
"""The name that peft's layers keep the adapter under."""


@dataclass(frozen=True)
class BaseState:
    """What a tower was before adapters were added, to be restored when they are removed."""

    recipe: LoraRecipe
    requires_grad: Mapping[str, bool]
    log_scale: float | None
    similarity_scale: float | None
    bound_scale: float | None
    space: EmbeddingSpace | None
    without_fast_path: tuple[str, ...]


def add_adapters(target: nn.Module, modality: str, recipe: LoraRecipe | None = None) -> nn.Module:
    """Put adapters around layers of a tower; the rows stay what they were until the adapters are trained.

    Only the adapters of that tower require gradients afterwards, so :func:`bind` and :func:`bind_tower` train nothing
    else of it.

    Args:
        target: an :class:`ImageBind`; the encoder of a bound tower; or any network, which is then the tower itself.
            Changed in place.
        modality: whose tower of an ImageBind, or the bound sense; for another network a name for messages.
        recipe: rank, targets, DoRA; a plain LoRA of rank 16 for None.

    Returns:
        ``target``.

    Raises:
        InputError: the tower has adapters already or is packed, or a target names no layer that can be adapted.
        MissingDependency: peft is not installed.
        ModalityNotLoaded: the model has no such tower.
    """
    peft, recipe = _peft(), recipe or LoraRecipe()
    tower = tower_of(target, modality)
    if has_adapters(tower):
        raise InputError(
            f"adapters for {modality}",
            found="a tower that has adapters",
            expected="a tower without",
            remedy="Call merge_adapters() or remove_adapters() first",
        )
    layers = target_layers(tower, recipe)
    state = BaseState(
        recipe,
        {name: parameter.requires_grad for name, parameter in tower.named_parameters()},
        _log_scale(tower),
        _similarity_scale(target, modality),
        target.scale_of(modality) if isinstance(target, BoundEncoder) else None,
        target.embedding_space if isinstance(target, ImageBind) else None,
        _switch_fast_paths_off(tower),
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        peft.inject_adapter_in_model(lora_config(recipe, layers), tower, adapter_name=ADAPTER)
    tower.base_state = state  # type: ignore[assignment]
    if isinstance(target, ImageBind) and _tower_name(modality) in SPACE_TOWERS:
        space = target.embedding_space
        target.embedding_space = replace(space, name=f"{space.name}+lora", fingerprint=None)
    return target


def merge_adapters(target: nn.Module) -> nn.Module:
    """Add the adapters' updates to the weights and drop the adapters: equal rows, plain layers.

    Args:
        target: an :class:`ImageBind`, of which every tower with adapters is merged, the encoder of a bound tower, or a
            tower; changed in place.

    Returns:
        ``target``.

    Raises:
        InputError: there are no adapters, or one holds NaN or infinity.
    """
    for tower in _adapted_towers(target, "merge"):
        for _, layer in tuner_layers(tower):
            try:
                layer.merge(safe_merge=True)
            except ValueError as error:
                raise InputError(
                    "merging adapters",
                    found=f"numbers that are not finite ({error})",
                    expected="trained adapters",
                    remedy="Train them again with a smaller learning rate",
                ) from error
        _unwrap(tower)
    return target


def remove_adapters(target: nn.Module) -> nn.Module:
    """Drop the adapters: weights, output scales and gradients' flags are again what they were before, bit for bit.

    Args:
        target: an :class:`ImageBind`, the encoder of a bound tower, or a tower; changed in place.

    Returns:
        ``target``.

    Raises:
        InputError: there are no adapters.
    """
    for tower in _adapted_towers(target, "remove"):
        state = state_of(tower)
        log_scale = getattr(tower, "log_scale", None)
        if state.log_scale is not None and isinstance(log_scale, Tensor):
            with torch.no_grad():
                log_scale.fill_(state.log_scale)
        if isinstance(target, ImageBind):
            modality = next(name for name, own in target.towers.items() if own is tower)
            set_similarity_scale(target, modality, state.similarity_scale)
            if modality in SPACE_TOWERS and state.space is not None:
                target.embedding_space = state.space
        elif isinstance(target, BoundEncoder):
            set_similarity_scale(target, target.sense, state.similarity_scale)
            if state.bound_scale is not None:
                target.set_scale(target.sense, state.bound_scale)
        _unwrap(tower)
    return target


def has_adapters(target: nn.Module) -> bool:
    """Whether a model or tower holds layers that peft has put around others."""
    return any(True for _ in tuner_layers(target))


def tower_of(target: nn.Module, modality: str) -> nn.Module:
    """The tower of an ImageBind or a bound encoder that embeds ``modality``; any other network is its own.

    Raises:
        InputError: another model embeds the modality, to which the tower of a bound encoder was bound.
        ModalityNotLoaded: the model was built without it.
    """
    if isinstance(target, BoundEncoder):
        if modality != target.sense:
            raise InputError(
                f"the tower of {modality}",
                found=f"a tower that was bound for {target.sense}; its anchor embeds the rest",
                expected=f"the sense {target.sense}",
                remedy=f"Adapt the anchor's tower of {modality} instead",
            )
        return tower_of(target.tower, modality)
    if not isinstance(target, ImageBind):
        return target
    name = _tower_name(modality)
    if name not in target.towers:
        raise ModalityNotLoaded(modality, target.modalities)
    return target.towers[name]


def state_of(tower: nn.Module) -> BaseState:
    """What :func:`add_adapters` remembered of a tower.

    Raises:
        InputError: its adapters were added by peft itself.
    """
    state = vars(tower).get("base_state")
    if not isinstance(state, BaseState):
        raise InputError(
            "adapters",
            found="layers that peft added by itself",
            expected="adapters of add_adapters() or load_adapters()",
            remedy="Use peft's own functions: merge_and_unload(), unload(), save_pretrained()",
        )
    return state


def tuner_layers(target: nn.Module) -> Iterator[tuple[str, Any]]:
    """Name and module of every layer that peft has put around another."""
    layers = sys.modules.get("peft.tuners.tuners_utils")
    if layers is None:  # nothing of peft's can be there
        return
    for name, module in target.named_modules():
        if isinstance(module, layers.BaseTunerLayer):
            yield name, module


def lora_config(recipe: LoraRecipe, layers: tuple[str, ...], prefix: str = "") -> Any:
    """peft's description of the adapters; ``prefix`` stands before the layers' names, as ``"towers.audio."``."""
    pattern = "|".join(re.escape(prefix + layer) for layer in layers)
    return _peft().LoraConfig(
        r=recipe.rank,
        lora_alpha=recipe.scale * recipe.rank,
        lora_dropout=recipe.dropout,
        use_dora=recipe.dora,
        target_modules=f"(?:{pattern})",
    )


def recipe_of(target: nn.Module, modality: str) -> LoraRecipe | None:
    """The recipe of the adapters on the tower of ``modality``; None where there are none.

    Raises:
        InputError: peft added the adapters by itself.
        ModalityNotLoaded: the model was built without the tower.
    """
    tower = tower_of(target, modality)
    return state_of(tower).recipe if has_adapters(tower) else None


def set_similarity_scale(model: ImageBind | BoundEncoder, modality: str, scale: float | None) -> None:
    """Set or drop the factor on cosines that a model keeps for a modality."""
    others = {name: value for name, value in model.similarity_scales.items() if name != modality}
    model.similarity_scales = others if scale is None else others | {modality: scale}


def _switch_fast_paths_off(tower: nn.Module) -> tuple[str, ...]:
    """Make torch's encoder layers call their parts: their fast path reads the weights under the adapters."""
    names = []
    for name, module in tower.named_modules():
        if isinstance(module, nn.TransformerEncoderLayer) and module.activation_relu_or_gelu:
            names.append(f"{name}={module.activation_relu_or_gelu}")
            module.activation_relu_or_gelu = 0
    return tuple(names)


def _unwrap(tower: nn.Module) -> None:
    """Put the base layers back where peft's layers stand."""
    state = state_of(tower)
    for name, layer in list(tuner_layers(tower)):
        parent, _, last = name.rpartition(".")
        setattr(tower.get_submodule(parent), last, layer.get_base_layer())
    for name, parameter in tower.named_parameters():
        parameter.requires_grad_(state.requires_grad[name])
    for entry in state.without_fast_path:
        name, _, kind = entry.rpartition("=")
        tower.get_submodule(name).activation_relu_or_gelu = int(kind)  # type: ignore[assignment]
    for attribute in ("peft_config", "base_state"):
        vars(tower).pop(attribute, None)


def _adapted_towers(target: nn.Module, verb: str) -> list[nn.Module]:
    if isinstance(target, BoundEncoder):
        towers = [tower_of(target, target.sense)]
    else:
        towers = list(target.towers.values()) if isinstance(target, ImageBind) else [target]
    adapted = [tower for tower in towers if has_adapters(tower)]
    if not adapted:
        raise InputError(
            f"{verb}_adapters()",
            found="no adapters",
            expected="a model with adapters",
            remedy="Add or load them first",
        )
    for tower in adapted:
        state_of(tower)
    return adapted


def _tower_name(modality: str) -> str:
    return "vision" if modality == "vision" else Modality.parse(modality).tower


def _log_scale(tower: nn.Module) -> float | None:
    scale = getattr(tower, "log_scale", None)
    return float(scale) if isinstance(scale, Tensor) and not scale.is_meta else None


def _similarity_scale(target: nn.Module, modality: str) -> float | None:
    return target.similarity_scales.get(modality) if isinstance(target, ImageBind | BoundEncoder) else None


def _peft() -> Any:
    return require("peft", owner="LoRA", extra="train", oldest=(0, 14))
