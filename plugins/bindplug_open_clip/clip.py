"""OpenAI's ``clip`` with ImageBind among its models.

import bindplug_open_clip.clip as clip
model, preprocess = clip.load("imagebind_tiny", device="cpu")
logits_per_image, logits_per_text = model(images, clip.tokenize(["a dog", "a cat"]))
logits_per_audio, logits_per_text = model(audio=sounds, text=clip.tokenize(["a dog", "a cat"]))

OpenAI's own models are OpenAI's own code's: where its package is installed, their names are passed on to it.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bindplug.errors import InputError
from bindplug.inputs import Tokenizer
from bindplug_open_clip.assembly import assemble
from bindplug_open_clip.catalog import UnknownName, card_of, cards, locate
from bindplug_open_clip.delegate import upstream
from bindplug_open_clip.model import ClipImageBind
from bindplug_open_clip.transforms import image_transform
from bindplug_open_clip.weights import is_imagebind

__all__ = ["OpenAiClip", "TextTooLong", "available_models", "load", "tokenize"]

CONTEXT_LENGTH = 77


class TextTooLong(InputError, RuntimeError):  # noqa: N818 - as in bindplug.errors
    """A text has more tokens than the model reads; OpenAI's ``tokenize`` raises RuntimeError."""


class OpenAiClip(ClipImageBind):
    """ImageBind with the call form of OpenAI's CLIP: ``encode_*`` take any float input, ``forward`` gives logits."""

    def encode_image(self, image: Tensor, normalize: bool = False) -> Tensor:
        """Embed pictures. image: (B, 3, H, W) of any float dtype -> (B, D), not normalized by default."""
        known = isinstance(image, Tensor) and image.is_floating_point()
        return super().encode_image(image.to(self.dtype) if known else image, normalize=normalize)

    def forward(
        self, image: Tensor | None = None, text: Tensor | None = None, **sensors: Tensor | None
    ) -> Any:
        """Logits of every picture (or sound, ...) against every text.

        Args:
            image: (B, 3, H, W); or instead of it one of ``video``, ``audio``, ``depth``, ``thermal``, ``imu``.
            text: (N, 77) token ids.
            sensors: the input in place of ``image``, by its modality's name.

        Returns:
            ``(logits_per_image, logits_per_text)``, (B, N) and (N, B).

        Raises:
            InputError: not exactly one input beside text.
        """
        given = {name: x for name, x in {"image": image, **sensors}.items() if x is not None}
        if len(given) != 1 or text is None:
            named = ", ".join([*given, *([] if text is None else ["text"])]) or "nothing"
            raise InputError(
                "forward",
                found=named,
                expected="text and one input beside it",
                remedy="encode_* take each alone",
            )
        ((name, x),) = given.items()
        rows, texts = self.encode(name, x, normalize=True), self.encode_text(text, normalize=True)
        logits = self.logit_scale.exp() * rows @ texts.t().to(rows.dtype)
        return logits, logits.t()


def available_models() -> list[str]:
    """Names for :func:`load`: those of OpenAI's package if it is installed, then bindplug's."""
    theirs = _openai()
    return [*(theirs.available_models() if theirs else ()), *cards()]


def load(
    name: str, device: str | torch.device | None = None, jit: bool = False, download_root: str | None = None
) -> tuple[Any, Any]:
    """A model in evaluation mode and its image transform.

    Args:
        name: one of :func:`available_models`, or the path of ImageBind weights.
        device: a GPU if there is one, by default. On the CPU weights are float32, else float16 as OpenAI's.
        jit: refused for ImageBind.
        download_root: where weights are looked for first and downloaded to.

    Raises:
        UnknownName: no such model, or one of OpenAI's own without OpenAI's package; a RuntimeError too.
        InputError: ``jit`` is asked for.
    """
    device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    card = card_of(name)
    path = Path(name).expanduser()
    if card is None and not (path.exists() and is_imagebind(path)):
        return _load_theirs(name, device, jit, download_root)
    if jit:
        raise InputError(
            f"load({name!r})",
            found="jit=True",
            expected="jit=False",
            remedy="Use torch.compile(model) for speed",
        )
    options = {"precision": "fp32" if device.type == "cpu" else "fp16", "device": device}
    model = assemble(locate(card, download_root) if card else path, None, options, OpenAiClip)
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
    listed = [texts] if isinstance(texts, str) else list(texts)
    if not truncate:
        for text in listed:
            if len(tokenizer.encode(text)) + 2 > context_length:
                raise TextTooLong(
                    f"Input {text[:60]!r}{'…' * (len(text) > 60)}",
                    found=f"is too long for context length {context_length}",
                    expected=f"at most {context_length - 2} tokens",
                    remedy="Shorten it, or let it be cut with truncate=True",
                )
    return tokenizer(listed).to(torch.int32)


def _load_theirs(name: str, device: torch.device, jit: bool, download_root: str | None) -> tuple[Any, Any]:
    theirs = _openai()
    if theirs is not None:
        return theirs.load(name, device=device, jit=jit, download_root=download_root)
    in_open_clip = name.replace("/", "-").replace("@336px", "-336")
    if in_open_clip in upstream("openai").list_openai_models():
        raise UnknownName(
            f"{name!r} is OpenAI's own model, and OpenAI's package is not installed: "
            f"pip install git+https://github.com/openai/CLIP.git, or have it from open_clip, "
            f"create_model({in_open_clip + '-quickgelu'!r}, pretrained='openai')"
        )
    raise UnknownName(f"no model is named {name!r}; known: {', '.join(available_models())}; or give a path")


def _openai() -> Any:
    """OpenAI's package, if it is installed; another package of the same name is not taken for it."""
    if find_spec("clip") is None:
        return None
    package = import_module("clip")
    return (
        package if all(hasattr(package, name) for name in ("load", "tokenize", "available_models")) else None
    )


def __getattr__(name: str) -> Any:
    package = None if name.startswith("__") else _openai()
    if package is not None and hasattr(package, name):
        return getattr(package, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
