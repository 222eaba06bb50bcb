"""A detector as a directory: ``config.json``, its network and its vocabulary."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from bindplug.errors import CheckpointError, WeightsNotFound
from bindplug.imagebind.archive import listed
from bindplug.imagebind.directory import replace_directory, sha256_of
from bindplug.imagebind.safe_tensors import open_safetensors
from bindplug.space import EmbeddingSpace
from bindplug_detic.config import DeticConfig
from bindplug_detic.network import DeticNetwork

FORMAT = "bindplug-detic"
FORMAT_VERSION = 1
MANIFEST = "config.json"
NETWORK = "network.safetensors"
VOCABULARY = "vocabulary.safetensors"
EMBEDDINGS = "embeddings"
"""The name of the class vectors within their file."""

DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


@dataclass(frozen=True)
class LoadedDetector:
    """What a directory holds.

    Args:
        network: in evaluation mode.
        names: of the classes.
        embeddings: class vectors, (C, D) float32 on the CPU.
        space: that the class vectors live in.
        manifest: all that ``config.json`` says.
    """

    network: DeticNetwork
    names: tuple[str, ...]
    embeddings: Tensor
    space: EmbeddingSpace
    manifest: dict[str, Any]


def save_directory(
    network: DeticNetwork,
    path: str | Path,
    *,
    vocabulary: tuple[Sequence[str], Tensor],
    space: EmbeddingSpace,
    dtype: torch.dtype = torch.float16,
    licence: str = "",
    source: str = "",
    extra: Mapping[str, Any] | None = None,
    overwrite: bool = False,
) -> Path:
    """Write a detector as a directory that :func:`load_directory` reads; all of it or nothing.

    Args:
        network: the detector's.
        path: the directory to make; it may exist if it is empty.
        vocabulary: names of the classes, and their vectors (C, D), which are stored in float32.
        space: that the class vectors live in; its width is D.
        dtype: float32, float16 or bfloat16 to store the network in.
        licence: of the weights, as an SPDX identifier.
        source: where the weights come from, for a reader of the manifest.
        extra: further JSON-ready fields for the manifest.
        overwrite: whether to replace a directory that is not empty.

    Returns:
        The directory.

    Raises:
        CheckpointError: ``path`` is occupied, ``dtype`` is none of the three, or the vocabulary fits neither
            its names nor the network nor the space.
    """
    path = Path(path)
    if dtype not in DTYPES.values():
        raise CheckpointError(f"cannot write weights as {dtype}; expected one of {', '.join(DTYPES)}")
    names, embeddings = tuple(vocabulary[0]), vocabulary[1].detach().to("cpu", torch.float32)
    problem = _vocabulary_problem(names, embeddings, network.config, space)
    if problem:
        raise CheckpointError(f"cannot write this detector: {problem}")
    if path.exists() and not overwrite and (not path.is_dir() or any(path.iterdir())):
        raise CheckpointError(f"{path} exists; give another path, or overwrite=True to replace it")
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        state = network.state_dict()
        stored = {name: _stored(tensor, dtype) for name, tensor in state.items()}
        manifest = {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "config": network.config.to_dict(),
            "embedding_space": {"name": space.name, "width": space.width, "fingerprint": space.fingerprint},
            "licence": licence,
            "source": source,
            "dtype": str(dtype).removeprefix("torch."),
            "network": _write(stored, partial / NETWORK)
            | {"parameters": sum(tensor.numel() for tensor in network.parameters())},
            "vocabulary": _write({EMBEDDINGS: embeddings.contiguous()}, partial / VOCABULARY)
            | {"names": list(names)},
            **(extra or {}),
        }
        text = json.dumps(manifest, indent=2, ensure_ascii=False) + "\n"
        (partial / MANIFEST).write_text(text, encoding="utf-8")
        partial.chmod(0o755)
        replace_directory(partial, path)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return path


def read_manifest(path: str | Path) -> dict[str, Any]:
    """What a detector's directory says about itself.

    Raises:
        CheckpointError: ``config.json`` is damaged or describes something else.
        WeightsNotFound: there is no such directory, or it has no ``config.json``.
    """
    file = Path(path) / MANIFEST
    if not file.is_file():
        raise WeightsNotFound(f"there is no detector's directory at {path}: it has no {MANIFEST}")
    try:
        manifest = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise CheckpointError(f"{file} is damaged: {error}") from error
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise CheckpointError(f"{file} does not describe a detector of bindplug (no format {FORMAT!r})")
    version = manifest.get("format_version")
    if version != FORMAT_VERSION:
        raise CheckpointError(
            f"{file} has format version {version!r}; this bindplug reads version {FORMAT_VERSION}"
        )
    parts = ("config", "embedding_space", "network", "vocabulary")
    missing = [name for name in parts if not isinstance(manifest.get(name), dict)]
    if missing:
        raise CheckpointError(f"{file} is damaged: it lacks {', '.join(missing)}")
    return manifest


def load_directory(
    path: str | Path, *, device: str | torch.device = "cpu", dtype: torch.dtype | None = None
) -> LoadedDetector:
    """The detector of a directory.

    Args:
        path: what :func:`save_directory` wrote.
        device: where to put the network.
        dtype: to convert the network to; the file's own for None.

    Returns:
        The network in evaluation mode, with its vocabulary.

    Raises:
        CheckpointError: a file is missing, damaged or of another network; it is named.
        WeightsNotFound: there is no such directory.
    """
    path, manifest = Path(path), read_manifest(path)
    try:
        config = DeticConfig.from_dict(manifest["config"])
        space = EmbeddingSpace(**manifest["embedding_space"])
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"{path / MANIFEST} is damaged: {error}") from error
    names = manifest["vocabulary"].get("names")
    embeddings = _read(path / VOCABULARY, manifest["vocabulary"]).get(EMBEDDINGS)
    if not isinstance(names, list) or embeddings is None:
        raise CheckpointError(f"{path} is damaged: its vocabulary lacks names or vectors")
    problem = _vocabulary_problem(names, embeddings, config, space)
    if problem:
        raise CheckpointError(f"{path} is damaged: {problem}")
    network = _assemble(_read(path / NETWORK, manifest["network"]), config, path)
    network.to(device=device, dtype=dtype)
    return LoadedDetector(network, tuple(names), embeddings.float(), space, manifest)


def _assemble(state: Mapping[str, Tensor], config: DeticConfig, path: Path) -> DeticNetwork:
    with torch.device("meta"):
        network = DeticNetwork(config)
    wanted = network.state_dict()
    wrong = [name for name, tensor in wanted.items() if name in state and state[name].shape != tensor.shape]
    problems = [
        listed("missing", [name for name in wanted if name not in state]),
        listed("unexpected", [name for name in state if name not in wanted]),
        listed("of another shape", wrong),
    ]
    if any(problems):
        reasons = "; ".join(filter(None, problems))
        raise CheckpointError(f"{path / NETWORK} does not fit its config: {reasons}")
    network.load_state_dict(dict(state), assign=True)
    return network.eval()


def _vocabulary_problem(
    names: Sequence[Any], embeddings: Tensor, config: DeticConfig, space: EmbeddingSpace
) -> str:
    """What is wrong with a vocabulary; empty for nothing."""
    if not names or not all(isinstance(name, str) for name in names):
        return "its vocabulary needs a name for every class, as text"
    if embeddings.ndim != 2 or len(embeddings) != len(names):
        return f"{len(names)} names do not go with vectors of shape {tuple(embeddings.shape)}"
    widths = {embeddings.shape[1], config.embedding_width, space.width}
    if len(widths) > 1:
        return (
            f"class vectors of width {embeddings.shape[1]}, the network's {config.embedding_width} and the "
            f"space's {space.width} differ"
        )
    return "" if embeddings.isfinite().all() else "its class vectors are not finite"


def _stored(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    return tensor.detach().to("cpu", dtype if tensor.is_floating_point() else tensor.dtype).contiguous()


def _write(tensors: Mapping[str, Tensor], file: Path) -> dict[str, Any]:
    save_file(dict(tensors), file, metadata={"format": "pt"})
    file.chmod(0o644)  # safetensors writes for the owner alone; what is installed for all must be read by all
    return {"file": file.name, "size_bytes": file.stat().st_size, "sha256": sha256_of(file)}


def _read(file: Path, entry: Mapping[str, Any]) -> dict[str, Tensor]:
    """The tensors of one file, which must be the one that the manifest describes."""
    if not file.is_file():
        raise CheckpointError(f"{file} is missing; write the directory again")
    size = file.stat().st_size
    if size != entry.get("size_bytes"):
        raise CheckpointError(
            f"{file} is damaged: it has {size} bytes, expected {entry.get('size_bytes')}; "
            f"write the directory again"
        )
    if sha256_of(file) != entry.get("sha256"):
        raise CheckpointError(f"{file} is damaged: it does not match its checksum; write the directory again")
    return open_safetensors(file)
