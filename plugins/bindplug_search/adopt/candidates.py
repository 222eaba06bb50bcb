"""The encoders at hand: those a person names, and those that are known by name and whose weights are here."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bindplug.cards import ModelCard
from bindplug.directories import read_json
from bindplug.errors import BindplugError, InputError
from bindplug.hub import find_weights
from bindplug.models import list_models, load
from bindplug.plugins import registry
from bindplug_search.adopt.identification import Candidate

if TYPE_CHECKING:
    from bindplug.encoder import Encoder

CACHED_TYPES = ("clip", "siglip", "siglip2")
"""``model_type`` of configurations of the transformers library that are tried without being named."""


def encoders_at_hand(names: Iterable[str], *, device: Any = "cpu", dtype: Any = None) -> list[Candidate]:
    """Candidates for whoever made rows, those named first; nothing is loaded, and nothing downloaded but what is named.

    Args:
        names: that :func:`bindplug.load` takes: registered names, paths, and names of model sources.
        device, dtype: as for :func:`bindplug.load`.
    """
    cards = {card.name: card for card in list_models()}
    distinct_names = list(dict.fromkeys(names))
    present = [name for name, card in cards.items() if name not in distinct_names and _is_here(card)]
    present += [name for name in cached_names() if name not in distinct_names]
    return [_candidate(name, cards.get(name), device, dtype) for name in (*distinct_names, *present)]


def cached_names() -> list[str]:
    """Ids of CLIPs of the transformers library whose weights lie in Hugging Face's cache of this machine."""
    if "transformers" not in registry().model_sources:
        return []
    names = []
    for config in sorted(_hub_cache().glob("models--*/snapshots/*/config.json")):
        repository = config.parents[2].name.removeprefix("models--").replace("--", "/")
        weights = [*config.parent.glob("*.safetensors"), *config.parent.glob("pytorch_model*.bin")]
        if weights and _model_type(config) in CACHED_TYPES:
            names.append(f"transformers:{repository}")
    return list(dict.fromkeys(names))


def _model_type(config: Path) -> object:
    try:
        content = read_json(config)
    except BindplugError:
        return None
    return content.get("model_type") if isinstance(content, dict) else None


def _hub_cache() -> Path:
    if os.environ.get("HF_HUB_CACHE"):
        return Path(os.environ["HF_HUB_CACHE"]).expanduser()
    home = os.environ.get("HF_HOME")
    caches = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(home or f"{caches}/huggingface").expanduser() / "hub"


def _candidate(name: str, card: ModelCard | None, device: Any, dtype: Any) -> Candidate:
    def load_with(modalities: set[str]) -> Encoder:
        if card is None:
            return load(name, modalities=modalities, device=device, dtype=dtype)
        shared = modalities & set(card.modalities)
        if not shared:
            raise InputError(
                name, found=_listed(card.modalities), expected=f"a model of {_listed(sorted(modalities))}"
            )
        return load(name, modalities=shared, device=device, dtype=dtype)

    return Candidate(name, load_with, None if card is None else card.space)


def _is_here(card: ModelCard) -> bool:
    try:
        return not card.missing() and (bool(card.loader and not card.url) or find_weights(card) is not None)
    except BindplugError:  # damaged weights are no candidate
        return False


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names)
