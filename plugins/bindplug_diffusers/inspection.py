"""What a pipeline tells about itself: its arguments, its networks, where and how precisely it computes."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from bindplug.errors import UnsupportedTarget

PROJECTION = "modality_heads.vision.2.weight"
"""ImageBind's official name of what a transformers CLIP calls ``visual_projection.weight``."""


def call_parameters(pipe: Any) -> Mapping[str, inspect.Parameter]:
    """The parameters of the pipeline's call, without ``self``."""
    return inspect.signature(pipe.__call__).parameters


def default_of(pipe: Any, name: str) -> Any:
    """The default of a call's parameter; None where there is none."""
    parameter = call_parameters(pipe).get(name)
    return None if parameter is None or parameter.default is parameter.empty else parameter.default


def accepts(pipe: Any, name: str) -> bool:
    """Whether the pipeline's call has a parameter of that name."""
    return name in call_parameters(pipe)


def is_kind(pipe: Any, *names: str) -> bool:
    """Whether the pipeline's class, or one it descends from, has one of these names."""
    return any(base.__name__ in names for base in type(pipe).__mro__)


def unet_of(pipe: Any) -> Any:
    """The network that denoises.

    Raises:
        UnsupportedTarget: the pipeline has none of that name, or it is not loaded.
    """
    unet = getattr(pipe, "unet", None)
    if unet is None:
        raise UnsupportedTarget(
            f"this {type(pipe).__name__} has no unet; load the pipeline whole, or upgrade the one that denoises"
        )
    return unet


def device_of(pipe: Any) -> torch.device:
    """Where the pipeline computes, which is not where its weights lie if they are offloaded."""
    return torch.device(getattr(pipe, "_execution_device", None) or pipe.device)


def is_guided(pipe: Any, arguments: Mapping[str, Any]) -> bool:
    """Whether a call with these arguments denoises a second time, without condition (classifier-free guidance)."""
    scale = arguments.get("guidance_scale", default_of(pipe, "guidance_scale"))
    if scale is None:
        return False
    if not isinstance(getattr(type(pipe), "do_classifier_free_guidance", None), property):
        return bool(scale > 1)
    probe = twin_of(pipe)  # the property reads what a call leaves behind
    probe.__dict__["_guidance_scale"] = scale
    return bool(probe.do_classifier_free_guidance)


def twin_of(pipe: Any) -> Any:
    """A second pipeline of the same components and settings, on which attributes can be set without trace.

    When it has run, the original tends its own offloading hooks, as after a call of its own.
    """
    twin = object.__new__(type(pipe))
    twin.__dict__.update(vars(pipe))
    if hasattr(pipe, "maybe_free_model_hooks"):
        twin.__dict__["maybe_free_model_hooks"] = pipe.maybe_free_model_hooks
    return twin


def other_projection(pipe: Any, model: Any) -> str:
    """What tells the pipeline's own CLIP apart from the model's image tower; empty if nothing does or is known.

    The last layer of both makes the space, so weights say what no name can.
    """
    layer = getattr(getattr(pipe, "image_encoder", None), "visual_projection", None)
    theirs = getattr(layer, "weight", None)
    state = getattr(model, "official_state_dict", None)
    ours = state().get(PROJECTION) if callable(state) else None
    if not isinstance(theirs, Tensor) or not isinstance(ours, Tensor) or theirs.is_meta or ours.is_meta:
        return ""
    if theirs.shape != ours.shape:
        return f"its image_encoder projects {theirs.shape[1]} numbers to {theirs.shape[0]}, the model's {ours.shape[1]}"
    tolerance = 2 * max(torch.finfo(theirs.dtype).eps, torch.finfo(ours.dtype).eps)
    a, b = (weight.detach().to("cpu", torch.float32) for weight in (theirs, ours))
    return (
        ""
        if torch.allclose(a, b, rtol=tolerance, atol=1e-6)
        else "its image_encoder projects with other weights"
    )
