"""Build a model of open_clip's class from ImageBind's weights, in a given shape and precision."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from bindplug.imagebind import ImageBind, ImageBindConfig
from bindplug.space import EmbeddingSpace
from bindplug_open_clip.catalog import clip_config
from bindplug_open_clip.model import ClipImageBind, CustomTextClipImageBind, convert_weights_to_lp
from bindplug_open_clip.options import PRECISIONS
from bindplug_open_clip.passthrough import upstream
from bindplug_open_clip.sensors import SENSORS, Sensors
from bindplug_open_clip.weights import fill, read_imagebind, renew_mask

Options = Mapping[str, Any]


def build_model(path: Path, sensors: tuple[str, ...] | None, options: Options, kind: Any = None) -> Any:
    """A model with the weights of a converted directory or official checkpoint.

    The network is built on the ``meta`` device and takes over the tensors that were read.

    Args:
        path: the directory or checkpoint.
        sensors: sensor towers to load; all for None.
        options: open_clip's arguments, as :func:`bindplug_open_clip.options.bind` returns them.
        kind: the class; by default one of the two, according to ``force_custom_text``.

    Returns:
        The model in training mode.
    """
    precision = options.get("precision", "fp32")
    pure = precision.startswith("pure_")
    source = read_imagebind(path, sensors, PRECISIONS[precision] if pure else torch.float32)
    with torch.device("meta"):
        model = _build(source.config, Sensors.of(source), source.embedding_space, options, kind)
    fill(model, source)
    model.measured_by(source)
    return _finish(model, options)


def build_untrained(config: ImageBindConfig, sensors: tuple[str, ...] | None, options: Options) -> Any:
    """A model with randomly initialized weights, in a space of its own, in training mode."""
    names = SENSORS if sensors is None else sensors
    towers = Sensors.of(ImageBind(config, names)) if names else Sensors({}, config)
    space = EmbeddingSpace("imagebind:untrained", config.embed_dim)
    return _finish(_build(config, towers, space, options, None), options)


def _build(
    config: ImageBindConfig, sensors: Sensors, space: EmbeddingSpace, options: Options, kind: Any
) -> Any:
    arguments = clip_config(config)
    for section, key, option in (
        ("vision_cfg", "image_size", "force_image_size"),
        ("vision_cfg", "patch_dropout", "force_patch_dropout"),
        ("text_cfg", "context_length", "force_context_length"),
    ):
        value = options.get(option)
        if value is not None:
            arguments[section][key] = value if isinstance(value, (int, float)) else value[0]
    for name in ("init_logit_scale", "init_logit_bias", "nonscalar_logit_scale"):
        if name in options:
            arguments[name] = options[name]
    kind = kind or (CustomTextClipImageBind if options.get("force_custom_text") else ClipImageBind)
    dtype = upstream("model").get_cast_dtype(options.get("precision", "fp32"))
    return kind(sensors=sensors, space=space, cast_dtype=dtype, **arguments)


def _finish(model: Any, options: Options) -> Any:
    renew_mask(model, model.context_length)
    _set_precision(model, torch.device(options.get("device", "cpu")), options.get("precision", "fp32"))
    model.output_dict = bool(options.get("output_dict"))
    _describe_preprocessing(model, options)
    return model.train()


def _set_precision(model: Any, device: torch.device, precision: str) -> None:
    """As open_clip does. The sensors' fixed scales stay float32."""
    scales = {name: tower.log_scale for name, tower in model.sensors.towers.items()}
    model.to(device)
    if precision in ("fp16", "bf16"):
        convert_weights_to_lp(model, PRECISIONS[precision])
    elif precision.startswith("pure_"):
        model.to(PRECISIONS[precision])
        for name, scale in scales.items():
            model.sensors.towers[name].log_scale = scale.to(device)


def _describe_preprocessing(model: Any, options: Options) -> None:
    """Set the attributes of ``model.visual`` that open_clip sets: image size and color statistics."""
    transform = upstream("transform")
    overrides = {
        "mean": options.get("image_mean"),
        "std": options.get("image_std"),
        "interpolation": options.get("image_interpolation"),
        "resize_mode": options.get("image_resize_mode"),
    }
    cfg = asdict(transform.PreprocessCfg(size=model.visual.image_size))
    cfg = transform.merge_preprocess_dict(cfg, deepcopy(options.get("force_preprocess_cfg")) or {})
    upstream("model").set_model_preprocess_cfg(model, transform.merge_preprocess_dict(cfg, overrides))
