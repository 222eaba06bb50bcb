"""What tells whether an embedding made earlier still holds: digests of models, and of queries with their files.

A digest of a model covers every number of the weights that embed a modality, unlike its fingerprint, which samples
those that define the space: two towers bound to one anchor share a fingerprint.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Mapping
from enum import Enum
from functools import partial
from importlib.metadata import version
from operator import itemgetter
from pathlib import Path
from types import CellType, CodeType, FunctionType, MethodType
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from bindplug import Encoder, Modality, Query
from bindplug.bound import BoundEncoder
from bindplug.combined import CombinedEncoder
from bindplug.errors import BindplugError
from bindplug.foreign import ForeignEncoder
from bindplug.imagebind import ImageBind
from bindplug.query import Leaf, VectorLeaf

__all__ = ["digest_of_files", "digest_of_model", "digest_of_query", "digest_of_values", "digests_of_terms"]

LARGEST_SETTINGS_BYTES = 1 << 20
"""Files of a model's directory up to this size are settings, and part of its digest; weights are digested loaded."""

PLAIN = (str, int, float, bool, bytes, type(None))

DEEPEST = 4
"""Attributes of attributes of a reader that are part of its digest."""

NOT_OF_ROWS = frozenset({"training", "fingerprint", "centers", "similarity_scales"})
"""Attributes of a model that no row depends on."""


def digest_of_values(*values: object) -> str:
    """32 hexadecimal digits for values that JSON can hold."""
    text = json.dumps(values, sort_keys=True, default=str)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def digest_of_files(directory: Path) -> str:
    """A digest of the small files of a model's directory, such as its ``config.json``; empty for anything else."""
    if not directory.is_dir():
        return ""
    digest = hashlib.sha256()
    for path in sorted(directory.rglob("*")):
        if path.is_file() and path.stat().st_size <= LARGEST_SETTINGS_BYTES:
            digest.update(str(path.relative_to(directory)).encode("utf-8", "surrogateescape"))
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:32]


def digest_of_model(model: Encoder, modality: str, name: str = "") -> str | None:
    """What a model's rows of one modality depend on: weights, reader, dtype, kind of device, and bindplug's version.

    Args:
        model: loaded, perhaps with other towers too; they do not matter where the network keeps towers apart.
        modality: of what is embedded.
        name: what it was loaded from; the settings of a directory count.

    Returns:
        32 hexadecimal digits; None for a model whose weights cannot be read, such as a packed one.
    """
    digest = hashlib.sha256()
    kind = type(model)
    header = [
        f"{kind.__module__}.{kind.__qualname__}",
        str(model.embedding_space.name),
        modality,
        str(model.dtype),
        torch.device(model.device).type,
        version("bindplug"),
        _library(model),
        digest_of_files(Path(name.partition(":")[2] or name).expanduser()) if name else "",
    ]
    digest.update(json.dumps(header).encode())
    try:
        _add(digest, _network(model, modality))
        _add(digest, model.preprocess.get(modality))
    except _Incomparable:
        return None
    return digest.hexdigest()[:32]


def digest_of_query(query: Query) -> str | None:
    """What a query's row depends on besides the model: its terms, reader options, and the state of its files.

    A file is known by its path, size, and times of change: one that is replaced, even by a copy that keeps its date,
    counts as another.

    Returns:
        32 hexadecimal digits; None for a query with a source that has no value to compare, such as an open file.
    """
    digests = digests_of_terms(query)
    if None in digests:
        return None
    weights = [weight for weight, _ in query.terms]
    return digest_of_values(list(zip(weights, digests, strict=True)))


def digests_of_terms(query: Query) -> tuple[str | None, ...]:
    """For each term what its row depends on besides the model; None where the source has no value to compare."""
    return tuple(_digest_of_leaf(leaf) for _, leaf in query.terms)


def _digest_of_leaf(leaf: Leaf | VectorLeaf) -> str | None:
    if isinstance(leaf, VectorLeaf):
        return digest_of_values(
            "vector", hashlib.sha256(leaf.vector.tobytes()).hexdigest(), str(leaf.space.name), leaf.modality
        )
    source = _source(leaf.source, leaf.modality)
    options = {name: _option(value) for name, value in leaf.options.items()}
    if source is None or any(value is None for value in options.values()):
        return None
    return digest_of_values(leaf.modality.value, source, options)


def _source(source: object, modality: Modality) -> object | None:
    if modality is Modality.TEXT:
        return ["text", source]
    if isinstance(source, (str, os.PathLike)):
        return _file(Path(source))
    if isinstance(source, Mapping):
        parts = {str(name): _source(part, modality) for name, part in source.items()}
        return None if any(part is None for part in parts.values()) else parts
    return _content(source)


def _file(path: Path) -> object | None:
    try:
        state = path.stat()
    except (OSError, ValueError):
        return None
    return ["file", os.path.realpath(path), state.st_size, state.st_mtime_ns, state.st_ctime_ns]


def _content(value: object) -> object | None:
    """The content of what is in memory; None if it has none to compare."""
    if isinstance(value, Tensor):
        value = value.detach().cpu()
        value = value.float().numpy() if value.dtype == torch.bfloat16 else value.numpy()
    if isinstance(value, Image.Image):
        value = [value.mode, np.asarray(value)] if value.mode != "P" else np.asarray(value.convert("RGBA"))
    if isinstance(value, np.ndarray) and value.dtype != object:
        array = np.ascontiguousarray(value)
        return ["array", str(array.dtype), list(array.shape), hashlib.sha256(array.tobytes()).hexdigest()]
    if isinstance(value, (bytes, bytearray, memoryview)):
        return ["bytes", hashlib.sha256(bytes(value)).hexdigest()]
    if isinstance(value, (list, tuple)):
        parts = [_option(part) for part in value]
        return None if any(part is None for part in parts) else parts
    return None


def _option(value: object) -> object | None:
    if value is None or isinstance(value, (str, int, float, bool)):
        return [type(value).__name__, value]
    if isinstance(value, os.PathLike):
        return _file(Path(value))
    return _content(value)


def _network(model: Encoder, modality: str) -> object:
    """The part of the network that embeds a modality, where it can be told apart; else all of it."""
    if isinstance(model, BoundEncoder):
        if modality != model.sense:
            return _network(model.anchor, modality)
        tower = model.tower
        return _network(tower, modality) if isinstance(tower, Encoder) else tower
    if isinstance(model, CombinedEncoder) and modality in model.models:
        return [_network(model.models[modality], modality), model.bridges[modality]]
    if isinstance(model, ImageBind):
        tower_name = Modality.parse(modality).tower
        return dict(model.towers.items()).get(tower_name, model)
    return model


class _Incomparable(Exception):  # noqa: N818 - it never leaves this module
    """Something's content cannot be read, so that nothing made with it can be found again safely."""


def _library(model: Encoder) -> str:
    """Name and version of the library whose network it is; empty for bindplug's own."""
    if not isinstance(model, ForeignEncoder):
        return ""
    package = type(model.network).__module__.partition(".")[0]
    return f"{package} {getattr(sys.modules.get(package), '__version__', '')}"


def _add(digest: Any, value: object, depth: int = 0) -> None:
    """Feed a value to a digest: tensors and arrays by their numbers, objects by their public attributes.

    Attributes with an underscore are left out unless they hold weights: they may fill up in use.
    """
    if isinstance(value, PLAIN):
        digest.update(f"{type(value).__name__}{value!r}".encode("utf-8", "surrogatepass"))
    elif isinstance(value, torch.dtype):
        digest.update(str(value).encode())
    elif isinstance(value, Tensor):
        tensor = (value.dequantize() if value.is_quantized else value).detach().cpu().contiguous()
        digest.update(f"{tensor.dtype}{tuple(tensor.shape)}".encode())
        if tensor.numel():
            digest.update(tensor.view(-1).view(torch.uint8).numpy().data)
    elif isinstance(value, np.ndarray) and value.dtype != object:
        digest.update(f"{value.dtype}{value.shape}".encode() + np.ascontiguousarray(value).tobytes())
    elif isinstance(value, nn.Module):
        for name, module in value.named_modules():
            plain = {k: v for k, v in _public(module).items() if isinstance(v, (*PLAIN, tuple, list, Enum))}
            digest.update(f"{name}:{type(module).__qualname__}{sorted(plain.items())!r}".encode())
        try:
            state = value.state_dict(keep_vars=True)  # of quantized layers it alone has the weights
        except BindplugError as error:  # a packed network
            raise _Incomparable from error
        for name, part in (*state.items(), *value.named_buffers()):
            if not isinstance(part, (*PLAIN, Tensor, torch.dtype, tuple, list)):
                raise _Incomparable
            digest.update(name.encode())
            _add(digest, part, depth + 1)
    elif isinstance(value, partial):
        _add(digest, [value.func, value.args, value.keywords], depth + 1)
    elif isinstance(value, MethodType):
        _add(digest, [value.__func__, value.__self__], depth + 1)
    elif isinstance(value, FunctionType):
        _add(digest, _parts_of_function(value), depth + 1)
    elif isinstance(value, Enum):
        digest.update(f"{value!r}".encode())
    elif isinstance(value, (Mapping, list, tuple)):
        if isinstance(value, Mapping):
            pairs = sorted(((str(key), part) for key, part in value.items()), key=itemgetter(0))
        else:
            pairs = [(str(place), part) for place, part in enumerate(value)]
        for name, part in pairs:
            digest.update(name.encode("utf-8", "surrogatepass"))
            _add(digest, part, depth + 1)
    else:
        digest.update(f"{type(value).__module__}.{type(value).__qualname__}".encode())
        if depth < DEEPEST:
            _add(digest, _public(value), depth + 1)


def _parts_of_function(function: FunctionType) -> list[object]:
    """What a function computes with: its code, and the values that it was made with."""
    cells = [cell.cell_contents for cell in function.__closure__ or () if cell != CellType()]
    return [*_parts_of_code(function.__code__), function.__defaults__, function.__kwdefaults__ or {}, cells]


def _parts_of_code(code: CodeType) -> list[object]:
    inner = [_parts_of_code(value) for value in code.co_consts if isinstance(value, CodeType)]
    constants = [value for value in code.co_consts if not isinstance(value, CodeType)]
    return [code.co_name, code.co_code, code.co_names, constants, inner]


def _public(value: object) -> dict[str, object]:
    """Attributes without an underscore, and of the others those that hold weights."""
    attributes = dict(getattr(value, "__dict__", None) or {})
    for name in (name for kind in type(value).__mro__ for name in _slots(kind)):
        if hasattr(value, name):
            attributes[name] = getattr(value, name)
    weights = () if isinstance(value, nn.Module) else (nn.Module, Tensor, np.ndarray)
    return {
        k: v
        for k, v in attributes.items()
        if k not in NOT_OF_ROWS and (not k.startswith("_") or isinstance(v, weights))
    }


def _slots(kind: type) -> tuple[str, ...]:
    slots = kind.__dict__.get("__slots__", ())
    return (slots,) if isinstance(slots, str) else tuple(slots)
