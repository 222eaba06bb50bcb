"""open_clip's constructors, extended by bindplug's models. Every other name is ``open_clip.factory``'s own."""

from __future__ import annotations

import inspect
import logging
from difflib import get_close_matches
from functools import wraps
from pathlib import Path
from typing import Any

from torch import nn

from bindplug.cards import ModelCard
from bindplug.errors import InputError
from bindplug_open_clip.build import build_model, build_untrained
from bindplug_open_clip.catalog import (
    TAG,
    UnknownName,
    card_of,
    cards,
    clip_config,
    config_at,
    config_of,
    locate,
)
from bindplug_open_clip.image_transforms import image_transform
from bindplug_open_clip.options import bind, check
from bindplug_open_clip.passthrough import upstream, upstream_attribute
from bindplug_open_clip.sensors import SENSORS, Sensors
from bindplug_open_clip.weights import is_imagebind, load_own

logger = logging.getLogger(__name__)
_upstream = upstream("factory")


@wraps(_upstream.create_model)
def create_model(model_name: str, *args: Any, **kwargs: Any) -> nn.Module:
    """open_clip's ``create_model``; bindplug's models load their weights unless ``load_weights=False``."""
    card = card_of(model_name)
    if card is None:
        _ensure_known(model_name)
        return _upstream.create_model(model_name, *args, **kwargs)
    return _create(card, bind(_upstream.create_model, model_name, *args, **kwargs), "create_model")


@wraps(_upstream.create_model_and_transforms)
def create_model_and_transforms(model_name: str, *args: Any, **kwargs: Any) -> tuple[nn.Module, Any, Any]:
    """open_clip's ``create_model_and_transforms``: the model in training mode, train and validation transforms."""
    card = card_of(model_name)
    if card is None:
        _ensure_known(model_name)
        return _upstream.create_model_and_transforms(model_name, *args, **kwargs)
    options = bind(_upstream.create_model_and_transforms, model_name, *args, **kwargs)
    model = _create(card, options, "create_model_and_transforms")
    cfg = model.visual.preprocess_cfg
    train = image_transform(cfg, is_train=True, aug_cfg=options.get("aug_cfg"))
    return model, train, image_transform(cfg, is_train=False)


@wraps(_upstream.create_model_from_pretrained)
def create_model_from_pretrained(model_name: str, *args: Any, **kwargs: Any) -> Any:
    """open_clip's ``create_model_from_pretrained``: the model and its validation transform."""
    card = card_of(model_name)
    if card is None:
        _ensure_known(model_name)
        return _upstream.create_model_from_pretrained(model_name, *args, **kwargs)
    options = bind(_upstream.create_model_from_pretrained, model_name, *args, **kwargs)
    model = _create(card, options, "create_model_from_pretrained")
    if not options["return_transform"]:
        return model
    return model, image_transform(model.visual.preprocess_cfg, is_train=False)


@wraps(_upstream.get_tokenizer)
def get_tokenizer(model_name: str = "", *args: Any, **kwargs: Any) -> Any:
    """open_clip's ``get_tokenizer``; bindplug's models use open_clip's ``SimpleTokenizer``."""
    card = card_of(model_name)
    if card is None:
        return _upstream.get_tokenizer(model_name, *args, **kwargs)
    bound = inspect.signature(_upstream.get_tokenizer).bind(model_name, *args, **kwargs)
    length = bound.arguments.get("context_length") or config_of(card).context_length
    return upstream("tokenizer").SimpleTokenizer(context_length=length, **bound.arguments.get("kwargs", {}))


@wraps(_upstream.list_models)
def list_models() -> list[str]:
    """open_clip's models, then bindplug's."""
    return [*_upstream.list_models(), *cards()]


@wraps(_upstream.get_model_config)
def get_model_config(model_name: str) -> dict[str, Any] | None:
    """open_clip's ``get_model_config``; for bindplug's models the arguments of ``open_clip.CLIP``."""
    card = card_of(model_name)
    return _upstream.get_model_config(model_name) if card is None else clip_config(config_of(card))


@wraps(_upstream.load_checkpoint)
def load_checkpoint(model: nn.Module, *args: Any, **kwargs: Any) -> Any:
    """open_clip's ``load_checkpoint``; for bindplug's models see :func:`bindplug_open_clip.weights.load_own`."""
    if isinstance(getattr(model, "sensors", None), Sensors):
        return load_own(model, *args, **kwargs)
    return _upstream.load_checkpoint(model, *args, **kwargs)


def _create(card: ModelCard, options: dict[str, Any], function: str) -> Any:
    """A bindplug model from bound arguments."""
    own_file = _own_file(card, options.get("pretrained"))
    sensors = _sensor_names(card, options.get("modalities"))
    is_whole = own_file is not None and is_imagebind(own_file)
    cache_dir = options.get("cache_dir")
    config = config_at(own_file) if own_file is not None and is_whole else config_of(card, cache_dir)
    check(function, options, config.vision.kernel[-1])
    required = function == "create_model_from_pretrained" or options.get("require_pretrained")
    if not (required or options.get("load_weights", True)):
        logger.warning("No pretrained weights loaded for model '%s'. Model initialized randomly.", card.name)
        return build_untrained(config, sensors, options)
    path = own_file if own_file is not None and is_whole else locate(card, cache_dir)
    model = build_model(path, sensors, options)
    if own_file is not None and not is_whole:
        load_own(model, own_file)
    return model


def _sensor_names(card: ModelCard, modalities: Any) -> tuple[str, ...] | None:
    """Names of the sensors to load; None for all. Image, video and text are always loaded."""
    if modalities is None:
        return None
    names = {modalities} if isinstance(modalities, str) else set(modalities)
    unknown = sorted(str(name) for name in names - set(card.modalities))
    if unknown:
        raise InputError(
            f"create_model({card.name!r})",
            found=f"modalities {unknown}",
            expected=f"some of {list(card.modalities)}",
        )
    return tuple(name for name in SENSORS if name in names)


def _own_file(card: ModelCard, pretrained: Any) -> Path | None:
    """The file or directory that ``pretrained`` names; None for the model's own weights."""
    if not pretrained or str(pretrained).lower().replace("-", "_") == TAG:
        return None
    path = Path(pretrained).expanduser()
    if path.exists():
        return path
    raise UnknownName(
        f"model {card.name!r} has no pretrained tag {str(pretrained)!r}, and there is no such file; its tag is "
        f"{TAG!r}, which is also what pretrained=None means, or give the path of a checkpoint"
    )


def _ensure_known(model_name: object) -> None:
    """Raise an error that lists bindplug's models too, where open_clip would list only its own."""
    if not isinstance(model_name, str) or ":" in model_name:
        return
    names = list_models()
    if model_name.replace("/", "-") in names:
        return
    close = get_close_matches(model_name, names, 3, 0.5)
    raise UnknownName(
        f"no model is named {model_name!r}{'; did you mean ' + ' or '.join(map(repr, close)) + '?' if close else ''} "
        f"bindplug's: {', '.join(cards())}; open_clip's: {', '.join(_upstream.list_models())}"
    )


def __getattr__(name: str) -> Any:
    return upstream_attribute("factory", name)


def __dir__() -> list[str]:
    return sorted({*globals(), *dir(_upstream)})
