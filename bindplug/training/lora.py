"""LoRA and DoRA adapters on a tower: add, save, load, merge, remove. The layers are peft's."""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from bindplug.errors import InputError, ModalityNotLoaded
from bindplug.imagebind import ImageBind
from bindplug.lazy import require
from bindplug.modality import Modality

if TYPE_CHECKING:
    from bindplug.space import EmbeddingSpace

PROJECTIONS = ("q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2")
"""The linear layers of every block of ImageBind's towers."""

HEAD = "head"
"""Names the linear layers of a tower's head as a target."""

ALL_LINEAR = "all-linear"
"""Names every linear layer of a tower as a target."""

SPACE_TOWERS = ("vision", "text")
"""Towers that define the embedding space: with adapters on one of them the rows live in another space."""

MAX_RANK = 1 << 16
ADAPTER = "default"
"""The name that peft's layers keep the adapter under."""


@dataclass(frozen=True)
class LoraRecipe:
    """What adapters look like.

    Attributes:
        rank: of the update of each weight, at least 1.
        alpha: the update is scaled by ``alpha / rank``; None takes the rank, so that the scale is 1.
        dropout: rate at which an adapter's inputs are dropped in training, in [0, 1).
        dora: DoRA: learn each weight's magnitude beside the update of its direction.
        targets: the layers that get an adapter, by the last parts of their names, as ``"q_proj"`` or ``"mlp.fc1"``;
            ``"head"`` for the head of an ImageBind tower, ``"all-linear"`` for every linear layer.
        seed: of the adapters' first numbers.

    Raises:
        InputError: a value is out of its range.

    Source: LoRA (arXiv 2106.09685), section 4; DoRA (arXiv 2402.09353), section 4.
    """

    rank: int = 16
    alpha: float | None = None
    dropout: float = 0.0
    dora: bool = False
    targets: tuple[str, ...] = PROJECTIONS
    seed: int = 0

    def __post_init__(self) -> None:
        if isinstance(self.targets, str):
            object.__setattr__(self, "targets", tuple(self.targets.split(",")))
        object.__setattr__(self, "targets", tuple(self.targets))
        whole = isinstance(self.rank, int) and not isinstance(self.rank, bool)
        if not whole or not 1 <= self.rank <= MAX_RANK:
            raise InputError(
                "LoraRecipe(rank=)", found=repr(self.rank), expected="a whole number of at least 1"
            )
        if self.alpha is not None and not (_is_number(self.alpha) and self.alpha > 0):
            raise InputError("LoraRecipe(alpha=)", found=repr(self.alpha), expected="a number above 0")
        if not (_is_number(self.dropout) and 0 <= self.dropout < 1):
            raise InputError("LoraRecipe(dropout=)", found=repr(self.dropout), expected="a number in [0, 1)")
        if not isinstance(self.dora, bool):
            raise InputError("LoraRecipe(dora=)", found=repr(self.dora), expected="True or False")
        if not self.targets or not all(isinstance(name, str) and name.strip() for name in self.targets):
            raise InputError(
                "LoraRecipe(targets=)",
                found=repr(self.targets),
                expected=f"names of layers, such as {', '.join(PROJECTIONS)}",
            )

    @property
    def scale(self) -> float:
        """Factor on the update: alpha / rank."""
        return 1.0 if self.alpha is None else self.alpha / self.rank

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return asdict(self) | {"targets": list(self.targets)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> LoraRecipe:
        """The inverse of :meth:`to_dict`.

        Raises:
            ValueError: a field is unknown or has a value that it does not take.
        """
        unknown = set(values) - {field.name for field in fields(cls)}
        if unknown:
            raise ValueError(f"a LoRA recipe has no {', '.join(sorted(unknown))}")
        try:
            return cls(**values)
        except InputError as error:  # of content that nobody vouches for, which its reader names
            raise ValueError(str(error)) from error


@dataclass(frozen=True)
class BaseState:
    """What a tower was before adapters were added, to be restored when they are removed."""

    recipe: LoraRecipe
    requires_grad: Mapping[str, bool]
    log_scale: float | None
    similarity_scale: float | None
    space: EmbeddingSpace | None
    without_fast_path: tuple[str, ...]


def add_adapters(target: nn.Module, modality: str, recipe: LoraRecipe | None = None) -> nn.Module:
    """Put adapters around layers of a tower; the rows stay what they were until the adapters are trained.

    Only the adapters of that tower require gradients afterwards, so :func:`bind` and :func:`bind_tower` train nothing
    else of it.

    Args:
        target: an :class:`ImageBind`, or any network, which is then the tower itself; changed in place.
        modality: whose tower of an ImageBind; for another network a name for messages.
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
        target: an :class:`ImageBind`, of which every tower with adapters is merged, or a tower; changed in place.

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
        target: an :class:`ImageBind` or a tower; changed in place.

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
        _unwrap(tower)
    return target


def has_adapters(target: nn.Module) -> bool:
    """Whether a model or tower holds layers that peft has put around others."""
    return any(True for _ in tuner_layers(target))


def tower_of(target: nn.Module, modality: str) -> nn.Module:
    """The tower of an ImageBind that embeds ``modality``; any other network is its own.

    Raises:
        ModalityNotLoaded: the model was built without it.
    """
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


def target_layers(tower: nn.Module, recipe: LoraRecipe) -> tuple[str, ...]:
    """Names inside the tower of the layers that the recipe's targets name.

    Raises:
        InputError: a target names no layer, or one that cannot be adapted.
    """
    modules = dict(tower.named_modules())
    linear = [
        name for name, module in modules.items() if isinstance(module, (nn.Linear, nn.Conv1d, nn.Conv2d))
    ]
    layers: dict[str, None] = {}
    for target in recipe.targets:
        if target == ALL_LINEAR:
            names = [
                name
                for name in linear
                if isinstance(modules[name], nn.Linear) and not _inside_attention(modules, name)
            ]
        elif (
            target == HEAD
            and isinstance(modules.get(HEAD), nn.Module)
            and not isinstance(modules[HEAD], nn.Linear)
        ):
            names = [name for name in linear if name.startswith(f"{HEAD}.")]
        else:
            names = [name for name in modules if name == target or name.endswith(f".{target}")]
        if not names:
            raise InputError(
                f"the target {target!r} of a LoRA",
                found="no layer of that name in the tower",
                expected=f"the end of a layer's name; the tower has {_some(linear)}",
                remedy='Name layers of the tower, or use targets=("all-linear",)',
            )
        for name in names:
            _require_adaptable(modules, name)
            layers[name] = None
    return tuple(layers)


def set_similarity_scale(model: ImageBind, modality: str, scale: float | None) -> None:
    """Set or drop the factor on cosines that a model keeps for a modality."""
    others = {name: value for name, value in model.similarity_scales.items() if name != modality}
    model.similarity_scales = others if scale is None else others | {modality: scale}


def _require_adaptable(modules: Mapping[str, nn.Module], name: str) -> None:
    module = modules[name]
    if _inside_attention(modules, name):
        raise InputError(
            f"the target {name!r} of a LoRA",
            found="a part of torch.nn.MultiheadAttention, which reads that layer's weight without calling it",
            expected="a layer that is called",
            remedy='Target other layers, such as "linear1,linear2", or use separate q_proj, k_proj and v_proj',
        )
    if not isinstance(module, (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)):
        raise InputError(
            f"the target {name!r} of a LoRA",
            found=f"a {type(module).__name__}",
            expected="a linear or convolution layer",
            remedy="Target the layers inside it",
        )


def _inside_attention(modules: Mapping[str, nn.Module], name: str) -> bool:
    return isinstance(modules.get(name.rpartition(".")[0]), nn.MultiheadAttention)


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
    return target.similarity_scales.get(modality) if isinstance(target, ImageBind) else None


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _some(names: list[str], most: int = 6) -> str:
    return (
        ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
        or "no linear layer"
    )


def _peft() -> Any:
    return require("peft", owner="LoRA", extra="train", oldest=(0, 14))
