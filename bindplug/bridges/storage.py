"""Bridges on disk: a directory of ``card.json`` and ``bridge.safetensors``."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor

from bindplug.bridges.base import Bridge
from bindplug.bridges.linear import LinearBridge
from bindplug.bridges.quality import BridgeReport, warn_of
from bindplug.bridges.vocabulary import VocabularyBridge
from bindplug.directories import Manifest, is_occupied, staged, verified, write_tensors
from bindplug.errors import CheckpointError, UnknownModality
from bindplug.imagebind.checkpoint_files import open_safetensors
from bindplug.space import EmbeddingSpace

if TYPE_CHECKING:
    from collections.abc import Mapping

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
KINDS: dict[str, type[Bridge]] = {"linear": LinearBridge, "vocabulary": VocabularyBridge}
CENTER = "center."
"""Prefix of the tensors with the mean of a modality's rows."""

B = TypeVar("B", bound=Bridge)


def load_bridge(path: str | Path) -> Bridge:
    """The bridge of a directory that ``save`` or ``bindplug bridge fit`` wrote, of whichever kind.

    Raises:
        WeightsNotFound: there is no bridge.
        CheckpointError: it is damaged.

    Warns:
        BridgeQuality: it maps poorly, or how well is unknown.
    """
    return read_bridge(path, Bridge)  # type: ignore[type-abstract]


def save_bridge(bridge: Bridge, path: str | Path, *, overwrite: bool = False) -> Path:
    """Write a bridge; see :meth:`Bridge.save`."""
    path = Path(path)
    if is_occupied(path) and not (path / CARD.file).is_file():
        raise CheckpointError(f"{path} exists and holds no bridge that could be replaced; give another path")
    with staged(path, overwrite=overwrite) as directory:
        tensors = {**bridge.tensors(), "target_mean": bridge.target_mean}
        tensors |= {CENTER + name: mean for name, (mean, _) in bridge.centers.items()}
        stored = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        CARD.write(directory, _card(bridge, write_tensors(stored, directory / WEIGHTS)))
    return path


def read_bridge(path: str | Path, wanted: type[B]) -> B:
    """The bridge at ``path``, which must be a ``wanted``; see :func:`load_bridge`."""
    path = Path(path).expanduser()
    card = read_card(path)
    kind = KINDS[card["kind"]]
    if not issubclass(kind, wanted):
        raise CheckpointError(f"{path} holds a {kind.__name__}, not a {wanted.__name__}; use load_bridge()")
    tensors = _read_tensors(path, card)
    try:
        spread = card["spread"]
        bridge = kind.restore(
            {name: tensor for name, tensor in tensors.items() if not name.startswith(CENTER)},
            card["parameters"],
            source=EmbeddingSpace(**card["source"]),
            target=EmbeddingSpace(**card["target"]),
            centers={name: (tensors[CENTER + name], float(spread[name])) for name in spread},
            target_mean=tensors["target_mean"],
            report=BridgeReport.from_dict(card["report"]),
            provenance=card["provenance"],
        )
        _check_means(bridge)
    except (KeyError, TypeError, ValueError, UnknownModality) as error:
        raise CheckpointError(f"{path / CARD.file} is damaged: {type(error).__name__}: {error}") from error
    warn_of(bridge.report, f"the bridge at {path}", stacklevel=4)
    return bridge


def read_card(path: str | Path) -> dict[str, Any]:
    """What a bridge's directory says about itself, its numbers not yet read.

    Raises:
        WeightsNotFound: there is no bridge.
        CheckpointError: the card is damaged or describes something else.
    """
    card = CARD.read(Path(path).expanduser())
    if card["kind"] not in KINDS:
        raise CheckpointError(f"{Path(path) / CARD.file} is damaged: unknown kind {card['kind']!r}")
    return card


def _card(bridge: Bridge, weights: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "kind": bridge.kind,
        "source": asdict(bridge.source),
        "target": asdict(bridge.target),
        "report": bridge.report.to_dict(),
        "provenance": bridge.provenance,
        "spread": {name: spread for name, (_, spread) in bridge.centers.items()},
        "parameters": bridge.parameters(),
        "file": {name: weights[name] for name in ("size_bytes", "sha256")},
    }


def _read_tensors(path: Path, card: Mapping[str, Any]) -> dict[str, Tensor]:
    file = verified(path / WEIGHTS, card["file"], remedy="fit the bridge again")
    # Cloned, so that the file may be replaced while the bridge is in use.
    tensors = {name: tensor.clone() for name, tensor in open_safetensors(file).items()}
    for name, tensor in tensors.items():
        if tensor.dtype != torch.float32 or not tensor.isfinite().all():
            raise CheckpointError(f"{file} is damaged: {name} is not of finite float32 numbers")
    return tensors


def _check_means(bridge: Bridge) -> None:
    for name, (mean, spread) in bridge.centers.items():
        if mean.shape != (bridge.source.width,) or not 0.0 <= spread < float("inf"):
            raise ValueError(f"the center of {name} does not fit {bridge.source}")
    if bridge.target_mean.shape != (bridge.target.width,):
        raise ValueError(f"the target's mean does not fit {bridge.target}")
