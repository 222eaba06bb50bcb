"""Load a pipeline by name, directory or hub id."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bindplug.directories import read_json
from bindplug.errors import CheckpointError, InputError, UnknownModel, WeightsNotFound
from bindplug_diffusers.saved_pipeline import INDEX, check_components, check_files, damage_in

if TYPE_CHECKING:
    from bindplug.space import EmbeddingSpace

DEFAULT_PIPELINE = "toy_unclip"


def load_pipeline(
    name: str, device: str, dtype: str | None, ip_adapter: str | None = None
) -> tuple[Any, EmbeddingSpace | None]:
    """A pipeline, and the space of its embeddings if it is a registered one.

    Args:
        name: a registered name, a directory, or an id of the hub.
        device: where to put it.
        dtype: name of a torch dtype, as ``"float16"``; None for that of the files.
        ip_adapter: ``PATH_OR_ID:FILE`` of an IP-Adapter to load into it.

    Raises:
        UnknownModel: no pipeline has that name, directory or form of id.
        WeightsNotFound: the hub has no such id, or it cannot be downloaded.
        CheckpointError: the directory holds no complete pipeline, or the file no IP-Adapter.
    """
    from bindplug.models import find_model, list_models
    from bindplug_diffusers.requirement import require_diffusers

    require_diffusers()
    import torch
    from diffusers import DiffusionPipeline

    cards = {card.name: card for card in list_models("generator")}
    location: str | Path = Path(name).expanduser()
    if name in cards or name == DEFAULT_PIPELINE:
        location = find_model(name, tool="generator")
    elif not Path(location).exists():
        if name.count("/") != 1:
            names = ", ".join(cards) or "none"
            raise UnknownModel(
                f"no pipeline is named {name!r}, and there is no such directory; known names: {names}. An id of the "
                f"hub has the form owner/name"
            )
        location = name
    place = location if isinstance(location, Path) else None
    if place is not None:
        check_files(place)
    absent = _absent_components(Path(location))
    torch_dtype = getattr(torch, dtype) if dtype else None
    try:
        with damage_in(place), warnings.catch_warnings():
            # newer releases call it dtype, and older ones do not know that name
            warnings.filterwarnings("ignore", ".*torch_dtype.* is deprecated", FutureWarning)
            pipe = DiffusionPipeline.from_pretrained(str(location), torch_dtype=torch_dtype, **absent)
    except (OSError, ValueError) as error:
        if place is not None:
            raise
        raise WeightsNotFound(f"{name} could not be opened as a diffusers pipeline: {error}") from error
    if place is not None:
        check_components(pipe, place)
    if ip_adapter:
        _load_adapter(pipe, ip_adapter)
    return pipe.to(device), cards[name].space if name in cards else None


@contextmanager
def quiet_logging(quiet: bool) -> Iterator[None]:
    """Hide progress bars and log messages of diffusers and transformers inside the block, if ``quiet``."""
    if not quiet:
        yield
        return
    import diffusers.utils.logging as diffusers_logging
    import transformers.utils.logging as transformers_logging

    libraries = (diffusers_logging, transformers_logging)
    verbosities = [library.get_verbosity() for library in libraries]
    bars = [library.is_progress_bar_enabled() for library in libraries]
    for library in libraries:
        library.set_verbosity_error()
        library.disable_progress_bar()
    try:
        yield
    finally:
        for library, verbosity, has_bars in zip(libraries, verbosities, bars, strict=True):
            library.set_verbosity(verbosity)
            if has_bars:
                library.enable_progress_bar()


def _absent_components(directory: Path) -> dict[str, None]:
    """Components that a pipeline was saved without, as an image encoder. diffusers needs them as None to load it."""
    index = directory / INDEX
    if not index.is_file():
        return {}
    return {name: None for name, entry in read_json(index).items() if entry == [None, None]}


def _load_adapter(pipe: Any, ip_adapter: str) -> None:
    source, colon, file = ip_adapter.rpartition(":")
    if not colon or not source or not file:
        expected = "PATH_OR_ID:FILE, as h94/IP-Adapter:models/ip-adapter_sd15.safetensors"
        raise InputError("--ip-adapter", found=repr(ip_adapter), expected=expected)
    if not hasattr(pipe, "load_ip_adapter"):
        detail = f"a {type(pipe).__name__}"
        raise InputError("--ip-adapter", found=detail, expected="a pipeline that takes IP-Adapters")
    folder, _, name = file.rpartition("/")
    try:
        pipe.load_ip_adapter(source, subfolder=folder, weight_name=name, image_encoder_folder=None)
    except (OSError, ValueError, KeyError) as error:
        raise CheckpointError(f"{ip_adapter} could not be loaded as an IP-Adapter: {error}") from error
