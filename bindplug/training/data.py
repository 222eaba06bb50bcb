"""What binding asks of a data set."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor


@runtime_checkable
class BindingPairs(Protocol):
    """Pairs (image, other modality) by index.

    The image side is its *frozen embedding*: since the image tower never changes, each image is embedded
    once, not once an epoch.
    """

    def __len__(self) -> int:
        """How many pairs there are."""
        ...

    def anchors(self, indices: Tensor) -> Tensor:
        """(B, D) embeddings of the images at ``indices`` (B,), from the frozen image tower; any norm."""
        ...

    def samples(self, indices: Tensor, generator: torch.Generator) -> Tensor:
        """(B, …) inputs of the new modality at ``indices``, as its tower takes them.

        ``generator`` is for choices made anew each epoch, such as which clip of a long recording to hear.
        """
        ...


@dataclass
class TensorPairs:
    """Pairs held in memory (or memory-mapped).

    Attributes:
        image_embeddings: (N, D) frozen image embeddings.
        inputs: (N, …) inputs of the new modality, any float dtype; with ``clips`` (N, S, …).
        clips: the inputs have a clip axis, of which one clip is drawn at random each time.
    """

    image_embeddings: Tensor
    inputs: Tensor
    clips: bool = False

    def __post_init__(self) -> None:
        if len(self.image_embeddings) != len(self.inputs):
            raise ValueError(
                f"{len(self.image_embeddings)} image embeddings cannot be paired with {len(self.inputs)} inputs"
            )

    def __len__(self) -> int:
        return len(self.inputs)

    def anchors(self, indices: Tensor) -> Tensor:
        """(B, D) image embeddings."""
        return self.image_embeddings[indices].float()

    def samples(self, indices: Tensor, generator: torch.Generator) -> Tensor:
        """(B, …) float32 inputs, one clip each where there are clips."""
        rows = self.inputs[indices]
        if self.clips:
            chosen = torch.randint(rows.shape[1], (len(rows),), generator=generator)
            rows = rows[torch.arange(len(rows)), chosen]
        return rows.float()
