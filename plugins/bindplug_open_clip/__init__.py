"""open_clip, with ImageBind among its models.

import bindplug_open_clip as open_clip
model, _, preprocess = open_clip.create_model_and_transforms("imagebind_tiny")
model.encode_audio(sounds, normalize=True) @ model.encode_text(tokens, normalize=True).T

Everything the installed open_clip exports is here under its name and is the same object, but for the few functions
that also know bindplug's models; for open_clip's own models those pass every argument through. Nothing is patched:
``import open_clip`` beside it is as it was. open_clip itself is imported when a name is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from bindplug_open_clip.delegate import public_names, upstream, upstream_attribute

_HOMES = {
    "ClipImageBind": "model",
    "CustomTextClipImageBind": "model",
    "UpgradedClip": "adapter",
    "convert_weights_to_fp16": "model",
    "convert_weights_to_lp": "model",
    "create_model": "factory",
    "create_model_and_transforms": "factory",
    "create_model_from_pretrained": "factory",
    "get_model_config": "factory",
    "get_pretrained_cfg": "pretrained",
    "get_pretrained_url": "pretrained",
    "get_tokenizer": "factory",
    "is_pretrained_cfg": "pretrained",
    "list_models": "factory",
    "list_pretrained": "pretrained",
    "list_pretrained_models_by_tag": "pretrained",
    "list_pretrained_tags_by_model": "pretrained",
    "load_checkpoint": "factory",
}
"""Names that are not simply open_clip's own, and the modules here that hold them."""

_ROOMS = ("clip", "factory", "model", "pretrained")
"""Modules here that extend open_clip's of the same name, or stand beside them."""


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    if name in _ROOMS:
        return import_module(f"{__name__}.{name}")
    if name == "__all__":
        return sorted({*_HOMES, *public_names(upstream())})
    return upstream_attribute("", name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES, *_ROOMS, *dir(upstream())})
