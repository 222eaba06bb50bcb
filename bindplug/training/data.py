"""What binding asks of a data set."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor


@runtime_checkable
class PairDataset(Protocol):
    """Pairs (picture, other sense) by index.

    The picture's side is an embedding of the frozen image tower. A data set may hold these rows, since the tower never
    changes, or compute them anew from an augmented picture.

    **Aligned draws.** For the same pairs, :meth:`anchors` and :meth:`samples` are called with the same indices and
    with two generators in the same state. A data set that makes the same draws first in both gets the same crop of
    picture and depth map, or the same moment of video and sound.

    **Repeatable draws.** The loop cuts each batch into at most 64 blocks and calls both methods once for each block,
    with generators that depend on the recipe's seed, the step and the block alone. Whoever draws only from the
    generator gets the same numbers on one GPU and on many, with and without reader threads, and after a resume.

    A data set may also have an attribute ``identity``, a string that names its content (a hash of its files' names, for
    instance), or several in a mapping. A checkpoint keeps it, and a run on other pairs does not resume from it. Without
    one, the loop compares figures of three pairs.
    """

    def __len__(self) -> int:
        """How many pairs there are."""
        ...

    def anchors(self, indices: Tensor, generator: torch.Generator) -> Tensor:
        """(B, D) embeddings of the pictures at ``indices`` (B,), from the frozen image tower; any length but zero."""
        ...

    def samples(self, indices: Tensor, generator: torch.Generator) -> Tensor:
        """(B, …) inputs of the other sense at ``indices`` (B,), as its tower takes them.

        ``generator`` is for choices made anew each epoch, such as which clip of a long recording to hear. With
        ``RunOptions(workers=...)`` other than 0 the method is called from several threads at once.
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

    def anchors(self, indices: Tensor, generator: torch.Generator) -> Tensor:
        """(B, D) float32 image embeddings; nothing is drawn."""
        return self.image_embeddings[indices].float()

    def samples(self, indices: Tensor, generator: torch.Generator) -> Tensor:
        """(B, …) float32 inputs, one clip each where there are clips."""
        rows = self.inputs[indices]
        if self.clips:
            clips = torch.randint(rows.shape[1], (len(rows),), generator=generator)
            rows = rows[torch.arange(len(rows)), clips]  # (B, S, …) -> (B, …)
        return rows.float()
