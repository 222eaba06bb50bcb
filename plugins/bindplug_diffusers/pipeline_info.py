"""Facts about a pipeline: the arguments of its call, its components, device and guidance."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import torch

from bindplug.errors import UnsupportedTarget


def call_parameters(pipe: Any) -> Mapping[str, inspect.Parameter]:
    """The parameters of the call of a pipeline's class, without ``self``."""
    parameters = dict(inspect.signature(pipeline_class(pipe).__call__).parameters)
    parameters.pop("self", None)
    return parameters


def pipeline_class(pipe: Any) -> Any:
    """diffusers' class of a pipeline, whether or not it is upgraded."""
    return getattr(type(pipe), "original_class", type(pipe))


def default_of(pipe: Any, name: str) -> Any:
    """The default of a call's parameter; None if it has none."""
    parameter = call_parameters(pipe).get(name)
    return None if parameter is None or parameter.default is parameter.empty else parameter.default


def accepts(pipe: Any, name: str) -> bool:
    """Whether the pipeline's call has a parameter of that name."""
    return name in call_parameters(pipe)


def has_component(pipe: Any, name: str) -> bool:
    """Whether the pipeline's class has a component of that name, loaded or not."""
    return name in inspect.signature(pipeline_class(pipe).__init__).parameters


def is_kind(pipe: Any, *names: str) -> bool:
    """Whether the pipeline's class, or one of its base classes, has one of these names."""
    return any(base.__name__ in names for base in type(pipe).__mro__)


def component_of(pipe: Any, name: str) -> Any:
    """A component of a pipeline.

    Raises:
        UnsupportedTarget: the pipeline has none of that name, or it is not loaded.
    """
    component = getattr(pipe, name, None)
    if component is None:
        raise UnsupportedTarget(
            f"this {type(pipe).__name__} has no {name}; load the pipeline whole, or upgrade the one that denoises"
        )
    return component


def device_of(pipe: Any) -> torch.device:
    """Where the pipeline computes. Its weights may be elsewhere if they are offloaded."""
    return torch.device(getattr(pipe, "_execution_device", None) or pipe.device)


def is_guided(pipe: Any, arguments: Mapping[str, Any]) -> bool:
    """Whether a call with these arguments denoises a second time, without condition (classifier-free guidance)."""
    scale = arguments.get("guidance_scale", default_of(pipe, "guidance_scale"))
    if scale is None:
        return False
    if not isinstance(getattr(type(pipe), "do_classifier_free_guidance", None), property):
        return bool(scale > 1)
    probe = copy_for_one_call(pipe)  # the property reads an attribute that a call sets
    probe.__dict__["_guidance_scale"] = scale
    return bool(probe.do_classifier_free_guidance)


def copy_for_one_call(pipe: Any, settings: Mapping[str, Any] | None = None) -> Any:
    """A pipeline of the same class that shares all components and settings.

    Attributes set on it are not set on ``pipe``. When it has run, ``pipe`` frees its own offloading hooks, as after a
    call of its own.

    Args:
        pipe: a diffusers pipeline.
        settings: attributes that replace those of ``pipe``.
    """
    copy = object.__new__(type(pipe))
    copy.__dict__.update(vars(pipe))
    copy.__dict__.update(settings or {})
    if hasattr(pipe, "maybe_free_model_hooks"):
        copy.__dict__.setdefault("maybe_free_model_hooks", pipe.maybe_free_model_hooks)
    return copy
