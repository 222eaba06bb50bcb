"""What makes a run this run, so that a checkpoint of another is refused."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from bindplug.training.batches import generators
from bindplug.training.data import PairDataset
from bindplug.training.recipe import BindingRecipe
from bindplug.training.scales import HeldOut
from bindplug.training.validation import Validation

SAMPLED_VALUES = 1024
"""So many values of each frozen tensor are compared."""


SETTINGS = (
    "heads",
    "num_heads",
    "p",
    "dropout",
    "scaling",
    "eps",
    "stride",
    "padding",
    "dilation",
    "groups",
)
"""Attributes of layers that change what is computed but no tensor's shape; ``scaling`` is that of peft's adapters."""


def identity_of(
    name: str,
    tower: nn.Module,
    pairs: PairDataset,
    recipe: BindingRecipe,
    precision: str,
    validation: Validation | None,
) -> dict[str, Any]:
    """Recipe, modality, pairs, shapes of what is trained, values of what is frozen, settings of layers; for JSON."""
    trained = {n: f"{tuple(p.shape)} {p.dtype}" for n, p in tower.named_parameters() if p.requires_grad}
    return {
        "name": name,
        "recipe": recipe.to_dict(),
        "precision": precision,
        "pairs": identity_of_pairs(pairs),
        "tower": trained,
        "frozen": digest_of_frozen(tower),
        "layers": settings_of_layers(tower),
        "validation": None if validation is None else _identity_of_validation(validation),
    }


def identity_of_pairs(pairs: PairDataset) -> dict[str, Any]:
    """Their number, and their own ``identity`` where they have any; else figures of the first, middle and last."""
    count = len(pairs)
    own = getattr(pairs, "identity", None)
    if isinstance(own, Mapping):
        return {"count": count, **{str(name): str(value) for name, value in own.items()}}
    if own is not None:
        return {"count": count, "identity": str(own)}
    indices = torch.tensor([0, count // 2, count - 1])
    with torch.no_grad():
        of_anchors, of_samples = generators(0, "identity", 0, 0)
        tensors = (pairs.anchors(indices, of_anchors), pairs.samples(indices, of_samples))
    figures = [_figures(row) for tensor in tensors for row in tensor]
    return {"count": count, "figures": figures}


def settings_of_layers(tower: nn.Module) -> dict[str, str]:
    """The values of :data:`SETTINGS` among layers of a class, as ``{"Attention.heads": "4"}``."""
    values: dict[str, set[str]] = {}
    for module in tower.modules():
        for name in SETTINGS:
            value = vars(module).get(name)
            if isinstance(value, (int, float, str, tuple, dict)) and value not in ((), {}):
                values.setdefault(f"{type(module).__name__}.{name}", set()).add(str(value))
    return {name: ", ".join(sorted(texts)) for name, texts in sorted(values.items())}


def digest_of_frozen(tower: nn.Module) -> str:
    """Hex digest over names, shapes and sampled values of the parameters that are not trained; "" if all are."""
    digest, any_frozen = hashlib.sha256(), False
    for name, parameter in tower.named_parameters():
        if parameter.requires_grad:
            continue
        any_frozen = True
        values = parameter.detach().flatten()
        stride = max(1, len(values) // SAMPLED_VALUES)
        sample = values[::stride].float().cpu().contiguous()
        digest.update(f"{name} {tuple(parameter.shape)}".encode())
        digest.update(sample.numpy().tobytes())
    return digest.hexdigest() if any_frozen else ""


def _identity_of_validation(validation: Validation) -> dict[str, Any]:
    data = validation.data
    return {
        "metric": validation.chosen_metric,
        "every_epochs": validation.every_epochs,
        "patience": validation.patience,
        "count": len(data.inputs) if isinstance(data, HeldOut) else len(data),
    }


def _figures(row: Tensor) -> list[float]:
    """A row's mean and root mean square; both within 1e-3 on any machine."""
    values = row.detach().double().cpu()
    return [float(values.mean()), float(values.square().mean().sqrt())]
