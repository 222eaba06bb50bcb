"""Damages to the files of a directory of weights: JSON files and safetensors files in which anything is wrong."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from bindplug.directories import sha256_of

JSON_DAMAGES: dict[str, Callable[[bytes], bytes | None]] = {
    "empty": lambda content: b"",
    "cut": lambda content: content[: len(content) // 2],
    "a list": lambda content: b"[]",
    "a list of the content": lambda content: b"[" + content + b"]",
    "null": lambda content: b"null",
    "a number": lambda content: b"3",
    "a text": lambda content: b'"model"',
    "nested deeply": lambda content: b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "lists nested deeply": lambda content: b"[" * 100_000 + b"]" * 100_000,
    "not UTF-8": lambda content: b'{"format": "\xff\xfe\xfa"}',
    "zero bytes": lambda content: b"\0" * len(content),
    "an endless number": lambda content: b'{"a": ' + b"9" * 10_000 + b"}",
    "absent": lambda content: None,
}
"""What a JSON file holds instead; None removes it."""

FILE_DAMAGES: dict[str, Callable[[bytes], bytes | None]] = {
    "empty": lambda content: b"",
    "cut in the header": lambda content: content[:20],
    "cut in the middle": lambda content: content[: len(content) // 2],
    "cut at the end": lambda content: content[:-1],
    "longer": lambda content: content + b"\0" * 8,
    "a header of 2^63 bytes": lambda content: struct.pack("<Q", 2**63) + content[8:],
    "a header that is a list": lambda content: struct.pack("<Q", 2) + b"[]" + content,
    "a header nested deeply": lambda content: struct.pack("<Q", 100_000) + b"[" * 100_000,
    "a page of HTML": lambda content: b"<!DOCTYPE html><html><body>404</body></html>",
    "absent": lambda content: None,
}
"""What a safetensors file holds instead; None removes it."""

Tensors = dict[str, Tensor]
TENSOR_DAMAGES: dict[str, Callable[[Tensors, str], Mapping[str, Tensor]]] = {
    "NaN": lambda tensors, name: tensors | {name: torch.full_like(tensors[name], float("nan"))},
    "one infinity": lambda tensors, name: tensors | {name: with_infinity(tensors[name])},
    "int8": lambda tensors, name: tensors | {name: tensors[name].to(torch.int8)},
    "complex": lambda tensors, name: tensors | {name: tensors[name].to(torch.complex64)},
    "longer": lambda tensors, name: tensors | {name: torch.cat([tensors[name].reshape(-1)] * 2)},
    "with an axis more": lambda tensors, name: tensors | {name: tensors[name][None].clone()},
    "no number": lambda tensors, name: tensors | {name: torch.zeros(0)},
    "a missing tensor": lambda tensors, name: {k: v for k, v in tensors.items() if k != name},
    "no tensor": lambda tensors, name: {},
    "another name": lambda tensors, name: {k + "_" if k == name else k: v for k, v in tensors.items()},
}
"""What whole safetensors files hold instead."""


def with_infinity(tensor: Tensor) -> Tensor:
    changed = tensor.clone()
    changed.view(-1)[-1] = float("inf")
    return changed


def replace(file: Path, change: Callable[[bytes], bytes | None]) -> None:
    """Change a file's bytes."""
    content = change(file.read_bytes())
    if content is None:
        file.unlink()
    else:
        file.write_bytes(content)


def replace_tensors(file: Path, change: Callable[[Tensors, str], Mapping[str, Tensor]], name: str) -> None:
    """Change one tensor of a whole safetensors file; its metadata stay."""
    with safe_open(str(file), framework="pt") as opened:
        metadata, keys = opened.metadata(), list(opened.keys())
        tensors = {key: opened.get_tensor(key).clone() for key in keys}
    assert name in tensors
    save_file(dict(change(tensors, name)), file, metadata=metadata)


def sign_again(manifest: Path) -> None:
    """Give a manifest the sizes and checksums of the files beside it, as whoever alters both would."""
    content: Any = json.loads(manifest.read_text())

    def visit(value: Any, key: str) -> None:
        if not isinstance(value, dict):
            return
        if "sha256" in value:
            file = manifest.parent / value.get("file", f"{key}.safetensors")
            if file.is_file():
                value |= {"size_bytes": file.stat().st_size, "sha256": sha256_of(file)}
        for inner_key, inner in value.items():
            visit(inner, inner_key)

    visit(content, "")
    manifest.write_text(json.dumps(content))
