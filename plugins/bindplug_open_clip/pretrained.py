"""open_clip's lists of pretrained weights, extended by bindplug's. Other names are ``open_clip.pretrained``'s own."""

from __future__ import annotations

from functools import wraps
from typing import Any

from bindplug_open_clip.catalog import TAG, cards
from bindplug_open_clip.passthrough import upstream, upstream_attribute

_upstream = upstream("pretrained")


@wraps(_upstream.list_pretrained)
def list_pretrained(as_str: bool = False) -> list[Any]:
    """(model, tag) pairs, or ``"model:tag"`` strings: open_clip's, then bindplug's."""
    ours = [f"{name}:{TAG}" if as_str else (name, TAG) for name in cards()]
    return [*_upstream.list_pretrained(as_str=as_str), *ours]


@wraps(_upstream.list_pretrained_models_by_tag)
def list_pretrained_models_by_tag(tag: str) -> list[str]:
    """Names of the models that have the tag."""
    return [*_upstream.list_pretrained_models_by_tag(tag), *(cards() if _is_ours(tag) else ())]


@wraps(_upstream.list_pretrained_tags_by_model)
def list_pretrained_tags_by_model(model: str) -> list[str]:
    """Tags of the model."""
    return [TAG] if model in cards() else _upstream.list_pretrained_tags_by_model(model)


@wraps(_upstream.is_pretrained_cfg)
def is_pretrained_cfg(model: str, tag: str) -> bool:
    """Whether the model has the tag."""
    return _is_ours(tag) if model in cards() else _upstream.is_pretrained_cfg(model, tag)


@wraps(_upstream.get_pretrained_cfg)
def get_pretrained_cfg(model: str, tag: str) -> dict[str, Any]:
    """Source and preprocessing of the weights; empty for an unknown pair."""
    by_name = cards()
    if model not in by_name:
        return _upstream.get_pretrained_cfg(model, tag)
    if not _is_ours(tag):
        return {}
    constants = upstream("constants")
    return {
        "url": by_name[model].url,
        "hf_hub": "",
        "mean": constants.OPENAI_DATASET_MEAN,
        "std": constants.OPENAI_DATASET_STD,
        "interpolation": "bicubic",
        "resize_mode": "shortest",
    }


@wraps(_upstream.get_pretrained_url)
def get_pretrained_url(model: str, tag: str) -> str:
    """The URL of the weights; empty for weights that ship with a package."""
    return get_pretrained_cfg(model, tag).get("url", "")


def _is_ours(tag: str) -> bool:
    return tag.lower().replace("-", "_") == TAG


def __getattr__(name: str) -> Any:
    return upstream_attribute("pretrained", name)


def __dir__() -> list[str]:
    return sorted({*globals(), *dir(_upstream)})
