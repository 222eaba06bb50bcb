"""Map a safetensors file."""

from __future__ import annotations

from pathlib import Path

from safetensors import SafetensorError, safe_open
from torch import Tensor

from bindplug.errors import CheckpointError
from bindplug.imagebind.sparse_rows import unpack_sparse_rows


def open_safetensors(path: str | Path) -> dict[str, Tensor]:
    """Every tensor of a safetensors file by name, on the CPU, mapped where the platform can.

    Matrices that were stored by their rows (:mod:`bindplug.imagebind.sparse_rows`) come back whole.

    Raises:
        CheckpointError: the file is empty, truncated, contradicts itself or is no safetensors file.
    """
    try:
        with safe_open(str(path), framework="pt", device="cpu") as file:
            stored = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
            return unpack_sparse_rows(stored)
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(f"{path} is not a whole safetensors file ({error})") from error
