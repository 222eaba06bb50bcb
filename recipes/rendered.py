"""Scenes rendered once to disk, read many times while training."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor


@dataclass
class Rendered:
    """A directory of rendered scenes: memory-mapped arrays, row i of each belonging to scene i.

    ``pixels.npy`` (N, 3, 224, 224) uint8 · ``tokens.npy`` (N, K, 77) uint16, K captions a scene ·
    ``<modality>.npy`` (N, …) float16, as the modality's preprocess gives it · ``labels.npy`` (N,) int64, the
    first thing in each scene. ``in_memory`` reads them whole instead.
    """

    directory: Path
    in_memory: bool = False

    def __post_init__(self) -> None:
        # random reads of a mapped file wait for the disk wherever its cache is reclaimed
        mode: Literal["c"] | None = None if self.in_memory else "c"
        self.arrays: dict[str, np.ndarray] = {
            path.stem: np.load(path, mmap_mode=mode) for path in sorted(self.directory.glob("*.npy"))
        }
        self.card: dict[str, object] = json.loads((self.directory / "card.json").read_text())

    def __len__(self) -> int:
        return len(self.arrays["labels"])

    def pixels(self, indices: Tensor) -> Tensor:
        """(B, 3, 224, 224) uint8 images."""
        return torch.from_numpy(self.arrays["pixels"][indices.numpy()])

    def captions(self, indices: Tensor, generator: torch.Generator) -> Tensor:
        """(B, 77) token ids, one of each scene's captions drawn at random."""
        tokens = self.arrays["tokens"]
        caption_numbers = torch.randint(tokens.shape[1], (len(indices),), generator=generator)
        return torch.from_numpy(tokens[indices.numpy(), caption_numbers.numpy()].astype(np.int64))

    def inputs(self, modality: str) -> Tensor:
        """(N, …) float16 inputs of a sensor."""
        return torch.from_numpy(np.asarray(self.arrays[modality]))

    @property
    def labels(self) -> Tensor:
        """(N,) int64 class indices."""
        return torch.from_numpy(np.array(self.arrays["labels"]))
