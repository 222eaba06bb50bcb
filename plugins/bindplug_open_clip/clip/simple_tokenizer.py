"""OpenAI's ``clip.simple_tokenizer``: open_clip's tokenizer with OpenAI's names of the start and end tokens."""

from __future__ import annotations

from typing import Any

import regex

from bindplug_open_clip.passthrough import upstream, upstream_attribute

_Tokenizer: Any = upstream("tokenizer").SimpleTokenizer


class SimpleTokenizer(_Tokenizer):
    """open_clip's ``SimpleTokenizer``, whose ``encoder`` and ``decoder`` name the special tokens as OpenAI's does.

    Args:
        bpe_path: the file of merges; CLIP's own for None.
    """

    def __init__(self, bpe_path: str | None = None) -> None:
        super().__init__(**({} if bpe_path is None else {"bpe_path": bpe_path}))
        names = {"<start_of_text>": "<|startoftext|>", "<end_of_text>": "<|endoftext|>"}
        pattern: str = vars(self)["pat"].pattern
        for upstream_name, name in names.items():
            self.encoder[name] = self.encoder.pop(upstream_name)
            self.cache[name] = name
            del self.cache[upstream_name]
            pattern = pattern.replace(upstream_name, regex.escape(name))
        self.decoder = {index: token for token, index in self.encoder.items()}
        self.pat = regex.compile(pattern, regex.IGNORECASE)


def __getattr__(name: str) -> Any:
    return upstream_attribute("tokenizer", name)
