"""OpenAI's ``clip.clip``: load a model and its transform, and tokenize texts. Other names are OpenAI's own."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torchvision.transforms import Compose

from bindplug.errors import CheckpointError, InputError
from bindplug.inputs import Tokenizer
from bindplug_open_clip.build import build_model
from bindplug_open_clip.catalog import UnknownName, card_of, cards, locate
from bindplug_open_clip.clip.model import OpenAiClip
from bindplug_open_clip.clip.openai import INSTALL, openai_attribute, openai_clip
from bindplug_open_clip.clip.simple_tokenizer import SimpleTokenizer
from bindplug_open_clip.image_transforms import image_transform
from bindplug_open_clip.options import warn_about_jit
from bindplug_open_clip.passthrough import upstream
from bindplug_open_clip.weights import is_imagebind

__all__ = ["available_models", "load", "tokenize"]

CONTEXT_LENGTH = 77


class TextTooLong(InputError, RuntimeError):  # noqa: N818 - as in bindplug.errors
    """A text has more tokens than the model reads; OpenAI's ``tokenize`` raises RuntimeError."""


def available_models() -> list[str]:
    """Names for :func:`load`: those of OpenAI's package if it is installed, then bindplug's."""
    theirs = openai_clip()
    return [*(theirs.available_models() if theirs else ()), *cards()]


def load(
    name: str, device: str | torch.device | None = None, jit: bool = False, download_root: str | None = None
) -> tuple[Any, Any]:
    """A model in evaluation mode and its image transform.

    Args:
        name: one of :func:`available_models`, or the path of ImageBind weights.
        device: a GPU if there is one, by default. On the CPU weights are float32, else float16 as OpenAI's.
        jit: without effect for ImageBind but a warning.
        download_root: the directory to search first and to download to.

    Raises:
        UnknownName: no such model, or one of OpenAI's own without OpenAI's package; a RuntimeError too.
    """
    device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    card = card_of(name)
    path = Path(name).expanduser()
    if card is None and not (path.exists() and _holds_imagebind(path)):
        return _load_theirs(name, device, jit, download_root)
    if jit:
        warn_about_jit("load", stacklevel=3)
    options = {"precision": "fp32" if device.type == "cpu" else "fp16", "device": device}
    model = build_model(locate(card, download_root) if card else path, None, options, OpenAiClip)
    model.visual.input_resolution = model.sensors.config.image_size
    return model.eval(), image_transform(model.visual.preprocess_cfg, is_train=False)


def tokenize(
    texts: str | Sequence[str], context_length: int = CONTEXT_LENGTH, truncate: bool = False
) -> Tensor:
    """Token ids of ``texts``, (B, context_length) int32.

    Raises:
        TextTooLong: a text is too long and ``truncate`` is off; it is also a RuntimeError.
        InputError: a text is not a string.
    """
    tokenizer = Tokenizer(context_length)
    sentences = [texts] if isinstance(texts, str) else list(texts)
    if not truncate:
        for text in sentences:
            if len(tokenizer.encode(text)) + 2 > context_length:
                raise TextTooLong(
                    f"Input {text[:60]!r}{'…' * (len(text) > 60)}",
                    found=f"is too long for context length {context_length}",
                    expected=f"at most {context_length - 2} tokens",
                    remedy="Shorten it, or pass truncate=True",
                )
    return tokenizer(sentences).to(torch.int32)


def _holds_imagebind(path: Path) -> bool:
    """Whether a file or directory is for this package; OpenAI's own files are scripted modules."""
    try:
        return is_imagebind(path)
    except CheckpointError:
        if openai_clip() is None:
            raise
        return False


def _load_theirs(name: str, device: torch.device, jit: bool, download_root: str | None) -> tuple[Any, Any]:
    theirs = openai_clip()
    if theirs is not None:
        return theirs.load(name, device=device, jit=jit, download_root=download_root)
    in_open_clip = name.replace("/", "-").replace("@336px", "-336")
    if in_open_clip in upstream("openai").list_openai_models():
        raise UnknownName(
            f"{name!r} is OpenAI's own model, and OpenAI's package is not installed: "
            f"{INSTALL}, or load it from open_clip, "
            f"create_model({in_open_clip + '-quickgelu'!r}, pretrained='openai')"
        )
    raise UnknownName(
        f"no model is named {name!r}; known: {', '.join(available_models())}. A path is possible too"
    )


def _transform(n_px: int) -> Compose:
    """OpenAI's image transform for a model of ``n_px`` by ``n_px`` pixels."""
    return image_transform({"size": n_px}, is_train=False)


@cache
def _shared_tokenizer() -> SimpleTokenizer:
    return SimpleTokenizer()


def __getattr__(name: str) -> Any:
    if name == "_tokenizer":  # OpenAI's module holds one; it takes 0.3 s to make
        return _shared_tokenizer()
    return openai_attribute("clip", name)
