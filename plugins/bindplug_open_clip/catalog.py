"""bindplug's models in open_clip's terms: names, tags, configs and paths of weights."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from bindplug import hub
from bindplug.cards import ModelCard
from bindplug.errors import InputError, UnknownModel
from bindplug.hub import download
from bindplug.imagebind import BLOCK_EPS, ImageBindConfig, infer_config, open_official, read_manifest
from bindplug.models import list_models
from bindplug.plugins import registry
from bindplug.space import IMAGEBIND_SPACE

TAG = "bindplug"
"""The pretrained tag of every bindplug model; each model has one set of weights."""


class UnknownName(UnknownModel, RuntimeError):  # noqa: N818 - as in bindplug.errors
    """A model name or pretrained tag that neither open_clip nor bindplug knows; open_clip raises RuntimeError."""


def cards() -> dict[str, ModelCard]:
    """The registered models that are ImageBind networks, by name. Only these have image and text towers."""
    return {card.name: card for card in list_models() if not card.loader}


def card_of(model_name: object) -> ModelCard | None:
    """The card of a bindplug model; None for any other name.

    Raises:
        InputError: the name is a registered model of another network than ImageBind.
    """
    if not isinstance(model_name, str):
        return None
    by_name = cards()
    if model_name not in by_name and model_name in registry().models:
        raise InputError(
            f"create_model({model_name!r})",
            found="a registered encoder of another network than ImageBind",
            expected=f"one of {', '.join(by_name)}",
            remedy=f"Load it with bindplug.load({model_name!r})",
        )
    return by_name.get(model_name)


def locate(card: ModelCard, cache_dir: str | Path | None = None) -> Path:
    """The path of a model's weights, downloaded if necessary.

    Args:
        card: the model.
        cache_dir: the directory to search first and to download to, in place of ``BINDPLUG_HOME``.

    Raises:
        WeightsNotFound: they are not on this machine and cannot be downloaded.
        CheckpointError: they are damaged.
    """
    if cache_dir is None or card.weights:
        return hub.fetch_weights(card)
    home = Path(cache_dir).expanduser()
    directory, file = home / card.name, home / card.filename
    if (directory / "config.json").is_file():
        return directory
    if card.filename and file.is_file():
        return file
    path = hub.find_weights(card)
    if path is not None or not card.url or _offline():
        return path or hub.fetch_weights(card)
    return download(card.url, file, sha256=card.sha256)


def config_of(card: ModelCard, cache_dir: str | Path | None = None) -> ImageBindConfig:
    """The config of a model's network. The published model's is known without its weights.

    Args:
        card: the model.
        cache_dir: as in :func:`locate`.

    Raises:
        WeightsNotFound: a model of another shape whose weights are not on this machine.
    """
    if card.space == IMAGEBIND_SPACE:
        return ImageBindConfig.huge()
    return config_at(locate(card, cache_dir))


def config_at(path: Path) -> ImageBindConfig:
    """The config of the network whose weights are at a path."""
    if path.is_dir():
        return ImageBindConfig.from_dict(read_manifest(path)["config"])

    return infer_config({name: tuple(t.shape) for name, t in open_official(path).items()}, what=str(path))


def clip_config(config: ImageBindConfig) -> dict[str, Any]:
    """The image and text towers as an open_clip model config: ``open_clip.CLIP(**clip_config(config))``.

    Raises:
        InputError: a tower has a head or patches that open_clip's classes do not support.
    """
    vision, text = config.vision, config.text
    _, rows, columns = vision.kernel
    if vision.head != "linear" or text.head != "linear" or rows != columns:
        raise InputError(
            "open_clip",
            found="image or text towers that open_clip's classes cannot hold",
            expected="linear heads, square patches",
        )
    return {
        "embed_dim": config.embed_dim,
        "vision_cfg": {
            "image_size": config.image_size,
            "patch_size": rows,
            "width": vision.width,
            "layers": vision.blocks,
            "head_width": vision.width // vision.heads,
            "norm_kwargs": {"eps": BLOCK_EPS},
        },
        "text_cfg": {
            "context_length": config.context_length,
            "vocab_size": config.vocab_size,
            "width": text.width,
            "heads": text.heads,
            "layers": text.blocks,
            "norm_kwargs": {"eps": BLOCK_EPS},
        },
    }


def _offline() -> bool:
    return any(os.environ.get(name, "0") not in ("", "0") for name in hub.OFFLINE_VARIABLES)
