"""From two text encoders and a corpus to a bridge."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from bindplug.bridges.base import Bridge
from bindplug.bridges.linear import METHODS as LINEAR_METHODS
from bindplug.bridges.linear import LinearBridge
from bindplug.bridges.vocabulary import VocabularyBridge
from bindplug.corpus import Corpus
from bindplug.encoder import Encoder
from bindplug.errors import InputError
from bindplug.progress import iterate_with_progress
from bindplug.query import text
from bindplug.space import EmbeddingSpace
from bindplug.thresholds import space_of

METHODS = (*LINEAR_METHODS, "vocabulary")


@runtime_checkable
class TextEmbedder(Protocol):
    """What a bridge asks of a space it is fitted to: text in, rows out.

    Attributes:
        embedding_space: where the rows live.
        description: what it is, for the bridge's card.
    """

    embedding_space: EmbeddingSpace
    description: str

    def embed_texts(self, texts: Sequence[str]) -> Tensor:
        """(N, D) rows of N texts, of any length."""


def fit_bridge(
    source: Encoder | TextEmbedder,
    target: Encoder | TextEmbedder,
    corpus: Corpus | Sequence[str],
    *,
    method: str = "procrustes",
    batch_size: int = 256,
    progress: bool | None = None,
    source_prompt: str = "{}",
    target_prompt: str = "{}",
    **options: Any,
) -> Bridge:
    """Embed a corpus on both sides and fit a bridge.

    Args:
        source: an encoder with a text tower, or any :class:`TextEmbedder`.
        target: likewise, of the other space.
        corpus: N texts; a :class:`Corpus` also says which are variants of one another.
        method: ``"procrustes"``, ``"ridge"`` or ``"vocabulary"``.
        batch_size: texts in one pass.
        progress: True or False to force or forbid the bars; None shows them for work over two seconds.
        source_prompt, target_prompt: what each text is put into on its way into either encoder.
        options: of :meth:`LinearBridge.fit` or :meth:`VocabularyBridge.fit`.

    Returns:
        The bridge, its report filled in.

    Raises:
        InputError: an unknown method, an empty corpus, a prompt without ``{}``, an encoder without text.
        ModalityNotLoaded: the source was loaded without its text tower.

    Warns:
        BridgeQuality: held-out retrieval is poor or unknown, or the corpus does not span the source.
    """
    if method not in METHODS:
        raise InputError("fit_bridge()", found=f"method={method!r}", expected=f"one of {METHODS}")
    corpus = corpus if isinstance(corpus, Corpus) else Corpus.of(corpus)
    rows = [
        _embedded(side, _prompted(corpus.texts, prompt), batch_size, progress, label)
        for side, prompt, label in ((source, source_prompt, "source"), (target, target_prompt, "target"))
    ]
    options.setdefault("groups", corpus.groups)
    provenance = {
        "corpus": corpus.name,
        "source": _description(source),
        "target": _description(target),
        "source_prompt": source_prompt,
        "target_prompt": target_prompt,
        **(options.pop("provenance", None) or {}),
    }
    options |= {
        "source": _space(source),
        "target": _space(target),
        "provenance": provenance,
    }
    if method == "vocabulary":
        return VocabularyBridge.fit(*rows, names=corpus.texts, **options)
    return LinearBridge.fit(*rows, method=method, **options)


def _prompted(texts: Sequence[str], prompt: str) -> list[str]:
    if "{}" not in prompt:
        raise InputError("fit_bridge()", found=f"the prompt {prompt!r}", expected="{} where the text goes")
    return [prompt.replace("{}", text) for text in texts]


def _embedded(
    side: Encoder | TextEmbedder, texts: Sequence[str], batch_size: int, progress: bool | None, label: str
) -> Tensor:
    if batch_size < 1:
        raise InputError("fit_bridge()", found=f"batch_size={batch_size}", expected="at least 1")
    if not isinstance(side, (Encoder, TextEmbedder)):
        problem = f"a {type(side).__name__} as {label}"
        raise InputError("fit_bridge()", found=problem, expected="an Encoder or a TextEmbedder")
    batches = [texts[start : start + batch_size] for start in range(0, len(texts), batch_size)]
    quiet = None if progress is None else not progress
    parts = []
    for batch in iterate_with_progress(batches, label=f"embedding text, {label}", quiet=quiet):
        if isinstance(side, Encoder):
            rows = side.embed([text(t) for t in batch], batch_size=batch_size, progress=False)
        else:
            rows = side.embed_texts(batch)
        parts.append(rows.detach().float().cpu())
    return torch.cat(parts)


def _space(side: Encoder | TextEmbedder) -> EmbeddingSpace:
    """The space of a side, with the fingerprint of its weights where it is known."""
    return space_of(side) if isinstance(side, Encoder) else side.embedding_space


def _description(side: Encoder | TextEmbedder) -> str:
    return (
        f"{type(side).__name__} of {side.embedding_space}" if isinstance(side, Encoder) else side.description
    )
