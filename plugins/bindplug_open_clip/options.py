"""The arguments of open_clip's constructors: which of them ImageBind supports, ignores or refuses."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import torch

from bindplug.errors import InputError

PRECISIONS = {
    "fp32": torch.float32,
    "fp16": torch.float16,
    "bf16": torch.bfloat16,
    "pure_fp16": torch.float16,
    "pure_bf16": torch.bfloat16,
    "amp": torch.float32,
    "amp_bf16": torch.float32,
    "amp_bfloat16": torch.float32,
}
"""open_clip's precisions, and the dtype of the towers' matrices in each."""

SUPPORTED = {
    "model_name", "pretrained", "load_weights", "precision", "device", "force_custom_text", "force_patch_dropout",
    "force_image_size", "force_context_length", "force_preprocess_cfg", "image_mean", "image_std",
    "image_interpolation", "image_resize_mode", "aug_cfg", "cache_dir", "output_dict", "return_transform",
    "require_pretrained", "weights_only", "load_weights_only", "modalities", "init_logit_scale", "init_logit_bias",
    "nonscalar_logit_scale", "jit",
}  # fmt: skip

IGNORED = {"pretrained_image", "pretrained_text", "pretrained_hf"}
"""These load weights of timm and transformers towers; open_clip's own ViT towers ignore them too."""

SHAPE = "the weights fit one shape of network; for another one use an open_clip model"
SPACE = "other weights in one tower would leave the space that the sensors were trained for"
REFUSED = {
    "force_quick_gelu": "the weights were trained with the exact GELU; QuickGELU would give other embeddings",
    "quick_gelu": "the weights were trained with the exact GELU; QuickGELU would give other embeddings",
    "pretrained_image_path": SPACE,
    "pretrained_text_path": SPACE,
    "embed_dim": SHAPE,
    "vision_cfg": SHAPE,
    "text_cfg": SHAPE,
    "cast_dtype": "precision= determines it",
}


def bind(function: Callable[..., Any], *args: Any, **kwargs: Any) -> dict[str, Any]:
    """The arguments of a call by name, as the installed open_clip would receive them, with its defaults.

    Args:
        function: open_clip's function.
        args, kwargs: the caller's arguments.

    Raises:
        TypeError: open_clip would not accept the call either.
        InputError: ImageBind does not support an argument; the message gives the reason.
    """
    bound = inspect.signature(function).bind(*args, **kwargs)
    bound.apply_defaults()
    options = dict(bound.arguments)
    defaults = {name: p.default for name, p in inspect.signature(function).parameters.items()}
    model_kwargs: Mapping[str, Any] = options.pop("model_kwargs", {})
    for name, value in options.items():
        if name not in SUPPORTED | IGNORED and value != defaults[name]:
            refuse(
                function.__name__,
                name,
                value,
                REFUSED.get(name, "this version of bindplug does not support it"),
            )
    for name, value in model_kwargs.items():
        if name not in SUPPORTED | IGNORED:
            refuse(
                function.__name__,
                name,
                value,
                REFUSED.get(name, "ImageBind's constructor has no such argument"),
            )
    if options.get("jit"):
        warn_about_jit(function.__name__, stacklevel=4)
    return {**options, **model_kwargs}


def check(function: str, options: Mapping[str, Any], patch: int) -> None:
    """Check the values of bound arguments.

    Args:
        function: the name of the function, for messages.
        options: what :func:`bind` returned.
        patch: side of an image patch in pixels.

    Raises:
        InputError: one of them is out of its range.
    """
    if options.get("precision", "fp32") not in PRECISIONS:
        refuse(function, "precision", options["precision"], f"known: {', '.join(PRECISIONS)}")
    size = options.get("force_image_size")
    sides = {size} if isinstance(size, int) or size is None else set(size)
    if len(sides) != 1 or any(side is not None and (side < patch or side % patch) for side in sides):
        refuse(
            function,
            "force_image_size",
            size,
            f"pictures are square, their side a multiple of {patch} pixels",
        )
    length = options.get("force_context_length")
    if length is not None and length < 2:
        refuse(function, "force_context_length", length, "a text has at least a start and an end token")


def warn_about_jit(function: str, stacklevel: int) -> None:
    """Warn that a model is not scripted although ``jit=True`` was given."""
    warnings.warn(
        f"{function}(jit=True): ImageBind is not scripted, because TorchScript cannot compile its sensor towers; the "
        f"ordinary model is returned. Use torch.compile(model) for speed; torch.jit.script(model) compiles its image "
        f"and text towers alone, torch.jit.trace any",
        UserWarning,
        stacklevel=stacklevel,
    )


def warn_about_script(name: str) -> None:
    """Warn that a scripted model has no sensors."""
    warnings.warn(
        f"torch.jit.script({name}) compiles the image and text towers as open_clip's CLIP; TorchScript cannot compile "
        f"the sensor towers, so the scripted model has none. torch.jit.trace takes each of them",
        UserWarning,
        stacklevel=3,
    )


def refuse(function: str, name: str, value: object, reason: str) -> None:
    """Raise :class:`InputError` for an argument."""
    description = repr(value) if len(repr(value)) < 80 else f"a {type(value).__name__}"
    raise InputError(
        f"{function}()",
        found=f"{name}={description}",
        expected="another value, or the argument left out",
        remedy=reason,
    )
