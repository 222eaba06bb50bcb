"""The bundled toy CLAP, opened as any CLAP of transformers is."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import torch

import bindplug
from bindplug import Encoder


def load(
    path: Path, *, modalities: Collection[str] | None, device: torch.device, dtype: torch.dtype | None
) -> Encoder:
    """The encoder of a transformers directory; arguments and errors are those of :func:`bindplug.load`."""
    return bindplug.load(f"transformers:{path}", modalities=modalities, device=device, dtype=dtype)
