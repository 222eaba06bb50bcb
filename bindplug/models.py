"""Loading encoders: by a registered name, from the official checkpoint, or from a converted directory."""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bindplug.cards import ModelCard, ModelSourceCard, resolve
from bindplug.device import resolve_device, resolve_dtype
from bindplug.errors import CheckpointError, InputError, PluginError, UnknownModel, WeightsNotFound
from bindplug.hub import fetch_weights
from bindplug.modality import Modality
from bindplug.plugins import Entry, registry

if TYPE_CHECKING:
    import torch

    from bindplug.encoder import Encoder

__all__ = ["ModelCard", "find_model", "list_models", "load"]

SCHEME = re.compile(r"[a-z][a-z0-9_-]+")
"""What may stand before the colon of a model's id."""

DIRECTORIES = {"bindplug-adapters": "bindplug.training.adapted_models:load_adapted"}
"""Formats of directories that are no ImageBind -> target of a function ``(path, *, modalities, device, dtype)``."""

CHECKPOINT_SUFFIXES = (".pth", ".pt", ".bin", ".ckpt", ".safetensors", ".json")


def list_models(tool: str | None = "encoder") -> list[ModelCard]:
    """Cards of the models that are known by name.

    Args:
        tool: what opens them: ``"encoder"`` for those that :func:`load` loads, ``"detector"``, ``"generator"``;
            None for all.
    """
    return [entry.card for entry in registry().models.values() if tool in (None, entry.card.tool)]


def find_model(name: str, *, tool: str) -> Path:
    """Where the weights of a registered model lie; downloads them if its card says from where.

    For plugins whose tools open models of their own kind.

    Args:
        name: of a registered model.
        tool: what is going to open it, as ``"detector"``.

    Raises:
        UnknownModel: no model of that kind has the name.
        WeightsNotFound, CheckpointError: as :func:`load`.
    """
    registered = {card.name: card for card in list_models(tool)}
    if name not in registered:
        raise UnknownModel(
            f"no {tool} is named {name!r}; known names: {', '.join(registered) or 'none'}{_idle_plugins()}"
        )
    return fetch_weights(registered[name])


def load(
    name_or_path: str | Path,
    *,
    modalities: Collection[str] | None = None,
    device: str | torch.device = "cpu",
    dtype: str | torch.dtype | None = None,
) -> Encoder:
    """An encoder in evaluation mode, ready to embed.

    Args:
        name_or_path: a registered name such as ``"imagebind_tiny"``, the official checkpoint (``.pth``), a
            directory that ``bindplug convert`` or ``bindplug bind`` wrote, or a model of another library by its
            scheme, as ``"transformers:laion/clap-htsat-unfused"``, ``"open_clip:ViT-B-32:openai"`` or
            ``"transformers:./dir"``. A registered name comes first; for a file or directory of the same name write
            ``"./name"``.
        modalities: load only these, e.g. ``{"audio"}``; of ImageBind only their towers are built and read. None
            for all.
        device: where the weights go: ``"cpu"``, ``"cuda:1"``, ... or ``"auto"`` for the fastest there is.
        dtype: of the weights, as ``torch.float16`` or ``"float16"``; ``"auto"`` keeps the stored one; so does
            None, except that float16 becomes float32 on the CPU, where it is slower.

    Raises:
        UnknownModel: neither a registered name nor a path.
        UnknownModality: one of ``modalities`` is not known.
        InputError: there is no such device or dtype.
        WeightsNotFound: the weights are not on this machine and cannot be downloaded.
        CheckpointError: the weights are damaged or belong to another network.
    """
    names = None if modalities is None else _parsed(modalities)
    options: dict[str, Any] = {
        "modalities": names,
        "device": resolve_device(device),
        "dtype": resolve_dtype(dtype),
    }
    registered = registry().models
    source = source_of(name_or_path)
    if source is not None:
        model = _load_from_source(source, str(name_or_path).partition(":")[2], options)
    elif isinstance(name_or_path, str) and name_or_path in registered:
        model = _load_registered(registered[name_or_path], options)
    else:
        model = _load_path(_existing(name_or_path), options)
    return _widened(model) if dtype is None else model


def source_of(name_or_path: str | Path) -> Entry[ModelSourceCard] | None:
    """The model source whose scheme an id starts with; None for names and paths.

    Raises:
        UnknownModel: it starts with ``scheme:``, and no plugin registers that scheme.
    """
    if not isinstance(name_or_path, str) or name_or_path in registry().models:
        return None
    scheme, colon, rest = name_or_path.partition(":")
    sources = registry().model_sources
    if colon and scheme in sources:
        return sources[scheme]
    # A single letter is a drive of Windows.
    if colon and rest and SCHEME.fullmatch(scheme) and not Path(name_or_path).expanduser().exists():
        forms = "; ".join(entry.card.form for entry in sources.values()) or "none"
        raise UnknownModel(f"no model source is named {scheme!r}; known forms: {forms}{_idle_plugins()}")
    return None


def _load_from_source(source: Entry[ModelSourceCard], rest: str, options: dict[str, Any]) -> Encoder:
    card = source.card
    if not rest:
        raise UnknownModel(f"{card.name}: names no model; expected {card.form}")
    from bindplug.foreign import ForeignEncoder

    model: Encoder = source.call(card.target, rest, **options)
    if isinstance(model, ForeignEncoder):
        model.model_id = f"{card.scheme}:{rest}"
    return model


def _widened(model: Encoder) -> Encoder:
    """``model`` in float32 if it is a float16 network on the CPU, where that is slower."""
    import torch

    from bindplug.foreign import ForeignEncoder
    from bindplug.imagebind import ImageBind
    from bindplug.imagebind.mapped_pages import convert

    if isinstance(model, ImageBind) and model.device.type == "cpu" and model.dtype == torch.float16:
        convert(model, torch.float32)
    elif isinstance(model, ForeignEncoder) and model.device.type == "cpu" and model.dtype == torch.float16:
        model.float()
    return model


def _load_registered(entry: Entry[ModelCard], chosen: dict[str, Any]) -> Encoder:
    card = entry.card
    if card.tool != "encoder":
        raise UnknownModel(f"{card.name!r} is a {card.tool} and no encoder; encoders: {_names()}")
    card.ensure_available(entry.plugin.name, entry.plugin.distribution)
    absent = sorted(set(chosen["modalities"] or ()) - set(card.modalities))
    if absent:
        raise InputError(
            f"load({card.name!r})", found=f"modalities {absent}", expected=f"some of {list(card.modalities)}"
        )
    path = fetch_weights(card) if card.weights or card.url else None
    if card.loader:
        model: Encoder = entry.call(card.loader, path, **chosen)
    else:
        if path is None:
            raise PluginError(
                f"model {card.name!r} of plugin {entry.plugin.name!r} has no weights and no loader"
            )
        model = _load_path(path, chosen)
    card.space.ensure(model.embedding_space, doing=f"the card of model {card.name!r}")
    return model


def _load_path(path: Path, chosen: dict[str, Any]) -> Encoder:
    """Load ImageBind from a converted directory or an official checkpoint, or a tower bound to some anchor."""
    from bindplug.bound import is_bound, load_bound
    from bindplug.imagebind import ImageBind, load_directory
    from bindplug.imagebind.sidecar import read_sidecar

    if path.name == "config.json":
        path = path.parent
    if path.is_dir():
        if is_bound(path):
            return load_bound(path, load=load, **chosen)
        target = DIRECTORIES.get(_format_of(path))
        if target is not None:
            model: Encoder = resolve(target, "bindplug")(path, **chosen)
            return model
        return load_directory(path, **chosen).eval()
    description = read_sidecar(path)
    if description is None:
        return ImageBind.from_official(path, **chosen).eval()
    config, space = description
    model = ImageBind.from_official(path, config, **chosen)
    model.embedding_space = space
    return model.eval()


def _format_of(path: Path) -> str:
    """What the manifest of a directory says that it holds; empty where it cannot be read."""
    from bindplug.directories import read_json

    file = path / "config.json"
    if not file.is_file():
        return ""
    try:
        content = read_json(file)
    except CheckpointError:  # load_directory() says what is wrong
        return ""
    name = content.get("format") if isinstance(content, dict) else None
    return name if isinstance(name, str) else ""


def _existing(name_or_path: str | Path) -> Path:
    path = Path(name_or_path).expanduser()
    if path.exists():
        return path
    has_separator = "/" in str(name_or_path) or "\\" in str(name_or_path)
    if has_separator or isinstance(name_or_path, Path) or path.suffix in CHECKPOINT_SUFFIXES:
        raise WeightsNotFound(
            f"there is no file or directory {str(path)!r} (from {str(Path.cwd())!r}); give the official "
            f"checkpoint, a directory that `bindplug convert` wrote, or a name: {_names()}"
        )
    raise UnknownModel(f"no model is named {str(name_or_path)!r}; known names: {_names()}{_idle_plugins()}")


def _names() -> str:
    return ", ".join(card.name for card in list_models()) or "none"


def _idle_plugins() -> str:
    idle = [
        f"{p.name} is {p.status} ({p.reason})" for p in registry().plugins.values() if p.status != "ready"
    ]
    return f". Plugins not in use: {'; '.join(idle)}" if idle else ""


def _parsed(modalities: Collection[str]) -> tuple[str, ...]:
    names = {modalities} if isinstance(modalities, str) else set(modalities)
    names = (names - {"vision"}) | ({"image", "video"} if "vision" in names else set())
    modality_set = {Modality.parse(name) for name in names}
    if not modality_set:
        raise InputError("load()", found="no modality", expected="at least one, or None for all")
    return tuple(modality.value for modality in Modality if modality in modality_set)
