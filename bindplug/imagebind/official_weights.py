"""Read official weights: strictly, safely, and only the towers asked for."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bindplug.directories import is_finite
from bindplug.errors import CheckpointError
from bindplug.fingerprint import Fingerprint
from bindplug.imagebind.checkpoint_files import open_official, shorten, verify_checksums
from bindplug.imagebind.config import ImageBindConfig, default_space, resolve_towers
from bindplug.imagebind.config_inference import infer_config
from bindplug.imagebind.mapped_pages import MappedPages
from bindplug.imagebind.official_names import (
    TEXT_MASK,
    TEXT_SCALE,
    causal_mask,
    expected_shapes,
    names_of,
    tower_of,
)
from bindplug.imagebind.same_weights import fingerprint_of
from bindplug.space import IMAGEBIND_SPACE, EmbeddingSpace


@dataclass(frozen=True)
class OfficialWeights:
    """The checked tensors of some towers, and the network they belong to.

    Attributes:
        tensors: official names -> tensors.
        config: the network.
        towers: the towers that the tensors fill.
        space: the space of the network's embeddings.
        fingerprint: of the image and text towers of the whole checkpoint; None if it lacks one of them.
    """

    tensors: Mapping[str, Tensor]
    config: ImageBindConfig
    towers: tuple[str, ...]
    space: EmbeddingSpace
    fingerprint: Fingerprint | None = None


def read_weights(
    source: Mapping[str, Tensor] | str | Path,
    config: ImageBindConfig | None = None,
    modalities: Collection[str] | None = None,
) -> OfficialWeights:
    """The weights of some towers, from a checkpoint's file or state dict; see :meth:`ImageBind.from_official`."""
    towers = resolve_towers(modalities)
    if isinstance(source, Mapping):
        # Training the model must not change the caller's tensors.
        what, state = "the state dict", {name: _cloned(name, t, towers) for name, t in source.items()}
    else:
        what, state = str(source), open_official(source)
    config = check_state(state, towers, config, what=what)
    tensors = select_tensors(state, towers, config, what=what)
    if not isinstance(source, Mapping):
        verify_checksums(source, tensors)
        check_finite(tensors, what)
    fingerprint = fingerprint_of(state)
    return OfficialWeights(tensors, config, towers, space_of(config, tensors, fingerprint), fingerprint)


def select_tensors(
    state: Mapping[str, Tensor],
    towers: Collection[str],
    config: ImageBindConfig,
    *,
    what: str = "the state dict",
) -> dict[str, Tensor]:
    """The tensors of some towers of a checked state dict, and the logit scale where it is there.

    Raises:
        CheckpointError: the text mask is not causal.
    """
    tensors = {name: state[name] for name in names_of(config, towers)}
    if TEXT_SCALE in state:
        tensors[TEXT_SCALE] = state[TEXT_SCALE]
    if TEXT_MASK in tensors:
        check_mask(tensors[TEXT_MASK], what)
    return tensors


def read_official(
    path: str | Path,
    towers: Collection[str] | None = None,
    config: ImageBindConfig | None = None,
) -> dict[str, Tensor]:
    """The tensors of some towers of an official checkpoint, mapped from the file and checked.

    Args:
        path: the ``.pth`` or ``.safetensors`` file.
        towers: names of towers or modalities; all for None.
        config: needed only where shapes do not tell the number of heads.

    Returns:
        Official names -> CPU tensors, read from disk as they are used.

    Raises:
        CheckpointError: the file is damaged, incomplete, unsafe, or of another network.
        WeightsNotFound: there is no such file.
    """
    names = resolve_towers(towers)
    state = open_official(path)
    config = check_state(state, names, config, what=str(path))
    tensors = {name: state[name] for name in names_of(config, names)}
    verify_checksums(path, tensors)
    return tensors


def space_of(
    config: ImageBindConfig, tensors: Mapping[str, Tensor], fingerprint: Fingerprint | None
) -> EmbeddingSpace:
    """The space of a checkpoint: ImageBind's for the published shape, else a nameless one; with its fingerprint.

    Args:
        config: of the network.
        tensors: official names -> tensors.
        fingerprint: of the image and text towers; None if one is absent. In a nameless space a digest of the text
            projection then stands for it.
    """
    space = default_space(config)
    if fingerprint is not None:
        return replace(space, fingerprint=str(fingerprint))
    projection = tensors.get("modality_heads.text.proj.1.weight")
    if space == IMAGEBIND_SPACE or projection is None:
        return space
    content = projection.detach().to("cpu", torch.float32).contiguous().numpy()
    return EmbeddingSpace(space.name, space.width, hashlib.sha256(content.data).hexdigest())


def check_state(
    state: Mapping[str, Tensor],
    towers: Collection[str],
    config: ImageBindConfig | None = None,
    *,
    what: str = "the state dict",
) -> ImageBindConfig:
    """Check every name and shape of a state dict, and return the config it has.

    Names of towers that are not asked for may be absent, but must be right where they are present.

    Raises:
        CheckpointError: names are missing or unexpected, or shapes are wrong; they are listed.
    """
    for name, value in state.items():
        if not isinstance(value, Tensor):
            raise CheckpointError(f"{what}: {name!r} holds a {type(value).__name__}, expected a tensor")
    shapes = {name: tuple(tensor.shape) for name, tensor in state.items()}
    if not any(tower_of(str(name)) for name in shapes):
        first = ", ".join(map(repr, list(shapes)[:3])) or "nothing"
        raise CheckpointError(
            f"{what} is not an ImageBind state dict: it holds {first}; expected modality_… names"
        )
    config = config or infer_config(shapes, what=what)
    expected = expected_shapes(config)
    wrong = [
        f"{name} is {list(shapes[name])}, expected {list(shape)}"
        for name, shape in expected.items()
        if name in shapes and shapes[name] != shape
    ]
    inexact = [
        f"{name} is {tensor.dtype}" for name, tensor in state.items() if not tensor.is_floating_point()
    ]
    for name, tensor in state.items():
        scale = name.endswith("log_logit_scale") and name in expected and not tensor.is_meta
        if scale and not tensor.isfinite().all():
            raise CheckpointError(f"{what} is damaged: {name} is not a finite number")
    problems = [
        *_missing(shapes, config, towers),
        shorten("unexpected", [str(name) for name in shapes if name not in expected]),
        shorten("of wrong shape", wrong),
        shorten("not floating-point", inexact),
    ]
    if any(problems):
        raise CheckpointError(f"{what} does not hold this network; {'; '.join(filter(None, problems))}")
    return config


def check_finite(tensors: Mapping[str, Tensor], what: str) -> None:
    """Return if no tensor holds NaN or infinity, the text mask's aside.

    Raises:
        CheckpointError: some do; they are listed.
    """
    damaged_names, pages = [], MappedPages()
    for name, tensor in tensors.items():
        if name != TEXT_MASK and not is_finite(tensor):
            damaged_names.append(name)
        pages.release(tensor)
    if damaged_names:
        raise CheckpointError(
            f"{what} is damaged; {shorten('not finite', damaged_names)}. Expected finite numbers alone: download or "
            f"convert it again"
        )


def check_mask(mask: Tensor, what: str) -> None:
    """Return if the stored text mask is the causal one that the text tower computes.

    Raises:
        CheckpointError: it is another.
    """
    if not torch.equal(mask, causal_mask(len(mask), mask)):
        raise CheckpointError(f"{what}: {TEXT_MASK} is not a causal mask (0 up to the diagonal, -inf above)")


def _cloned(name: str, value: Any, towers: Collection[str]) -> Any:
    is_needed = tower_of(str(name)) in towers or name == TEXT_SCALE
    return value.detach().clone() if is_needed and isinstance(value, Tensor) else value


def _missing(shapes: Collection[str], config: ImageBindConfig, towers: Collection[str]) -> list[str]:
    """What is absent: whole towers by their names, the rest tensor by tensor."""
    present = {tower_of(name) for name in shapes}
    absent = [tower for tower in towers if tower not in present]
    names = [name for name in names_of(config, towers) if name not in shapes and tower_of(name) in present]
    whole = f"nothing of the towers {', '.join(absent)} (ask for modalities it has)" if absent else ""
    return [whole, shorten("missing", names)]
