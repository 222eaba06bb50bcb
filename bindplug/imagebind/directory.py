"""A model as a directory: ``config.json`` and one safetensors file a tower, under official names."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from bindplug.errors import CheckpointError, WeightsNotFound
from bindplug.imagebind.config import ImageBindConfig, asked_towers
from bindplug.imagebind.names import TEXT_MASK, TEXT_SCALE, tower_of
from bindplug.imagebind.official import account, assemble, check_mask
from bindplug.imagebind.safe_tensors import open_safetensors
from bindplug.imagebind.sparse_rows import pack_sparse_rows
from bindplug.modality import TOWERS
from bindplug.space import EmbeddingSpace

if TYPE_CHECKING:
    from bindplug.imagebind.model import ImageBind

FORMAT = "bindplug-imagebind"
FORMAT_VERSION = 1
MANIFEST = "config.json"
CENTRES = "centres.safetensors"
DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


def save_directory(
    model: ImageBind,
    path: str | Path,
    *,
    dtype: torch.dtype | None = None,
    licence: str = "",
    source: str = "",
    extra: Mapping[str, Any] | None = None,
    overwrite: bool = False,
) -> Path:
    """Write a model's towers as a directory that :func:`load_directory` reads; all of it or nothing.

    Args:
        model: whole or in part.
        path: the directory to make; it may exist if it is empty.
        dtype: float32, float16 or bfloat16 to convert to; the model's own for None. Scales stay float32.
        licence: of the weights, as an SPDX identifier.
        source: where the weights come from, for a reader of the manifest.
        extra: further JSON-ready fields for the manifest.
        overwrite: whether to replace a directory that is not empty.

    Returns:
        The directory.

    Raises:
        CheckpointError: ``path`` is occupied, or ``dtype`` is none of the three.
    """
    path = Path(path)
    if dtype is not None and dtype not in DTYPES.values():
        raise CheckpointError(f"cannot write weights as {dtype}; expected one of {', '.join(DTYPES)}")
    if path.exists() and not overwrite and (not path.is_dir() or any(path.iterdir())):
        raise CheckpointError(f"{path} exists; give another path, or overwrite=True to replace it")
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        towers = _write_towers(model, partial, dtype)
        space = model.embedding_space
        manifest = {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "config": model.config.to_dict(),
            "embedding_space": {
                "name": space.name,
                "width": space.width,
                "fingerprint": space.fingerprint,
            },
            "licence": licence,
            "source": source,
            "dtype": str(dtype or model.dtype).removeprefix("torch."),
            "logit_scale": float(model.logit_scale.detach()),
            "towers": towers,
            **({"centres": _write_centres(model, partial)} if model.centres else {}),
            **(extra or {}),
        }
        (partial / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
        partial.chmod(0o755)
        replace_directory(partial, path)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return path


def read_manifest(path: str | Path) -> dict[str, Any]:
    """What a model directory says about itself, checked for format, not for content of its weights.

    Raises:
        CheckpointError: ``config.json`` is damaged or describes something else.
        WeightsNotFound: there is no such directory, or it has no ``config.json``.
    """
    file = Path(path) / MANIFEST
    if not file.is_file():
        raise WeightsNotFound(f"there is no model directory at {path}: it has no {MANIFEST}")
    try:
        manifest = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise CheckpointError(f"{file} is damaged: {error}") from error
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise CheckpointError(f"{file} does not describe a bindplug model (no format {FORMAT!r})")
    version = manifest.get("format_version")
    if version != FORMAT_VERSION:
        raise CheckpointError(
            f"{file} has format version {version!r}; this bindplug reads version {FORMAT_VERSION}"
        )
    missing = [name for name in ("config", "embedding_space", "towers") if name not in manifest]
    if missing or not isinstance(manifest["towers"], dict):
        raise CheckpointError(f"{file} is damaged: it lacks {', '.join(missing) or 'a list of towers'}")
    return manifest


def load_directory(
    path: str | Path,
    modalities: Collection[str] | None = None,
    *,
    device: str | torch.device = "cpu",
    dtype: torch.dtype | None = None,
) -> ImageBind:
    """The model of a directory; only the files of asked-for towers are opened.

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
    try:
        config = ImageBindConfig.from_dict(manifest["config"])
        space = EmbeddingSpace(**manifest["embedding_space"])
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"{path / MANIFEST} is damaged: {error}") from error
    held = tuple(tower for tower in TOWERS if tower in manifest["towers"])
    towers = held if modalities is None else asked_towers(modalities)
    named: dict[str, Tensor] = {}
    for tower in towers:
        if tower not in held:
            raise CheckpointError(f"{path} has no {tower} tower; it has {', '.join(held) or 'none'}")
        named |= _read_tower(path, tower, manifest["towers"][tower])
    account(named, towers, config, what=str(path))
    if TEXT_MASK in named:
        check_mask(named[TEXT_MASK], str(path))
    if TEXT_SCALE not in named and isinstance(manifest.get("logit_scale"), float):
        named[TEXT_SCALE] = torch.tensor(manifest["logit_scale"])
    model = assemble(named, config, towers, device=device, dtype=dtype, space=space)
    if "centres" in manifest:
        model.centres = _read_centres(path, manifest["centres"], space.width)
    return model


def _write_towers(model: ImageBind, directory: Path, dtype: torch.dtype | None) -> dict[str, dict[str, Any]]:
    written = {}
    state = model.official_state_dict()
    for tower in model.towers:
        tensors = {
            name: _stored(name, tensor, dtype) for name, tensor in state.items() if tower_of(name) == tower
        }
        file = directory / f"{tower}.safetensors"
        save_file(pack_sparse_rows(tensors), file, metadata={"format": "pt", "tower": tower})
        file.chmod(
            0o644
        )  # safetensors writes for the owner alone; what is installed for all must be read by all
        written[tower] = {
            "file": file.name,
            "size_bytes": file.stat().st_size,
            "sha256": sha256_of(file),
            "parameters": sum(tensor.numel() for name, tensor in tensors.items() if name != TEXT_MASK),
        }
    return written


def _write_centres(model: ImageBind, directory: Path) -> dict[str, Any]:
    """Where each modality's rows lie, in a file of its own: every part of the model needs it, whole."""
    file = directory / CENTRES
    save_file({name: row.detach().float().cpu().contiguous() for name, row in model.centres.items()}, file)
    file.chmod(0o644)
    return {"file": file.name, "size_bytes": file.stat().st_size, "sha256": sha256_of(file)}


def _read_centres(path: Path, entry: Any, width: int) -> dict[str, Tensor]:
    rows = _read_checked(path, CENTRES, entry, what="the file of modality centres")
    for name, row in rows.items():
        if row.shape != (width,) or not row.isfinite().all():
            raise CheckpointError(
                f"{path / CENTRES} is damaged: the centre of {name} is no row of {width} numbers"
            )
    return rows


def _stored(name: str, tensor: Tensor, dtype: torch.dtype | None) -> Tensor:
    scale = name.endswith("log_logit_scale")
    return tensor.detach().to("cpu", torch.float32 if scale else dtype).contiguous()


def _read_tower(path: Path, tower: str, entry: Any) -> dict[str, Tensor]:
    return _read_checked(path, f"{tower}.safetensors", entry, what=f"the {tower} tower")


def _read_checked(path: Path, name: str, entry: Any, what: str) -> dict[str, Tensor]:
    """The tensors of one file of the directory, which must be the one that its manifest describes."""
    file = path / name
    if not isinstance(entry, dict) or not {"size_bytes", "sha256"} <= entry.keys():
        raise CheckpointError(f"{path / MANIFEST} is damaged: it gives no checksum of {what}")
    if not file.is_file():
        raise CheckpointError(f"{what} is missing: there is no {file}; write the directory again")
    size = file.stat().st_size
    if size != entry["size_bytes"]:
        raise CheckpointError(
            f"{what} is damaged: {file} has {size} bytes, expected {entry['size_bytes']}; "
            f"write the directory again"
        )
    if sha256_of(file) != entry["sha256"]:
        raise CheckpointError(
            f"{what} is damaged: {file} does not match its checksum; write the directory again"
        )
    return open_safetensors(file)


def sha256_of(file: Path) -> str:
    """Hex digest of a file's content, read in pieces."""
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        while piece := stream.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def replace_directory(partial: Path, path: Path) -> None:
    """Put ``partial`` where ``path`` is or will be; what stood there comes back if that fails."""
    if not path.exists():
        partial.replace(path)
        return
    aside = Path(tempfile.mkdtemp(prefix=f".{path.name}.old.", dir=path.parent))
    path.replace(aside / path.name)
    try:
        partial.replace(path)
    except OSError:
        (aside / path.name).replace(path)
        raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)
