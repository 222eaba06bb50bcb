"""open_clip, with ImageBind among its models.

import bindplug_open_clip as open_clip
model, _, preprocess = open_clip.create_model_and_transforms("imagebind_tiny")
model.encode_audio(sounds, normalize=True) @ model.encode_text(tokens, normalize=True).T

Every name of the installed open_clip is available here and is the same object, except the functions that also know
bindplug's models. Those pass all arguments for open_clip's own models on to open_clip. Submodules can be imported too:
``from bindplug_open_clip.loss import ClipLoss``. open_clip itself is not changed, and is imported when a name is first
used.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from bindplug.lazy import lazy_names
from bindplug_open_clip.passthrough import install_finder, public_names, upstream, upstream_attribute

_MODULES = {
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
"""Names that differ from open_clip's, and the modules of this package that define them."""

_SUBMODULES = ("clip", "factory", "model", "pretrained")
"""Public modules of this package. All but ``clip`` extend open_clip's module of the same name."""

install_finder()
_own, _ = lazy_names(__name__, _MODULES)


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return _own(name)
    if name in _SUBMODULES:
        return import_module(f"{__name__}.{name}")
    if name == "__all__":
        return sorted({*_MODULES, *public_names(upstream())})
    return upstream_attribute("", name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULES, *_SUBMODULES, *dir(upstream())})
