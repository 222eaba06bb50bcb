"""A model as a directory: ``config.json`` and one safetensors file a tower, under official names."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bindplug.directories import Manifest, check_dtype, damage_named, staged, verified, write_tensors
from bindplug.errors import CheckpointError
from bindplug.fingerprint import Fingerprint
from bindplug.imagebind.checkpoint_files import open_official, open_safetensors
from bindplug.imagebind.config import ImageBindConfig, resolve_towers
from bindplug.imagebind.model import ImageBind
from bindplug.imagebind.official_names import TEXT_MASK, TEXT_SCALE, tower_of
from bindplug.imagebind.official_weights import (
    OfficialWeights,
    check_finite,
    check_mask,
    check_state,
)
from bindplug.imagebind.same_weights import fingerprint_of, fingerprint_of_files
from bindplug.modality import TOWERS, Modality
from bindplug.space import EmbeddingSpace

MANIFEST = Manifest(
    "bindplug-imagebind",
    version=1,
    holds="bindplug model",
    fields={"config": dict, "embedding_space": dict, "towers": dict},
)
CENTERS = "centers.safetensors"


def save_directory(
    model: ImageBind,
    path: str | Path,
    *,
    dtype: torch.dtype | None = None,
    license: str = "",
    source: str = "",
    extra: Mapping[str, Any] | None = None,
    overwrite: bool = False,
) -> Path:
    """Write a model's towers as a directory that :func:`load_directory` reads; all of it or nothing.

    Args:
        model: whole or in part.
        path: the directory to make; it may exist if it is empty.
        dtype: float32, float16 or bfloat16 to convert to; the model's own for None. Scales stay float32.
        license: of the weights, as an SPDX identifier.
        source: where the weights come from, for a reader of the manifest.
        extra: further JSON-ready fields for the manifest.
        overwrite: whether to replace a directory that is not empty.

    Returns:
        The directory.

    Raises:
        CheckpointError: ``path`` is occupied, or ``dtype`` is none of the three.
    """
    path = Path(path)
    if dtype is not None:
        check_dtype(dtype)
    with staged(path, overwrite=overwrite) as directory:
        manifest = {
            "config": model.config.to_dict(),
            "embedding_space": asdict(model.embedding_space),
            "fingerprint": None if model.fingerprint is None else str(model.fingerprint),
            "license": license,
            "source": source,
            "dtype": str(dtype or model.dtype).removeprefix("torch."),
            "logit_scale": float(model.logit_scale.detach()),
            "towers": _write_towers(model, directory, dtype),
            **({"similarity_scales": dict(model.similarity_scales)} if model.similarity_scales else {}),
            **({"centers": _write_centers(model, directory)} if model.centers else {}),
            **(extra or {}),
        }
        MANIFEST.write(directory, manifest)
    return path


def read_manifest(path: str | Path) -> dict[str, Any]:
    """The manifest of a model directory; its format is checked, its weights are not.

    Raises:
        CheckpointError: ``config.json`` is damaged or describes something else.
        WeightsNotFound: there is no such directory, or it has no ``config.json``.
    """
    return MANIFEST.read(path)


def load_directory(
    path: str | Path,
    modalities: Collection[str] | None = None,
    *,
    device: str | torch.device = "cpu",
    dtype: torch.dtype | None = None,
) -> ImageBind:
    """The model of a directory; only the files of the selected towers are opened.

    Args:
        path: what :func:`save_directory` wrote.
        modalities: whose towers to load; all the directory has for None.
        device: where to put the weights.
        dtype: to convert the weights to; the files' own for None.

    Returns:
        The model in evaluation mode.

    Raises:
        CheckpointError: the manifest or a tower's file is missing, damaged or of another network; the
            tower is named.
        WeightsNotFound: there is no such directory.
    """
    path, manifest = Path(path), read_manifest(path)
    with damage_named(path / MANIFEST.file):
        config = ImageBindConfig.from_dict(manifest["config"])
        space = EmbeddingSpace.from_dict(manifest["embedding_space"])
        if space.width != config.embed_dim:
            raise ValueError(f"embeddings of width {config.embed_dim} in {space}")
    stored = tuple(tower for tower in TOWERS if tower in manifest["towers"])
    towers = stored if modalities is None else resolve_towers(modalities)
    tensors: dict[str, Tensor] = {}
    for tower in towers:
        if tower not in stored:
            raise CheckpointError(f"{path} has no {tower} tower; it has {', '.join(stored) or 'none'}")
        tensors |= _read_tower(path, tower, manifest["towers"][tower])
    with damage_named(path):
        return _assembled(path, manifest, tensors, config, towers, space, device, dtype)


def _assembled(
    path: Path,
    manifest: Mapping[str, Any],
    tensors: dict[str, Tensor],
    config: ImageBindConfig,
    towers: tuple[str, ...],
    space: EmbeddingSpace,
    device: str | torch.device,
    dtype: torch.dtype | None,
) -> ImageBind:
    check_state(tensors, towers, config, what=str(path))
    check_finite(tensors, str(path))
    if TEXT_MASK in tensors:
        check_mask(tensors[TEXT_MASK], str(path))
    if TEXT_SCALE not in tensors and isinstance(manifest.get("logit_scale"), float):
        if not math.isfinite(manifest["logit_scale"]):
            raise CheckpointError(
                f"{path / MANIFEST.file} is damaged: logit_scale is {manifest['logit_scale']}"
            )
        tensors[TEXT_SCALE] = torch.tensor(manifest["logit_scale"])
    fingerprint = _fingerprint(path, manifest)
    if fingerprint is not None and space.fingerprint is None:
        space = replace(space, fingerprint=str(fingerprint))
    weights = OfficialWeights(tensors, config, towers, space, fingerprint)
    model = ImageBind.from_weights(weights, device=device, dtype=dtype)
    model.similarity_scales = _read_scales(path, manifest.get("similarity_scales", {}))
    if "centers" in manifest:
        model.centers = _read_centers(path, manifest["centers"], space.width)
    return model


def read_fingerprint(path: str | Path) -> Fingerprint | None:
    """The fingerprint of the image and text towers on disk, which are mapped and not loaded; None if one is absent.

    Args:
        path: an official checkpoint, or a converted directory; this one may store the fingerprint of towers that it
            does not hold.

    Raises:
        CheckpointError: the file or the directory is damaged.
        WeightsNotFound: there is none.
    """
    path = Path(path)
    return _fingerprint(path, read_manifest(path)) if path.is_dir() else fingerprint_of(open_official(path))


def _fingerprint(path: Path, manifest: Mapping[str, Any]) -> Fingerprint | None:
    """As stored, or of the files of a directory that stores none."""
    text = manifest.get("fingerprint")
    if text is None:
        return fingerprint_of_files(path)
    fingerprint = Fingerprint.parse(text) if isinstance(text, str) else None
    if fingerprint is None:
        raise CheckpointError(f"{path / MANIFEST.file} is damaged: its fingerprint cannot be read")
    return fingerprint


def _write_towers(model: ImageBind, directory: Path, dtype: torch.dtype | None) -> dict[str, dict[str, Any]]:
    written = {}
    state = model.official_state_dict()
    for tower in model.towers:
        tensors = {
            name: _stored(name, tensor, dtype) for name, tensor in state.items() if tower_of(name) == tower
        }
        file = directory / f"{tower}.safetensors"
        parameters = sum(tensor.numel() for name, tensor in tensors.items() if name != TEXT_MASK)
        entry = write_tensors(tensors, file, {"tower": tower})
        written[tower] = entry | {"parameters": parameters}
    return written


def _read_scales(path: Path, scales: Any) -> dict[str, float]:
    """The factors on cosines by modality, checked: a negative one would turn every ranking around."""
    names = {modality.value for modality in Modality}
    sound = isinstance(scales, dict) and all(
        name in names and type(scale) in (int, float) and 0 < scale < math.inf
        for name, scale in scales.items()
    )
    if not sound:
        raise CheckpointError(f"{path / MANIFEST.file} is damaged: similarity_scales is {scales!r}")
    return {name: float(scale) for name, scale in scales.items()}


def _write_centers(model: ImageBind, directory: Path) -> dict[str, Any]:
    """The mean row of each modality, in a file of its own, so that a model of any towers can read it."""
    rows = {name: row.detach().float().cpu().contiguous() for name, row in model.centers.items()}
    return write_tensors(rows, directory / CENTERS)


def _read_centers(path: Path, entry: Any, width: int) -> dict[str, Tensor]:
    rows = open_safetensors(verified(path / CENTERS, entry, what="the file of modality centers"))
    for name, row in rows.items():
        if row.shape != (width,) or not row.isfinite().all():
            raise CheckpointError(
                f"{path / CENTERS} is damaged: the center of {name} is no row of {width} numbers"
            )
    return rows


def _stored(name: str, tensor: Tensor, dtype: torch.dtype | None) -> Tensor:
    scale = name.endswith("log_logit_scale")
    return tensor.detach().to("cpu", torch.float32 if scale else dtype).contiguous()


def _read_tower(path: Path, tower: str, entry: Any) -> dict[str, Tensor]:
    file = verified(path / f"{tower}.safetensors", entry, what=f"the {tower} tower")
    return open_safetensors(file)
