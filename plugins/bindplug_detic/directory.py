"""A detector as a directory: ``config.json``, its network and its vocabulary."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bindplug.directories import DTYPES, Manifest, check_dtype, staged, verified, write_tensors
from bindplug.errors import CheckpointError
from bindplug.imagebind import open_safetensors, shorten
from bindplug.space import EmbeddingSpace
from bindplug_detic.config import DeticConfig
from bindplug_detic.network import DeticNetwork

MANIFEST = Manifest(
    "bindplug-detic",
    version=1,
    holds="detector of bindplug",
    fields={"config": dict, "embedding_space": dict, "network": dict, "vocabulary": dict},
)
NETWORK = "network.safetensors"
VOCABULARY = "vocabulary.safetensors"
EMBEDDINGS = "embeddings"
"""The name of the class vectors within their file."""


@dataclass(frozen=True)
class LoadedDetector:
    """A detector read from a directory.

    Args:
        network: in evaluation mode.
        names: of the classes.
        embeddings: class vectors, (C, D) float32 on the CPU.
        space: that the class vectors live in.
        manifest: the content of ``config.json``.
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
    license: str = "",
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
        license: of the weights, as an SPDX identifier.
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
    check_dtype(dtype)
    names, embeddings = tuple(vocabulary[0]), vocabulary[1].detach().to("cpu", torch.float32)
    problem = _vocabulary_problem(names, embeddings, network.config, space)
    if problem:
        raise CheckpointError(f"cannot write this detector: {problem}")
    with staged(path, overwrite=overwrite) as directory:
        stored = {name: _stored(tensor, dtype) for name, tensor in network.state_dict().items()}
        manifest = {
            "config": network.config.to_dict(),
            "embedding_space": asdict(space),
            "license": license,
            "source": source,
            "dtype": str(dtype).removeprefix("torch."),
            "network": write_tensors(stored, directory / NETWORK)
            | {"parameters": sum(tensor.numel() for tensor in network.parameters())},
            "vocabulary": write_tensors({EMBEDDINGS: embeddings.contiguous()}, directory / VOCABULARY)
            | {"names": list(names)},
            **(extra or {}),
        }
        MANIFEST.write(directory, manifest)
    return path


def read_manifest(path: str | Path) -> dict[str, Any]:
    """The manifest of a detector's directory.

    Raises:
        CheckpointError: ``config.json`` is damaged or describes something else.
        WeightsNotFound: there is no such directory, or it has no ``config.json``.
    """
    return MANIFEST.read(path)


def load_directory(
    path: str | Path, *, device: str | torch.device = "cpu", dtype: torch.dtype | None = None
) -> LoadedDetector:
    """The detector of a directory.

    Args:
        path: a directory written by :func:`save_directory`.
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
        if not isinstance(space.name, str) or type(space.width) is not int:
            raise ValueError("its embedding space needs a name and a width")
    except (TypeError, ValueError, ArithmeticError) as error:
        raise CheckpointError(f"{path / MANIFEST.file} is damaged: {error}") from error
    names = manifest["vocabulary"].get("names")
    embeddings = open_safetensors(verified(path / VOCABULARY, manifest["vocabulary"])).get(EMBEDDINGS)
    if not isinstance(names, list) or embeddings is None or not embeddings.is_floating_point():
        raise CheckpointError(f"{path} is damaged: its vocabulary lacks names or vectors")
    problem = _vocabulary_problem(names, embeddings, config, space)
    if problem:
        raise CheckpointError(f"{path} is damaged: {problem}")
    state = open_safetensors(verified(path / NETWORK, manifest["network"]))
    network = _assemble(state, config, path)
    network.to(device=device, dtype=dtype)
    return LoadedDetector(network, tuple(names), embeddings.float(), space, manifest)


def _assemble(state: Mapping[str, Tensor], config: DeticConfig, path: Path) -> DeticNetwork:
    with torch.device("meta"):
        network = DeticNetwork(config)
    expected = network.state_dict()
    shared = [name for name in expected if name in state]
    problems = [
        shorten("missing", [name for name in expected if name not in state]),
        shorten("unexpected", [name for name in state if name not in expected]),
        shorten("of another shape", [name for name in shared if state[name].shape != expected[name].shape]),
        shorten("of another type", [name for name in shared if not _are_alike(state[name], expected[name])]),
        shorten("not finite", [name for name in shared if not state[name].isfinite().all()]),
    ]
    if any(problems):
        reasons = "; ".join(filter(None, problems))
        raise CheckpointError(f"{path / NETWORK} does not fit its config: {reasons}")
    network.load_state_dict(dict(state), assign=True)
    return network.eval()


def _vocabulary_problem(
    names: Sequence[Any], embeddings: Tensor, config: DeticConfig, space: EmbeddingSpace
) -> str:
    """The problem of a vocabulary; empty for none."""
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
    if not embeddings.isfinite().all():
        return "its class vectors are not finite"
    return "" if embeddings.ne(0).any(1).all() else "one of its class vectors is zero"


def _are_alike(tensor: Tensor, expected: Tensor) -> bool:
    """Whether both are floats of a dtype that weights are stored in, or both are integers."""
    if expected.is_floating_point():
        return tensor.dtype in DTYPES.values()
    return tensor.dtype == expected.dtype


def _stored(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    return tensor.detach().to("cpu", dtype if tensor.is_floating_point() else tensor.dtype).contiguous()
