"""Directories that ``save_pretrained`` wrote, checked before transformers reads them.

transformers fills tensors that are missing with random numbers, casts integers to floats and takes NaN for weights; of
other damage it raises whatever its parts raise. Here each is a CheckpointError that names the file.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor
from transformers import PretrainedConfig
from typing_extensions import Self

from bindplug.directories import damage_named, first_line, is_finite, read_json
from bindplug.errors import BindplugError, CheckpointError, WeightsNotFound
from bindplug.imagebind import open_official, shorten

CONFIG_FILE = "config.json"
PROCESSOR_FILE = "processor_config.json"
SETTINGS_FILES = (
    PROCESSOR_FILE,
    "preprocessor_config.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
)
"""Files with the settings of a processor and its parts."""

WEIGHT_FILES = ("model.safetensors", "pytorch_model.bin")
"""Files with the weights of a model, in the order in which transformers looks for them."""

REMEDY = "Download it again, or write it again with save_pretrained()."
NETWORK = "network."
"""Prefix of the names of the encoder's own tensors; what a subclass adds may be missing from a checkpoint."""

OTHER_WEIGHTS = ("state_dict", "gguf_file", "quantization_config")
"""Options with which transformers takes weights from elsewhere, or converts them."""


class SavedSettings:
    """``from_pretrained`` of processors and their parts: damage is named."""

    _needed_file: ClassVar[str] = ""
    """The file without which the settings are not whole."""

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: Any, *args: Any, **kwargs: Any) -> Self:
        """As transformers' own.

        Raises:
            CheckpointError: a file of the directory is damaged; it is named.
            WeightsNotFound: the directory holds no settings.
        """
        directory = local_directory(pretrained_model_name_or_path, kwargs)
        if directory is not None:
            read_settings(directory, cls._needed_file)
        with damage_in(directory):
            return super().from_pretrained(pretrained_model_name_or_path, *args, **kwargs)  # type: ignore[misc]


def local_directory(source: Any, options: Mapping[str, Any]) -> Path | None:
    """The directory on this machine that ``from_pretrained(source, **options)`` reads; None for the hub's."""
    if not isinstance(source, (str, Path)) or not Path(source).is_dir():
        return None
    return Path(source, options.get("subfolder") or "")


def read_settings(directory: Path, needed_file: str = "") -> None:
    """Return if every file of settings in a directory holds a JSON object.

    Raises:
        CheckpointError: one does not.
        WeightsNotFound: there is none, or not the one that is needed.
    """
    files = [file for file in map(directory.joinpath, SETTINGS_FILES) if file.is_file()]
    if not files or (needed_file and directory / needed_file not in files):
        name = needed_file or SETTINGS_FILES[1]
        raise WeightsNotFound(f"{directory} holds no processor: it has no {name}. {REMEDY}")
    for file in files:
        read_object(file)


def read_object(file: Path) -> dict[str, Any]:
    """The JSON object in a file.

    Raises:
        CheckpointError: it holds something else.
    """
    content = read_json(file)
    if not isinstance(content, dict):
        kind = type(content).__name__
        raise CheckpointError(f"{file} is damaged: it holds a {kind}; expected a JSON object. {REMEDY}")
    return content


@contextmanager
def damage_in(place: Path | None) -> Iterator[None]:
    """Turn what transformers raises of damaged settings into a CheckpointError that names ``place``, if it is local."""
    if place is None:
        yield
        return
    try:
        with damage_named(place):
            yield
    except CheckpointError:
        raise
    except (BindplugError, OSError) as error:
        raise CheckpointError(f"{place} is damaged: {first_line(error)}. {REMEDY}") from error


def read_config(kind: type[PretrainedConfig], directory: Path) -> Any:
    """The config of a model's directory.

    Args:
        kind: class of the config.
        directory: with a ``config.json``.

    Raises:
        CheckpointError: the file is damaged, or describes a model of another kind.
        WeightsNotFound: there is no such file.
    """
    file = directory / CONFIG_FILE
    if not file.is_file():
        raise WeightsNotFound(f"{directory} holds no model: it has no {CONFIG_FILE}. {REMEDY}")
    content = read_object(file)
    if content.get("model_type") != kind.model_type:
        raise CheckpointError(
            f"{file} describes a model of type {content.get('model_type')!r}; expected {kind.model_type!r}. "
            f"Load it with transformers.AutoModel"
        )
    try:
        return kind.from_dict(content)
    except Exception as error:  # of whatever transformers checks a config with
        raise CheckpointError(
            f"{file} is damaged: {type(error).__name__}: {first_line(error)}. {REMEDY}"
        ) from error


def check_model(kind: type[Any], directory: Path, options: Mapping[str, Any]) -> None:
    """Return if a directory holds a whole model of a class.

    Args:
        kind: the model's class.
        directory: that ``save_pretrained`` wrote.
        options: of ``from_pretrained``.

    Raises:
        CheckpointError: a file is damaged; a tensor has another shape, holds no floats or is not finite; or one is
            missing, and the caller does not take the loading info that lists it.
        WeightsNotFound: there is no config, or there are no weights.
    """
    if not (directory / CONFIG_FILE).is_file() and (directory / "adapter_config.json").is_file():
        return  # an adapter of peft, which names its model
    config = options.get("config")
    if not isinstance(config, kind.config_class):
        config = read_config(kind.config_class, directory)
        for name, value in options.items():
            if name in config.to_dict():
                setattr(config, name, value)
    quantized = getattr(config, "quantization_config", None) is not None
    if quantized or any(options.get(name) is not None for name in OTHER_WEIGHTS):
        return
    config = copy.deepcopy(config)
    config._attn_implementation = "eager"  # whether another kernel can be had is transformers' to say
    with damage_named(directory / CONFIG_FILE), torch.device("meta"):
        expected = {name: t for name, t in kind(config).state_dict().items() if name.startswith(NETWORK)}
    files = weight_files(directory, options)
    present: set[str] = set()
    problems: list[str] = []
    resized = bool(options.get("ignore_mismatched_sizes"))
    for file in files:
        state = {
            name.removeprefix(f"{kind.base_model_prefix}."): t for name, t in open_official(file).items()
        }
        present |= state.keys()
        problems += _problems(state, expected, resized=resized)
    missing = [name for name in expected if name not in present]
    if missing and not options.get("output_loading_info"):
        problems.append(f"{shorten('missing', missing)} (to train them anew, pass output_loading_info=True)")
    if any(problems):
        place = files[0] if len(files) == 1 else directory
        reasons = "; ".join(filter(None, problems))
        raise CheckpointError(f"{place} does not hold the network of its {CONFIG_FILE}: {reasons}. {REMEDY}")


def weight_files(directory: Path, options: Mapping[str, Any]) -> list[Path]:
    """The files with a model's weights.

    Raises:
        CheckpointError: an index of files is damaged, or one of its files is absent.
        WeightsNotFound: there is none.
    """
    pickled_only = options.get("use_safetensors") is False
    for name in WEIGHT_FILES[1:] if pickled_only else WEIGHT_FILES:
        file = directory / _variant(name, options)
        if file.is_file():
            return [file]
        index = directory / _variant(f"{name}.index.json", options)
        if index.is_file():
            return _indexed(index)
    raise WeightsNotFound(f"{directory} holds no weights: it has no {WEIGHT_FILES[0]}. {REMEDY}")


def _indexed(index: Path) -> list[Path]:
    places = read_object(index).get("weight_map")
    if not isinstance(places, dict) or not places or not all(isinstance(p, str) for p in places.values()):
        raise CheckpointError(f"{index} is damaged: it has no weight_map of names to files. {REMEDY}")
    files = sorted({index.parent / Path(place).name for place in places.values()})
    absent = [file.name for file in files if not file.is_file()]
    if absent:
        raise CheckpointError(f"{index.parent} is incomplete: {shorten('files missing', absent)}. {REMEDY}")
    return files


def _variant(name: str, options: Mapping[str, Any]) -> str:
    """A file's name with the variant that is to be loaded, as ``model.fp16.safetensors``."""
    variant = options.get("variant")
    stem, _, suffix = name.partition(".")
    return f"{stem}.{variant}.{suffix}" if variant else name


def _problems(state: Mapping[str, Tensor], expected: Mapping[str, Tensor], *, resized: bool) -> list[str]:
    shared = [name for name in state if name in expected]
    floats = [name for name in shared if state[name].is_floating_point()]
    wrong = [
        f"{name} is {list(state[name].shape)}, expected {list(expected[name].shape)}"
        for name in shared
        if state[name].shape != expected[name].shape and not resized
    ]
    return [
        shorten("of wrong shape", wrong),
        shorten("not floating-point", [f"{n} is {state[n].dtype}" for n in shared if n not in floats]),
        shorten("not finite", [name for name in floats if not is_finite(state[name])]),
    ]
