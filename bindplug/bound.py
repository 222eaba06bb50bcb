"""A tower that was bound to another model's space, as a directory: the new sense, and the anchor for the rest.

model = bindplug.load("my-ear")                             # sounds by the new tower, pictures and text by the anchor
model = bindplug.load("my-ear", modalities={"audio"})       # the tower alone; the anchor's library is not needed
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import nn

from bindplug.array_tower import ArrayTower
from bindplug.bound_encoder import BoundEncoder
from bindplug.directories import Manifest, damage_named, verified, write_tensors
from bindplug.encoder import Encoder
from bindplug.errors import (
    BindplugError,
    CheckpointError,
    InputError,
    SpaceMismatch,
)
from bindplug.fingerprint import Fingerprint, same_fingerprints
from bindplug.imagebind import ImageBind, load_directory, save_directory
from bindplug.imagebind.checkpoint_files import open_safetensors
from bindplug.modality import Modality
from bindplug.plugins import registry
from bindplug.space import EmbeddingSpace

__all__ = [
    "BOUND",
    "ArrayTower",
    "BoundEncoder",
    "absolute_id",
    "is_bound",
    "load_bound",
    "relocated_id",
    "write_bound",
]

BOUND = Manifest(
    "bindplug-bound",
    version=1,
    holds="bound tower",
    fields={"sense": str, "embedding_space": dict, "anchor": dict, "tower": dict},
)
"""``config.json`` of a bound tower's directory."""

TOWER = "tower"
"""Sub-directory with an ImageBind tower, or stem of the file with any other."""

Load = Callable[..., Encoder]


def write_bound(
    directory: Path,
    *,
    sense: str,
    tower: nn.Module,
    anchor: Encoder,
    anchor_id: str,
    scale: float,
    anchor_modalities: Sequence[str] = (),
    similarity_scale: float | None = None,
    license: str = "",
    source: str = "bindplug bind",
    extra: Mapping[str, Any] | None = None,
) -> None:
    """Write a bound tower's files and manifest into a directory that is there, such as a staged one.

    Args:
        directory: to write into.
        sense: that the tower embeds.
        tower: an :class:`ImageBind` with that tower, an :class:`ArrayTower`, or any network of a sense of one's own, of
            which only the weights are written.
        anchor: that it was bound to.
        anchor_id: by which :func:`bindplug.load` finds the anchor; a directory's path is kept absolute.
        scale: factor on cosines of training.
        anchor_modalities: what the anchor embeds when it is loaded whole; by default what ``anchor`` was loaded with.
        similarity_scale: fitted on held-out pairs.
        license: of the tower's weights.
        source: what made them.
        extra: further JSON-ready fields of the manifest.
    """
    fingerprint = anchor.fingerprint
    if isinstance(tower, ImageBind):
        save_directory(tower, directory / TOWER, license=license, source=source)
        entry: dict[str, Any] = {"kind": "imagebind", "directory": TOWER}
    else:
        state = {name: value.detach().cpu().contiguous() for name, value in tower.state_dict().items()}
        entry = (
            {"kind": "array", "config": tower.to_dict()} if isinstance(tower, ArrayTower) else {"kind": "own"}
        )
        entry |= {"weights": write_tensors(state, directory / f"{TOWER}.safetensors")}
    manifest = {
        "sense": sense,
        "embedding_space": asdict(anchor.embedding_space),
        "anchor": {
            "id": absolute_id(anchor_id),
            "modalities": list(anchor_modalities or anchor.modalities),
            "fingerprint": None if fingerprint is None else str(fingerprint),
        },
        "tower": entry,
        "scale": scale,
        "similarity_scale": similarity_scale,
        "license": license,
        "source": source,
        **(extra or {}),
    }
    BOUND.write(directory, manifest)


def absolute_id(model: str) -> str:
    """A model's id that still holds from another working directory: paths become absolute."""
    if model and model not in registry().models and Path(model).expanduser().exists():
        return str(Path(model).expanduser().absolute())
    for prefix, place in _splits(model):
        looks_like_path = place.startswith((".", "~")) or os.sep in place
        if looks_like_path and Path(place).expanduser().exists():
            return prefix + str(Path(place).expanduser().absolute())
    return model


def relocated_id(directory: Path, model: str) -> str:
    """The id that a directory keeps of another model; of one that moved together with the directory, its new place."""
    for prefix, place in _splits(model):
        beside = directory.absolute().parent / Path(place).name
        if Path(place).is_absolute() and not Path(place).exists() and beside.exists():
            return f"{prefix}{beside}"
    return model


def _splits(model: str) -> list[tuple[str, str]]:
    """What may stand before a path in an id, and the path: none, a scheme, or a scheme and an architecture."""
    ends = [0, *(place + 1 for place, character in enumerate(model) if character == ":")]
    return [(model[:end], model[end:]) for end in ends]


def is_bound(directory: Path) -> bool:
    """Whether a directory holds a bound tower; False for any other, damaged ones included."""
    try:
        BOUND.read(directory)
    except BindplugError as error:
        return isinstance(error, CheckpointError) and "format version" in str(error)
    return True


def load_bound(
    directory: str | Path,
    modalities: Collection[str] | None = None,
    *,
    load: Load,
    tower: nn.Module | None = None,
    device: str | torch.device = "cpu",
    dtype: torch.dtype | None = None,
) -> BoundEncoder:
    """The encoder of a bound tower's directory.

    Args:
        directory: what ``bindplug bind`` wrote.
        modalities: those to offer; all of the anchor's and the sense for None.
        load: loads the anchor, as :func:`bindplug.load` does.
        tower: the network of a sense of one's own that was built by the user's code, which is never run from a
            directory; its weights are replaced by the stored ones.
        device: where the tower goes, and the anchor once it is needed.
        dtype: of the weights.

    Raises:
        CheckpointError: the directory is damaged, or holds a tower whose code is not known and ``tower`` is None.
        InputError: ``modalities`` names one that neither the tower nor the anchor embeds.
    """
    path = Path(directory)
    manifest = BOUND.read(path)
    with damage_named(path / BOUND.file):
        sense, anchor = manifest["sense"], manifest["anchor"]
        space = EmbeddingSpace.from_dict(manifest["embedding_space"])
        scale: Any = manifest.get("scale")
        fitted: Any = manifest.get("similarity_scale")
        if not _is_scale(scale) or not (fitted is None or _is_scale(fitted)):
            raise ValueError(f"scale {scale!r} and similarity_scale {fitted!r}")
        if not isinstance(anchor.get("id"), str) or not isinstance(anchor.get("modalities"), list):
            raise ValueError("the anchor has no id or no modalities")
        text = anchor.get("fingerprint")
        fingerprint = Fingerprint.parse(text) if isinstance(text, str) else None
        known = {modality.value for modality in Modality}
        available = {name for name in anchor["modalities"] if name in known} | ({sense} & known)
    names = available if modalities is None else {Modality.parse(name).value for name in modalities}
    if names - available:
        raise InputError(
            f"load({str(path)!r})",
            found=f"modalities {sorted(names - available)}",
            expected=f"some of {sorted(available)}",
        )
    network = _read_tower(path, manifest, sense, tower, device, dtype)

    def load_anchor() -> Encoder:
        others = names - {sense} or None
        loaded = load(relocated_id(path, anchor["id"]), modalities=others, device=device, dtype=dtype)
        _ensure_same(loaded, space, text if isinstance(text, str) else None, path, anchor["id"])
        return loaded

    return BoundEncoder(
        sense,
        network,
        space,
        modalities=[modality.value for modality in Modality if modality.value in names],
        load_anchor=load_anchor,
        scale=float(scale),
        similarity_scale=None if fitted is None else float(fitted),
        fingerprint=fingerprint,
    )


def _is_scale(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value < float("inf")


def _ensure_same(
    anchor: Encoder, space: EmbeddingSpace, fingerprint: str | None, path: Path, anchor_id: str
) -> None:
    doing = f"{path}, which was bound to {anchor_id},"
    same = anchor.embedding_space
    if (space.name, space.width) != (same.name, same.width) and anchor.fingerprint is None:
        space.ensure(same, doing=doing)
    if space.width != same.width:
        space.ensure(same, doing=doing)
    if fingerprint is None or anchor.fingerprint is None:
        if not space.matches(same):
            space.ensure(same, doing=doing)
        return
    if not same_fingerprints(fingerprint, str(anchor.fingerprint)):
        raise SpaceMismatch(
            f"{doing} needs the weights {fingerprint[:8]}, but {anchor_id} now has {str(anchor.fingerprint)[:8]}: rows "
            f"of the two cannot be compared. Restore that version of the anchor, or bind again; "
            f"load({str(path)!r}, modalities=...) with the sense alone still embeds"
        )


def _read_tower(
    path: Path,
    manifest: Mapping[str, Any],
    sense: str,
    tower: nn.Module | None,
    device: str | torch.device,
    dtype: torch.dtype | None,
) -> nn.Module:
    entry = manifest["tower"]
    if entry.get("kind") == "imagebind":
        return load_directory(path / TOWER, {sense}, device=device, dtype=dtype).eval()
    file = verified(path / f"{TOWER}.safetensors", entry.get("weights"), what="the tower")
    state = open_safetensors(file)
    network: nn.Module
    with damage_named(path):
        if entry.get("kind") == "array":
            network = ArrayTower.from_dict(entry["config"])
        elif tower is not None:
            network = tower
        else:
            raise CheckpointError(
                f"{path} holds the weights of a tower that was built by your own code, which is never run from a "
                f"directory. Build it, then: bindplug.bound.load_bound({str(path)!r}, load=bindplug.load, tower=...)"
            )
        network.load_state_dict(state)
    return network.to(device, dtype).eval()
