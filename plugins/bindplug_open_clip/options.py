"""The arguments of open_clip's constructors: bound as open_clip binds them, then honoured or refused by name."""

from __future__ import annotations

import inspect
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
"""open_clip's names of precisions, and what the towers' large weights are held in."""

HONOURED = {
    "model_name", "pretrained", "load_weights", "precision", "device", "force_custom_text", "force_patch_dropout",
    "force_image_size", "force_context_length", "force_preprocess_cfg", "image_mean", "image_std",
    "image_interpolation", "image_resize_mode", "aug_cfg", "cache_dir", "output_dict", "return_transform",
    "require_pretrained", "weights_only", "load_weights_only", "modalities", "init_logit_scale", "init_logit_bias",
    "nonscalar_logit_scale",
}  # fmt: skip

WITHOUT_EFFECT = {"pretrained_image", "pretrained_text", "pretrained_hf"}
"""Without effect on open_clip's own ViT towers too: they switch on weights of timm and transformers towers."""

SHAPE = "these weights have one shape; for another network use an open_clip model"
SPACE = "other weights in one tower would leave the space that the sensors were bound to"
REFUSED = {
    "jit": "sensor towers are not scriptable; use torch.compile(model)",
    "force_quick_gelu": "the weights were trained with the exact GELU; QuickGELU would give other embeddings",
    "quick_gelu": "the weights were trained with the exact GELU; QuickGELU would give other embeddings",
    "pretrained_image_path": SPACE,
    "pretrained_text_path": SPACE,
    "embed_dim": SHAPE,
    "vision_cfg": SHAPE,
    "text_cfg": SHAPE,
    "cast_dtype": "it follows from precision=",
}


def bind(function: Callable[..., Any], *args: Any, **kwargs: Any) -> dict[str, Any]:
    """The arguments of a call by name, as the installed open_clip would receive them, defaults included.

    Args:
        function: open_clip's own.
        args, kwargs: the caller's.

    Raises:
        TypeError: open_clip would not accept the call either.
        InputError: an argument cannot be honoured for ImageBind; the reason is given.
    """
    bound = inspect.signature(function).bind(*args, **kwargs)
    bound.apply_defaults()
    named = dict(bound.arguments)
    defaults = {name: p.default for name, p in inspect.signature(function).parameters.items()}
    further: Mapping[str, Any] = named.pop("model_kwargs", {})
    for name, value in named.items():
        if name not in HONOURED | WITHOUT_EFFECT and value != defaults[name]:
            refuse(
                function.__name__, name, value, REFUSED.get(name, "this version of bindplug does not know it")
            )
    for name, value in further.items():
        if name not in HONOURED | WITHOUT_EFFECT:
            refuse(
                function.__name__,
                name,
                value,
                REFUSED.get(name, "ImageBind's constructor has no such argument"),
            )
    return {**named, **further}


def check(function: str, options: Mapping[str, Any], patch: int) -> None:
    """Return if the values of bound arguments are possible.

    Args:
        function: the caller's, for messages.
        options: what :func:`bind` returned.
        patch: side of an image patch in pixels.

    Raises:
        InputError: one of them is not.
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
        refuse(function, "force_context_length", length, "a text has at least its two marks")


def refuse(function: str, name: str, value: object, reason: str) -> None:
    """Raise :class:`InputError` for an argument."""
    shown = repr(value) if len(repr(value)) < 80 else f"a {type(value).__name__}"
    raise InputError(
        f"{function}()", found=f"{name}={shown}", expected="another value or none", remedy=reason
    )
