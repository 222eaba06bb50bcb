"""Sources of ``from_pretrained`` that bindplug loads: registered names, converted directories, checkpoints."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

import bindplug
from bindplug.directories import read_json
from bindplug.errors import CheckpointError, InputError

CHECKPOINT_SUFFIXES = (".pth", ".pt")
FORMAT = "bindplug-imagebind"
"""What the ``config.json`` of a converted directory names as its format."""

IGNORED = frozenset(
    (
        "attn_implementation",
        "cache_dir",
        "force_download",
        "local_files_only",
        "low_cpu_mem_usage",
        "proxies",
        "revision",
        "token",
        "trust_remote_code",
        "use_safetensors",
    )
)
"""Options of transformers that change nothing where nothing is downloaded and nothing copied."""


def is_bindplug_source(source: Any) -> bool:
    """Whether bindplug loads this, and not transformers. A local directory comes before a registered name."""
    path = Path(source)
    if path.is_dir():
        return _format(path / "config.json") == FORMAT
    if path.is_file():
        return path.suffix in CHECKPOINT_SUFFIXES
    return isinstance(source, str) and source in {card.name for card in bindplug.list_models()}


def load_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """transformers' options of ``from_pretrained`` as :func:`bindplug.load` takes them.

    Raises:
        InputError: an option without a counterpart.
    """
    converted: dict[str, Any] = {}
    unknown = []
    for name, value in options.items():
        if name in ("dtype", "torch_dtype"):
            converted["dtype"] = value
        elif name == "device_map":
            converted["device"] = _device(value)
        elif name == "modalities":
            converted["modalities"] = value
        elif name not in IGNORED and value is not None:
            unknown.append(name)
    if unknown:
        raise InputError(
            "from_pretrained",
            found=f"{', '.join(sorted(unknown))} for a model of bindplug",
            expected="dtype, device_map, modalities",
            remedy="Save it first with save_pretrained(), and load that",
        )
    return converted


def _device(device_map: Any) -> str:
    if isinstance(device_map, Mapping):
        if len(device_map) != 1 or "" not in device_map:
            raise InputError("from_pretrained", found="a device_map of parts", expected="one device")
        device_map = device_map[""]
    if device_map in (None, "auto", "balanced", "sequential"):
        return "cuda" if torch.cuda.is_available() and device_map is not None else "cpu"
    return f"cuda:{device_map}" if isinstance(device_map, int) else str(device_map)


def _format(path: Path) -> str:
    try:
        manifest = read_json(path)
    except CheckpointError:
        return ""
    return str(manifest.get("format", "")) if isinstance(manifest, dict) else ""
