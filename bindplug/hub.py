"""Where weights lie on this machine, and fetching those that do not."""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec
from pathlib import Path

from bindplug.cards import ModelCard
from bindplug.download import check_record, download
from bindplug.download_checks import DownloadError
from bindplug.errors import PluginError, WeightsNotFound

__all__ = [
    "DownloadError",
    "download",
    "fetch_weights",
    "find_weights",
    "home",
]

HOME_VARIABLE = "BINDPLUG_HOME"
"""Environment variable with the directory that holds weights; ``~/.cache/bindplug`` if not set."""

MANIFESTS = ("config.json", "model_index.json")
"""What a model's directory holds; the second is a diffusers pipeline's."""

OFFLINE_VARIABLES = ("BINDPLUG_OFFLINE", "HF_HUB_OFFLINE")


def home() -> Path:
    """The directory where weights are looked for first, and downloaded to."""
    if os.environ.get(HOME_VARIABLE):
        return Path(os.environ[HOME_VARIABLE]).expanduser()
    return _cache_root() / "bindplug"


def places(card: ModelCard) -> list[Path]:
    """Where a model's weights are looked for, in order; each may or may not exist.

    A converted directory named like the model precedes the downloaded file: it loads faster.
    """
    torch_home = Path(os.environ.get("TORCH_HOME") or _cache_root() / "torch").expanduser()
    candidates = [home() / card.name / "config.json"]
    if card.filename:
        candidates += [
            home() / card.filename,
            Path(".checkpoints") / card.filename,
            torch_home / "hub" / "checkpoints" / card.filename,
            *sorted(_hugging_face_cache().glob(f"models--*/snapshots/*/{card.filename}")),
        ]
    return candidates


def find_weights(card: ModelCard) -> Path | None:
    """A model's weights on this machine: a directory, a file, or None.

    Raises:
        CheckpointError: the file found is not as it was when it was downloaded.
        PluginError: the card names packaged weights that its package lacks.
    """
    if card.weights:
        return _packaged(card)
    for place in places(card):
        if place.is_file():
            check_record(place)
            return place.parent if place.name == "config.json" else place
    return None


def fetch_weights(card: ModelCard, *, quiet: bool | None = None) -> Path:
    """A model's weights: found on this machine, else downloaded after stating size and license on stderr.

    Args:
        card: of the model.
        quiet: as in :func:`bindplug.progress.iterate_with_progress`.

    Returns:
        The checkpoint file, or the directory.

    Raises:
        WeightsNotFound: they are not here and cannot be downloaded; the message says what to place where.
        CheckpointError: what was found or downloaded is damaged.
    """
    path = find_weights(card)
    if path is not None:
        return path
    if not card.url:
        raise WeightsNotFound(_instructions(card, "its card names no address to download them from"))
    variable = next((name for name in OFFLINE_VARIABLES if os.environ.get(name, "0") not in ("", "0")), None)
    if variable:
        raise WeightsNotFound(_instructions(card, f"{variable} forbids the network"))
    destination = home() / card.filename
    print(
        f"bindplug: downloading {card.name}{_terms(card)} from {card.url} to {destination}", file=sys.stderr
    )
    try:
        return download(card.url, destination, sha256=card.sha256, about_bytes=card.size_bytes, quiet=quiet)
    except DownloadError as error:
        raise WeightsNotFound(_instructions(card, str(error))) from error


def _packaged(card: ModelCard) -> Path:
    package, _, directory = card.weights.partition(":")
    spec = find_spec(package)
    roots = [Path(root) for root in (spec.submodule_search_locations or [])] if spec else []
    for root in roots:
        if any((root / directory / manifest).is_file() for manifest in MANIFESTS):
            return root / directory
    raise PluginError(
        f"model {card.name!r}: {card.weights!r} holds no {' or '.join(MANIFESTS)}; reinstall {package}"
    )


def _instructions(card: ModelCard, reason: str) -> str:
    listing = "".join(f"\n  {place}" for place in places(card))
    source = f"the file {card.url}" if card.url else f"its converted directory {card.name}/"
    target = home() / (card.filename if card.url else card.name)
    return (
        f"the weights of {card.name!r}{_terms(card)} are not on this machine, and could not be fetched: {reason}.\n"
        f"Place {source} at {target}, or set {HOME_VARIABLE} to the directory that holds it, or give its path: "
        f"bindplug.load('path/to/{target.name}').\nLooked for:{listing}"
    )


def _terms(card: ModelCard) -> str:
    size = f"about {_human_size(card.size_bytes)}, " if card.size_bytes else ""
    return f" ({size}license {card.license})"


def _human_size(count: int) -> str:
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= 0.1 * factor:
            return f"{count / factor:.1f} {unit}"
    return f"{count} bytes"


def _cache_root() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache")).expanduser()


def _hugging_face_cache() -> Path:
    if os.environ.get("HF_HUB_CACHE"):
        return Path(os.environ["HF_HUB_CACHE"]).expanduser()
    return Path(os.environ.get("HF_HOME") or _cache_root() / "huggingface").expanduser() / "hub"
