"""Filling a model of ours: from a registered model, an ImageBind checkpoint, or a checkpoint of the model itself."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import bindplug
from bindplug.errors import CheckpointError, PluginError, WeightsNotFound
from bindplug.imagebind import ImageBind, to_open_clip
from bindplug.imagebind.official_names import causal_mask
from bindplug_open_clip.delegate import upstream
from bindplug_open_clip.sensors import SENSORS


def read_imagebind(path: Path, modalities: Collection[str] | None, dtype: torch.dtype) -> ImageBind:
    """Image, text and some sensor towers of a converted directory or official checkpoint, on the CPU.

    Raises:
        CheckpointError: the weights are damaged, or lack the image or the text tower.
        WeightsNotFound: there is nothing at ``path``.
    """
    wanted = None if modalities is None else {"image", "text", *modalities}
    model = bindplug.load(path, modalities=wanted, dtype=dtype)
    if not isinstance(model, ImageBind):
        raise PluginError(f"{path} holds a {type(model).__name__}; expected an ImageBind")
    absent = [tower for tower in ("vision", "text") if tower not in model.towers]
    if absent:
        raise CheckpointError(
            f"{path} has no {' and no '.join(absent)} tower, so there is no CLIP to make of it; convert the whole "
            f"model (bindplug convert without --modalities)"
        )
    return model


def fill(model: Any, source: ImageBind) -> None:
    """Give a CLIP that was built on ``meta`` the image and text towers of ``source``; what needs no change is shared.

    Raises:
        CheckpointError: they are of another shape.
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
        CheckpointError: names or shapes differ; open_clip's list of them is passed on.
    """
    try:
        model.load_state_dict(state, **options)
    except RuntimeError as error:
        raise CheckpointError(f"these weights do not fit {type(model).__name__}: {error}") from error


def renew_mask(model: Any, length: int) -> None:
    """The causal mask is no part of a state dict; a model built on ``meta`` needs it anew."""
    holder = getattr(model, "text", model)
    holder.attn_mask = causal_mask(length, torch.empty(0))


def is_imagebind(path: Path) -> bool:
    """Whether a path holds ImageBind's weights: a converted directory, or a checkpoint with its names."""
    if path.is_dir():
        return True
    from bindplug.imagebind.checkpoint_files import open_official

    return any(name.startswith("modality_") for name in open_official(path))


def existing(path: str | Path) -> Path:
    """The path, if something is there.

    Raises:
        WeightsNotFound: nothing is.
    """
    found = Path(path).expanduser()
    if not found.exists():
        raise WeightsNotFound(f"there is no file or directory {str(found)!r}")
    return found


def load_own(model: nn.Module, path: str | Path, strict: bool = True, **options: Any) -> Any:
    """Load a checkpoint of a model of ours, as ``torch.save(model.state_dict())`` wrote it, into the model.

    Args:
        model: a model of ours.
        path: the file.
        strict: whether every name must be there; ``False`` loads a CLIP's file and leaves the sensors alone.
        options: of open_clip's ``load_checkpoint``.

    Returns:
        What open_clip's ``load_checkpoint`` returns: missing and unexpected names.

    Raises:
        WeightsNotFound: there is no such file.
        CheckpointError: the file does not fit; if only the sensors are missing, it says so.
    """
    try:
        return upstream("factory").load_checkpoint(model, str(existing(path)), strict=strict, **options)
    except RuntimeError as error:
        lacking = [name for name in SENSORS if f'"sensors.towers.{name}.' in str(error)]
        hint = ""
        if lacking and "Unexpected key" not in str(error):
            hint = (
                f" It holds a CLIP's two towers and no {', '.join(lacking)}. Load it with strict=False to keep the "
                f"model's own sensors, or into open_clip's own class"
            )
        raise CheckpointError(
            f"{path} does not fit {type(model).__name__}.{hint or ' ' + str(error)}"
        ) from error
