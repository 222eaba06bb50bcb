"""OpenAI's ``clip`` with ImageBind among its models.

import bindplug_open_clip.clip as clip
model, preprocess = clip.load("imagebind_tiny", device="cpu")
logits_per_image, logits_per_text = model(images, clip.tokenize(["a dog", "a cat"]))
logits_per_audio, logits_per_text = model(audio=sounds, text=clip.tokenize(["a dog", "a cat"]))

The modules are those of OpenAI's package: ``clip``, ``model`` and ``simple_tokenizer``. Where OpenAI's package is
installed, its own models and names are passed on to it.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from bindplug_open_clip.clip.clip import OpenAiClip, TextTooLong, available_models, load, tokenize
from bindplug_open_clip.clip.openai import openai_attribute

__all__ = ["OpenAiClip", "TextTooLong", "available_models", "load", "tokenize"]


def __getattr__(name: str) -> Any:
    if name in ("model", "simple_tokenizer"):
        return import_module(f"{__name__}.{name}")
    return openai_attribute("", name)
