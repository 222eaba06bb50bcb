"""``bindplug.load("transformers:ID")``: which class of transformers an id is of, and opening it safely."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import torch

from bindplug.cards import resolve
from bindplug.errors import CheckpointError, MissingDependency, UnknownModel
from bindplug.foreign import Family, ForeignEncoder, fetch_snapshot, license_of, opening
from bindplug.lazy import require

SCHEME = "transformers"


@dataclass(frozen=True)
class Kind:
    """A class of transformers that we know how to use.

    Args:
        model: its name.
        family: target of the :class:`bindplug.foreign.Family` that uses it.
    """

    model: str
    family: str


_HERE = "bindplug_transformers.sources"

KINDS = {
    "clap": Kind("ClapModel", f"{_HERE}.clap:ClapFamily"),
    "clip": Kind("CLIPModel", f"{_HERE}.clip_like:ClipFamily"),
    "siglip": Kind("SiglipModel", f"{_HERE}.clip_like:SiglipFamily"),
    "embedding_gemma2": Kind("EmbeddingGemma2Model", f"{_HERE}.gemma:EmbeddingGemma2Family"),
    "pe_audio": Kind("PeAudioModel", f"{_HERE}.perception:PeAudioFamily"),
    "pe_audio_video": Kind("PeAudioVideoModel", f"{_HERE}.perception:PeAudioVideoFamily"),
    "pe_video": Kind("PeVideoModel", f"{_HERE}.perception:PeVideoFamily"),
    "siglip2": Kind("Siglip2Model", f"{_HERE}.clip_like:Siglip2Family"),
}
"""For each ``model_type`` of a ``config.json`` what opens it."""


def load(
    name: str, *, modalities: Collection[str] | None, device: torch.device, dtype: torch.dtype | None
) -> ForeignEncoder:
    """An encoder of a transformers model.

    Args:
        name: an id on the hub, or a directory.
        modalities, device, dtype: as in :func:`bindplug.load`.

    Raises:
        UnknownModel: the model is of a class that we do not know, or embeds nothing.
        WeightsNotFound: there is no such directory, or the id cannot be fetched.
        CheckpointError: the files are damaged or incomplete, or the processor is another model's.
        MissingDependency: transformers is absent, or has no such class yet.
        InputError: the model does not embed one of ``modalities``.
    """
    transformers = require("transformers", owner=f"{SCHEME}:{name}", extra="transformers")
    directory = fetch_snapshot(name, scheme=SCHEME)
    kind = kind_of(directory, f"{SCHEME}:{name}")
    with quiet_loading(transformers):  # importing some classes prints
        model_class = getattr(transformers, kind.model, None)
    if model_class is None:
        raise MissingDependency(f"{SCHEME}:{name} ({kind.model})", "transformers", "transformers", "too old")
    space = f"{SCHEME}:{directory.name if Path(name).expanduser().is_dir() else name}"
    with quiet_loading(transformers), opening(f"{SCHEME}:{name}"):
        network, report = without_tied_buffers(model_class).from_pretrained(
            directory, local_files_only=True, output_loading_info=True
        )
        network.__class__ = model_class
        processor = transformers.AutoProcessor.from_pretrained(directory, local_files_only=True)
        check_report(f"{SCHEME}:{name}", report)
        family: Family = resolve(kind.family, SCHEME)(f"{SCHEME}:{name}", network, processor)
    network = network.eval().to(device) if dtype is None else network.eval().to(device, dtype)
    return ForeignEncoder(network, family, space=space, modalities=modalities, license=license_of(directory))


def without_tied_buffers(model_class: Any) -> Any:
    """The class, or one like it that ties no buffers of rotary embeddings.

    ``PeAudioVideoModel`` of transformers 5.23 ties all that the vision network of timm holds but ``rope.pos_embed``;
    timm 1.0.31 holds ``rope.bands`` beside it, which is no parameter, and loading fails.
    """
    tied = getattr(model_class, "_tied_weights_keys", None)
    if not isinstance(tied, dict):
        return model_class
    wider = {
        new.replace(r".*\.rope\.pos_embed", r".*\.rope\."): old.replace(r".*\.rope\.pos_embed", r".*\.rope\.")
        for new, old in tied.items()
    }
    return (
        model_class
        if wider == tied
        else type(model_class.__name__, (model_class,), {"_tied_weights_keys": wider})
    )


def kind_of(directory: Path, name: str) -> Kind:
    """What opens the model of a directory.

    Raises:
        CheckpointError: it holds no readable ``config.json``.
        UnknownModel: the model is of a class that we do not know.
    """
    config = read_json(directory / "config.json", name)
    model_type = config.get("model_type")
    if model_type in KINDS:
        return KINDS[str(model_type)]
    classes = ", ".join(kind.model for kind in KINDS.values())
    architectures = config.get("architectures")
    architecture = str(architectures[0]) if isinstance(architectures, list) and architectures else ""
    remedy = ""
    if (directory / "modules.json").is_file():
        remedy = f". It is a model of sentence-transformers: load 'sentence-{name}'"
    elif model_type == "imagebind":
        remedy = f". It is ImageBind: load it with bindplug_transformers.ImageBindModel.from_pretrained('{directory}')"
    raise UnknownModel(
        f"{name} is a model of type {str(model_type)!r}{f' ({architecture})' if architecture else ''}, which gives no "
        f"embeddings that we know how to take; known classes: {classes}{remedy}"
    )


def read_json(path: Path, name: str) -> dict[str, Any]:
    """A JSON object of a file.

    Raises:
        CheckpointError: the file is absent, damaged or holds something else.
    """
    if not path.is_file():
        raise CheckpointError(
            f"{name}: there is no {path.name} in {str(path.parent)!r}; expected a directory that "
            f"save_pretrained() wrote or `hf download` fetched"
        )
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{name}: {path} is not a whole JSON file ({error})") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{name}: {path} holds a {type(content).__name__}; expected an object")
    return content


def check_report(name: str, report: dict[str, Any]) -> None:
    """Refuse weights that lack tensors: transformers would fill them with random numbers.

    Raises:
        CheckpointError: some are missing or of another shape.
    """
    for fault in ("missing_keys", "mismatched_keys"):
        keys = sorted(map(str, report.get(fault) or ()))
        if keys:
            word = "lack" if fault == "missing_keys" else "have another shape for"
            raise CheckpointError(
                f"{name}: its weights {word} {len(keys)} tensors, as {keys[0]}; the download is incomplete, or the "
                f"weights are another model's"
            )


@contextmanager
def quiet_loading(transformers: Any) -> Iterator[None]:
    """Withhold transformers' progress bars, remarks and prints in the block; errors are raised all the same."""
    logging = transformers.utils.logging
    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    enable: Callable[[], None] = logging.enable_progress_bar
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        with redirect_stdout(StringIO()):
            yield
    finally:
        logging.set_verbosity(level)
        if bars:
            enable()
