"""What LoRA and DoRA adapters look like, and the layers of a tower that get one."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from torch import nn

from bindplug.errors import InputError

PROJECTIONS = ("q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2")
"""The linear layers of every block of ImageBind's towers."""

HEAD = "head"
"""Names the linear layers of a tower's head as a target."""

ALL_LINEAR = "all-linear"
"""Names every linear layer of a tower as a target."""

ALL_LAYERS = "all-layers"
"""Names every linear and every convolution layer of a tower as a target."""

ADAPTABLE = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
"""Kinds of layers that can get an adapter."""

MAX_RANK = 1 << 16


@dataclass(frozen=True)
class LoraRecipe:
    """What adapters look like.

    Attributes:
        rank: of the update of each weight, at least 1.
        alpha: the update is scaled by ``alpha / rank``; None takes the rank, so that the scale is 1.
        dropout: rate at which an adapter's inputs are dropped in training, in [0, 1).
        dora: DoRA: learn each weight's magnitude beside the update of its direction.
        targets: the layers that get an adapter, by the last parts of their names, as ``"q_proj"`` or ``"mlp.fc1"``;
            ``"head"`` for the head of an ImageBind tower, ``"all-linear"`` for every linear layer, ``"all-layers"`` for
            convolutions too.
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


def target_layers(tower: nn.Module, recipe: LoraRecipe) -> tuple[str, ...]:
    """Names inside the tower of the layers that the recipe's targets name.

    Raises:
        InputError: a target names no layer, or one that cannot be adapted.
    """
    modules = dict(tower.named_modules())
    adaptable = [name for name, module in modules.items() if isinstance(module, ADAPTABLE)]
    layers: dict[str, None] = {}
    for target in recipe.targets:
        if target in (ALL_LINEAR, ALL_LAYERS):
            kinds = ADAPTABLE if target == ALL_LAYERS else (nn.Linear,)
            names = [
                name
                for name in adaptable
                if isinstance(modules[name], kinds) and not _inside_attention(modules, name)
            ]
        elif (
            target == HEAD
            and isinstance(modules.get(HEAD), nn.Module)
            and not isinstance(modules[HEAD], nn.Linear)
        ):
            names = [name for name in adaptable if name.startswith(f"{HEAD}.")]
        else:
            names = [name for name in modules if name == target or name.endswith(f".{target}")]
        if not names:
            raise InputError(
                f"the target {target!r} of a LoRA",
                found="no layer of that name in the tower",
                expected=f"the end of a layer's name; the tower has {_some(adaptable)}",
                remedy='Name layers of the tower, or use targets=("all-linear",)',
            )
        for name in names:
            _require_adaptable(modules, name)
            layers[name] = None
    return tuple(layers)


def _require_adaptable(modules: Mapping[str, nn.Module], name: str) -> None:
    module = modules[name]
    if _inside_attention(modules, name):
        raise InputError(
            f"the target {name!r} of a LoRA",
            found="a part of torch.nn.MultiheadAttention, which reads that layer's weight without calling it",
            expected="a layer that is called",
            remedy='Target other layers, such as "linear1,linear2", or use separate q_proj, k_proj and v_proj',
        )
    if not isinstance(module, ADAPTABLE):
        raise InputError(
            f"the target {name!r} of a LoRA",
            found=f"a {type(module).__name__}",
            expected="a linear or convolution layer",
            remedy="Target the layers inside it",
        )


def _inside_attention(modules: Mapping[str, nn.Module], name: str) -> bool:
    return isinstance(modules.get(name.rpartition(".")[0]), nn.MultiheadAttention)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _some(names: list[str], most: int = 6) -> str:
    return (
        ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
        or "no linear layer"
    )
