"""Read weights into a bindplug model: of a registered model, an ImageBind checkpoint, or its own checkpoint."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any
from zipfile import is_zipfile

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

import bindplug
from bindplug.directories import first_line
from bindplug.errors import CheckpointError, PluginError, WeightsNotFound
from bindplug.imagebind import ImageBind, causal_mask, to_open_clip
from bindplug_open_clip.passthrough import upstream
from bindplug_open_clip.sensors import SENSORS

_READ_ERRORS = (RuntimeError, UnpicklingError, OSError, EOFError, KeyError, ValueError, SafetensorError)
"""What damaged or unfitting files raise."""


def read_imagebind(path: Path, modalities: Collection[str] | None, dtype: torch.dtype) -> ImageBind:
    """Image, text and some sensor towers of a converted directory or official checkpoint, on the CPU.

    Raises:
        CheckpointError: the weights are damaged, or lack the image or the text tower.
        WeightsNotFound: there is nothing at ``path``.
    """
    names = None if modalities is None else {"image", "text", *modalities}
    model = bindplug.load(path, modalities=names, dtype=dtype)
    if not isinstance(model, ImageBind):
        raise PluginError(f"{path} holds a {type(model).__name__}; expected an ImageBind")
    absent = [tower for tower in ("vision", "text") if tower not in model.towers]
    if absent:
        raise CheckpointError(
            f"{path} has no {' and no '.join(absent)} tower, and a CLIP needs both; convert the whole model (bindplug "
            f"convert without --modalities)"
        )
    return model


def fill(model: Any, source: ImageBind) -> None:
    """Give a CLIP that was built on ``meta`` the weights of ``source``. Tensors that need no change are shared.

    Raises:
        CheckpointError: they have another shape.
    """
    state = to_open_clip(source.official_state_dict())
    upstream_model = upstream("model")
    if hasattr(model, "text"):
        state = upstream_model.convert_to_custom_text_state_dict(state)
    state["logit_scale"] = state["logit_scale"].reshape(model.logit_scale.shape)
    if getattr(model, "logit_bias", None) is not None:
        state["logit_bias"] = torch.zeros_like(state["logit_scale"])
    upstream_model.resize_pos_embed(state, model)
    upstream_model.resize_text_pos_embed(state, model)
    sensors = {f"sensors.{name}": tensor for name, tensor in model.sensors.state_dict().items()}
    load_state(model, state | sensors, assign=True)


def load_state(model: nn.Module, state: Mapping[str, Tensor], **options: Any) -> None:
    """Load strictly.

    Raises:
        CheckpointError: names or shapes differ; the message lists them.
    """
    try:
        model.load_state_dict(state, **options)
    except RuntimeError as error:
        raise CheckpointError(f"these weights do not fit {type(model).__name__}: {error}") from error


def renew_mask(model: Any, length: int) -> None:
    """Set the causal mask, which no state dict holds and a model built on ``meta`` lacks."""
    holder = getattr(model, "text", model)
    holder.attn_mask = causal_mask(length, torch.empty(0))


def is_imagebind(path: Path) -> bool:
    """Whether a path holds ImageBind's weights: a converted directory, or a checkpoint with its names.

    Raises:
        CheckpointError: the file is damaged, holds pickled code, or is no checkpoint.
    """
    return path.is_dir() or any(name.startswith("modality_") for name in _tensor_names(path))


def load_own(model: nn.Module, path: str | Path, strict: bool = True, **options: Any) -> Any:
    """Load a checkpoint of a bindplug model into the model.

    The file holds a state dict as ``torch.save(model.state_dict())`` writes it, or a training checkpoint with the
    state dict under ``"state_dict"``; names may start with ``module.``, as DistributedDataParallel's do.

    Args:
        model: a bindplug model.
        path: the file.
        strict: whether every name must be present; ``False`` loads a CLIP's file and keeps the model's own sensors.
        options: of open_clip's ``load_checkpoint``.

    Returns:
        What open_clip's ``load_checkpoint`` returns: missing and unexpected names.

    Raises:
        WeightsNotFound: there is no such file.
        CheckpointError: the file is damaged or does not fit; if only sensors are missing, the message says so.
    """
    file = Path(path).expanduser()
    if not file.exists():
        raise WeightsNotFound(f"there is no file or directory {str(file)!r}")
    if file.suffix in (".npz", ".npy"):
        raise CheckpointError(
            f"{path} is a file of numpy's, which open_clip takes for weights of Big Vision; expected a state dict in a "
            f".pt or .safetensors file"
        )
    try:
        return upstream("factory").load_checkpoint(model, str(file), strict=strict, **options)
    except _READ_ERRORS as error:
        absent = [name for name in SENSORS if f'"sensors.towers.{name}.' in str(error)]
        hint = ""
        if absent and "Unexpected key" not in str(error):
            hint = (
                f" It holds a CLIP's two towers and no {', '.join(absent)}. Load it with strict=False to keep the "
                f"model's own sensors, or into open_clip's own class"
            )
        reason = first_line(error) if isinstance(error, UnpicklingError) else str(error)
        raise CheckpointError(f"{path} does not fit {type(model).__name__}.{hint or ' ' + reason}") from error


def _tensor_names(path: Path) -> list[str]:
    """Names in a checkpoint's state dict, whose tensors are mapped and not read."""
    try:
        if path.suffix == ".safetensors":
            with safe_open(str(path), framework="pt") as file:
                return list(file.keys())
        # PyTorch's format from before 1.6 cannot be mapped
        checkpoint = torch.load(path, map_location="cpu", mmap=is_zipfile(path), weights_only=True)
    except _READ_ERRORS as error:
        reason = first_line(error) if str(error) else "it ends too early"
        raise CheckpointError(f"{path} is damaged, or no checkpoint of tensors alone: {reason}") from error
    state = checkpoint.get("state_dict", checkpoint) if isinstance(checkpoint, dict) else None
    if not isinstance(state, dict):
        raise CheckpointError(f"{path} holds a {type(checkpoint).__name__}; expected a state dict")
    return [str(name).removeprefix("module.") for name in state]
