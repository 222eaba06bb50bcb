"""Bridges on disk: a directory of ``card.json`` and ``bridge.safetensors``."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from bindplug.bridges.base import Bridge
from bindplug.bridges.linear import LinearBridge
from bindplug.bridges.quality import BridgeReport, warn_of
from bindplug.bridges.vocabulary import VocabularyBridge
from bindplug.errors import CheckpointError, UnknownModality, WeightsNotFound
from bindplug.imagebind.directory import replace_directory, sha256_of
from bindplug.space import EmbeddingSpace

if TYPE_CHECKING:
    from collections.abc import Mapping

FORMAT = "bindplug-bridge"
FORMAT_VERSION = 1
CARD = "card.json"
WEIGHTS = "bridge.safetensors"
KINDS: dict[str, type[Bridge]] = {"linear": LinearBridge, "vocabulary": VocabularyBridge}
CENTRE = "centre."
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
    occupied = path.exists() and (not path.is_dir() or any(path.iterdir()))
    if occupied and not (overwrite and (path / CARD).is_file()):
        remedy = (
            "overwrite it" if (path / CARD).is_file() else "and it holds no bridge that could be replaced"
        )
        raise CheckpointError(f"{path} exists; give another path, or {remedy}".replace("or and", "and"))
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        tensors = {**bridge.tensors(), "target_mean": bridge.target_mean}
        tensors |= {CENTRE + name: mean for name, (mean, _) in bridge.centres.items()}
        stored = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        save_file(stored, partial / WEIGHTS, metadata={"format": "pt"})
        card = _card(bridge, partial / WEIGHTS)
        (partial / CARD).write_text(json.dumps(card, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        partial.chmod(0o755)
        replace_directory(partial, path)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
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
            {name: tensor for name, tensor in tensors.items() if not name.startswith(CENTRE)},
            card["parameters"],
            source=EmbeddingSpace(**card["source"]),
            target=EmbeddingSpace(**card["target"]),
            centres={name: (tensors[CENTRE + name], float(spread[name])) for name in spread},
            target_mean=tensors["target_mean"],
            report=BridgeReport.from_dict(card["report"]),
            provenance=card["provenance"],
        )
        _check_means(bridge)
    except (KeyError, TypeError, ValueError, UnknownModality) as error:
        raise CheckpointError(f"{path / CARD} is damaged: {type(error).__name__}: {error}") from error
    warn_of(bridge.report, f"the bridge at {path}", stacklevel=4)
    return bridge


def read_card(path: str | Path) -> dict[str, Any]:
    """What a bridge's directory says about itself, its numbers not yet read.

    Raises:
        WeightsNotFound: there is no bridge.
        CheckpointError: the card is damaged or describes something else.
    """
    file = Path(path).expanduser() / CARD
    if not file.is_file():
        raise WeightsNotFound(
            f"there is no bridge at {str(path)!r}: it has no {CARD}. `bindplug bridge fit` makes one"
        )
    try:
        card = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise CheckpointError(f"{file} is damaged: {error}") from error
    if not isinstance(card, dict) or card.get("format") != FORMAT:
        raise CheckpointError(f"{file} does not describe a bridge (no format {FORMAT!r})")
    if card.get("format_version") != FORMAT_VERSION:
        found = card.get("format_version")
        raise CheckpointError(f"{file} has format version {found!r}; this bindplug reads {FORMAT_VERSION}")
    fields = ("kind", "source", "target", "spread", "parameters", "report", "provenance", "file")
    missing = [name for name in fields if name not in card]
    if missing or card["kind"] not in KINDS:
        reason = f"it lacks {', '.join(missing)}" if missing else f"unknown kind {card['kind']!r}"
        raise CheckpointError(f"{file} is damaged: {reason}")
    return card


def _card(bridge: Bridge, weights: Path) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "kind": bridge.kind,
        "source": _space(bridge.source),
        "target": _space(bridge.target),
        "report": bridge.report.to_dict(),
        "provenance": bridge.provenance,
        "spread": {name: spread for name, (_, spread) in bridge.centres.items()},
        "parameters": bridge.parameters(),
        "file": {"size_bytes": weights.stat().st_size, "sha256": sha256_of(weights)},
    }


def _space(space: EmbeddingSpace) -> dict[str, Any]:
    return {"name": space.name, "width": space.width, "fingerprint": space.fingerprint}


def _read_tensors(path: Path, card: Mapping[str, Any]) -> dict[str, Tensor]:
    file, expected = path / WEIGHTS, card["file"]
    if not file.is_file():
        raise CheckpointError(f"{path} is incomplete: there is no {WEIGHTS}; fit the bridge again")
    if not isinstance(expected, dict) or sha256_of(file) != expected.get("sha256"):
        raise CheckpointError(f"{file} is damaged: it does not match its checksum; fit the bridge again")
    try:
        with safe_open(str(file), framework="pt", device="cpu") as opened:
            # Cloned, so that the file may be replaced while the bridge is in use.
            tensors = {name: opened.get_tensor(name).clone() for name in opened.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(f"{file} is not a whole safetensors file ({error})") from error
    for name, tensor in tensors.items():
        if tensor.dtype != torch.float32 or not tensor.isfinite().all():
            raise CheckpointError(f"{file} is damaged: {name} is not of finite float32 numbers")
    return tensors


def _check_means(bridge: Bridge) -> None:
    for name, (mean, spread) in bridge.centres.items():
        if mean.shape != (bridge.source.width,) or not 0.0 <= spread < float("inf"):
            raise ValueError(f"the centre of {name} does not fit {bridge.source}")
    if bridge.target_mean.shape != (bridge.target.width,):
        raise ValueError(f"the target's mean does not fit {bridge.target}")
