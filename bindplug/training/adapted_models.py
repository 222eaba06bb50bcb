"""Models that directories of adapters stand for: a base by its id, with the adapters on it."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import torch

from bindplug.bound import BOUND, is_bound, relocated_id
from bindplug.bound_encoder import BoundEncoder
from bindplug.directories import damage_named
from bindplug.encoder import Encoder
from bindplug.errors import CheckpointError
from bindplug.imagebind import ImageBind
from bindplug.modality import Modality
from bindplug.plugins import registry
from bindplug.training.adapter_directory import MANIFEST, is_adapter_directory, load_adapters
from bindplug.training.adapters import SPACE_TOWERS, has_adapters, merge_adapters

LONGEST_CHAIN = 64
"""Directories that name each other as bases; more are taken for a circle."""


def load_adapted(
    directory: str | Path,
    *,
    modalities: Collection[str] | None = None,
    device: str | torch.device = "cpu",
    dtype: torch.dtype | None = None,
) -> Encoder:
    """The base that a directory of adapters names, with the adapters; what :func:`bindplug.load` does with one.

    The base is an ImageBind, a bound tower, or another directory of adapters, which are merged before these are put on.

    Args:
        directory: what :func:`save_adapters` wrote.
        modalities: as in :func:`bindplug.load`; the adapters are read only if their tower is among them.
        device: where the weights go.
        dtype: of the base's weights; adapters stay float32.

    Raises:
        CheckpointError: the card names no base or one that takes no adapters, or the base is another than the adapters
            were trained on.
        UnknownModel, WeightsNotFound: the base is not on this machine.
    """
    from bindplug.models import load

    directory = Path(directory)
    card = MANIFEST.read(directory)
    _refuse_circle(directory)
    base = base_of(directory)
    if not base:
        raise CheckpointError(
            f"{directory} does not say which base its adapters belong to; load the base, then call "
            f"bindplug.training.load_adapters(base, {str(directory)!r})"
        )
    _refuse_own_code(directory, base)
    model = load(base, modalities=modalities, device=device, dtype=dtype)
    if not isinstance(model, ImageBind | BoundEncoder):
        raise CheckpointError(
            f"the base of {directory} is {base!r}, a {type(model).__name__}; adapters belong on an ImageBind or a "
            f"bound tower"
        )
    if has_adapters(model):
        merge_adapters(model)
    if isinstance(model, BoundEncoder):
        if card["modality"] != model.sense:
            raise CheckpointError(
                f"the adapters in {directory} are of {card['modality']}, and their base {base!r} is bound for "
                f"{model.sense}"
            )
        load_adapters(model, directory)
    else:
        with damage_named(directory / MANIFEST.file):
            tower = Modality.parse(card["modality"]).tower
        if tower in model.towers:
            load_adapters(model, directory)
    return model.eval()


def base_of(directory: str | Path) -> str:
    """The id of the model that a directory's adapters belong to; empty if it names none.

    Raises:
        CheckpointError: the directory is damaged.
        WeightsNotFound: there is none, or it holds no adapters.
    """
    return relocated_id(Path(directory), str(MANIFEST.read(directory)["base"]))


def anchor_of(model: str) -> str:
    """The id of the model whose image tower gives a model its space.

    Of a bound tower that is what it was bound to, and of adapters on another sense their base's anchor; any other model
    is its own.

    Args:
        model: what :func:`bindplug.load` takes.

    Raises:
        CheckpointError: a directory is damaged, or directories name each other in a circle.
    """
    for _ in range(LONGEST_CHAIN):
        path = Path(model).expanduser()
        if model in registry().models or not path.is_dir():
            return model
        if is_bound(path):
            anchor = BOUND.read(path)["anchor"].get("id")
            if not isinstance(anchor, str):
                raise CheckpointError(f"{path / BOUND.file} is damaged: the anchor has no id")
            model = relocated_id(path, anchor)
        elif is_adapter_directory(path):
            with damage_named(path / MANIFEST.file):
                modality = MANIFEST.read(path)["modality"]
                moves_space = modality in {m.value for m in Modality if m.tower in SPACE_TOWERS}
            base = "" if moves_space else base_of(path)
            if not base:
                return model
            model = base
        else:
            return model
    raise CheckpointError(f"the directories that {model!r} leads to name each other as bases in a circle")


def _refuse_own_code(directory: Path, base: str) -> None:
    path = Path(base).expanduser()
    if base in registry().models or not is_bound(path) or BOUND.read(path)["tower"].get("kind") != "own":
        return
    raise CheckpointError(
        f"the base of {directory} is {base}, a tower that was built by your own code, which is never run from a "
        f"directory. Build it, then: model = bindplug.bound.load_bound({base!r}, load=bindplug.load, tower=...); "
        f"bindplug.training.load_adapters(model, {str(directory)!r})"
    )


def _refuse_circle(directory: Path) -> None:
    path = directory
    for _ in range(LONGEST_CHAIN):
        base = base_of(path)
        path = Path(base).expanduser()
        if not base or base in registry().models or not is_adapter_directory(path):
            return
    raise CheckpointError(f"the base of {directory} leads back to it; adapters need a base that is whole")
