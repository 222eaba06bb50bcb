"""Opening a pipeline by name, directory or id, quietly where that is wanted."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bindplug.errors import CheckpointError, InputError, UnknownModel, WeightsNotFound

if TYPE_CHECKING:
    from bindplug.space import EmbeddingSpace

DEFAULT_PIPELINE = "toy_unclip"


def open_pipeline(
    name: str, device: str, dtype: str | None, ip_adapter: str | None = None
) -> tuple[Any, EmbeddingSpace | None]:
    """A pipeline by registered name, directory or id, and the space of its embeddings where its card tells.

    Raises:
        UnknownModel: it is none of these.
        WeightsNotFound: there is no such id, or it cannot be fetched.
        CheckpointError: the directory holds no whole pipeline, or the file no IP-Adapter.
    """
    from bindplug.models import find_model, list_models
    from bindplug_diffusers import require_diffusers

    require_diffusers()
    import torch
    from diffusers import DiffusionPipeline

    cards = {card.name: card for card in list_models("generator")}
    place: str | Path = Path(name).expanduser()
    if name in cards or name == DEFAULT_PIPELINE:
        place = find_model(name, tool="generator")
    elif not Path(place).exists():
        if name.count("/") != 1:
            known = ", ".join(cards) or "none"
            raise UnknownModel(
                f"no pipeline is named {name!r}, and there is no such directory; known names: {known}. An id of the "
                f"hub has the form owner/name"
            )
        place = name
    try:
        absent = _left_out(Path(place))
        chosen = getattr(torch, dtype) if dtype else None
        pipe = DiffusionPipeline.from_pretrained(str(place), torch_dtype=chosen, **absent)
    except (OSError, ValueError) as error:
        kind = CheckpointError if isinstance(place, Path) else WeightsNotFound
        raise kind(f"{name} could not be opened as a diffusers pipeline: {error}") from error
    if ip_adapter:
        _load_adapter(pipe, ip_adapter)
    return pipe.to(device), cards[name].space if name in cards else None


@contextmanager
def hushed(quiet: bool) -> Iterator[None]:
    """Without the bars and remarks of diffusers and transformers for the time of the block, if ``quiet``."""
    if not quiet:
        yield
        return
    import diffusers.utils.logging as diffusers_logging
    import transformers.utils.logging as transformers_logging

    libraries = (diffusers_logging, transformers_logging)
    verbosities = [library.get_verbosity() for library in libraries]
    shown = [library.is_progress_bar_enabled() for library in libraries]
    for library in libraries:
        library.set_verbosity_error()
        library.disable_progress_bar()
    try:
        yield
    finally:
        for library, verbosity, was_shown in zip(libraries, verbosities, shown, strict=True):
            library.set_verbosity(verbosity)
            if was_shown:
                library.enable_progress_bar()


def _left_out(directory: Path) -> dict[str, None]:
    """Components that a directory says it was saved without, as an image encoder: loading wants to be told again."""
    index = directory / "model_index.json"
    if not index.is_file():
        return {}
    return {name: None for name, held in json.loads(index.read_text()).items() if held == [None, None]}


def _load_adapter(pipe: Any, ip_adapter: str) -> None:
    place, colon, file = ip_adapter.rpartition(":")
    if not colon or not place or not file:
        expected = "PATH_OR_ID:FILE, as h94/IP-Adapter:models/ip-adapter_sd15.safetensors"
        raise InputError("--ip-adapter", found=repr(ip_adapter), expected=expected)
    if not hasattr(pipe, "load_ip_adapter"):
        found = f"a {type(pipe).__name__}"
        raise InputError("--ip-adapter", found=found, expected="a pipeline that takes IP-Adapters")
    folder, _, name = file.rpartition("/")
    try:
        pipe.load_ip_adapter(place, subfolder=folder, weight_name=name, image_encoder_folder=None)
    except (OSError, ValueError, KeyError) as error:
        raise CheckpointError(f"{ip_adapter} could not be loaded as an IP-Adapter: {error}") from error
