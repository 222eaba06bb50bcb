"""Directories of pipelines, checked before and after diffusers reads them.

diffusers and transformers fill what is missing with random numbers, cast integers to floats and take NaN for weights.
Of other damage they raise whatever their parts raise.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from bindplug.directories import damage_named, first_line, is_finite, read_json
from bindplug.errors import CheckpointError
from bindplug.imagebind import shorten

INDEX = "model_index.json"
REMEDY = "Download it again, or write it again with save_pretrained()."
QUANTIZED = "quantization_config"
FLOATS = ("F64", "F32", "F16", "BF16", "F8_E4M3", "F8_E5M2")
"""safetensors' names of the dtypes of weights."""


def check_files(directory: Path) -> None:
    """Return if the JSON files of a pipeline hold objects, and its safetensors files are whole and hold floats.

    Raises:
        CheckpointError: one does not; it is named.
    """
    for file in (*directory.glob("*.json"), *directory.glob("*/*.json")):
        if not isinstance(read_json(file), dict):
            raise CheckpointError(f"{file} is damaged: it holds no JSON object. {REMEDY}")
    for file in sorted(directory.glob("*/*.safetensors")):
        integers = [
            f"{name} is {dtype}"
            for name, (dtype, _) in _header(file).items()
            if name.endswith((".weight", ".bias")) and dtype not in FLOATS
        ]
        if integers and not _is_quantized(file.parent):
            raise CheckpointError(f"{file} is damaged; {shorten('not floating-point', integers)}. {REMEDY}")


def check_components(pipe: Any, directory: Path) -> None:
    """Return if the networks of a loaded pipeline hold what their files hold, and finite numbers alone.

    Raises:
        CheckpointError: tensors are missing from a file, or hold NaN or infinity.
    """
    for name, part in pipe.components.items():
        if not isinstance(part, nn.Module):
            continue
        place, state = directory / name, part.state_dict()
        empty = [key for key, tensor in state.items() if tensor.is_meta]
        if empty:
            raise CheckpointError(f"{place} is incomplete; {shorten('missing', empty)}. {REMEDY}")
        bad = [key for key, tensor in state.items() if not is_finite(tensor)]
        if bad:
            raise CheckpointError(f"{place} is damaged; {shorten('not finite', bad)}. {REMEDY}")
        stored, needed = _stored_count(place), _count(state)
        if stored is not None and stored < needed and not _is_quantized(place):
            raise CheckpointError(
                f"{place} is incomplete: its files hold {stored} numbers, and a {type(part).__name__} has {needed}. "
                f"{REMEDY}"
            )


@contextmanager
def damage_in(place: Path | None) -> Iterator[None]:
    """Turn what diffusers raises of a damaged directory into a CheckpointError that names it, if it is local."""
    if place is None:
        yield
        return
    try:
        with damage_named(place):
            yield
    except (OSError, SafetensorError, ImportError, Warning) as error:
        raise CheckpointError(
            f"{place} could not be opened as a diffusers pipeline: {first_line(error)}"
        ) from error


def _header(file: Path) -> dict[str, tuple[str, int]]:
    """Names of a safetensors file's tensors -> dtype, and count of numbers."""
    try:
        with safe_open(str(file), framework="pt", device="cpu") as opened:
            slices = {name: opened.get_slice(name) for name in opened.keys()}  # noqa: SIM118 - not a mapping
            return {name: (part.get_dtype(), math.prod(part.get_shape())) for name, part in slices.items()}
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(f"{file} is not a whole safetensors file ({error}). {REMEDY}") from error


def _stored_count(place: Path) -> int | None:
    """Count of numbers in the safetensors files of a component; None if it has others, or none."""
    files = list(place.glob("*.safetensors"))
    if not files or list(place.glob("*.bin")):
        return None
    return sum(count for file in files for _, count in _header(file).values())


def _count(state: dict[str, Tensor]) -> int:
    """Count of numbers in a state dict, tied tensors once, which are stored once."""
    tensors = {(tensor.data_ptr(), tuple(tensor.shape)): tensor for tensor in state.values()}
    return sum(tensor.numel() for tensor in tensors.values())


def _is_quantized(place: Path) -> bool:
    file = place / "config.json"
    return file.is_file() and QUANTIZED in read_json(file)
