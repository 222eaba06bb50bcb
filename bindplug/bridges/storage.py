"""Bridges on disk: a directory of ``card.json`` and ``bridge.safetensors``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bindplug.directories import Manifest, is_occupied, staged, verified, write_tensors
from bindplug.errors import CheckpointError
from bindplug.imagebind import open_safetensors

CARD = Manifest(
    "bindplug-bridge",
    version=1,
    holds="bridge",
    fields={
        "kind": str,
        "source": dict,
        "target": dict,
        "spread": dict,
        "parameters": dict,
        "report": dict,
        "provenance": dict,
        "file": dict,
    },
    file="card.json",
    remedy="`bindplug bridge fit` makes one",
)
WEIGHTS = "bridge.safetensors"


def write_bridge(
    path: str | Path, card: Mapping[str, Any], tensors: Mapping[str, Tensor], *, overwrite: bool = False
) -> Path:
    """Write a card and tensors as a directory; all of it or nothing.

    Args:
        path: the directory to make; it may exist if it is empty.
        card: what :data:`CARD` asks for, but ``file``; JSON-ready.
        tensors: by name.
        overwrite: whether to replace a bridge that is there.

    Returns:
        The directory.

    Raises:
        CheckpointError: ``path`` is occupied, with ``overwrite`` by something else than a bridge.
    """
    path = Path(path)
    if is_occupied(path) and not (path / CARD.file).is_file():
        raise CheckpointError(f"{path} exists and holds no bridge that could be replaced; give another path")
    with staged(path, overwrite=overwrite) as directory:
        stored = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        entry = write_tensors(stored, directory / WEIGHTS)
        CARD.write(directory, {**card, "file": {name: entry[name] for name in ("size_bytes", "sha256")}})
    return path


def read_card(path: str | Path) -> dict[str, Any]:
    """The card of a bridge's directory; its numbers are not read.

    Raises:
        WeightsNotFound: there is no bridge.
        CheckpointError: the card is damaged or describes something else.
    """
    return CARD.read(Path(path).expanduser())


def read_tensors(path: Path, card: Mapping[str, Any]) -> dict[str, Tensor]:
    """The numbers of a bridge's directory, by name.

    Raises:
        CheckpointError: the file does not match the card, or its numbers are not finite float32.
    """
    file = verified(path / WEIGHTS, card["file"], remedy="fit the bridge again")
    # Cloned, so that the file may be replaced while the bridge is in use.
    tensors = {name: tensor.clone() for name, tensor in open_safetensors(file).items()}
    for name, tensor in tensors.items():
        if tensor.dtype != torch.float32 or not tensor.isfinite().all():
            raise CheckpointError(f"{file} is damaged: {name} is not of finite float32 numbers")
    return tensors
